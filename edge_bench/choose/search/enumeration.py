"""Scoring every architecture of a small space: exact for any predictor and any limits."""

from __future__ import annotations

import numpy as np

from edge_bench.choose.search.fronts import pareto
from edge_bench.choose.search.problem import Found, Problem


def enumerate_all(problem: Problem) -> Found:
    """Return the exact front of a space whose architectures can all be scored.

    Costs and limits are looked at first; quality is only asked for where the limits are kept.
    """
    rows = np.empty((0, problem.encoding.columns), np.uint8)
    costs, qualities = np.empty(0), np.empty(0)
    for chunk in problem.encoding.enumerate():
        within = chunk[problem.excess(chunk) == 0]
        rows = np.concatenate([rows, within])
        costs = np.concatenate([costs, problem.cost(within)])
        qualities = np.concatenate([qualities, problem.quality(within)])
        front = pareto(costs, qualities)
        rows, costs, qualities = rows[front], costs[front], qualities[front]
    return Found(
        rows=rows,
        qualities=qualities,
        costs=costs,
        method="enumeration",
        considered=problem.encoding.space.size(),
    )
