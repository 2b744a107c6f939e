"""Perplexity: among how many equally likely tokens a language model seems to choose."""

from __future__ import annotations

import math

from edge_bench.errors import DataError, InvalidModel

# Beyond it e to the power of it is no float, and JSON knows no infinity.
MOST_NATS = 700.0


def perplexity(total_surprise_nats: float, tokens: int) -> float:
    """Return exp(total / tokens): 1 of one who always knows, the vocabulary's size of one who never does.

    Args:
        total_surprise_nats: the sum of -log(probability) of each token that was predicted.
        tokens: how many those are.

    Raises:
        DataError: no token was predicted.
        InvalidModel: the sum is no number, or below 0.
    """
    if tokens < 1:
        raise DataError("no token was predicted, so there is no perplexity")
    if not total_surprise_nats >= 0:
        raise InvalidModel(f"the summed surprise of {tokens} tokens is {total_surprise_nats:g} nats")
    return math.exp(min(total_surprise_nats / tokens, MOST_NATS))
