"""One token a character, for language models of characters and small experiments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from edge_bench.errors import DataError
from edge_bench.text.tokenizer import SPECIAL_TOKENS, UNKNOWN, Tokenizer
from edge_bench.text.vocabularies import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Characters(Vocabulary):
    """Every character (Unicode code point) of the training text is a token, in the order of their codes.

    One seen less than `least_count` times is unknown, as is one that training never saw. With
    `lower_case` a text comes back in small letters.
    """

    least_count: int = 1
    lower_case: bool = False

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Collect the characters of `texts`."""
        normalizer = normalizers.Lowercase() if self.lower_case else None
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(normalizer.normalize_str(text) if normalizer else text)
        kept = sorted(character for character, count in counts.items() if count >= self.least_count)
        if not kept:
            raise DataError("there is no text to learn a tokenizer from")
        vocabulary = {token: number for number, token in enumerate((*SPECIAL_TOKENS, *kept))}
        inner = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL_TOKENS[UNKNOWN]))
        if normalizer:
            inner.normalizer = normalizer
        # Not ".", which leaves line feeds together with what follows.
        inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        inner.decoder = decoders.Fuse()
        inner.add_special_tokens(list(SPECIAL_TOKENS))
        return Tokenizer(inner)
