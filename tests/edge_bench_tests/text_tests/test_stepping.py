"""A step graph behind a `FileStepper` answers as if it had read the whole sequence again each time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge_bench.errors import ConfigError, InvalidModel
from edge_bench.records.subnet import RecurrentStep, Step
from edge_bench.text.decoding import beam, generate, greedy
from edge_bench.text.stepping import FileStepper, RecurrentStepper, stepper_of

BEGIN, END, VOCABULARY, ROOM, ROWS = 1, 2, 7, 40, 3
STEP = Step(program="step.pt2", digest="0", layers=2, heads=2, head_width=3, tokens=1.0)


def logits_of(sentence: int, read: list[int]) -> npt.NDArray[np.float32]:
    """What follows the tokens `read` in a sentence."""
    logits = np.random.default_rng([sentence, *read]).normal(size=VOCABULARY).astype(np.float32)
    # An end is rare, so that sequences outgrow the first room.
    logits[END] -= 1.0
    return logits


@dataclass
class Graph:
    """A step graph whose cache holds the tokens themselves; it looks at nothing from `position` on."""

    fixed: bool = False
    translates: bool = True
    whole: type = np.int64
    rooms: list[int] = field(default_factory=list)

    def __call__(self, feeds: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        wanted = {"token", "position", "cache"} | ({"memory", "source"} if self.translates else set())
        assert set(feeds) == wanted
        token, position, cache = feeds["token"], feeds["position"], feeds["cache"]
        assert token.dtype == position.dtype == self.whole and position.shape == (1,)
        assert cache.dtype == np.float32 and cache.flags.c_contiguous
        layers, both, batch, heads, room, width = cache.shape
        assert (layers, both, heads, width) == (2, 2, 2, 3) and token.shape == (batch, 1)
        assert not self.fixed or (batch, room) == (1, ROOM)
        self.rooms.append(room)
        answers = []
        for row in range(batch):
            sentence = 0
            if self.translates:
                sentence = int(feeds["source"][row, 0])
                assert (feeds["memory"][:, :, row] == sentence).all()
            read = cache[1, 1, row, 1, : position[0], 2].astype(int).tolist()
            answers.append(logits_of(sentence, [*read, int(token[row, 0])]))
        new = np.broadcast_to(
            token.astype(np.float32)[None, None, :, :, None, None], (2, 2, batch, 2, 1, 3)
        )
        return {"logits": np.stack(answers), "new_cache": new}


class Rereading:
    """The same network without a cache."""

    def __init__(self, sentences: list[int]) -> None:
        self.sequences = [(sentence, list[int]()) for sentence in sentences]

    def step(self, tokens: npt.NDArray[np.int64], position: int) -> npt.NDArray[np.float32]:
        self.sequences = [
            (sentence, [*read, int(token)])
            for (sentence, read), token in zip(self.sequences, tokens, strict=True)
        ]
        return np.stack([logits_of(*one) for one in self.sequences])

    def reorder(self, rows: npt.NDArray[np.int64]) -> None:
        self.sequences = [self.sequences[row] for row in rows]


def started(graph: Graph, sentences: list[int]) -> FileStepper:
    stepper = FileStepper(graph, STEP, room=ROOM, fixed=graph.fixed, whole=graph.whole)
    source = np.array([[sentence, 0] for sentence in sentences])
    memory = (
        np.zeros((2, 2, len(sentences), 2, 2, 3), np.float32) + np.array(sentences)[:, None, None, None]
    )
    if graph.translates:
        stepper.start(len(sentences), memory=memory, source=source)
    else:
        stepper.start(len(sentences))
    return stepper


@pytest.fixture(params=["growing", "fixed"])
def graph(request: pytest.FixtureRequest) -> Graph:
    return Graph(fixed=True, whole=np.int32) if request.param == "fixed" else Graph()


def test_greedy_through_the_cache_is_greedy_without(graph: Graph) -> None:
    sentences = [5, 6, 9, 4]
    cached = greedy(started(graph, sentences), 4, begin=BEGIN, end=END, limit=ROOM)
    assert cached == greedy(Rereading(sentences), 4, begin=BEGIN, end=END, limit=ROOM)
    assert max(map(len, cached)) > 16 and len(set(map(len, cached))) > 1


@pytest.mark.parametrize("width", [2, 4])
def test_beams_take_their_cache_and_source_along(graph: Graph, width: int) -> None:
    sentences = [5, 6, 9, 4]
    cached = beam(started(graph, sentences), 4, width=width, begin=BEGIN, end=END, limit=ROOM)
    assert cached == beam(Rereading(sentences), 4, width=width, begin=BEGIN, end=END, limit=ROOM)


def test_a_language_model_has_neither_memory_nor_source() -> None:
    graph = Graph(translates=False)
    said = generate(started(graph, [0, 0]), [[BEGIN, 3], [BEGIN, 5]], limit=20, seed=1)
    assert said == generate(Rereading([0, 0]), [[BEGIN, 3], [BEGIN, 5]], limit=20, seed=1)


def test_the_cache_grows_with_the_text_where_it_may() -> None:
    graph = Graph(translates=False)
    generate(started(graph, [0]), [[BEGIN]], limit=ROOM)
    assert graph.rooms[0] < graph.rooms[-1] == ROOM and len(graph.rooms) == ROOM


def test_beginning_again_forgets_everything(graph: Graph) -> None:
    stepper = started(graph, [5])
    first = stepper.step(np.array([BEGIN]), 0)
    stepper.step(np.array([3]), 1)
    memory = np.full((2, 2, 1, 2, 2, 3), 5, np.float32)
    stepper.start(1, memory=memory, source=np.array([[5, 0]]))
    np.testing.assert_array_equal(stepper.step(np.array([BEGIN]), 0), first)


def test_what_does_not_fit_is_told() -> None:
    stepper = started(Graph(translates=False), [0])
    with pytest.raises(ConfigError, match="position 40; .* at most 40"):
        stepper.step(np.array([3]), ROOM)
    with pytest.raises(ConfigError, match="2 tokens are given to 1"):
        stepper.step(np.array([3, 3]), 0)
    with pytest.raises(ConfigError, match="3 are begun"):
        stepper.start(3, memory=np.zeros((2, 2, 2, 2, 2, 3), np.float32), source=np.zeros((2, 2), np.int64))
    with pytest.raises(ConfigError, match="0, 2"):
        stepper.start(2, source=np.zeros((2, 2), np.int64))
    with pytest.raises(ConfigError, match="room for 0"):
        FileStepper(Graph(), STEP, room=0)


def test_a_graph_that_is_no_step_is_refused() -> None:
    def headless(feeds: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        return {"logits": np.zeros((1, 4), np.float32)}

    with pytest.raises(InvalidModel, match=r"answers logits \(1, 4\); .*new_cache \(2, 2, 1, 2, 1, 3\)"):
        FileStepper(headless, STEP, room=4).step(np.array([1]), 0)


RECURRENT = RecurrentStep(program="step.pt2", digest="0", layers=2, width=ROOM, tokens=1.0)


@dataclass
class RecurrentGraph:
    """A recurrent step graph whose state holds the tokens themselves, behind how many there are."""

    fixed: bool = False
    whole: type = np.int64

    def __call__(self, feeds: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        assert set(feeds) == {"token", "state"}
        token, state = feeds["token"], feeds["state"].copy()
        assert token.dtype == self.whole and token.shape == (len(state), 1)
        assert state.dtype == np.float32 and state.shape[1:] == (2, 2, ROOM)
        assert not self.fixed or len(state) == 1
        for row in range(len(state)):
            count = int(state[row, 0, 0, 0])
            state[row, 0, 0, 0], state[row, 1, 1, count] = count + 1, token[row, 0]
        read = [one[1, 1, : int(one[0, 0, 0])].astype(int).tolist() for one in state]
        return {"logits": np.stack([logits_of(0, one) for one in read]), "new_state": state}


@pytest.mark.parametrize("fixed", [False, True])
def test_a_recurrent_step_decodes_as_the_whole_sequence_read_again(fixed: bool) -> None:
    graph = RecurrentGraph(fixed=fixed, whole=np.int32 if fixed else np.int64)
    stepper = stepper_of(graph, RECURRENT, room=ROOM, fixed=fixed, whole=graph.whole)
    assert isinstance(stepper, RecurrentStepper)
    stepper.start(ROWS)
    how: dict[str, Any] = {"width": 3, "begin": BEGIN, "end": END, "limit": ROOM // 2}
    assert beam(stepper, ROWS, **how) == beam(Rereading([0] * ROWS), ROWS, **how)
    stepper.start(1)
    assert generate(stepper, [[1, 3, 5]], limit=5, temperature=0.0) == generate(
        Rereading([0]), [[1, 3, 5]], limit=5, temperature=0.0
    )


def test_a_recurrent_step_refuses_a_source_and_a_graph_of_another_kind() -> None:
    stepper = stepper_of(RecurrentGraph(), RECURRENT, room=ROOM)
    with pytest.raises(ConfigError, match="reads none"):
        stepper.start(1, source=np.ones((1, 2), np.int64))
    with pytest.raises(ConfigError, match="2 tokens are given to 1"):
        stepper.step(np.array([1, 2]), 0)
    other = stepper_of(lambda feeds: {"logits": feeds["state"][:, 0, 0]}, RECURRENT, room=ROOM)
    with pytest.raises(InvalidModel, match="new_state"):
        other.step(np.array([1]), 0)
