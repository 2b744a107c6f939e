"""Back to back: each inference begins when the one before it ends."""

from __future__ import annotations

from edge_bench.measure.modes import Child, Mode, Told
from edge_bench.measure.timing import Plan


class Burst(Mode):
    """The fastest a model runs: caches are warm and the clock is up."""

    name = "burst"

    def measure(self, child: Child, plan: Plan) -> Told:
        return child(plan)
