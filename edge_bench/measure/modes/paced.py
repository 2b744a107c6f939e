"""With idle gaps: what an application sees that runs the model now and then."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from edge_bench.measure.modes import Child, Mode, Told
from edge_bench.measure.timing import Plan

# A block of at most this length: runs that idling separates are nearly independent of each other.
BLOCK_MS = 100.0


@dataclass(frozen=True, kw_only=True)
class Paced(Mode):
    """`interval_ms` of idling before each inference; the sleep is no part of a latency.

    While idle, caches are taken over and the clock sinks: applications see 1.6 times the latency of
    a burst and more.
    """

    name: ClassVar[str] = "paced"
    max_seconds: ClassVar[float] = 15.0

    interval_ms: float = 100.0

    def measure(self, child: Child, plan: Plan) -> Told:
        return child(replace(plan, idle_ms=self.interval_ms, block_ms=BLOCK_MS))

    def idle_ms(self) -> float | None:
        return self.interval_ms
