"""What one latency is of, one file a scenario; the names are LoadGen's (Reddi et al., 2020)."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Scenario(ABC):
    """A query of `samples_per_query` examples, issued when the one before it has been answered.

    A query is one batch where the file takes such a batch, else as many invocations as it has
    examples. `figure` is the one of a result's figures that LoadGen reports of this scenario.
    """

    name: ClassVar[str]
    figure: ClassVar[str]

    samples_per_query: int
