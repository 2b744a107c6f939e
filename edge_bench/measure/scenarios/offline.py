"""All examples at once: a folder of photos to sort, overnight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edge_bench.measure.scenarios import Scenario


@dataclass(frozen=True, kw_only=True)
class Offline(Scenario):
    """Nobody waits for a single one: what counts is samples a second."""

    name: ClassVar[str] = "offline"
    figure: ClassVar[str] = "samples_per_second"

    samples_per_query: int = 64
