"""Latency of a text model by its depth: what it takes without layers, and what each layer adds.

All layers of a stack compute the same, so the files of a few depths tell those of all: a base (embedding,
head, the runtime itself) and a price for a layer of each stack, none below 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_bench.choose.features import MACS
from edge_bench.choose.fitting import (
    BASELINE,
    foreseen,
    left_out_in_turn,
    load_predictor,
    space_key,
    validity,
)
from edge_bench.choose.predictors import FeatureTable
from edge_bench.errors import NotFittedError
from edge_bench.records import ArchConfig, FittedPredictor, Prediction, TransformerSpace
from edge_bench.records.prediction import Unit
from edge_bench.records.transformer import Stack, layer_macs
from edge_bench.store import now

KIND = "non_negative"
_BASE = "base"


@dataclass(frozen=True, kw_only=True)
class MeasuredDepth:
    """A file of a text model: which layers it holds, its latency in ms and its size."""

    arch: ArchConfig
    latency_ms: float
    size_bytes: int


def fit_depths(
    space: TransformerSpace,
    measured: Sequence[MeasuredDepth],
    *,
    unit: Unit,
    device: str,
    runtime: str,
    precision: str,
) -> FittedPredictor:
    """Fit latency and size of one kind of file on some depths, on one thread.

    Non-negative least squares on relative error. The interval and the errors told are those of each file
    predicted from the others; the baseline is a line through multiply-accumulates.

    Args:
        measured: files of the network (`unit` "network") or of its steps ("step").

    Raises:
        NotFittedError: too few files, or their depths do not tell the stacks apart.
    """
    archs = [one.arch for one in measured]
    check_depths(space, archs, unit)
    seen = depth_table(space, archs, unit)
    latencies = np.array([one.latency_ms for one in measured])
    predictor = load_predictor(KIND)
    prices = np.linalg.lstsq(_with_base(seen), np.array([one.size_bytes for one in measured], float))[0]
    return FittedPredictor(
        id=f"{device}-{runtime}-1-{precision}-{space_key(space)}-{unit}-depths",
        kind=KIND,
        device=device,
        runtime=runtime,
        threads=1,
        precision=precision,
        space=space_key(space),
        fitted_networks=len(measured),
        parameters={
            **predictor().fit(seen, latencies).parameters(),
            "bytes": dict(zip((*seen.names, _BASE), prices.tolist(), strict=True)),
        },
        validity=validity(seen),
        held_out=left_out_in_turn(predictor, seen, latencies),
        baseline=left_out_in_turn(load_predictor(BASELINE), _macs_table(space, archs, unit), latencies),
        created=now(),
        unit=unit,
        method=f"a base and a price for each layer, on {len(measured)} files, each left out in turn",
    )


def check_depths(space: TransformerSpace, archs: Sequence[ArchConfig], unit: Unit) -> None:
    """Raise `NotFittedError` where files of `archs` do not tell latency by depth, and what would."""
    names = [_column(stack) for stack in _stacks(space, unit)]
    what = "steps" if unit == "step" else "networks"
    if len(archs) < (least := least_depths(space, unit)):
        raise NotFittedError(
            f"{len(archs)} depths of {what} of '{space.name}' are there to fit on; {least} are needed",
            hint=f"edge-bench export {_examples(space)} writes files of others",
        )
    if np.linalg.matrix_rank(_with_base(depth_table(space, archs, unit))) <= len(names):
        raise NotFittedError(
            f"the depths of {what} of '{space.name}' there are do not tell {' and '.join(names)} apart",
            hint="export depths that differ in one stack alone, such as RUN:d2/1 and RUN:d2/2",
        )


def least_depths(space: TransformerSpace, unit: Unit) -> int:
    """Return how many files a fit needs: one more than what it finds, a base and a price for each stack."""
    return 2 + len(_stacks(space, unit))


def depth_table(space: TransformerSpace, archs: Sequence[ArchConfig], unit: Unit) -> FeatureTable:
    """Return how many layers of each stack a file runs, a row for each of `archs`; steps run no encoder."""
    stacks = _stacks(space, unit)
    return FeatureTable.of(
        [{_column(stack): float(len(space.kept(arch)[stack])) for stack in stacks} for arch in archs]
    )


def answering_depths(
    predictors: Iterable[FittedPredictor],
    space: TransformerSpace,
    *,
    runtime: str,
    precision: str,
    unit: Unit,
) -> FittedPredictor | None:
    """Return the newest predictor of a kind of file of a text model on one thread, or None."""
    known = [
        one
        for one in predictors
        if (one.space, one.runtime, one.precision, one.unit, one.threads, one.batch)
        == (space_key(space), runtime, precision, unit, 1, 1)
    ]
    return max(known, key=lambda one: one.created, default=None)


def predicted_depth(fitted: FittedPredictor, space: TransformerSpace, arch: ArchConfig) -> Prediction:
    """Return the predicted latency, with a warning beyond the depths that were measured."""
    return foreseen(fitted, depth_table(space, [arch], fitted.unit))


def predicted_bytes(fitted: FittedPredictor, space: TransformerSpace, arch: ArchConfig) -> int:
    """Return the predicted size of the file."""
    prices: dict[str, float] = fitted.parameters["bytes"]
    seen = depth_table(space, [arch], fitted.unit)
    layers = zip(seen.names, seen.values[0].tolist(), strict=True)
    return int(np.rint(prices[_BASE] + sum(prices[name] * count for name, count in layers)))


def layer_prices_ms(fitted: FittedPredictor) -> dict[str, float]:
    """Return what a file takes without layers ("base") and what a layer of each stack adds, in ms."""
    parameters = fitted.parameters
    prices = zip(parameters["names"], parameters["prices_ms"], strict=True)
    return {_BASE: float(parameters["overhead_ms"]), **{str(name): float(price) for name, price in prices}}


def _examples(space: TransformerSpace) -> str:
    return "RUN:d1/1 RUN:d2/1" if len(space.layers) > 1 else "RUN:d1 RUN:d2"


def _stacks(space: TransformerSpace, unit: Unit) -> list[Stack]:
    return [stack for stack in space.layers if unit == "network" or stack == "decoder"]


def _column(stack: Stack) -> str:
    return f"{stack}_layers"


def _with_base(seen: FeatureTable) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.hstack([seen.values, np.ones((len(seen), 1))])


def _macs_table(space: TransformerSpace, archs: Sequence[ArchConfig], unit: Unit) -> FeatureTable:
    tokens = space.length if unit == "network" else 1
    return FeatureTable.of(
        [
            {
                MACS: float(
                    sum(
                        len(space.kept(arch)[stack]) * layer_macs(space, stack, tokens)
                        for stack in _stacks(space, unit)
                    )
                )
            }
            for arch in archs
        ]
    )
