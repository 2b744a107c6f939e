"""A tokenizer made elsewhere: a tokenizer.json of the `tokenizers` library."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge_bench.text.tokenizer import Tokenizer
from edge_bench.text.vocabularies import Vocabulary


@dataclass(frozen=True, kw_only=True)
class File(Vocabulary):
    """Takes the tokenizer in the file `path` as it is. It must have tokens for padding, begin and end."""

    path: str

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Read the file; nothing is learned from `texts`.

        Raises:
            DataError: no such file, one that is no tokenizer, or one without the tokens it must have.
        """
        tokenizer = Tokenizer.load(Path(self.path).expanduser())
        tokenizer.around()
        return tokenizer
