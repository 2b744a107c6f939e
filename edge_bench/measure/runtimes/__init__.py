"""Runtimes, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edge_bench.errors import ConfigError, InvalidModel
from edge_bench.measure.clock import Clock, MachineClock
from edge_bench.measure.inputs import UNTOLD, Feeding
from edge_bench.measure.kernel import UNAVAILABLE
from edge_bench.records.artifact import Precision, TensorSpec
from edge_bench.records.result import OperatorTime, Placement

# The folder whose files are the runtimes.
RUNTIMES = __name__
Tensors = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Where the time of an inference goes: operators by share, where each ran, and what is not told."""

    operators: tuple[OperatorTime, ...] = ()
    placements: tuple[Placement, ...] = ()
    notes: tuple[str, ...] = ()


class Session(ABC):
    """An opened model. It keeps its inputs unchanged and may be run any number of times.

    `inputs` and `outputs` are as the file states them, a dimension of None taking any size;
    `precision` is what the file's tensors tell.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    precision: Precision

    @abstractmethod
    def run(self, feeds: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output by name; feeds have the dtypes and shapes that `inputs` state.

        The arrays returned stay as they are when the session runs again, and depend on the feeds
        alone: a state that the model keeps between runs starts anew.

        Raises:
            InvalidModel: the runtime cannot run the model.
        """

    @abstractmethod
    def prepare(self, feeds: Tensors) -> None:
        """Bind `feeds`, so that `invoke` has nothing but inference left to do."""

    @abstractmethod
    def invoke(self) -> None:
        """Run once on what `prepare` bound; this call and nothing else is timed."""

    def clock(self, threads: int) -> Clock:
        """Return the clock that times this session."""
        return MachineClock(threads)


class Runtime(ABC):
    """Opens a model file for inference on this machine. Loading is never part of a measured time.

    `formats` are the file endings it reads, without the dot. Of the installed runtimes that read an
    ending, the one of least `precedence` does so where the user names none. Both are written as
    plain values: they are read without importing the file. `delegate` is the delegate or execution
    provider that computes.
    """

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]
    precedence: ClassVar[int]
    delegate: ClassVar[str] = UNAVAILABLE

    @abstractmethod
    def open(self, model: Path, *, threads: int, batch: int = 1) -> Session:
        """Load `model` with `threads` intra-operator threads; free batch dimensions become `batch`.

        Raises:
            InvalidModel: the file is no model this runtime accepts.
            ConfigError: the file's batch is fixed at another size than `batch`.
        """

    @abstractmethod
    def version(self) -> str:
        """Return the version of the library behind this runtime."""

    def profile(self, model: Path, *, threads: int, batch: int = 1, feeding: Feeding = UNTOLD) -> Profile:
        """Run `model` in a session of its own that watches its operators; it is slowed by that.

        What a runtime does not tell stands in the profile's notes; by default that is everything.

        Raises:
            InvalidModel: the file is no model this runtime accepts.
        """
        return Profile(notes=(f"{self.name} tells neither the times of its operators nor where they ran",))


def by_share(operators: Iterable[OperatorTime]) -> tuple[OperatorTime, ...]:
    """Return the operators with their shares of the time of all of them, the largest first."""
    listed = list(operators)
    total = sum(one.mean_ms for one in listed)
    shared = [replace(one, share=one.mean_ms / total if total else 0.0) for one in listed]
    return tuple(sorted(shared, key=lambda one: -one.share))


def fixed_batch(model: Path, given: int, batch: int) -> ConfigError:
    """Return the error for a file that takes batches of `given` only, where `batch` is wanted."""
    return ConfigError(
        f"'{model.name}' takes batches of {given} only, not {batch}", hint=f"use a batch of {given}"
    )


def refusal(runtime: str, model: Path, error: BaseException) -> InvalidModel:
    """Return the error for a file that a runtime refuses, with the first line of the cause."""
    lines = (line.strip() for line in str(error).splitlines())
    cause = next((line for line in lines if line), type(error).__name__)[:300]
    return InvalidModel(
        f"{runtime} refuses '{model.name}': {cause}",
        hint="export it again, check that the download is complete, or try another --runtime",
    )
