"""Generating text token by token, on numpy: greedily, by beam search, or by sampling.

What computes the next token's logits is a `Stepper`; `stepping.py` makes one of an exported file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_bench.errors import ConfigError, InvalidModel

Tokens = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]


class Stepper(Protocol):
    """A network that reads one token of each of its sequences at a time and remembers the earlier ones.

    Whoever makes one starts it with its sequences (and their sources); `step` and `reorder` go on.
    """

    def step(self, tokens: Tokens, position: int) -> Logits:
        """Return logits [sequences, vocabulary] of what follows `tokens` [sequences], which stand at
        `position` (how many came before).
        """

    def reorder(self, rows: Tokens) -> None:
        """Let the sequences be those numbered `rows`: any number of them, in any order, some repeated."""


def greedy(stepper: Stepper, rows: int, *, begin: int, end: int, limit: int) -> list[list[int]]:
    """Return the tokens of `rows` sequences, each next one the likeliest; of equal ones the first.

    Args:
        stepper: started with `rows` sequences.
        rows: how many.
        begin: what stands before the first token.
        end: what ends a sequence; it is not among what is returned.
        limit: the most tokens of a sequence.

    Raises:
        ConfigError: a limit below 1.
        InvalidModel: the network answers no number.
    """
    return _generated(stepper, np.full((rows, 1), begin, np.int64), end, limit, _likeliest)


def generate(
    stepper: Stepper,
    prompts: Sequence[Sequence[int]],
    *,
    limit: int,
    end: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[list[int]]:
    """Return what a language model writes after each prompt, without the prompt.

    Tokens are drawn with the probabilities of logits / `temperature`; at temperature 0 each is the
    likeliest. Equal seeds draw equal tokens.

    Args:
        stepper: started with as many sequences as there are prompts.
        prompts: the tokens of each, all of one number and at least one.
        limit: the most tokens to write.
        end: what ends a sequence, if anything does.
        temperature: at least 0.
        seed: of the draws.

    Raises:
        ConfigError: prompts of different lengths or without a token, a limit below 1 or a temperature
            below 0.
        InvalidModel: the network answers no number.
    """
    lengths = {len(prompt) for prompt in prompts}
    if len(lengths) != 1 or 0 in lengths:
        raise ConfigError(
            f"prompts have {', '.join(map(str, sorted(lengths))) or 'no'} tokens; all need one number of "
            "them, at least 1"
        )
    if not temperature >= 0:
        raise ConfigError(f"the temperature is {temperature:g}; it must be at least 0")
    generator = np.random.default_rng(seed)

    def drawn(logits: Logits) -> Tokens:
        shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
        cumulated = np.exp(shifted / temperature).cumsum(1)
        points = generator.random(len(logits)) * cumulated[:, -1]
        places: Tokens = (cumulated <= points[:, None]).sum(1)
        return places

    return _generated(
        stepper, np.asarray(prompts, np.int64), end, limit, drawn if temperature else _likeliest
    )


def beam(
    stepper: Stepper,
    rows: int,
    *,
    width: int,
    begin: int,
    end: int,
    limit: int,
    length_penalty: float = 1.0,
) -> list[list[int]]:
    """Return the tokens of the likeliest sequence that beam search finds for each of `rows` sentences.

    Of each sentence the `width` likeliest beginnings are carried on; one that ends, or has `limit` tokens,
    is finished, and after `width` finished ones the search ends. Of the finished the one of the highest
    log probability / tokens ** `length_penalty` is returned, its end counted as a token (Wu et al., 2016,
    in the simpler form that most toolkits have). Of equal beginnings the one carried on from the better
    one is the better, then the one of the smaller token; of equal finished ones that which ended first.
    A width of 1 is greedy.

    Args:
        stepper: started with `rows` sequences.
        rows: how many sentences.
        width: how many beginnings are kept.
        begin: what stands before the first token.
        end: what ends a sequence; it is not among what is returned.
        limit: the most tokens of a sequence.
        length_penalty: 0 prefers short sequences, more prefers longer ones.

    Raises:
        ConfigError: a width or a limit below 1.
        InvalidModel: the network answers no number.
    """
    if width < 1:
        raise ConfigError(f"a beam has a width of {width}; it must be at least 1")
    _check(limit)
    # Of each sentence what is finished, with its score, in the order of their ends.
    found: list[list[tuple[float, list[int]]]] = [[] for _ in range(rows)]
    # The beams that go on: of which sentence, with which score, and what they said. Those of a sentence
    # stand together, the better ones first.
    sentences = np.arange(rows)
    scores = np.zeros(rows)
    said = np.empty((rows, 0), np.int64)
    tokens = np.full(rows, begin, np.int64)
    for position in range(limit):
        if not len(sentences):
            break
        totals = scores[:, None] + _log_probabilities(_checked(stepper.step(tokens, position), position))
        penalty = (position + 1) ** length_penalty
        kept: list[tuple[int, int, float]] = []
        for sentence in np.unique(sentences):
            own = np.flatnonzero(sentences == sentence)
            going: list[tuple[int, int, float]] = []
            finished = found[sentence]
            for rank, (place, token) in enumerate(_best(totals[own], 2 * width)):
                row, score = int(own[place]), float(totals[own[place], token])
                if token == end:
                    # One that ends counts only where it would have been carried on.
                    if rank < width:
                        finished.append((score / penalty, said[row].tolist()))
                elif len(going) < width:
                    going.append((row, token, score))
            if position + 1 == limit:
                finished += [(score / penalty, [*said[row].tolist(), token]) for row, token, score in going]
            elif len(finished) < width:
                kept += going
        origins = np.array([row for row, _, _ in kept], np.int64)
        tokens = np.array([token for _, token, _ in kept], np.int64)
        scores = np.array([score for _, _, score in kept])
        sentences = sentences[origins]
        said = np.concatenate([said[origins], tokens[:, None]], axis=1)
        if len(kept):
            stepper.reorder(origins)
    return [max(finished, key=lambda one: one[0])[1] for finished in found]


def _generated(
    stepper: Stepper, prompts: Tokens, end: int | None, limit: int, chosen: _Choice
) -> list[list[int]]:
    """Read prompts [sequences, tokens], then write what `chosen` takes; ended sequences are let go."""
    _check(limit)
    written: list[list[int]] = [[] for _ in prompts]
    going = np.arange(len(prompts))
    for position in range(prompts.shape[1] - 1):
        stepper.step(prompts[:, position], position)
    tokens = prompts[:, -1]
    for position in range(prompts.shape[1] - 1, prompts.shape[1] - 1 + limit):
        if not len(going):
            break
        tokens = chosen(_checked(stepper.step(tokens, position), position))
        goes_on = np.flatnonzero(tokens != end) if end is not None else np.arange(len(tokens))
        if len(goes_on) < len(going):
            going, tokens = going[goes_on], tokens[goes_on]
            if len(going):
                stepper.reorder(goes_on)
        for sequence, token in zip(going, tokens, strict=True):
            written[sequence].append(int(token))
    return written


class _Choice(Protocol):
    """Takes one token [sequences] of logits [sequences, vocabulary]."""

    def __call__(self, logits: Logits, /) -> Tokens: ...


def _likeliest(logits: Logits) -> Tokens:
    tokens: Tokens = logits.argmax(1)
    return tokens


def _best(totals: npt.NDArray[np.float64], count: int) -> list[tuple[int, int]]:
    """Return beam and token of the `count` highest of totals [beams, vocabulary], highest first."""
    flat = totals.ravel()
    count = min(count, flat.size)
    # All that reach the last place's score, so that what a tie lets in does not depend on the partition.
    least = np.partition(flat, flat.size - count)[flat.size - count]
    reaching = np.flatnonzero(flat >= least)
    ordered = reaching[np.argsort(-flat[reaching], kind="stable")][:count]
    return [divmod(int(place), totals.shape[1]) for place in ordered]


def _log_probabilities(logits: Logits) -> npt.NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    told: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return told


def _checked(logits: Logits, position: int) -> Logits:
    if not np.isfinite(logits).all():
        raise InvalidModel(f"the network's answer at token {position} holds what is no number")
    return logits


def _check(limit: int) -> None:
    if limit < 1:
        raise ConfigError(f"at most {limit} tokens are to be generated; it must be at least 1")
