"""Which networks it would help most to measure next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from edge_bench.choose.features import features
from edge_bench.choose.fitting import open_predictor
from edge_bench.choose.predictors import AdditivePredictor, FeatureTable, Matrix
from edge_bench.errors import InvalidArch
from edge_bench.records import ArchConfig, FittedPredictor, SearchSpace, parse_arch
from edge_bench.records.notation import NAMES

# What is known of each price before anything is measured, as so many networks of it alone.
PRIOR = 1e-3


@dataclass(frozen=True)
class Suggestion:
    """A network worth measuring.

    `gain` is the share by which its own variance of prediction would shrink, 0 to 1: near 1 for one
    unlike anything measured, near 0 for one that what is known tells already.
    """

    name: str
    arch: ArchConfig
    gain: float


def suggest(
    space: SearchSpace, fitted: FittedPredictor, measured: Sequence[ArchConfig], *, count: int = 5
) -> list[Suggestion]:
    """Return the networks with a short name whose measurement would tell most, the first first.

    Each in turn is the one whose predicted latency is least certain once those before it are measured:
    for errors that are a share of the latency that is the greatest gain in the determinant of what is
    known of all prices (greedy D-optimal design; Fedorov, *Theory of Optimal Experiments*, 1972).
    """
    predictor = open_predictor(fitted)
    if not isinstance(predictor, AdditivePredictor):
        return []
    known = {arch.key for arch in measured}
    named = {name: arch for name, arch in _named(space).items() if arch.key not in known}
    if not named:
        return []
    seen = FeatureTable.of([features(space, arch) for arch in measured])
    offered = FeatureTable.of([features(space, arch) for arch in named.values()])
    scale = np.maximum(np.abs(np.vstack([seen.values, offered.values])).max(axis=0), 1e-12)
    rows = _relative(predictor, seen, scale)
    candidates = _relative(predictor, offered, scale)
    uncertainty = np.linalg.inv(rows.T @ rows + PRIOR * np.eye(rows.shape[1]))
    found: list[Suggestion] = []
    names = list(named)
    for _ in range(min(count, len(names))):
        variances = np.einsum("ij,jk,ik->i", candidates, uncertainty, candidates)
        best = int(variances.argmax())
        found.append(
            Suggestion(names[best], named[names[best]], float(variances[best] / (1 + variances[best])))
        )
        direction = uncertainty @ candidates[best]
        uncertainty -= np.outer(direction, direction) / (1 + variances[best])
    return found


def _relative(predictor: AdditivePredictor, table: FeatureTable, scale: Matrix) -> Matrix:
    """Return what each price adds to a network, as a share of its latency; last that of the overhead."""
    latencies_ms = predictor.predict(table).latency_ms
    typical = float(np.median(latencies_ms))
    shares = np.hstack([table.values / scale, np.ones((len(table), 1))])
    return np.asarray(shares * (typical / latencies_ms)[:, None], np.float64)


def _named(space: SearchSpace) -> dict[str, ArchConfig]:
    """Return the networks of a space that have a short name; of several names of one, the first."""
    depths, expands, kernels = (
        sorted({choice for stage in space.stages for choice in getattr(stage, place)})
        for place in ("depths", "expands", "kernels")
    )
    short = [
        *NAMES,
        *(f"d{depth}-e{e}-k{kernel}" for depth, e, kernel in product(depths, expands, kernels)),
    ]
    found: dict[str, tuple[str, ArchConfig]] = {}
    for name, resolution in product(short, space.resolutions):
        told = f"{name}@{resolution}"
        try:
            arch = parse_arch(told, space)
        except InvalidArch:
            continue
        if arch is not None:
            found.setdefault(arch.key, (told, arch))
    return dict(found.values())
