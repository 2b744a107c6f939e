"""Texts as the rows of tokens that networks take: begun, ended, cut, padded, or cut into windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_bench.errors import DataError
from edge_bench.records.subnet import TextInput

Tokens = npt.NDArray[np.int64]


class Encoder(Protocol):
    """What turns a text into tokens, none of them standing for its begin or its end."""

    def encode(self, text: str) -> list[int]: ...


def encoded(tokenizer: Encoder, texts: Iterable[str], text: TextInput) -> list[list[int]]:
    """Return the tokens of each text between `text.begin` and `text.end`, at most `text.length` of them.

    A longer one loses its last tokens where `text.truncate`; its end stays.

    Raises:
        DataError: a text is longer and not to be cut; its number, counted from 1, is told.
    """
    rows = []
    for number, one in enumerate(texts, start=1):
        row = [text.begin, *tokenizer.encode(one), text.end]
        if len(row) > text.length:
            if not text.truncate:
                raise DataError(
                    f"text {number} has {len(row)} tokens, begin and end included; the network takes "
                    f"at most {text.length}",
                    hint="to cut such texts off: --set training.truncate=true",
                )
            row = [*row[: text.length - 1], text.end]
        rows.append(row)
    return rows


def padded(rows: Sequence[Sequence[int]], pad: int, length: int | None = None) -> Tokens:
    """Return rows of tokens as int64 [rows, `length`], `pad` behind each; None takes the longest's length.

    Raises:
        DataError: no rows, or one that is longer than `length`.
    """
    longest = max((len(row) for row in rows), default=0)
    if not rows or (length is not None and longest > length):
        raise DataError(
            f"{len(rows)} texts of up to {longest} tokens do not fit in rows of {length or 'any length'}"
        )
    filled = np.full((len(rows), longest if length is None else length), pad, np.int64)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = row
    return filled


def windows(
    ids: Sequence[int] | Tokens, length: int, *, pad: int = 0
) -> tuple[Tokens, Tokens, npt.NDArray[np.bool_]]:
    """Cut a running text into consecutive windows for a language model.

    Args:
        ids: the text's tokens [n].
        length: how many tokens a window has.
        pad: what fills the last window up; in a causal network nothing before it sees it.

    Returns:
        inputs int64 [windows, length], targets alike, each the token after that input, and which of
        them count, bool alike: every token but the text's first is a target once.

    Raises:
        DataError: a text of less than two tokens predicts nothing.
    """
    tokens = np.asarray(ids, np.int64)
    if len(tokens) < 2:
        raise DataError(f"the text has {len(tokens)} tokens; a language model needs two at least")
    count = -(-(len(tokens) - 1) // length)
    whole = np.full(count * length + 1, pad, np.int64)
    whole[: len(tokens)] = tokens
    counted = np.arange(count * length).reshape(count, length) < len(tokens) - 1
    return whole[:-1].reshape(count, length), whole[1:].reshape(count, length), counted
