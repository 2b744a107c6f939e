from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bench.errors import DataError
from edge_bench.records.subnet import TextInput
from edge_bench.text.encoding import encoded, padded, windows


class Letters:
    """A tokenizer whose tokens are letters: a is 4."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) - ord("a") + 4 for letter in text]


def text_input(*, length: int, truncate: bool = False) -> TextInput:
    return TextInput(tokenizer="t.json", digest="", vocabulary=30, length=length, truncate=truncate)


def test_a_text_stands_between_its_begin_and_its_end() -> None:
    assert encoded(Letters(), ["ab", ""], text_input(length=4)) == [[1, 4, 5, 2], [1, 2]]


def test_a_text_that_is_too_long_is_an_error_that_tells_its_number_and_its_length() -> None:
    with pytest.raises(DataError, match=r"text 2 has 6 tokens.* at most 5") as caught:
        encoded(Letters(), ["abc", "abcd"], text_input(length=5))
    assert "--set training.truncate=true" in caught.value.hint


@given(st.text("abcdef", max_size=20), st.integers(2, 12))
def test_a_text_that_is_cut_keeps_its_first_tokens_and_its_end(text: str, length: int) -> None:
    [row] = encoded(Letters(), [text], text_input(length=length, truncate=True))
    assert len(row) == min(length, len(text) + 2)
    assert row[0] == 1 and row[-1] == 2
    assert row[1:-1] == Letters().encode(text)[: length - 2]


@given(st.lists(st.lists(st.integers(1, 99), max_size=6), min_size=1, max_size=5), st.integers(0, 3))
def test_padding_stands_behind_the_tokens_and_nowhere_else(rows: list[list[int]], more: int) -> None:
    length = max(map(len, rows)) + more
    filled = padded(rows, pad=0, length=length)
    assert filled.dtype == np.int64 and filled.shape == (len(rows), length)
    assert [line[: len(row)].tolist() for line, row in zip(filled, rows, strict=True)] == rows
    assert filled.astype(bool).sum() == sum(map(len, rows))


def test_rows_without_a_length_are_as_long_as_the_longest() -> None:
    assert padded([[5], [6, 7]], pad=9).tolist() == [[5, 9], [6, 7]]


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="up to 3 tokens"):
        padded([[1, 2, 3]], pad=0, length=2)
    with pytest.raises(DataError, match="0 texts"):
        padded([], pad=0)


@given(st.lists(st.integers(4, 99), min_size=2, max_size=40), st.integers(1, 12))
def test_every_token_but_the_first_is_a_target_once_and_follows_its_input(
    ids: list[int], length: int
) -> None:
    inputs, targets, counted = windows(ids, length)
    assert inputs.shape == targets.shape == counted.shape == (-(-(len(ids) - 1) // length), length)
    assert targets[counted].tolist() == ids[1:]
    assert inputs[counted].tolist() == ids[:-1]


def test_a_text_of_one_token_predicts_nothing() -> None:
    with pytest.raises(DataError, match="1 tokens"):
        windows([7], 4)
