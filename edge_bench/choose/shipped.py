"""Latency predictors that come with edge-bench, and which of all those there are answers for a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import device_profiles
from device_profiles import ProfileError
from edge_bench.choose.fitting import OUTSIDE, fits, predict
from edge_bench.documents import from_document
from edge_bench.errors import ConfigError
from edge_bench.records import ArchConfig, FittedPredictor, PlainSpace, Prediction, SearchSpace

MEASURED_HERE = "measured here"
# Runtimes that edge-bench exports files for; what was measured with another one stands in for these.
OURS = ("onnxruntime", "litert")
# The runtime of measurements whose source does not tell it.
UNTOLD = "untold"


def shipped(device: str) -> list[FittedPredictor]:
    """Return the predictors of a device that come with edge-bench, fitted on what others published.

    Raises:
        ConfigError: a file is not in the form that this version reads.
    """
    try:
        documents = device_profiles.predictor_documents(device)
    except ProfileError as error:
        raise ConfigError(str(error)) from error
    return [
        from_document(FittedPredictor, document, where=f"predictor {document.get('id')}")
        for document in documents
    ]


def answering(
    predictors: Iterable[FittedPredictor],
    space: SearchSpace | PlainSpace,
    archs: Sequence[ArchConfig],
    *,
    runtime: str,
    precision: str = "fp32",
) -> FittedPredictor | None:
    """Return the predictor to ask about networks of a space with one image at a time, or None.

    What was measured here counts with one thread only, as measurements do; what others published is taken
    as it is. One of that runtime comes before one of a runtime that edge-bench exports nothing for, then
    one that warns of fewest of `archs`, then one thread before several or an unknown number, then what was
    measured here before what was published, then the newest.

    Args:
        archs: what is asked about, or networks at the ends of it.
    """
    known = able(predictors, space, runtime=runtime, precision=precision)

    def rank(one: FittedPredictor) -> tuple[bool, int, bool, bool, str]:
        return (
            one.runtime == runtime,
            -sum(bool(predict(one, space, arch).warning) for arch in archs),
            *preference(one),
        )

    return max(known, key=rank, default=None)


def able(
    predictors: Iterable[FittedPredictor],
    space: SearchSpace | PlainSpace,
    *,
    runtime: str,
    precision: str = "fp32",
) -> list[FittedPredictor]:
    """Return the predictors that may be asked about networks of a space with one image at a time."""
    return [
        one
        for one in predictors
        if one.batch == 1
        and one.precision == precision
        and fits(one, space)
        and (one.threads == 1 or one.source != MEASURED_HERE)
        and (one.runtime == runtime or one.runtime not in OURS)
    ]


def preference(one: FittedPredictor) -> tuple[bool, bool, str]:
    """Return what counts between predictors of one runtime that warn alike; the largest is preferred."""
    return (one.threads == 1, one.source == MEASURED_HERE, one.created)


def foretold(
    fitted: FittedPredictor, space: SearchSpace | PlainSpace, arch: ArchConfig, *, runtime: str
) -> Prediction:
    """Return the prediction, its warning naming also what was measured otherwise than is asked."""
    found = predict(fitted, space, arch)
    return replace(found, warning=told_of_another(fitted, found.warning, runtime=runtime))


def told_of_another(fitted: FittedPredictor, warning: str, *, runtime: str) -> str:
    """Return the warning, naming also the runtime that was measured where that is another."""
    if fitted.runtime == runtime:
        return warning
    other = "a runtime that is not told" if fitted.runtime == UNTOLD else fitted.runtime
    with_another = f"{other} was measured, not {runtime}"
    return f"{warning}; {with_another}" if warning else f"{OUTSIDE}: {with_another}"


def published_by(fitted: FittedPredictor) -> str:
    """Return who published what a predictor was fitted on; empty where it was measured here."""
    return "" if fitted.source == MEASURED_HERE else fitted.source
