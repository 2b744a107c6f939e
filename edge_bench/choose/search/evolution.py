"""NSGA-II over arrays of rows: the front where predictors are no sums and the space is too large to list.

Deb, Pratap, Agarwal, Meyarivan, 2002, with constrained domination (their section VI). What differs: no
architecture is scored twice, none differs from its parents in genes of absent blocks alone, and the
answer is the front of all that were scored.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edge_bench.choose.encoding import Encoding, Rows
from edge_bench.choose.search.fronts import pareto
from edge_bench.choose.search.problem import Floats, Found, Problem

Indices = npt.NDArray[np.int64]

EVALUATIONS = 50_000
# The share of children that mix two parents, and the chance that a change is the last one.
MIXED = 0.35
ONE_CHANGE = 0.85
# Tries to breed something new before random architectures fill up.
TRIES = 4
# Generations without anything new, random architectures included, after which little can be left.
BARREN = 10


def evolve(
    problem: Problem,
    *,
    evaluations: int = EVALUATIONS,
    population: int | None = None,
    seed: int = 0,
    start: Rows | None = None,
) -> Found:
    """Return the front of `evaluations` distinct architectures, fewer where the space has fewer.

    Where none of them is within the limits the front is empty.

    Args:
        problem: any scores; equal seeds give equal answers.
        population: how many survive each generation, and how many are bred; 1.5 √`evaluations` where
            not given, which was best or near it at 1,000 to 50,000.
        start: [n, columns] canonical rows to score first, beside the extremes.
    """
    population = population or max(4, round(1.5 * math.sqrt(evaluations)))
    wanted = min(evaluations, problem.encoding.space.size())
    evolution = _Evolution(problem, min(population, wanted), wanted, np.random.default_rng(seed))
    evolution.begin(start)
    barren = 0
    while evolution.scored < wanted and barren < BARREN:
        fresh = evolution.advance(min(population, wanted - evolution.scored))
        barren = 0 if fresh else barren + 1
    return evolution.found()


class _Evolution:
    def __init__(
        self, problem: Problem, population: int, most: int, generator: np.random.Generator
    ) -> None:
        self.problem = problem
        self.encoding: Encoding = problem.encoding
        self.size = population
        self.most = most
        self.generator = generator
        self.seen: set[bytes] = set()
        self.rows: Rows = np.empty((0, self.encoding.columns), np.uint8)
        self.qualities: Floats = np.empty(0)
        self.costs: Floats = np.empty(0)
        self.excess: Floats = np.empty(0)
        # Indices into all that was scored, the best first.
        self.alive: Indices = np.empty(0, np.int64)

    @property
    def scored(self) -> int:
        return len(self.rows)

    def begin(self, start: Rows | None) -> None:
        """Score the first population: extremes, and networks on the way from an extreme to a random one."""
        space = self.encoding.space
        extremes = self.encoding.encode([space.smallest(), space.largest()])
        given = extremes if start is None else np.concatenate([extremes, start])
        fresh = self._unseen(given[: self.most])
        fresh = np.concatenate([fresh, self._unseen(self._spread(max(0, self.size - len(fresh))))])
        self._score(fresh)
        self._survive(np.arange(self.scored))

    def advance(self, count: int) -> int:
        """Breed and score at most `count` new architectures, keep the best alive; return how many."""
        fresh = self._unseen(self._bred(count))
        for _ in range(TRIES):
            if len(fresh) >= count:
                break
            fresh = np.concatenate([fresh, self._unseen(self._bred(count))])
        if not len(fresh):
            fresh = self._unseen(self.encoding.sample(count, self.generator))
        before = self.scored
        self._score(fresh[:count])
        self.seen.difference_update(row.tobytes() for row in fresh[count:])
        self._survive(np.concatenate([self.alive, np.arange(before, self.scored)]))
        return self.scored - before

    def found(self) -> Found:
        within = np.flatnonzero(self.excess == 0)
        front = within[pareto(self.costs[within], self.qualities[within])]
        return Found(
            rows=self.rows[front],
            qualities=self.qualities[front],
            costs=self.costs[front],
            method="NSGA-II",
            considered=self.scored,
        )

    def _spread(self, count: int) -> Rows:
        """Return random networks, most of them nearer to an extreme than uniform choices would be."""
        encoding, generator = self.encoding, self.generator
        drawn = encoding.sample(count, generator)
        ends = (encoding.choices - 1) * generator.integers(0, 2, (count, 1))
        redrawn = generator.random((count, encoding.columns)) < generator.random((count, 1))
        return encoding.canonical(np.where(redrawn, drawn, ends).astype(np.uint8))

    def _bred(self, count: int) -> Rows:
        """Return children: some mix two parents' genes, and nearly all take one new value.

        One changed gene found better fronts than two or three at 1,000 to 50,000 evaluations.
        """
        encoding, generator = self.encoding, self.generator
        mothers, fathers = (self._filled(self.rows[self._tournament(count)]) for _ in range(2))
        mixes = generator.random((count, 1)) < MIXED
        mixed = mixes & (generator.random((count, encoding.columns)) < 0.5)
        children = np.where(mixed, fathers, mothers)
        open_ = np.flatnonzero(encoding.choices > 1)
        # A child of one parent changes at least one gene, a mixed one may change none.
        changes = generator.geometric(ONE_CHANGE, (count, 1)) - mixes
        order = generator.random((count, len(open_))).argsort(axis=1).argsort(axis=1)
        changed = np.zeros(children.shape, np.bool_)
        changed[:, open_] = order < changes
        steps = generator.integers(1, np.maximum(encoding.choices, 2), children.shape)
        moved = (children + steps) % encoding.choices
        return encoding.canonical(np.where(changed, moved, children).astype(np.uint8))

    def _filled(self, rows: Rows) -> Rows:
        """Return `rows` with random genes in place of absent blocks, which a child may have."""
        encoding, generator = self.encoding, self.generator
        absent = ~encoding.present(rows)
        filled = rows.copy()
        for columns in (encoding.kernel_columns, encoding.expand_columns):
            drawn = generator.integers(0, encoding.choices[columns], (len(rows), len(columns)))
            filled[:, columns] = np.where(absent, drawn, rows[:, columns])
        return filled

    def _tournament(self, count: int) -> Indices:
        """Return winners of pairs drawn at random: who stands first among the living."""
        first, second = self.generator.integers(0, len(self.alive), (2, count))
        winners: Indices = self.alive[np.minimum(first, second)]
        return winners

    def _unseen(self, rows: Rows) -> Rows:
        fresh = []
        for index, row in enumerate(rows):
            key = row.tobytes()
            if key not in self.seen:
                self.seen.add(key)
                fresh.append(index)
        return rows[fresh]

    def _score(self, rows: Rows) -> None:
        self.rows = np.concatenate([self.rows, rows])
        self.qualities = np.concatenate([self.qualities, self.problem.quality(rows)])
        self.costs = np.concatenate([self.costs, self.problem.cost(rows)])
        self.excess = np.concatenate([self.excess, self.problem.excess(rows)])

    def _survive(self, pool: Indices) -> None:
        """Keep the best of `pool`: those within the limits front by front, then by how far they are off."""
        within = pool[self.excess[pool] == 0]
        off = pool[self.excess[pool] > 0]
        chosen: list[Indices] = []
        room = self.size
        while len(within) and room > 0:
            places = pareto(self.costs[within], self.qualities[within])
            front = within[places]
            crowd = np.argsort(-self._crowding(front), kind="stable")
            chosen.append(front[crowd[:room]])
            room -= len(chosen[-1])
            within = np.delete(within, places)
        if room > 0:
            chosen.append(off[np.argsort(self.excess[off], kind="stable")[:room]])
        self.alive = np.concatenate(chosen)

    def _crowding(self, front: Indices) -> Floats:
        """Return how far apart each one's neighbours on its front are; the ends are infinitely far."""
        distance = np.full(len(front), np.inf)
        if len(front) > 2:
            inner = np.zeros(len(front) - 2)
            for values in (self.costs[front], self.qualities[front]):
                inner += (values[2:] - values[:-2]) / (np.ptp(values) or 1.0)
            distance[1:-1] = np.abs(inner)
        return distance
