"""The architecture that misses impossible limits by least."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_bench.choose.costs import BlockTable
from edge_bench.choose.encoding import Rows
from edge_bench.choose.search.problem import Floats, Problem

WEIGHTINGS = 64
EVALUATIONS = 10_000


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """One architecture outside the limits.

    Attributes:
        row: [1, columns] canonical.
        costs: what it costs of each limit, in their order.
        excess: by which part it is above the limit that it misses by most.
        proven: whether no architecture is nearer.
    """

    row: Rows
    costs: tuple[float, ...]
    excess: float
    proven: bool


def nearest(problem: Problem, *, seed: int = 0, others: Rows | None = None) -> Nearest:
    """Return the architecture whose largest excess over a limit, as a part of the limit, is least.

    Where limits are tables, each one's cheapest architecture is known exactly; the worst of those
    is a bound that no architecture beats, so an answer that meets it is proven. Cheapest
    architectures of weighted sums of the costs, random ones and `others` compete.
    """
    encoding, space = problem.encoding, problem.encoding.space
    generator = np.random.default_rng(seed)
    limits = [(limit.cost, limit.at_most) for limit in problem.limits if isinstance(limit.cost, BlockTable)]
    rivals = [encoding.encode([space.smallest(), space.largest()])]
    rivals.append(encoding.sample(EVALUATIONS, generator))
    if others is not None:
        rivals.append(others)
    bound = 0.0
    for table, at_most in limits:
        cheapest = table.cheapest()
        rivals.append(cheapest)
        bound = max(bound, float(table(cheapest)[0]) / at_most - 1)
    summed = [(table, at_most) for table, at_most in limits if not table.largest]
    if len(summed) > 1:
        for weights in generator.dirichlet(np.ones(len(summed)), WEIGHTINGS):
            parts = [
                (table, weight / at_most) for (table, at_most), weight in zip(summed, weights, strict=True)
            ]
            rivals.append(_weighted(parts).cheapest())
    rows = np.concatenate(rivals)
    excess = problem.excess(rows)
    best = int(np.lexsort((_total(problem, rows), excess))[0])
    row = rows[best : best + 1]
    return Nearest(
        row=row,
        costs=tuple(float(limit.cost(row)[0]) for limit in problem.limits),
        excess=float(excess[best]),
        proven=bool(excess[best] <= bound * (1 + 1e-9)),
    )


def _total(problem: Problem, rows: Rows) -> Floats:
    """Return the sum of excesses: of equally far ones, the one that misses less beside."""
    total = np.zeros(len(rows))
    for limit in problem.limits:
        total += limit.excess(rows)
    return total


def _weighted(parts: list[tuple[BlockTable, float]]) -> BlockTable:
    first = parts[0][0]
    return BlockTable(
        encoding=first.encoding,
        name="weighted",
        base=np.sum([weight * table.base for table, weight in parts], axis=0),
        blocks=np.sum([weight * table.blocks for table, weight in parts], axis=0),
    )
