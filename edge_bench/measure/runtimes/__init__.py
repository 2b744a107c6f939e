"""Runtimes, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edge_bench.records.artifact import TensorSpec

Tensors = Mapping[str, npt.NDArray[np.generic]]


class Session(ABC):
    """An opened model. It keeps its inputs unchanged and may be run any number of times."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @abstractmethod
    def run(self, feeds: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output by name; feeds have the dtypes and shapes that `inputs` state.

        The arrays returned stay as they are when the session runs again.
        """

    @abstractmethod
    def prepare(self, feeds: Tensors) -> None:
        """Bind `feeds`, so that `invoke` has nothing but inference left to do."""

    @abstractmethod
    def invoke(self) -> None:
        """Run once on what `prepare` bound; this call and nothing else is timed."""


class Runtime(ABC):
    """Opens a model file for inference on this machine. Loading is never part of a measured time.

    `formats` are the file endings it reads, without the dot.
    """

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]

    @abstractmethod
    def open(self, model: Path, *, threads: int, batch: int = 1) -> Session:
        """Load `model` with `threads` intra-operator threads; free batch dimensions become `batch`.

        Raises:
            InvalidModel: the file is no model this runtime accepts.
        """

    @abstractmethod
    def version(self) -> str:
        """Return the version of the library behind this runtime."""
