"""Byte-pair encoding over bytes: any text can be written, and comes back as it was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from edge_bench.errors import ConfigError, DataError
from edge_bench.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from edge_bench.text.vocabularies import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Bpe(Vocabulary):
    """Merges the pair of tokens that is most frequent, again and again (Sennrich et al., 2016), from the
    256 bytes of UTF-8 on (Radford et al., 2019), so that no text is unknown.

    `size` is the most tokens there may be; a small text gives fewer. A pair seen less than
    `least_count` times is not merged. With `lower_case` a text comes back in small letters.
    """

    size: int = 4000
    least_count: int = 2
    lower_case: bool = False

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Learn the merges of `texts`."""
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        if self.size < (least := len(alphabet) + len(SPECIAL_TOKENS)):
            raise ConfigError(
                f"tokenizer.size is {self.size}; a vocabulary of bytes has at least {least} tokens"
            )
        inner = tokenizers.Tokenizer(models.BPE())
        if self.lower_case:
            inner.normalizer = normalizers.Lowercase()
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.size,
            min_frequency=self.least_count,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=alphabet,
            show_progress=False,
        )
        kept = [text for text in texts if text]
        if not kept:
            raise DataError("there is no text to learn a tokenizer from")
        inner.train_from_iterator(kept, trainer)
        return Tokenizer(inner)
