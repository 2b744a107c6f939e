"""Vocabularies: how a tokenizer is learned from text, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_bench import variants
from edge_bench.documents import from_document
from edge_bench.errors import ConfigError

if TYPE_CHECKING:
    from edge_bench.text.tokenizer import Tokenizer

PACKAGE = "edge_bench.text.vocabularies"


@dataclass(frozen=True, kw_only=True)
class Vocabulary(ABC):
    """A way to learn a tokenizer. A variant's fields are the options of the `[tokenizer]` table.

    Tokens 0 to 3 are pad, begin, end and unknown. The same texts in the same order give the same
    tokenizer, byte for byte, in every process.
    """

    @abstractmethod
    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Learn a tokenizer from texts: those of the training split, and no others.

        Raises:
            ConfigError: an option that cannot be met.
            DataError: the texts hold nothing.
        """


def open_vocabulary(table: Mapping[str, Any]) -> Vocabulary:
    """Return the vocabulary that a `[tokenizer]` table describes: `kind` and that kind's options.

    Raises:
        UnknownVariant, ConfigError: no such kind, or an option it does not have.
    """
    options = dict(table)
    kind = options.pop("kind", None)
    if not isinstance(kind, str):
        raise ConfigError('[tokenizer] must name a kind, e.g. kind = "bpe"')
    return from_document(variants.load(Vocabulary, PACKAGE, kind), options, where="tokenizer")
