"""Fitting a predictor on measured networks, and saying how far it errs on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_bench import variants
from edge_bench.choose.features import (
    BLOCK_KINDS,
    BLOCK_SHAPE,
    SHAPE,
    block_features,
    features,
    part_features,
)
from edge_bench.choose.features import blocks as blocks_of
from edge_bench.choose.predictors import (
    DEVICE,
    BlockLearner,
    FeatureTable,
    LatencyPredictor,
    Matrix,
    Predictions,
)
from edge_bench.documents import digest
from edge_bench.errors import NotFittedError
from edge_bench.records import (
    AnySpace,
    ArchConfig,
    FittedPredictor,
    HeldOut,
    Operator,
    PlainSpace,
    Prediction,
    SearchSpace,
    operators,
)
from edge_bench.statistics import kendall, relative_errors, spearman
from edge_bench.store import now

PREDICTORS = "edge_bench.choose.predictors"
BASELINE = "line"
DEFAULT = "corrected"
# 1.645 standard deviations hold 90 % of a normal error, and its mean size is 0.798 of one.
NORMAL_90 = 2.06
OUTSIDE = "outside what was measured"
# No measurement tells how far prices of blocks err there; half as much again is a guess.
OUTSIDE_FACTOR = 1.5


@dataclass(frozen=True)
class MeasuredBlock:
    """A block of operators and the latency in ms of a file that holds nothing else."""

    operators: tuple[Operator, ...]
    latency_ms: float


def fit_predictor(
    space: SearchSpace,
    archs: Sequence[ArchConfig],
    latencies_ms: Sequence[float],
    *,
    kind: str,
    device: str,
    runtime: str,
    threads: int,
    held_out_archs: Sequence[ArchConfig],
    held_out_latencies_ms: Sequence[float],
    precision: str = "fp32",
    blocks: Sequence[MeasuredBlock] = (),
) -> FittedPredictor:
    """Fit the predictor `kind` and the baseline on the same networks, and judge both on others.

    Args:
        space: the search space of all the networks.
        archs: the networks to fit on, with their latencies in ms.
        held_out_archs: networks that are in no way used to fit, with their latencies in ms.
        blocks: blocks measured alone, for a predictor that can use them.

    Raises:
        UnknownVariant: no predictor of that kind.
        ValueError: a network stands on both sides.
    """
    if {arch.key for arch in archs} & {arch.key for arch in held_out_archs}:
        raise ValueError("a held-out network is among the fitted ones")
    seen = FeatureTable.of([features(space, arch) for arch in archs])
    unseen = FeatureTable.of([features(space, arch) for arch in held_out_archs])
    predictor = load_predictor(kind)()
    method = f"{kind} on {len(archs)} whole networks"
    if blocks and isinstance(predictor, BlockLearner):
        predictor.beside(_table_of_blocks(blocks, seen.names), [one.latency_ms for one in blocks])
    predictor.fit(seen, latencies_ms)
    if blocks and isinstance(predictor, BlockLearner):
        helped = "" if predictor.uses_blocks else ", which did not help and are left out"
        method += f" and {len(blocks)} blocks measured alone{helped}"
    baseline = load_predictor(BASELINE)().fit(seen, latencies_ms)
    return FittedPredictor(
        id=f"{device}-{runtime}-{threads}-{precision}-{space_key(space)}-{kind}",
        kind=kind,
        device=device,
        runtime=runtime,
        threads=threads,
        precision=precision,
        space=space_key(space),
        fitted_networks=len(archs),
        parameters=predictor.parameters(),
        validity=validity(seen),
        held_out=judge(predictor.predict(unseen), held_out_latencies_ms),
        baseline=judge(baseline.predict(unseen), held_out_latencies_ms),
        created=now(),
        method=method,
    )


def _table_of_blocks(blocks: Sequence[MeasuredBlock], names: Sequence[str]) -> FeatureTable:
    """Return the features of blocks in the columns of networks."""
    rows = [part_features(one.operators) for one in blocks]
    return FeatureTable.of([{name: row.get(name, 0.0) for name in names} for row in rows])


def validity(seen: FeatureTable) -> dict[str, tuple[float, float]]:
    """Return the smallest and largest value of each feature.

    Those that tell blocks apart are left out: of a block that no fitted network has, the operators tell.
    """
    ends = zip(seen.names, seen.values.min(0).tolist(), seen.values.max(0).tolist(), strict=True)
    return {name: (low, high) for name, low, high in ends if not name.startswith(SHAPE)}


def block_validity(seen: FeatureTable) -> dict[str, tuple[float, float]]:
    """Return the smallest and largest value of what makes a block's shape, kind by kind."""
    return _spans(seen, "block")


def space_key(space: AnySpace) -> str:
    """Return what tells a search space from others of its name: name and digest."""
    return f"{space.name}-{digest(space, length=8)}"


def fits(fitted: FittedPredictor, space: SearchSpace | PlainSpace) -> bool:
    """Say whether a predictor answers for networks of `space`."""
    return fitted.unit == "block" or fitted.space == space_key(space)


def load_predictor(kind: str) -> type[LatencyPredictor]:
    """Return the predictor in `choose/predictors/` of that name; `UnknownVariant` for none."""
    return variants.load(LatencyPredictor, PREDICTORS, kind)


def open_predictor(fitted: FittedPredictor) -> LatencyPredictor:
    """Return the predictor that `fitted` describes.

    Raises:
        NotFittedError: another version of edge-bench wrote it, in a form of its own.
    """
    try:
        return load_predictor(fitted.kind).from_parameters(fitted.parameters)
    except (KeyError, TypeError, ValueError) as error:
        raise NotFittedError(
            f"predictor '{fitted.id}' is not in the form that this version reads",
            hint="fit it again: edge-bench fit",
        ) from error


def predict(fitted: FittedPredictor, space: SearchSpace | PlainSpace, arch: ArchConfig) -> Prediction:
    """Return the predicted latency, with a warning where `arch` lies outside what was measured.

    There the interval of summed prices of blocks is at least `OUTSIDE_FACTOR` wide to either side.
    """
    if isinstance(space, SearchSpace) and fitted.unit == "network":
        return foreseen(fitted, network_table(space, [arch], fitted.sources))
    seen = FeatureTable.of([block_features(block) for block in blocks_of(operators(space, arch))])
    prediction = summed(open_predictor(fitted).predict(seen), fitted)
    warning = outside(seen, fitted)
    if not warning:
        return prediction
    latency = prediction.latency_ms
    return Prediction(
        latency_ms=latency,
        low_ms=min(prediction.low_ms, latency / OUTSIDE_FACTOR),
        high_ms=max(prediction.high_ms, latency * OUTSIDE_FACTOR),
        warning=warning,
    )


def foreseen(fitted: FittedPredictor, seen: FeatureTable) -> Prediction:
    """Return the latency of what one row of features tells of, with a warning outside what was measured."""
    (prediction,) = open_predictor(fitted).predict(seen)
    return replace(prediction, warning=outside(seen, fitted))


def summed(priced: Predictions, fitted: FittedPredictor) -> Prediction:
    """Return the latency of a network from the prices of its blocks.

    Of the blocks' relative errors the least is taken to be noise, each block's its own, so that it
    averages out over a network; what is above it comes of being unlike what was measured, and leans one way
    in all. Where whole networks were held out, their mean error is added: a normal error of that mean lies
    within 2.06 times it nine times of ten. Where none was, even the noise is taken to lean one way.
    """
    latency = float(priced.latency_ms.sum())
    reach = np.log(priced.high_ms / np.maximum(priced.low_ms, 1e-12)) / 2
    noise = float(reach.min())
    common = float(((reach - noise) * priced.latency_ms).sum())
    if fitted.held_out_unit == "network":
        apart = noise * float(np.sqrt((priced.latency_ms**2).sum()))
        share = float(np.hypot(np.hypot(apart, common), NORMAL_90 * fitted.held_out.mape * latency))
    else:
        share = common + noise * latency
    factor = float(np.exp(share / latency))
    return Prediction(latency_ms=latency, low_ms=latency / factor, high_ms=latency * factor)


def network_table(
    space: SearchSpace, archs: Sequence[ArchConfig], sources: Sequence[FittedPredictor] = ()
) -> FeatureTable:
    """Return features of whole networks, after them what each of `sources` predicts, in ms."""
    own = FeatureTable.of([features(space, arch) for arch in archs])
    names = [source_column(source) for source in sources]
    latencies = [network_latencies(source, space, archs) for source in sources]
    return FeatureTable(names=(*own.names, *names), values=np.column_stack([own.values, *latencies]))


def source_column(source: FittedPredictor) -> str:
    """Return what the latencies of another device's predictor are called as a feature."""
    return f"{DEVICE}{source.id}"


def network_latencies(fitted: FittedPredictor, space: SearchSpace, archs: Sequence[ArchConfig]) -> Matrix:
    """Return what a predictor says of whole networks, in ms [n]; `predict` tells also how sure it is."""
    predictor = open_predictor(fitted)
    if fitted.unit == "network":
        return predictor.predict(network_table(space, archs, fitted.sources)).latency_ms
    parts = [blocks_of(operators(space, arch)) for arch in archs]
    seen = FeatureTable.of([block_features(block) for each in parts for block in each])
    starts = np.cumsum([0, *(len(each) for each in parts[:-1])])
    return np.asarray(np.add.reduceat(predictor.predict(seen).latency_ms, starts), np.float64)


def judge(predicted: Predictions, latencies_ms: npt.ArrayLike) -> HeldOut:
    """Return the errors of predictions of networks that were not used to fit."""
    latencies = np.asarray(latencies_ms, np.float64)
    errors = relative_errors(predicted.latency_ms, latencies)
    covered = (predicted.low_ms <= latencies) & (latencies <= predicted.high_ms)
    return HeldOut(
        networks=len(latencies),
        mape=float(errors.mean()),
        within_5_percent=float((errors <= 0.05).mean()),
        within_10_percent=float((errors <= 0.10).mean()),
        spearman=spearman(predicted.latency_ms, latencies),
        kendall=kendall(predicted.latency_ms, latencies),
        coverage=float(np.mean(covered)),
    )


def left_out_in_turn(kind: type[LatencyPredictor], seen: FeatureTable, latencies_ms: Matrix) -> HeldOut:
    """Return the errors on each row of `seen`, told by a predictor that was fitted on the others."""
    told = []
    for row in range(len(seen)):
        rest = np.arange(len(seen)) != row
        told.append(kind().fit(seen.taken(rest), latencies_ms[rest]).predict(seen.taken([row])))
    latency, low, high = (
        np.concatenate([getattr(one, name) for one in told]) for name in ("latency_ms", "low_ms", "high_ms")
    )
    return judge(Predictions(latency_ms=latency, low_ms=low, high_ms=high), latencies_ms)


def outside(seen: FeatureTable, fitted: FittedPredictor) -> str:
    """Return what lies furthest outside what was measured, in words; empty where nothing does."""
    worst, told = 1.0, ""
    if fitted.unit == "block" and not seen.columns([f"is_{kind}" for kind in BLOCK_KINDS]).any(1).all():
        return f"{OUTSIDE}: it adds or pools outside of blocks, and none of that was measured"
    for name, values in _spans(seen, fitted.unit).items():
        if name not in fitted.validity and fitted.unit == "block":
            kind = name.partition(".")[0]
            return f"{OUTSIDE}: a block of kind {kind} is in it, and none was measured"
        low, high = fitted.validity.get(name, (0.0, 0.0))
        for value in values:
            # A tenth beyond either end is no extrapolation worth a warning.
            if 0.9 * low <= value <= 1.1 * high:
                continue
            # One more than each, so that having none of something is no infinity beyond having some.
            beyond = max((value + 1) / (high + 1), (low + 1) / (value + 1))
            if not told or beyond > worst:
                worst = beyond
                told = f"{OUTSIDE}: {name} is {value:.4g}, measured were {low:.4g} to {high:.4g}"
    return told


def _spans(seen: FeatureTable, unit: str) -> dict[str, tuple[float, float]]:
    """Return the smallest and largest value of each feature, of blocks the shape alone and kind by kind."""
    if unit != "block":
        return validity(seen)
    found: dict[str, tuple[float, float]] = {}
    for kind in BLOCK_KINDS:
        of_kind = seen.taken(seen.columns([f"is_{kind}"])[:, 0] > 0)
        if len(of_kind):
            spans = validity(of_kind)
            found |= {f"{kind}.{name}": spans[name] for name in BLOCK_SHAPE}
    return found
