"""A step graph as a `Stepper`: what it remembers is kept here, on numpy, between its calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench.errors import ConfigError, InvalidModel
from edge_bench.records.subnet import AnyStep, RecurrentStep, Step

Feeds = dict[str, npt.NDArray[Any]]
Run = Callable[[Feeds], Mapping[str, npt.NDArray[Any]]]

# The room of a cache that may grow; it doubles when it is full, so that short texts attend to little.
FIRST_ROOM = 16


def stepper_of(
    run: Run,
    step: AnyStep,
    *,
    room: int,
    fixed: bool = False,
    whole: type[np.signedinteger[Any]] = np.int64,
) -> FileStepper | RecurrentStepper:
    """Return what calls a step graph, whatever it remembers; arguments as of `FileStepper`.

    A recurrent network has room for any number of tokens; of it `fixed` says that it takes one sequence at
    a time.
    """
    if isinstance(step, RecurrentStep):
        return RecurrentStepper(run, step, fixed=fixed, whole=whole)
    return FileStepper(run, step, room=room, fixed=fixed, whole=whole)


class FileStepper:
    """Calls a step graph (see `records.subnet.Step`) and keeps its cache in one buffer.

    Args:
        run: runs the graph once: its inputs by name, its outputs by name.
        step: the sizes of the cache.
        room: the most tokens that a sequence may have; the positions go from 0 to `room` - 1.
        fixed: whether the graph takes a cache of exactly `room` and one sequence at a time, as TFLite
            does; several sequences are then run one after the other.
        whole: the type that the graph takes tokens and positions in.
    """

    def __init__(
        self,
        run: Run,
        step: Step,
        *,
        room: int,
        fixed: bool = False,
        whole: type[np.signedinteger[Any]] = np.int64,
    ) -> None:
        if room < 1:
            raise ConfigError(f"a cache with room for {room} tokens is asked for; it must be at least 1")
        self._run, self._step, self._whole = run, step, whole
        self._most, self._fixed = room, fixed
        self.start(1)

    def start(
        self,
        rows: int,
        *,
        memory: npt.NDArray[np.float32] | None = None,
        source: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Begin `rows` new sequences.

        Args:
            rows: how many.
            memory: of a translation, what the network answered to the sources, float32
                [layers, 2, rows, heads, length, width of a head].
            source: the sources' tokens [rows, length], padded.

        Raises:
            ConfigError: memory or source of another number of rows, or one without the other.
        """
        given = {memory.shape[2] if memory is not None else 0, len(source) if source is not None else 0}
        if given not in ({0}, {rows}):
            raise ConfigError(f"memory and source are of {sorted(given)} sequences; {rows} are begun")
        self._memory = None if memory is None else np.ascontiguousarray(memory)
        self._source = None if source is None else source.astype(self._whole)
        self._cache = self._empty(rows, self._most if self._fixed else min(FIRST_ROOM, self._most))

    def step(self, tokens: npt.NDArray[np.int64], position: int) -> npt.NDArray[np.float32]:
        """Return logits [rows, vocabulary] of what follows `tokens` [rows] at `position`.

        Raises:
            ConfigError: a position that the cache has no room for, or not as many tokens as sequences.
            InvalidModel: the graph does not answer what a step graph does.
        """
        if position >= self._most:
            raise ConfigError(
                f"there is no room for a token at position {position}; a sequence has at most {self._most}"
            )
        rows = self._cache.shape[2]
        _check_rows(tokens, rows)
        if position >= (room := self._cache.shape[4]):
            grown = self._empty(rows, min(max(2 * room, position + 1), self._most))
            grown[..., :room, :] = self._cache
            self._cache = grown
        shares = [slice(row, row + 1) for row in range(rows)] if self._fixed else [slice(None)]
        return np.concatenate([self._called(tokens, position, share) for share in shares])

    def reorder(self, rows: npt.NDArray[np.int64]) -> None:
        """Let the sequences be those numbered `rows`, with what they have read and their sources."""
        if np.array_equal(rows, np.arange(self._cache.shape[2])):
            return
        # `take` lays its answer out anew; indexing would keep the sequences outermost in memory.
        self._cache = self._cache.take(rows, axis=2)
        if self._memory is not None and self._source is not None:
            self._memory, self._source = self._memory.take(rows, axis=2), self._source[rows]

    def _called(
        self, tokens: npt.NDArray[np.int64], position: int, share: slice
    ) -> npt.NDArray[np.float32]:
        feeds: Feeds = {
            "token": tokens[share, None].astype(self._whole),
            "position": np.array([position], self._whole),
            "cache": np.ascontiguousarray(self._cache[:, :, share]),
        }
        if self._memory is not None and self._source is not None:
            feeds["memory"] = np.ascontiguousarray(self._memory[:, :, share])
            feeds["source"] = np.ascontiguousarray(self._source[share])
        answer = self._run(feeds)
        rows = len(feeds["token"])
        cache = self._cache[:, :, share]
        expected = (*cache.shape[:4], 1, cache.shape[5])
        told = {name: array.shape for name, array in answer.items()}
        logits = told.get("logits", ())
        if told.get("new_cache") != expected or len(logits) != 2 or logits[0] != rows:
            raise _unexpected(told, rows, new_cache=expected)
        self._cache[:, :, share, :, position : position + 1] = answer["new_cache"]
        return np.asarray(answer["logits"], np.float32)

    def _empty(self, rows: int, room: int) -> npt.NDArray[np.float32]:
        step = self._step
        return np.zeros((step.layers, 2, rows, step.heads, room, step.head_width), np.float32)


class RecurrentStepper:
    """Calls the step graph of a recurrent network (see `records.subnet.RecurrentStep`) and keeps its state.

    Args:
        run: runs the graph once: its inputs by name, its outputs by name.
        step: the sizes of the state.
        fixed: whether the graph takes one sequence at a time; several are then run one after the other.
        whole: the type that the graph takes tokens in.
    """

    def __init__(
        self,
        run: Run,
        step: RecurrentStep,
        *,
        fixed: bool = False,
        whole: type[np.signedinteger[Any]] = np.int64,
    ) -> None:
        self._run, self._step, self._fixed, self._whole = run, step, fixed, whole
        self.start(1)

    def start(
        self,
        rows: int,
        *,
        memory: npt.NDArray[np.float32] | None = None,
        source: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Begin `rows` new sequences; a recurrent network reads no source, so that none may be given.

        Raises:
            ConfigError: memory or source is given.
        """
        if memory is not None or source is not None:
            raise ConfigError("a source is given to a recurrent network, which reads none")
        self._state = np.zeros((rows, self._step.layers, 2, self._step.width), np.float32)

    def step(self, tokens: npt.NDArray[np.int64], position: int) -> npt.NDArray[np.float32]:
        """Return logits [rows, vocabulary] of what follows `tokens` [rows]; what came before stands in the
        state, whatever `position` is.

        Raises:
            ConfigError: not as many tokens as sequences.
            InvalidModel: the graph does not answer what a step graph does.
        """
        rows = len(self._state)
        _check_rows(tokens, rows)
        shares = [slice(row, row + 1) for row in range(rows)] if self._fixed else [slice(None)]
        return np.concatenate([self._called(tokens, share) for share in shares])

    def reorder(self, rows: npt.NDArray[np.int64]) -> None:
        """Let the sequences be those numbered `rows`, with what they have read."""
        self._state = self._state[rows]

    def _called(self, tokens: npt.NDArray[np.int64], share: slice) -> npt.NDArray[np.float32]:
        state = self._state[share]
        answer = self._run({"token": tokens[share, None].astype(self._whole), "state": state})
        told = {name: array.shape for name, array in answer.items()}
        logits = told.get("logits", ())
        if told.get("new_state") != state.shape or len(logits) != 2 or logits[0] != len(state):
            raise _unexpected(told, len(state), new_state=state.shape)
        self._state[share] = answer["new_state"]
        return np.asarray(answer["logits"], np.float32)


def _check_rows(tokens: npt.NDArray[np.int64], rows: int) -> None:
    if len(tokens) != rows:
        raise ConfigError(f"{len(tokens)} tokens are given to {rows} sequences")


def _unexpected(
    told: Mapping[str, tuple[int, ...]], rows: int, **expected: tuple[int, ...]
) -> InvalidModel:
    [(name, shape)] = expected.items()
    return InvalidModel(
        f"the step graph answers {', '.join(f'{one} {of}' for one, of in told.items())}; "
        f"logits ({rows}, vocabulary) and {name} {shape} are expected"
    )
