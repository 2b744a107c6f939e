"""BLEU of a whole corpus, by sacrebleu, so that figures can be compared with those of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sacrebleu.metrics.bleu import BLEU

from edge_bench.errors import DataError

TOKENIZER = "13a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bleu:
    """A corpus' BLEU, between 0 and 100, and how it was computed as sacrebleu's signature tells it."""

    score: float
    signature: str


def bleu(translations: Sequence[str], references: Sequence[str]) -> Bleu:
    """Return the BLEU (Papineni et al., 2002) of plain, detokenized translations with one reference each.

    Cased, with sacrebleu's default tokenizer 13a and exponential smoothing (Post, 2018).

    Raises:
        DataError: no sentences, or not as many translations as references.
    """
    if not references or len(translations) != len(references):
        raise DataError(
            f"{len(translations)} translations are scored against {len(references)} references; "
            "there must be one each"
        )
    # `force` only says not to warn of text that looks tokenized.
    metric = BLEU(tokenize=TOKENIZER, lowercase=False, force=True)
    score = metric.corpus_score(list(translations), [list(references)]).score
    return Bleu(score=float(score), signature=str(metric.get_signature()))
