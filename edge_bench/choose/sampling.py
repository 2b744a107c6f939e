"""Which networks to measure on a new device, so that few of them tell most.

Greedy: the next is the one whose measurement lowers the mean predicted variance of all others most
(Cohn, Ghahramani, Jordan. Active learning with statistical models. JAIR 4, 1996), for a linear model of
latencies relative to what the networks take elsewhere. What will be measured plays no part in it, so the
whole choice can be made beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_bench.choose.predictors import DEVICE, FeatureTable, Matrix

# Of one measurement, a share of the latency; of a share, before anything is measured. On pretended new
# devices with slow spells a lower noise chose extremes alone, and each spell then turned the whole fit.
NOISE, PRIOR = 0.2, 0.5
# What runs in less than this share of a device's median there runs hardly at all, and tells little.
IDLE = 0.05
SPREAD_OVER = 500


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Rows of a table in the order they were chosen, and what is uncertain after each.

    Attributes:
        rows: [count] numbers of rows.
        uncertainty: [count] what is left of the uncertainty of all latencies (root mean variance) after
            measuring a row and all before it, a share of what there was before any.
    """

    rows: tuple[int, ...]
    uncertainty: tuple[float, ...]


def choose(table: FeatureTable, count: int, *, among: Sequence[int] | None = None, seed: int = 0) -> Chosen:
    """Choose `count` rows of `table` to measure; `among` gives the rows that may be chosen.

    Rows that hardly run on one of the devices whose latencies are columns are never chosen.

    Raises:
        ValueError: fewer rows may be chosen than are asked for.
    """
    relative = _relative(table)
    running = _running(table)
    allowed = np.array([row for row in (range(len(table)) if among is None else among) if running[row]])
    if count > len(allowed):
        raise ValueError(f"{count} of {len(allowed)} networks")
    generator = np.random.default_rng(seed)
    over = generator.choice(len(table), min(SPREAD_OVER, len(table)), replace=False)
    places, uncertainty = _greedy(relative[allowed], relative[over], count)
    return Chosen(rows=tuple(allowed[places].tolist()), uncertainty=tuple(uncertainty))


def _greedy(allowed: Matrix, over: Matrix, count: int) -> tuple[list[int], list[float]]:
    """Condition a Gaussian prior on one row after another; it needs no latencies."""
    joint = PRIOR**2 * allowed @ over.T
    among = PRIOR**2 * allowed @ allowed.T
    left = PRIOR**2 * (over**2).sum(axis=1)
    before = left.mean()
    places: list[int] = []
    uncertainty: list[float] = []
    for _ in range(count):
        variance = among.diagonal() + NOISE**2
        gain = (joint**2).mean(axis=1) / variance
        gain[places] = -np.inf
        place = int(gain.argmax())
        places.append(place)
        step, known = among[:, place] / np.sqrt(variance[place]), joint[place] / np.sqrt(variance[place])
        joint, among, left = joint - np.outer(step, known), among - np.outer(step, step), left - known**2
        uncertainty.append(float(np.sqrt(np.maximum(left, 0.0).mean() / before)))
    return places, uncertainty


def _relative(table: FeatureTable) -> Matrix:
    """Return features and a constant, each 1 in the mean, by how long a row takes elsewhere."""
    values = np.hstack([table.values, np.ones((len(table), 1))])
    scale = np.abs(values).mean(axis=0)
    values = values[:, scale > 0] / scale[scale > 0]
    return np.asarray(values / _typical(table)[:, None], np.float64)


def _typical(table: FeatureTable) -> Matrix:
    """Return the geometric mean of a row's latencies on other devices, each by that device's median."""
    latencies = _elsewhere(table)
    if not latencies.shape[1]:
        return np.ones(len(table))
    shares = latencies / np.median(latencies, axis=0)
    return np.asarray(np.exp(np.log(np.maximum(shares, IDLE)).mean(axis=1)), np.float64)


def _running(table: FeatureTable) -> npt.NDArray[np.bool_]:
    latencies = _elsewhere(table)
    return np.asarray((latencies > IDLE * np.median(latencies, axis=0)).all(axis=1), np.bool_)


def _elsewhere(table: FeatureTable) -> Matrix:
    return table.columns([name for name in table.names if name.startswith(DEVICE)])
