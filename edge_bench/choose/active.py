"""Which architectures to measure, so that few measurements teach a predictor much.

First a set that fills the space; then, round by round, those on which predictors that explain all
measurements so far still disagree, rather near the front than far below it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edge_bench.choose.accuracy import AccuracyPredictor, Values
from edge_bench.choose.costs import macs_table
from edge_bench.choose.encoding import Encoding, Rows

# Candidates for each row that is chosen.
DRAWS = 20
MEMBERS = 6
# A candidate this share of the values' spread below the front weighs e times less than one on it …
FRONT_SHARE = 1.0
# … but never less than this: what lies below the front has to be predicted too.
LEAST_WEIGHT = 0.25


def random_rows(encoding: Encoding, count: int, generator: np.random.Generator) -> Rows:
    """Return up to `count` distinct uniform rows (fewer only where the space has few networks)."""
    return _distinct(encoding.sample(DRAWS * count, generator))[:count]


def spread_rows(
    encoding: Encoding, count: int, generator: np.random.Generator, *, without: Rows | None = None
) -> Rows:
    """Return up to `count` distinct rows that fill the space: the extremes, then all resolutions alike
    and, within each, even steps in log MACs.

    Args:
        encoding: of the space.
        count: how many.
        generator: draws the candidates.
        without: [n, columns] rows that are not chosen.
    """
    extremes = encoding.encode([encoding.space.smallest(), encoding.space.largest()])
    left = _left(extremes, without)[:count]
    pool = _left(_wide_pool(encoding, DRAWS * count, generator), _joined(left, without))
    logs = np.log(macs_table(encoding)(pool))
    chosen = list(left)
    wanted = count - len(left)
    resolutions = len(encoding.space.resolutions)
    for resolution in range(resolutions):
        share = wanted // resolutions + (resolution < wanted % resolutions)
        mine = np.flatnonzero(pool[:, 0] == resolution)
        chosen += [pool[mine[index]] for index in _evenly(logs[mine], share)]
    return np.array(chosen, np.uint8).reshape(-1, encoding.columns)


def informative_rows(
    encoding: Encoding,
    measured: Rows,
    values: Values,
    count: int,
    generator: np.random.Generator,
    *,
    make: Sequence[Callable[[], AccuracyPredictor]],
    without: Rows,
) -> Rows:
    """Return up to `count` distinct rows on which a committee disagrees most.

    Its members are fitted on bootstrap samples of what was measured, so that they differ where the
    measurements leave room (query by committee: Seung, Opper and Sompolinsky, 1992). Rows are drawn with
    probabilities that grow with the variance of the members' predictions and fall with the distance
    below the predicted front of value over MACs: the best ones alone would be alike.

    Args:
        encoding: of the space.
        measured: [n, columns] what was measured, with its values [n].
        values: more is better.
        count: how many.
        generator: draws candidates, bootstrap samples and the choice.
        make: each gives an unfitted predictor; members are made by all of them in turn.
        without: [n, columns] rows that are not chosen, beside those measured.
    """
    pool = _left(_wide_pool(encoding, DRAWS * count, generator), np.concatenate([measured, without]))
    predicted = np.empty((MEMBERS, len(pool)))
    for member in range(MEMBERS):
        sample = generator.integers(0, len(measured), len(measured))
        predictor = make[member % len(make)]()
        predictor.fit(encoding, measured[sample], values[sample], seed=member)
        predicted[member] = predictor.predict(pool)
    mean, variance = predicted.mean(axis=0), predicted.var(axis=0)
    below = _below_front(macs_table(encoding)(pool), mean)
    scale = FRONT_SHARE * max(float(values.std()), 1e-12)
    weights = variance * np.maximum(np.exp(-below / scale), LEAST_WEIGHT)
    # Drawn without replacement, each with a chance proportional to its weight (Gumbel's trick).
    keys = np.log(weights + 1e-300) + generator.gumbel(size=len(pool))
    return pool[np.argsort(-keys, kind="stable")[:count]]


def _wide_pool(encoding: Encoding, count: int, generator: np.random.Generator) -> Rows:
    """Return distinct rows: half of them uniform, half on the way from an extreme to a uniform one.

    Uniform choices gather about the middle of the range of MACs; the others reach its ends.
    """
    uniform = encoding.sample(count, generator)
    space = encoding.space
    ends = encoding.encode([space.smallest(), space.largest()])
    start = ends[generator.integers(0, 2, len(uniform))]
    # An end keeps its genes with a probability of its own for each row; absent blocks have none to keep.
    redrawn = generator.random(uniform.shape) < generator.random((len(uniform), 1))
    wide = encoding.canonical(np.where(redrawn, uniform, start))
    mixed = np.where((np.arange(len(uniform)) % 2 == 0)[:, None], uniform, wide)
    return _distinct(mixed)


def _below_front(macs: Values, values: Values) -> Values:
    """Return for each how far its value lies below the best that no more MACs give; 0 on the front."""
    order = np.lexsort((-values, macs))
    best = np.maximum.accumulate(values[order])
    below = np.empty(len(values))
    below[order] = best - values[order]
    return below


def _evenly(logs: Values, count: int) -> list[int]:
    """Return up to `count` indices whose values lie nearest to even steps over the range of `logs`."""
    free = logs.copy()
    chosen: list[int] = []
    for goal in np.linspace(logs.min(), logs.max(), count) if len(logs) and count else ():
        if len(chosen) == len(logs):
            break
        nearest = int(np.abs(free - goal).argmin())
        chosen.append(nearest)
        free[nearest] = np.inf
    return chosen


def _distinct(rows: Rows) -> Rows:
    """Return the rows without repetition, in their order."""
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)]


def _left(rows: Rows, without: Rows | None) -> Rows:
    """Return the rows that are not among `without`."""
    if without is None or not len(without):
        return rows
    taken = {row.tobytes() for row in without}
    return rows[[row.tobytes() not in taken for row in rows]]


def _joined(first: Rows, second: Rows | None) -> Rows:
    return first if second is None else np.concatenate([first, second])
