"""Decoding finds what it says it finds, stops where it must, and never depends on the batch."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.errors import ConfigError, InvalidModel
from edge_bench.text.decoding import Logits, Tokens, beam, generate, greedy

BEGIN, END = 1, 2
SEEDS = st.integers(0, 10**6)


@dataclass
class Remembering:
    """A random network: its logits depend on everything its sequence has read, and on the sequence."""

    seed: int
    vocabulary: int
    sequences: list[tuple[int, ...]]
    calls: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, seed: int, vocabulary: int, rows: int) -> Remembering:
        """Begin sequences that are told apart by a number before their first token."""
        return cls(seed, vocabulary, [(row,) for row in range(rows)])

    def step(self, tokens: Tokens, position: int) -> Logits:
        assert all(len(read) == position + 1 for read in self.sequences)
        self.sequences = [(*read, int(token)) for read, token in zip(self.sequences, tokens, strict=True)]
        self.calls.append(len(tokens))
        return np.stack([self.logits(read) for read in self.sequences])

    def reorder(self, rows: Tokens) -> None:
        self.sequences = [self.sequences[row] for row in rows]

    def logits(self, read: tuple[int, ...]) -> npt.NDArray[np.float32]:
        generator = np.random.default_rng([self.seed, *read])
        return generator.normal(size=self.vocabulary).astype(np.float32)

    def score(self, row: int, said: tuple[int, ...], penalty: float) -> float:
        """Log probability of `said`, which ends where it ends in END, over its tokens ** penalty."""
        total = 0.0
        for place, token in enumerate(said):
            logits = self.logits((row, BEGIN, *said[:place])).astype(np.float64)
            total += logits[token] - np.log(np.exp(logits).sum())
        return total / len(said) ** penalty


@given(
    seed=SEEDS,
    vocabulary=st.integers(3, 8),
    rows=st.integers(1, 4),
    limit=st.integers(1, 7),
)
@settings(max_examples=60, deadline=None)
def test_greedy_takes_the_likeliest_token_up_to_an_end(
    seed: int, vocabulary: int, rows: int, limit: int
) -> None:
    network = Remembering.of(seed, vocabulary, rows)
    for row, said in enumerate(greedy(network, rows, begin=BEGIN, end=END, limit=limit)):
        expected: list[int] = []
        while len(expected) < limit:
            token = int(network.logits((row, BEGIN, *expected)).argmax())
            if token == END:
                break
            expected.append(token)
        assert said == expected


@given(
    seed=SEEDS,
    vocabulary=st.integers(3, 8),
    rows=st.integers(1, 4),
    limit=st.integers(1, 7),
)
@settings(max_examples=60, deadline=None)
def test_a_beam_of_one_is_greedy(seed: int, vocabulary: int, rows: int, limit: int) -> None:
    alone = greedy(Remembering.of(seed, vocabulary, rows), rows, begin=BEGIN, end=END, limit=limit)
    beamed = beam(Remembering.of(seed, vocabulary, rows), rows, width=1, begin=BEGIN, end=END, limit=limit)
    assert beamed == alone


@given(seed=SEEDS, limit=st.integers(1, 4), penalty=st.sampled_from([0.0, 0.6, 1.0, 2.0]))
@settings(max_examples=30, deadline=None)
def test_a_beam_of_all_sequences_finds_the_best_of_all(seed: int, limit: int, penalty: float) -> None:
    network = Remembering.of(seed, 3, 2)
    found = beam(network, 2, width=3**limit, begin=BEGIN, end=END, limit=limit, length_penalty=penalty)
    for row, said in enumerate(found):
        open_ended = itertools.chain.from_iterable(
            itertools.product((0, 1), repeat=count) for count in range(limit)
        )
        every = [(*one, END) for one in open_ended] + list(itertools.product((0, 1), repeat=limit))
        best = max(every, key=lambda one: network.score(row, one, penalty))
        assert said == [token for token in best if token != END]


@given(
    seed=SEEDS,
    vocabulary=st.integers(3, 6),
    rows=st.integers(1, 4),
    width=st.integers(1, 5),
    limit=st.integers(1, 6),
)
@settings(max_examples=60, deadline=None)
def test_a_sentence_is_decoded_alike_alone_and_among_others(
    seed: int, vocabulary: int, rows: int, width: int, limit: int
) -> None:
    together = beam(
        Remembering.of(seed, vocabulary, rows), rows, width=width, begin=BEGIN, end=END, limit=limit
    )
    for row, said in enumerate(together):
        alone = Remembering(seed, vocabulary, [(row,)])
        assert beam(alone, 1, width=width, begin=BEGIN, end=END, limit=limit) == [said]
        assert len(said) <= limit and END not in said


def test_a_wider_beam_finds_what_greedy_misses() -> None:
    class Trap(Remembering):
        """Token 3 is the likelier first, but only 4 is surely followed by an end."""

        def logits(self, read: tuple[int, ...]) -> npt.NDArray[np.float32]:
            chances = {(BEGIN,): [0, 0, 0.02, 0.5, 0.48], (BEGIN, 4): [0, 0, 0.99, 0.01, 0]}
            given = chances.get(read[1:], [0.2] * 5)
            return np.log(np.asarray(given, np.float32) + 1e-6)

    assert greedy(Trap.of(0, 5, 1), 1, begin=BEGIN, end=END, limit=2) == [[3, 0]]
    assert beam(Trap.of(0, 5, 1), 1, width=2, begin=BEGIN, end=END, limit=2) == [[4]]


def test_an_end_takes_no_beginnings_place() -> None:
    class Early(Remembering):
        """An end is likeliest at once, yet what goes on from the third choice is better per token."""

        def logits(self, read: tuple[int, ...]) -> npt.NDArray[np.float32]:
            chances = {(BEGIN,): [0, 0, 0.4, 0.35, 0.25], (BEGIN, 4): [0, 0, 0.99, 0.01, 0]}
            given = chances.get(read[1:], [0.2] * 5)
            return np.log(np.asarray(given, np.float32) + 1e-6)

    assert beam(Early.of(0, 5, 1), 1, width=2, begin=BEGIN, end=END, limit=3) == [[4]]


def test_sequences_that_ended_are_stepped_no_more() -> None:
    class Countdown(Remembering):
        """Sequence n says 3 n times and ends."""

        def logits(self, read: tuple[int, ...]) -> npt.NDArray[np.float32]:
            return np.eye(4, dtype=np.float32)[3 if len(read) - 2 < read[0] else END] * 30

    network = Countdown.of(0, 4, 4)
    assert greedy(network, 4, begin=BEGIN, end=END, limit=50) == [[], [3], [3, 3], [3, 3, 3]]
    assert network.calls == [4, 3, 2, 1]
    network = Countdown.of(0, 4, 4)
    assert beam(network, 4, width=2, begin=BEGIN, end=END, limit=50) == [[], [3], [3, 3], [3, 3, 3]]
    assert len(network.calls) < 8 and max(network.calls) <= 8


def test_ties_go_to_the_smallest_token() -> None:
    class Level(Remembering):
        def logits(self, read: tuple[int, ...]) -> npt.NDArray[np.float32]:
            return np.zeros(self.vocabulary, np.float32)

    assert greedy(Level.of(0, 9, 1), 1, begin=BEGIN, end=END, limit=3) == [[0, 0, 0]]
    assert beam(Level.of(0, 9, 1), 1, width=2, begin=BEGIN, end=END, limit=3) == [[0, 0, 0]]
    assert beam(Level.of(0, 500, 1), 1, width=2, begin=BEGIN, end=END, limit=3) == [[0, 0, 0]]
    # All of three tokens are as likely; the empty sequence is the first that ends.
    assert beam(Level.of(0, 9, 1), 1, width=3, begin=BEGIN, end=END, limit=3) == [[]]


def test_an_answer_that_is_no_number_is_refused() -> None:
    class Broken(Remembering):
        def logits(self, read: tuple[int, ...]) -> npt.NDArray[np.float32]:
            return np.full(4, math.nan if len(read) == 3 else 0.0, np.float32)

    with pytest.raises(InvalidModel, match="token 1"):
        greedy(Broken.of(0, 4, 1), 1, begin=BEGIN, end=END, limit=3)
    with pytest.raises(InvalidModel, match="token 1"):
        beam(Broken.of(0, 4, 1), 1, width=2, begin=BEGIN, end=END, limit=3)


def test_impossible_options_are_refused() -> None:
    network = Remembering.of(0, 4, 2)
    with pytest.raises(ConfigError, match="at least 1"):
        greedy(network, 1, begin=BEGIN, end=END, limit=0)
    with pytest.raises(ConfigError, match="width of 0"):
        beam(network, 1, width=0, begin=BEGIN, end=END, limit=1)
    with pytest.raises(ConfigError, match="2, 3 tokens"):
        generate(network, [[1, 3], [1, 3, 3]], limit=1)
    with pytest.raises(ConfigError, match="at least 0"):
        generate(network, [[1], [1]], limit=1, temperature=-1)


def test_generation_goes_on_from_its_prompt() -> None:
    prompts = [[BEGIN, 3, 4], [BEGIN, 4, 3]]
    network = Remembering.of(7, 6, 2)
    said = generate(network, prompts, limit=5, temperature=0)
    for row, (prompt, written) in enumerate(zip(prompts, said, strict=True)):
        assert len(written) == 5
        for place, token in enumerate(written):
            assert token == network.logits((row, *prompt, *written[:place])).argmax()


def test_generation_stops_at_an_end_only_where_one_is_named() -> None:
    prompts = [[BEGIN]] * 20
    free = generate(Remembering.of(3, 4, 20), prompts, limit=12)
    ended = generate(Remembering.of(3, 4, 20), prompts, limit=12, end=END)
    assert all(len(said) == 12 for said in free) and any(END in said for said in free)
    assert any(len(said) < 12 for said in ended) and not any(END in said for said in ended)


def test_equal_seeds_draw_equal_tokens_with_the_networks_probabilities() -> None:
    class Loaded(Remembering):
        def logits(self, read: tuple[int, ...]) -> npt.NDArray[np.float32]:
            return np.log(np.array([0.7, 0.2, 0.1], np.float32))

    def draw(temperature: float, seed: int) -> list[int]:
        said = generate(Loaded.of(0, 3, 4000), [[0]] * 4000, limit=1, temperature=temperature, seed=seed)
        return [one[0] for one in said]

    assert draw(1.0, 5) == draw(1.0, 5) != draw(1.0, 6)
    np.testing.assert_allclose(np.bincount(draw(1.0, 5)) / 4000, [0.7, 0.2, 0.1], atol=0.03)
    squared = np.array([0.49, 0.04, 0.01])
    np.testing.assert_allclose(np.bincount(draw(0.5, 5)) / 4000, squared / squared.sum(), atol=0.03)
