"""Programs of others that measure a model file on this machine, one file each."""

from __future__ import annotations

import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edge_bench.errors import BenchmarkError
from edge_bench.measure.inputs import random_feeds
from edge_bench.records.artifact import TensorSpec

PEERS = "edge_bench.measure.peers"
SAID_NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a peer is to measure: about `seconds` of inferences, of which about `runs` fit in.

    `inputs` are as the file states them, a dimension of None taking any size.
    """

    model: str
    threads: int
    seconds: float
    runs: int
    inputs: tuple[TensorSpec, ...]

    def feeds(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return random inputs by name, for one example."""
        return random_feeds(self.inputs, batch=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a peer measured. `said` is what it says of the quality of its number, in its own words.

    `resolution_ms` is the step that its number is rounded to, 0 where it is not.
    """

    p50_ms: float
    runs: int
    said: str
    version: str
    resolution_ms: float = 0.0


class Peer(ABC):
    """Measures warm single inferences back to back on the CPU and reports their median.

    It runs in a process of its own inside the sandbox, whose working folder it may write to; its
    library is imported at the top of its file, so that a missing one is told with its install line.
    `formats` are the file endings it reads, written as a plain tuple of texts.
    """

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]

    @abstractmethod
    def measure(self, assignment: Assignment) -> Report:
        """Measure once.

        Raises:
            BenchmarkError: the program refuses the file or says nothing that can be read.
        """


def run_program(module: str, options: Mapping[str, str], *, name: str) -> str:
    """Call `main` of a Python program of others, as its command does; return all that it printed.

    Raises:
        BenchmarkError: it ended with another status than 0; its last line is told.
    """
    call = f"import sys; from {module} import main; sys.exit(main())"
    ended = subprocess.run(
        [sys.executable, "-I", "-c", call, *(word for pair in options.items() for word in pair)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode:
        lines = ended.stdout.strip().splitlines() or ["it said nothing"]
        raise BenchmarkError(f"{name} ended with status {ended.returncode}: {lines[-1].strip()[:200]}")
    return ended.stdout


def unreadable(name: str, text: str) -> BenchmarkError:
    """Return the error for a peer whose output does not hold what it used to."""
    return BenchmarkError(f"{name} printed no median; its output began with {text.strip()[:100]!r}")


def read(path: Path) -> str:
    """Return the text of a file that a peer wrote, or an empty one."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
