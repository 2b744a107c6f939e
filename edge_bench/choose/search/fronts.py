"""What dominates what among many points: fronts, and the area they cover.

Less cost and more quality is better.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

# Below so many points one sort is faster than first throwing out most of them.
FEW = 512
BINS = 4096
CHUNK = 256


class Sieve:
    """Drops most points that others dominate, in time linear in the points.

    A point that is no better than some point in a cheaper bin of cost is dropped. What has passed once
    counts for all that come later, so points may be given in parts.
    """

    def __init__(self, lowest_cost: float, highest_cost: float) -> None:
        """Take the range in which all costs lie."""
        self._lowest = lowest_cost
        width = highest_cost - lowest_cost
        self._scale = (BINS - 1) / width if width > 0 else 0.0
        self._best = np.full(BINS + 1, -np.inf)

    def passing(self, costs: Floats, qualities: Floats) -> Indices:
        """Return the indices of the points that may be on the front, ascending."""
        bins = ((costs - self._lowest) * self._scale).astype(np.int64)
        np.maximum.at(self._best[1:], bins, qualities)
        np.maximum.accumulate(self._best, out=self._best)
        return np.flatnonzero(qualities > self._best[bins])


def pareto(costs: Floats, qualities: Floats) -> Indices:
    """Return the indices of the points that none other dominates, cheapest first; of equals the first.

    Both cost and quality grow along them.
    """
    if len(costs) > FEW:
        near = Sieve(float(costs.min()), float(costs.max())).passing(costs, qualities)
        return near[_sorted_front(costs[near], qualities[near])]
    return _sorted_front(costs, qualities)


def nondominated(points: Floats) -> Indices:
    """Return the indices of the rows of `points` [n, objectives] that none other dominates, ascending.

    Every objective is to be small. A row dominates another that is nowhere smaller and somewhere
    larger; of equal rows the first is kept.
    """
    if points.shape[1] == 2:
        return np.sort(pareto(points[:, 0], -points[:, 1]))
    # In this order no row can dominate an earlier one, and equal rows stand in their given order.
    order = np.lexsort(points.T[::-1])
    kept = np.empty(0, np.int64)
    for start in range(0, len(order), CHUNK):
        chunk = order[start : start + CHUNK]
        for block in range(0, len(kept), CHUNK):
            chunk = chunk[~_covers(points[chunk], points[kept[block : block + CHUNK]]).any(axis=1)]
        earlier = np.tri(len(chunk), k=-1, dtype=np.bool_)
        chunk = chunk[~(_covers(points[chunk], points[chunk]) & earlier).any(axis=1)]
        kept = np.concatenate([kept, chunk])
    return np.sort(kept)


def hypervolume(costs: Floats, qualities: Floats, *, worst_cost: float, worst_quality: float) -> float:
    """Return the area that points dominate, down to a reference point that is worse than any of them.

    Zitzler and Thiele, 1998, for two objectives. Points beyond the reference add nothing.
    """
    inside = (costs < worst_cost) & (qualities > worst_quality)
    costs, qualities = costs[inside], qualities[inside]
    front = pareto(costs, qualities)
    steps = np.diff(qualities[front], prepend=worst_quality)
    return float(((worst_cost - costs[front]) * steps).sum())


def _sorted_front(costs: Floats, qualities: Floats) -> Indices:
    order = np.lexsort((-qualities, costs))
    ranked = qualities[order]
    better = np.ones(len(order), np.bool_)
    better[1:] = ranked[1:] > np.maximum.accumulate(ranked)[:-1]
    return order[better]


def _covers(points: Floats, others: Floats) -> npt.NDArray[np.bool_]:
    """Return [points, others] whether the other is nowhere larger."""
    covers = np.ones((len(points), len(others)), np.bool_)
    for column in range(points.shape[1]):
        covers &= others[None, :, column] <= points[:, None, column]
    return covers
