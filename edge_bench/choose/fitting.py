"""Fitting a predictor on measured networks, and saying how far it errs on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edge_bench import variants
from edge_bench.choose.features import features
from edge_bench.choose.predictors import LatencyPredictor
from edge_bench.documents import digest
from edge_bench.records import ArchConfig, FittedPredictor, HeldOut, Prediction, SearchSpace
from edge_bench.statistics import kendall, relative_errors, spearman
from edge_bench.store import now

PREDICTORS = "edge_bench.choose.predictors"
BASELINE = "line"


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
) -> FittedPredictor:
    """Fit the predictor `kind` and the baseline on the same networks, and judge both on others.

    Args:
        space: the search space of all the networks.
        archs: the networks to fit on, with their latencies in ms.
        held_out_archs: networks that are in no way used to fit, with their latencies in ms.

    Raises:
        UnknownVariant: no predictor of that kind.
        ValueError: a network stands on both sides.
    """
    if {arch.key for arch in archs} & {arch.key for arch in held_out_archs}:
        raise ValueError("a held-out network is among the fitted ones")
    seen = [features(space, arch) for arch in archs]
    unseen = [features(space, arch) for arch in held_out_archs]
    predictor = _load(kind)().fit(seen, latencies_ms)
    baseline = _load(BASELINE)().fit(seen, latencies_ms)
    validity = {name: (min(one[name] for one in seen), max(one[name] for one in seen)) for name in seen[0]}
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
        validity=validity,
        held_out=judge(predictor, unseen, held_out_latencies_ms),
        baseline=judge(baseline, unseen, held_out_latencies_ms),
        created=now(),
    )


def space_key(space: SearchSpace) -> str:
    """Return what tells a search space from others of its name: name and digest."""
    return f"{space.name}-{digest(space, length=8)}"


def open_predictor(fitted: FittedPredictor) -> LatencyPredictor:
    """Return the predictor that `fitted` describes."""
    return _load(fitted.kind).from_parameters(fitted.parameters)


def predict(fitted: FittedPredictor, space: SearchSpace, arch: ArchConfig) -> Prediction:
    """Return the predicted latency, with a warning where `arch` lies outside the fitted networks."""
    seen = features(space, arch)
    prediction = open_predictor(fitted).predict(seen)
    outside = [name for name, value in seen.items() if not _within(value, fitted.validity.get(name))]
    if not outside:
        return prediction
    low, high = fitted.validity.get(outside[0], (0.0, 0.0))
    return replace(
        prediction,
        warning=f"outside what was measured: {outside[0]} is {seen[outside[0]]:.4g}, "
        f"measured were {low:.4g} to {high:.4g}",
    )


def judge(
    predictor: LatencyPredictor, unseen: Sequence[Mapping[str, float]], latencies_ms: Sequence[float]
) -> HeldOut:
    """Return the errors of `predictor` on networks it has not seen."""
    predictions = [predictor.predict(one) for one in unseen]
    predicted = np.array([one.latency_ms for one in predictions])
    errors = relative_errors(predicted, latencies_ms)
    covered = [
        one.low_ms <= latency <= one.high_ms for one, latency in zip(predictions, latencies_ms, strict=True)
    ]
    return HeldOut(
        networks=len(unseen),
        mape=float(errors.mean()),
        within_5_percent=float((errors <= 0.05).mean()),
        within_10_percent=float((errors <= 0.10).mean()),
        spearman=spearman(predicted, latencies_ms),
        kendall=kendall(predicted, latencies_ms),
        coverage=float(np.mean(covered)),
    )


def _load(kind: str) -> type[LatencyPredictor]:
    return variants.load(LatencyPredictor, PREDICTORS, kind)


def _within(value: float, limits: tuple[float, float] | None) -> bool:
    # A tenth beyond either end is no extrapolation worth a warning.
    return limits is not None and 0.9 * limits[0] <= value <= 1.1 * limits[1]
