"""A fresh process each time: what loading and the first inference take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from edge_bench.measure.modes import Child, Mode, Told
from edge_bench.measure.timing import Plan, reason_to_stop
from edge_bench.measure.witness import combined
from edge_bench.records.result import TimingBlock
from edge_bench.statistics import percentile


class Cold(Mode):
    """Each latency is the first inference of a fresh process; loading stands apart, in `loads_ms`.

    Starting the process and importing the runtime are in neither. The file stays in the system's
    cache: what a disk adds after a restart of the machine is not seen.
    """

    name = "cold"
    max_seconds = 30.0
    min_runs = 10

    def measure(self, child: Child, plan: Plan) -> Told:
        children: list[Told] = []
        started = time.monotonic()
        stopped_by = ""
        while not stopped_by:
            at_s = time.monotonic() - started
            told = child(replace(plan, max_runs=0))
            children.append(replace(told, first=replace(told.first, at_s=at_s)))
            seconds = time.monotonic() - started
            stopped_by = reason_to_stop([_counted(one.first) for one in children], plan, seconds)
        return self.together(children, stopped_by)

    def together(self, children: Sequence[Told], stopped_by: str) -> Told:
        loads_ms = tuple(one.load_ms for one in children)
        first_ns = percentile([one.first.latencies_ns[0] for one in children], 50)
        return replace(
            children[-1],
            load_ms=percentile(loads_ms, 50),
            loads_ms=loads_ms,
            first=replace(children[-1].first, latencies_ns=(int(first_ns),)),
            blocks=tuple(_counted(one.first) for one in children),
            stopped_by=stopped_by,
            observed=combined([one.observed for one in children]),
        )


def _counted(first: TimingBlock) -> TimingBlock:
    # Of some dozens of runs none is thrown away: a polluted one counts, and makes the verdict.
    return replace(first, counted=True, reason="")
