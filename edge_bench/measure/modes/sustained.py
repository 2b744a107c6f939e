"""Minutes on end: what is left of the speed when the device has become warm."""

from __future__ import annotations

from dataclasses import replace

from edge_bench.measure.modes import Child, Mode, Told
from edge_bench.measure.timing import Plan

# So many points has the curve at most, each a block of a second or more.
POINTS = 300
POINT_MS = 1000.0
MAX_RUNS = 1_000_000


class Sustained(Mode):
    """Runs without a pause until the time is over; how narrow the interval is ends nothing.

    Of a block that holds more than `block_runs` inferences only the first so many are timed, and the
    others keep the load up.
    """

    name = "sustained"
    max_seconds = 300.0

    def measure(self, child: Child, plan: Plan) -> Told:
        point_ms = max(POINT_MS, plan.max_seconds * 1e3 / POINTS)
        return child(replace(plan, stops_early=False, filled=True, block_ms=point_ms, max_runs=MAX_RUNS))
