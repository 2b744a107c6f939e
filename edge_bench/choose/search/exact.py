"""The whole front of a space of any size, where quality and costs are sums over blocks.

A part of a network that another part beats in quality and cost stays beaten whatever is added to both.
So the options of each stage are thinned to their front, stages are merged one by one, and after each
merge only the front stays (the dynamic programme of Nemhauser and Ullmann, 1969). No architecture that
belongs to the front is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_bench.choose.costs import BlockTable
from edge_bench.choose.encoding import Encoding, Rows
from edge_bench.choose.search.fronts import Sieve, nondominated, pareto
from edge_bench.choose.search.problem import Floats, Found, Limit, Problem

# Sums in another order differ in their last digits; what is that near a limit is kept and judged at last.
ROUNDING = 1e-12
# With further limits than the one on the cost, a merge of more pairs than this would take minutes.
MOST_PAIRS = 2_000_000
# What a whole limit costs, in differences between the qualities of the largest and smallest network.
PRICES = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
# Sums of so many pairs stay in a core's cache.
CACHED_PAIRS = 16_384


class TooLarge(Exception):
    """The parts that further limits leave undominated are too many to merge."""


def is_additive(problem: Problem) -> bool:
    """Say whether the problem can be merged: quality and cost are sums, each limit a table."""
    tables = [problem.quality, problem.cost, *(limit.cost for limit in problem.limits)]
    sums = all(isinstance(one, BlockTable) and not one.largest for one in tables[:2])
    return sums and all(isinstance(one, BlockTable) for one in tables)


def merge(problem: Problem) -> Found:
    """Return the exact front of an additive problem.

    A limit on a largest entry (peak memory) removes options beforehand. A limit on the cost bounds
    the merge. Any other is one more objective until all that can still be added fits it.

    Raises:
        TooLarge: several limits at once leave more parts than can be merged.
    """
    merger = _Merger(problem)
    encoding = problem.encoding
    fronts = [merger.front(number) for number in range(len(encoding.space.resolutions))]
    rows = np.concatenate([front.rows for front in fronts])
    cost, quality = np.concatenate([front.sums[:2] for front in fronts], axis=1)
    rows = rows[pareto(cost, quality)]
    rows = rows[problem.excess(rows) == 0]
    qualities, costs = problem.quality(rows), problem.cost(rows)
    front = pareto(costs, qualities)
    return Found(
        rows=rows[front],
        qualities=qualities[front],
        costs=costs[front],
        method="exact merge",
        considered=encoding.space.size(),
    )


def relaxed(problem: Problem) -> Rows:
    """Return networks [n, columns] within all limits of an additive problem, on its front or near it.

    Limits that would be objectives of their own are paid for in quality instead, at several prices
    (Lagrangian relaxation). Each merge is exact for its price, so what it gives and fits is on the front.
    """
    encoding, quality = problem.encoding, problem.quality
    assert isinstance(quality, BlockTable)
    paid = [limit for limit in problem.limits if not _bounds(problem, limit)]
    kept = tuple(limit for limit in problem.limits if _bounds(problem, limit))
    worth = float(np.ptp(quality(encoding.encode([encoding.space.smallest(), encoding.space.largest()]))))
    found = []
    for price in PRICES:
        base, blocks = quality.base.copy(), quality.blocks.copy()
        for limit in paid:
            assert isinstance(limit.cost, BlockTable)
            base -= price * worth / limit.at_most * limit.cost.base
            blocks -= price * worth / limit.at_most * limit.cost.blocks
        dearer = BlockTable(encoding=encoding, name=quality.name, base=base, blocks=blocks)
        found.append(merge(replace(problem, quality=dearer, limits=kept)).rows)
    rows: Rows = np.unique(np.concatenate(found), axis=0)
    rows = rows[problem.excess(rows) == 0]
    front: Rows = rows[pareto(problem.cost(rows), problem.quality(rows))]
    return front


def _bounds(problem: Problem, limit: Limit) -> bool:
    """Say whether a limit costs a merge nothing: it filters options, or bounds the cost itself."""
    table = limit.cost
    return table is problem.cost or (isinstance(table, BlockTable) and table.largest)


@dataclass(frozen=True)
class _Parts:
    """Parts of networks: `sums` [objectives, n] are cost, quality and each further limited cost."""

    sums: Floats
    rows: Rows

    def of(self, indices: npt.NDArray[np.int64]) -> _Parts:
        return _Parts(self.sums.take(indices, axis=1), self.rows[indices])

    def __len__(self) -> int:
        return len(self.rows)


class _Merger:
    def __init__(self, problem: Problem) -> None:
        self.encoding: Encoding = problem.encoding
        assert isinstance(problem.cost, BlockTable) and isinstance(problem.quality, BlockTable)
        tables, ceilings = [problem.cost], [np.inf]
        self.filters: list[tuple[BlockTable, float]] = []
        for limit in problem.limits:
            table = limit.cost
            assert isinstance(table, BlockTable)
            if table.largest:
                self.filters.append((table, limit.at_most))
            elif table is problem.cost:
                ceilings[0] = min(ceilings[0], limit.at_most)
            else:
                tables.append(table)
                ceilings.append(limit.at_most)
        quality = problem.quality
        tables.insert(1, quality)
        self.base = np.stack([table.base for table in tables])
        self.blocks = np.stack([table.blocks for table in tables])
        self.ceilings = np.array([ceilings[0], np.inf, *ceilings[1:]]) * (1 + ROUNDING)

    def front(self, resolution: int) -> _Parts:
        """Return the front among the networks of one resolution."""
        encoding = self.encoding
        nothing = _Parts(np.empty((len(self.base), 0)), np.empty((0, encoding.columns), np.uint8))
        if any(table.base[resolution] > limit for table, limit in self.filters):
            return nothing
        stages = [self._stage(resolution, number) for number in range(len(encoding.space.stages))]
        if not all(map(len, stages)):
            return nothing
        least = np.array([stage.sums.min(1) for stage in stages])
        most = np.array([stage.sums.max(1) for stage in stages])
        start = np.zeros((1, encoding.columns), np.uint8)
        start[0, 0] = resolution
        parts = _Parts(self.base[:, resolution, None], start)
        # Small fronts first: the last merge has the most pairs.
        order = sorted(range(len(stages)), key=lambda number: len(stages[number]))
        for done, number in enumerate(order, start=1):
            rest = order[done:]
            column = encoding.depth_columns[number]
            parts = self._joined(parts, stages[number], column, least[rest].sum(0), most[rest].sum(0))
            if not len(parts):
                return nothing
        return parts

    def _joined(self, parts: _Parts, stage: _Parts, column: int, least: Floats, most: Floats) -> _Parts:
        """Return the front of all pairs, where `least` and `most` are what the other stages still add."""
        if len(self.base) > 2 and len(parts) * len(stage) > MOST_PAIRS:
            raise TooLarge
        low, high = parts.sums[0].min() + stage.sums[0].min(), parts.sums[0].max() + stage.sums[0].max()
        sieve = Sieve(float(low), float(high)) if len(self.base) == 2 else None
        some, found = max(1, CACHED_PAIRS // len(stage)), []
        for start in range(0, len(parts), some):
            sums = _pair_sums(parts.sums[:, start : start + some], stage.sums)
            chosen = np.arange(start * len(stage), start * len(stage) + sums.shape[1])
            for objective in np.flatnonzero(np.isfinite(self.ceilings)):
                fits = sums[objective] + least[objective] <= self.ceilings[objective]
                if not fits.all():
                    sums, chosen = sums[:, fits], chosen[fits]
            if sieve is not None:
                near = sieve.passing(*sums)
                sums, chosen = sums.take(near, axis=1), chosen[near]
            found.append((sums, chosen))
        sums = np.concatenate([one for one, _ in found], axis=1)
        chosen = np.concatenate([one for _, one in found])
        for extra in range(2, len(sums)):
            # Whatever fits the limit in any case may count as equal in it.
            np.maximum(sums[extra], self.ceilings[extra] - most[extra], out=sums[extra])
        front = _thinned(sums)
        left, right = np.divmod(chosen[front], len(stage))
        rows = parts.rows[left]
        rows[:, column : column + stage.rows.shape[1]] = stage.rows[right]
        return _Parts(sums.take(front, axis=1), rows)

    def _stage(self, resolution: int, number: int) -> _Parts:
        """Return the front among one stage's options; its rows hold that stage's columns alone."""
        stage = self.encoding.space.stages[number]
        places = np.flatnonzero(self.encoding.stages == number)
        grown = _Parts(np.zeros((len(self.base), 1)), np.zeros((1, 1 + 2 * len(places)), np.uint8))
        found = []
        for depth, place in enumerate(places.tolist(), start=1):
            block = self._block(resolution, place, len(stage.kernels), len(stage.expands))
            sums = _pair_sums(grown.sums, block.sums)
            front = _thinned(sums)
            if not len(front):
                break
            left, right = np.divmod(front, len(block))
            rows = grown.rows[left]
            rows[:, 2 * depth - 1 : 2 * depth + 1] = block.rows[right]
            grown = _Parts(sums.take(front, axis=1), rows)
            if depth in stage.depths:
                deep = rows.copy()
                deep[:, 0] = stage.depths.index(depth)
                found.append(_Parts(grown.sums, deep))
        if not found:
            return grown.of(np.empty(0, np.int64))
        sums = np.concatenate([one.sums for one in found], axis=1)
        together = _Parts(sums, np.concatenate([one.rows for one in found]))
        return together.of(_thinned(together.sums))

    def _block(self, resolution: int, place: int, kernels: int, expands: int) -> _Parts:
        """Return the front among one place's blocks; its rows hold kernel and expand ratio."""
        allowed = np.ones((kernels, expands), np.bool_)
        for table, limit in self.filters:
            allowed &= table.blocks[resolution, place, :kernels, :expands] <= limit
        choices = np.argwhere(allowed)
        sums = self.blocks[:, resolution, place, choices[:, 0], choices[:, 1]]
        return _Parts(sums, choices.astype(np.uint8)).of(_thinned(sums))


def _pair_sums(sums: Floats, others: Floats) -> Floats:
    """Return [objectives, sums × others] the sums of every pair."""
    paired = np.empty((len(sums), sums.shape[1], others.shape[1]))
    np.add(sums[:, :, None], others[:, None, :], out=paired)
    return paired.reshape(len(sums), -1)


def _thinned(sums: Floats) -> npt.NDArray[np.int64]:
    """Return which of `sums` [objectives, n] none other dominates; those equal in all do not count."""
    cost, quality, *limited = sums
    telling = [one for one in limited if len(one) and np.ptp(one) > 0]
    if not telling:
        return pareto(cost, quality)
    return nondominated(np.stack([cost, -quality, *telling], axis=1))
