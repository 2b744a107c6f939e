"""Candidates from what the store holds, and the choice among them, with its reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edge_bench.choose.fitting import space_key
from edge_bench.choose.memory import file_bytes, footprint, peak_memory
from edge_bench.choose.shipped import answering, foretold, published_by
from edge_bench.data import data_name
from edge_bench.errors import NoCandidate
from edge_bench.records import (
    Artifact,
    BenchmarkResult,
    Budget,
    Candidate,
    FittedMemory,
    FittedPredictor,
    Frontier,
    Prediction,
    Subnet,
    TransformerSpace,
)
from edge_bench.records.frontier import Source

Preset = Literal["accuracy", "balanced", "speed"]
RUNTIMES: Mapping[str, str] = {"onnx": "onnxruntime", "tflite": "litert"}
ALTERNATIVES = 5
# A runtime, or a runtime and a search space.
_Weighed = str | tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One recommendation, what else was near, and why, in sentences."""

    recommended: Candidate
    alternatives: tuple[Candidate, ...]
    reasons: tuple[str, ...]


def candidates(
    subnets: Iterable[Subnet],
    artifacts: Iterable[Artifact],
    results: Iterable[BenchmarkResult],
    predictors: Iterable[FittedPredictor],
    *,
    device: str,
) -> list[Candidate]:
    """Return what could run on `device`: each file, and each subnet in each format it lacks in fp32.

    A subnet without a file has a predicted size; a peak of memory that nobody measured is predicted too,
    where peaks were measured to fit it.

    Latency is measured where the file has a result there, else imported where somebody else measured
    it, else predicted where a predictor of the device answers (`choose.shipped.answering`). Measured is of
    one thread; a prediction tells its own. What has neither is left out. The metric is the file's own where
    there is a file, else the subnet's; a file made elsewhere is one of them once its quality was measured.
    """
    by_id = {subnet.id: subnet for subnet in subnets}
    files = [one for one in artifacts if one.step_of is None]
    measured = newest_results(results, device)
    fitted = [one for one in predictors if one.device == device]
    alike = [one for one in fitted if one.threads == 1]
    weighed: dict[_Weighed, FittedMemory] = {one.runtime: one.memory for one in alike if one.memory}
    weighed |= {(one.runtime, one.space): one.memory for one in alike if one.memory}
    found = [
        _of_file(file, by_id.get(file.subnet or ""), measured, fitted, weighed, device) for file in files
    ]
    exported = {(file.subnet, file.format) for file in files if file.precision == "fp32"}
    found += [
        _of_subnet(subnet, form, fitted, weighed, device)
        for subnet in by_id.values()
        for form in RUNTIMES
        if (subnet.id, form) not in exported
    ]
    return [one for one in found if one is not None]


def pick(candidates: Sequence[Candidate], budget: Budget, *, preset: Preset = "accuracy") -> Pick:
    """Choose within a budget, on the selection split.

    "accuracy" takes the most accurate, of equals the fastest; "speed" the fastest; "balanced" the
    fastest within one point (of the metric's own scale, 0.01) of the most accurate.

    Raises:
        NoCandidate: nothing fits; the message names the nearest miss.
    """
    if not candidates:
        raise NoCandidate("there is no candidate", hint="edge-bench quickstart fills the store")
    fitting = [one for one in candidates if budget.admits(one)]
    if not fitting:
        raise NoCandidate(*_nearest_miss(candidates, budget))
    ordered = sorted(fitting, key=lambda one: (-one.quality, one.latency_ms))
    chosen = _by_preset(ordered, preset)
    front = Frontier.of(fitting)
    others = [one for one in front.members if one is not chosen]
    others.sort(key=lambda one: abs(one.latency_ms - chosen.latency_ms))
    return Pick(
        recommended=chosen,
        alternatives=tuple(sorted(others[:ALTERNATIVES], key=lambda one: one.latency_ms)),
        reasons=tuple(_reasons(chosen, fitting, list(candidates), budget, preset)),
    )


def told_threads(threads: int) -> str:
    """Return a number of threads for people; 0 is one that no source tells."""
    if not threads:
        return "a number of threads that its source does not tell"
    return f"{threads} thread{'s' if threads > 1 else ''}"


def told_quality(candidate: Candidate) -> str:
    """Return the metric for people: an accuracy in percent, anything else as it is."""
    return _told(candidate.metric.name, candidate.metric.value)


def _told(name: str, value: float) -> str:
    return f"{100 * value:.2f} %" if name == "accuracy" else f"{value:.4g} {name}"


def _by_preset(ordered: Sequence[Candidate], preset: Preset) -> Candidate:
    if preset == "accuracy":
        return ordered[0]
    fastest = sorted(ordered, key=lambda one: (one.latency_ms, -one.quality))
    if preset == "speed":
        return fastest[0]
    return next(one for one in fastest if one.quality >= ordered[0].quality - 0.01)


def newest_results(results: Iterable[BenchmarkResult], device: str) -> dict[str, BenchmarkResult]:
    """Return each file's newest result of single inferences, one after another, on one thread.

    An inconclusive one only where there is no other, and what others measured only where edge-bench
    measured nothing.
    """
    newest: dict[str, BenchmarkResult] = {}
    for result in results:
        plain = result.plain and result.device == device and result.threads == 1
        if not plain or result.artifact is None:
            continue
        known = newest.get(result.artifact)
        if known is None or _weight(result) >= _weight(known):
            newest[result.artifact] = result
    return newest


def _weight(result: BenchmarkResult) -> tuple[bool, bool]:
    return result.measured_here, result.verdict != "inconclusive"


def _of_file(
    artifact: Artifact,
    subnet: Subnet | None,
    measured: Mapping[str, BenchmarkResult],
    fitted: Sequence[FittedPredictor],
    weighed: Mapping[_Weighed, FittedMemory],
    device: str,
) -> Candidate | None:
    metric = artifact.metric("selection") or (subnet.metric("selection") if subnet else None)
    if metric is None:
        return None
    result = measured.get(artifact.id)
    runtime, warning = result.runtime if result else RUNTIMES[artifact.format], ""
    if result is not None:
        latency = result.p50_bounds_ms
        threads, origin = 1, "" if result.measured_here else result.origin
    else:
        told = subnet and _predicted(subnet, fitted, runtime, artifact.precision)
        if not told:
            return None
        known, prediction = told
        latency = (prediction.latency_ms, prediction.low_ms, prediction.high_ms)
        threads, warning, origin = known.threads, prediction.warning, published_by(known)
    return Candidate(
        name=artifact.name,
        subnet=artifact.subnet,
        artifact=artifact.id,
        format=artifact.format,
        precision=artifact.precision,
        device=device,
        runtime=runtime,
        threads=threads,
        metric=metric,
        test_metric=artifact.metric("test"),
        latency_ms=latency[0],
        latency_low_ms=latency[1],
        latency_high_ms=latency[2],
        source=_source(result),
        size_bytes=artifact.size_bytes,
        **_memory(result, runtime, weighed, subnet, artifact.precision),
        macs=subnet.macs if subnet else artifact.macs,
        verdict=result.verdict if result else "",
        warning=warning,
        data=_data_of(artifact, subnet),
        origin=origin,
        latency_is=result.p50_is if result else "median",
    )


def _memory(
    result: BenchmarkResult | None,
    runtime: str,
    weighed: Mapping[_Weighed, FittedMemory],
    subnet: Subnet | None,
    precision: str,
) -> dict[str, Any]:
    """Return a candidate's peak memory: measured or imported, else predicted where peaks were fitted.

    What was weighed in the same search space comes first, but any in the runtime will do.
    """
    if result and result.peak_memory_mb is not None:
        return {"peak_memory_mb": result.peak_memory_mb, "memory_source": _source(result)}
    if subnet is None or isinstance(subnet.space, TransformerSpace):
        return {}
    known = weighed.get((runtime, space_key(subnet.space))) or weighed.get(runtime)
    if known is None:
        return {}
    told = peak_memory(known, footprint(subnet.space, subnet.arch, precision=precision))
    return {
        "peak_memory_mb": told.peak_mb,
        "peak_memory_low_mb": told.low_mb,
        "peak_memory_high_mb": told.high_mb,
        "memory_source": "predicted",
        "memory_warning": told.warning,
    }


def _source(result: BenchmarkResult | None) -> Source:
    if result is None:
        return "predicted"
    return "measured" if result.measured_here else "imported"


def _data_of(artifact: Artifact, subnet: Subnet | None) -> str:
    table = artifact.data or (subnet.data if subnet else None)
    return data_name(table) if table else ""


def _of_subnet(
    subnet: Subnet,
    form: str,
    fitted: Sequence[FittedPredictor],
    weighed: Mapping[_Weighed, FittedMemory],
    device: str,
) -> Candidate | None:
    metric = subnet.metric("selection")
    told = _predicted(subnet, fitted, RUNTIMES[form], "fp32")
    if metric is None or told is None or isinstance(subnet.space, TransformerSpace):
        return None
    known, prediction = told
    return Candidate(
        name=f"{subnet.id}-{form}-fp32",
        subnet=subnet.id,
        artifact=None,
        format=form,
        precision="fp32",
        device=device,
        runtime=RUNTIMES[form],
        threads=known.threads,
        metric=metric,
        test_metric=subnet.metric("test"),
        latency_ms=prediction.latency_ms,
        latency_low_ms=prediction.low_ms,
        latency_high_ms=prediction.high_ms,
        source="predicted",
        size_bytes=file_bytes(subnet.space, subnet.arch, form=form),
        size_source="predicted",
        **_memory(None, RUNTIMES[form], weighed, subnet, "fp32"),
        macs=subnet.macs,
        warning=prediction.warning,
        data=data_name(subnet.data),
        origin=published_by(known),
    )


def _predicted(
    subnet: Subnet, fitted: Sequence[FittedPredictor], runtime: str, precision: str
) -> tuple[FittedPredictor, Prediction] | None:
    """Return a network's predicted latency and the predictor that answers; None where none does."""
    if isinstance(subnet.space, TransformerSpace):
        return None
    known = answering(fitted, subnet.space, [subnet.arch], runtime=runtime, precision=precision)
    return (known, foretold(known, subnet.space, subnet.arch, runtime=runtime)) if known else None


def _nearest_miss(candidates: Sequence[Candidate], budget: Budget) -> tuple[str]:
    def excess(one: Candidate) -> float:
        shares = (cost / limit if limit > 0 else float("inf") for _, _, cost, limit in _spent(one, budget))
        return max(shares, default=0.0)

    nearest = min(candidates, key=lambda one: (excess(one), one.latency_ms))
    told = [
        f"{word} {cost:.4g} {unit} against at most {limit:.4g}"
        for word, unit, cost, limit in _spent(nearest, budget)
        if cost > limit
    ]
    return (f"nothing fits the budget; the nearest miss is {nearest.name} with {' and '.join(told)}",)


def _spent(one: Candidate, budget: Budget) -> list[tuple[str, str, float, float]]:
    """Return (what, unit, cost, limit) for each limit of the budget whose cost is known."""
    size_mb = None if one.size_bytes is None else one.size_bytes / 1e6
    rows = (
        ("latency", "ms", one.latency_ms, budget.max_latency_ms),
        (_marked("size", one.size_source), "MB", size_mb, budget.max_size_mb),
        (_marked("peak memory", one.memory_source), "MB", one.peak_memory_mb, budget.max_peak_memory_mb),
    )
    return [
        (what, unit, cost, limit)
        for what, unit, cost, limit in rows
        if cost is not None and limit is not None
    ]


def _marked(what: str, source: Source | None) -> str:
    return f"predicted {what}" if source == "predicted" else what


def _reasons(
    chosen: Candidate,
    fitting: Sequence[Candidate],
    everything: Sequence[Candidate],
    budget: Budget,
    preset: Preset,
) -> list[str]:
    name = chosen.metric.name
    aims = {
        "accuracy": f"it has the best {name} on the selection split",
        "balanced": f"it is the fastest within a point of the best {name} on the selection split",
        "speed": "it is the fastest",
    }
    limit = f" of at most {budget.max_latency_ms:.4g} ms" if budget.max_latency_ms is not None else ""
    reasons = [
        f"Of {len(fitting)} candidates within the budget{limit} {aims[preset]}: {told_quality(chosen)}."
    ]
    if chosen.test_metric:
        told = _told(chosen.test_metric.name, chosen.test_metric.value)
        reasons.append(f"On the test split, which played no part in the choice, it has {told}.")
    span = f"{chosen.latency_low_ms:.4g} to {chosen.latency_high_ms:.4g} ms"
    if chosen.source == "measured":
        reasons.append(
            f"Its median latency of {chosen.latency_ms:.4g} ms ({span}) was measured here with "
            f"{chosen.runtime}; the measurement was {chosen.verdict}."
        )
    elif chosen.source == "imported":
        reasons.append(
            f"Its latency of {chosen.latency_ms:.4g} ms ({chosen.latency_is}) was not measured here: "
            f"{chosen.origin} reported it, and nothing is known of how quiet that machine was."
        )
    else:
        reasons.append(
            f"Its latency of {chosen.latency_ms:.4g} ms ({span}) is predicted, not measured"
            + (f"; it lies {chosen.warning}." if chosen.warning else ".")
        )
        if chosen.origin:
            reasons.append(
                f"The predictor was fitted on what others measured, with {told_threads(chosen.threads)}: "
                f"{chosen.origin}."
            )
    reasons += _room(chosen, budget)
    beaten = sum(chosen.dominates(one) for one in everything)
    if beaten:
        reasons.append(
            f"It dominates {beaten} of {len(everything) - 1} others: as good, as fast, and better in one."
        )
    reasons += _exchange(chosen, everything)
    return reasons


def _room(chosen: Candidate, budget: Budget) -> list[str]:
    """Say what of a limit on size or memory is not measured: predicted, or not known at all."""
    told = []
    if budget.max_size_mb is not None and chosen.size_bytes and chosen.size_source == "predicted":
        told.append(f"Its size of {chosen.size_bytes / 1e6:.4g} MB is predicted: there is no file yet.")
    if budget.max_peak_memory_mb is None:
        return told
    if chosen.peak_memory_mb is None:
        told.append(
            f"Its peak memory on {chosen.device} is not known, so that limit is not held against it."
        )
    elif chosen.memory_source == "predicted":
        low, high = chosen.peak_memory_low_mb or 0.0, chosen.peak_memory_high_mb or 0.0
        doubt = ", which is more than allowed" if high > budget.max_peak_memory_mb else ""
        told.append(
            f"Its peak memory of {chosen.peak_memory_mb:.4g} MB is predicted, not measured: "
            f"{low:.4g} to {high:.4g} MB{doubt}"
            + (f"; {chosen.memory_warning}." if chosen.memory_warning else ".")
        )
    return told


def _exchange(chosen: Candidate, everything: Sequence[Candidate]) -> list[str]:
    """Say what the next faster and the next better candidate on the front would cost and give."""
    members = Frontier.of(everything).members
    told = []
    faster = [one for one in members if one.latency_ms < chosen.latency_ms]
    if faster:
        other = faster[-1]
        told.append(
            f"Going down to {other.name} saves {chosen.latency_ms - other.latency_ms:.3g} ms and costs "
            f"{_difference(chosen, other)}."
        )
    better = [one for one in members if one.quality > chosen.quality and one.latency_ms > chosen.latency_ms]
    if better:
        other = better[0]
        told.append(
            f"Going up to {other.name} costs {other.latency_ms - chosen.latency_ms:.3g} ms and gives "
            f"{_difference(other, chosen)}."
        )
    return told


def _difference(one: Candidate, other: Candidate) -> str:
    gap = abs(one.metric.value - other.metric.value)
    return f"{100 * gap:.2f} points" if one.metric.name == "accuracy" else f"{gap:.4g} {one.metric.name}"
