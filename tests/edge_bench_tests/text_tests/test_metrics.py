"""Perplexity and BLEU are the numbers that their fields know."""

from __future__ import annotations

import math

import pytest

from edge_bench.errors import DataError, InvalidModel
from edge_bench.text.bleu import bleu
from edge_bench.text.perplexity import perplexity


def test_perplexity_is_the_number_of_equally_likely_tokens() -> None:
    assert perplexity(0.0, 5) == 1.0
    assert perplexity(7 * math.log(50), 7) == pytest.approx(50)


def test_a_hopeless_model_still_has_a_finite_perplexity() -> None:
    assert 1e300 < perplexity(1e9, 3) < math.inf


def test_no_token_and_no_number_are_refused() -> None:
    with pytest.raises(DataError, match="no token"):
        perplexity(0.0, 0)
    for wrong in (math.nan, -1.0):
        with pytest.raises(InvalidModel, match="4 tokens"):
            perplexity(wrong, 4)


def test_bleu_of_the_reference_itself_is_100_and_of_nothing_0() -> None:
    references = ["The dog runs over the green field .", "A man in a red hat sees a house ."]
    assert bleu(references, references).score == pytest.approx(100)
    assert bleu(["", ""], references).score == 0
    assert 0 < bleu([references[0], "A man sees a house ."], references).score < 100


def test_bleu_follows_its_formula_and_tells_how_it_was_computed() -> None:
    found = bleu(["the cat sat on the mat"], ["the cat sat on a mat"])
    # 5 of 6 words, 3 of 5 pairs, 2 of 4 triples and 1 of 3 quadruples; equal lengths.
    expected = 100 * math.exp(sum(map(math.log, (5 / 6, 3 / 5, 2 / 4, 1 / 3))) / 4)
    assert found.score == pytest.approx(expected)
    assert (
        "tok:13a" in found.signature and "case:mixed" in found.signature and "version:" in found.signature
    )


def test_bleu_minds_case_and_splits_punctuation() -> None:
    assert bleu(["The Dog Runs Home Today."], ["The Dog Runs Home Today ."]).score == pytest.approx(100)
    assert bleu(["the dog runs home today"], ["The Dog Runs Home Today"]).score < 10


def test_unequal_counts_are_refused() -> None:
    with pytest.raises(DataError, match="1 translations are scored against 2"):
        bleu(["a"], ["a", "b"])
    with pytest.raises(DataError, match="0 translations"):
        bleu([], [])
