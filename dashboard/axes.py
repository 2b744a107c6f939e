"""What a candidate costs: each cost may be the chart's axis, and have a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A cost of candidates, less of which is better, in a column of `frames.candidate_frame`.

    `title` is what a chart calls it.
    `low` and `high` are the columns of its interval, and `source` that which says where it comes from; they
    are empty of what is counted exactly. `budget` names the budget's parameter in links.
    """

    title: str
    unit: str
    column: str
    budget: str
    low: str = ""
    high: str = ""
    source: str = ""

    def told(self, value: float) -> str:
        """Return a value as people read it: three significant digits and the unit."""
        if not math.isfinite(value) or value <= 0:
            return f"{value:g} {self.unit}"
        decimals = max(0, 2 - math.floor(math.log10(value)))
        return f"{value:.{decimals}f} {self.unit}"

    def known(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of which this cost is known, cheapest first."""
        known = (frame[self.column] > 0).to_numpy()
        rows = frame if known.all() else frame[known]
        return rows if rows[self.column].is_monotonic_increasing else rows.sort_values([self.column, "id"])


LATENCY = Axis(
    title="latency",
    unit="ms",
    column="latency_ms",
    budget="budget",
    low="low_ms",
    high="high_ms",
    source="source",
)
# By what people call them, also in links; those that are asked for most stand first.
AXES: Mapping[str, Axis] = {
    "latency": LATENCY,
    "file size": Axis(
        title="file size",
        unit="MB",
        column="size_mb",
        budget="max_size",
        source="size_source",
    ),
    "memory": Axis(
        title="peak memory",
        unit="MB",
        column="peak_memory_mb",
        budget="max_memory",
        low="peak_low_mb",
        high="peak_high_mb",
        source="source",
    ),
    "MACs": Axis(
        title="multiply-accumulates",
        unit="million MACs",
        column="mmacs",
        budget="max_macs",
    ),
}


def axes_of(frame: pd.DataFrame) -> list[str]:
    """Return the names of the axes on which some candidate stands."""
    return [name for name, axis in AXES.items() if (frame[axis.column] > 0).any()]
