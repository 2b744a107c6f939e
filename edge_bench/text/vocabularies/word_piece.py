"""Word pieces: words and parts of words, as BERT and its kin read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from edge_bench.errors import ConfigError, DataError
from edge_bench.text.tokenizer import SPECIAL_TOKENS, UNKNOWN, Tokenizer
from edge_bench.text.vocabularies import Vocabulary

PREFIX = "##"


@dataclass(frozen=True, kw_only=True)
class WordPiece(Vocabulary):
    """Splits at white space and punctuation and reads each word as the longest pieces there are
    (Schuster and Nakajima, 2012; Devlin et al., 2019); a piece inside a word begins with "##".

    White space is not kept, so decoded text differs from what was encoded. `size` is the most tokens
    there may be. `strip_accents` takes the accents off letters, which German needs.

    The pieces are those that byte-pair merges of characters cut the training words into, the frequent
    ones first. The library's own trainer is not used, since its pieces differ from process to process.
    """

    size: int = 4000
    least_count: int = 2
    lower_case: bool = True
    strip_accents: bool = False

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Learn the pieces of `texts`."""
        normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=True,
            strip_accents=self.strip_accents,
            lowercase=self.lower_case,
        )
        splitter = pre_tokenizers.BertPreTokenizer()
        words: Counter[str] = Counter()
        for text in texts:
            words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
        if not words:
            raise DataError("there is no text to learn a tokenizer from")
        pieces = self._pieces(words)
        vocabulary = {token: number for number, token in enumerate((*SPECIAL_TOKENS, *pieces))}
        inner = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIAL_TOKENS[UNKNOWN]))
        inner.normalizer = normalizer
        inner.pre_tokenizer = splitter
        inner.decoder = decoders.WordPiece(prefix=PREFIX)
        inner.add_special_tokens(list(SPECIAL_TOKENS))
        return Tokenizer(inner)

    def _pieces(self, words: Counter[str]) -> list[str]:
        """Return every character, as the first of a word and inside one, then pieces by how often."""
        merged = tokenizers.Tokenizer(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=self.size, min_frequency=self.least_count, show_progress=False
        )
        merged.train_from_iterator(sorted(words.elements()), trainer)
        counts: Counter[str] = Counter()
        single: set[str] = set()
        for word, count in words.items():
            single.update((word[0], *(PREFIX + character for character in word[1:])))
            first, *rest = merged.encode(word).tokens
            for piece in (first, *(PREFIX + piece for piece in rest)):
                counts[piece] += count
        room = self.size - len(SPECIAL_TOKENS) - len(single)
        if room < 0:
            raise ConfigError(
                f"tokenizer.size is {self.size}; the characters of this text alone take "
                f"{self.size - room} tokens"
            )
        frequent = sorted(counts.keys() - single, key=lambda piece: (-counts[piece], piece))
        return [*sorted(single), *frequent[:room]]
