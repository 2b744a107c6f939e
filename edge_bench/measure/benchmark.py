"""One model file measured on this machine: the record of it, with a verdict."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_bench.documents import from_document, to_document
from edge_bench.errors import BenchmarkError, ConfigError, InvalidModel, ModelCrashed
from edge_bench.files import Home, sha256_of
from edge_bench.measure.environment import circumstances
from edge_bench.measure.footprint import footprint
from edge_bench.measure.inputs import feeding_of, unusual_length
from edge_bench.measure.inspection import check_exists, check_model, runtime_for
from edge_bench.measure.intervals import p50_interval
from edge_bench.measure.lock import exclusive
from edge_bench.measure.modes import Mode, Told
from edge_bench.measure.modes.burst import Burst
from edge_bench.measure.runtimes import Profile
from edge_bench.measure.sandbox import run_job
from edge_bench.measure.scenarios import Scenario
from edge_bench.measure.scenarios.single_stream import SingleStream
from edge_bench.measure.timing import Plan
from edge_bench.measure.verdict import judge
from edge_bench.records import THIS_MACHINE, Artifact, BenchmarkResult, Metric, TimingBlock
from edge_bench.records.result import Verdict
from edge_bench.store import now

# Loading, checking and warming up a large model may take this long before anything is timed.
SETUP_S = 300
INTERRUPTED = "interrupted"

__all__ = ["CutShort", "benchmark", "runtime_for"]


class CutShort(BenchmarkError):
    """A measurement that ended before its time; `result` holds what was measured until then.

    Its `__cause__` is what cut it: a `KeyboardInterrupt`, or the error that the child died of.
    """

    def __init__(self, result: BenchmarkResult, cause: str) -> None:
        super().__init__(cause)
        self.result = result


def benchmark(
    model: Path,
    *,
    home: Home,
    runtime: str | None = None,
    threads: int = 1,
    batch: int | None = None,
    length: int | None = None,
    mode: Mode | None = None,
    scenario: Scenario | None = None,
    precision_target: float = 0.02,
    min_runs: int | None = None,
    max_seconds: float | None = None,
    profiled: bool = False,
    metrics: tuple[Metric, ...] = (),
    notes: tuple[str, ...] = (),
    artifact: Artifact | None = None,
    device: str = THIS_MACHINE,
    waiting: Callable[[], None] = lambda: None,
) -> BenchmarkResult:
    """Measure a model file on random inputs and return the record.

    Memory has a child of its own, since watching it would disturb the timing. That child runs first
    and checks the answers too: a file that crashes its runtime, or answers no finite numbers, is
    known before anything is timed, and the timed child's first inference is truly its first.

    Args:
        model: the file.
        home: whose lock lets one benchmark run at a time.
        runtime: name of a runtime; None takes the one that reads the file's ending.
        threads: intra-operator threads.
        batch: examples an inference; None takes a query's if the file does, else 1.
        length: tokens in a sequence of a text model; None is what its record says, else a usual one.
        mode: when inferences are issued; None is back to back.
        scenario: what a query is; None is single-stream.
        precision_target: half-width of p50's 95 % interval at which to stop, as a share of p50.
        min_runs: queries to count at least, time permitting; None is as many as the mode wants.
        max_seconds: time for warm inferences, polluted ones included; None is the mode's own.
        profiled: whether a pass of its own tells the operators' times, where they ran, and what of the
            memory is the model's.
        metrics: the file's quality, for the record.
        notes: what was assumed on the way, for the record.
        artifact: the stored artifact that this file is, if it is one.
        device: the name results are kept under.
        waiting: called once if another benchmark has to end first.

    Raises:
        ConfigError: no such file, or its batch or length is fixed at another size.
        RuntimeUnavailable: no such runtime reads it.
        InvalidModel, ModelCrashed: the runtime refuses the file, or died of it.
        CutShort: interrupted, or the child died, when some of it was measured already.
    """
    mode, scenario = mode or Burst(), scenario or SingleStream()
    check_exists(model)
    runtime = runtime or runtime_for(model)
    check_model(model, runtime=runtime)
    plan = Plan(
        precision=precision_target,
        min_runs=mode.min_runs if min_runs is None else min_runs,
        max_seconds=mode.max_seconds if max_seconds is None else max_seconds,
    )
    timeout_s = SETUP_S + 2 * plan.max_seconds
    with exclusive(home, waiting=waiting):
        job = {
            "runtime": runtime,
            "model": str(model.resolve()),
            "threads": threads,
            "feeding": to_document(feeding_of(artifact, length)),
        }
        weighed = _weigh(job, batch, scenario.samples_per_query, timeout_s)
        profile = _profile({**job, **weighed}, timeout_s) if profiled else Profile()
        told, cut = _measure({**job, **weighed}, mode, plan, timeout_s)
    result = BenchmarkResult(
        id=str(uuid.uuid4()),
        artifact=artifact.id if artifact else None,
        model=artifact.name if artifact else model.name,
        digest=sha256_of(model),
        format=model.suffix.lstrip(".").lower(),
        precision=artifact.precision if artifact else told.precision,
        device=device,
        runtime=runtime.replace("-", "_"),
        runtime_version=told.runtime_version,
        threads=threads,
        batch=weighed["batch"],
        load_ms=told.load_ms,
        first_ms=told.first.latencies_ns[0] / 1e6,
        **_judged(told, plan, cut),
        peak_memory_mb=weighed["peak_memory_mb"],
        stopped_by=told.stopped_by,
        environment={
            **circumstances(
                runtime_version=told.runtime_version,
                delegate=told.delegate,
                threads=threads,
                folder=Path.cwd(),
            ),
            "input_shapes": dict(told.input_shapes),
        },
        created=now(),
        mode=mode.name,
        scenario=scenario.name,
        samples_per_query=weighed["batch"] * weighed["invocations"],
        interval_ms=mode.idle_ms(),
        operators=profile.operators,
        placements=profile.placements,
        metrics=metrics,
        loads_ms=told.loads_ms,
        notes=(*notes, *_notes(weighed), *profile.notes),
        footprint=footprint(model, feeding=feeding_of(artifact, length)) if profiled else None,
        length=unusual_length(artifact, length),
    )
    if cut is not None:
        raise CutShort(result, result.stopped_by) from cut
    return result


def _weigh(job: Mapping[str, Any], batch: int | None, samples: int, timeout_s: float) -> dict[str, Any]:
    """Return the peak memory, the batch that queries run in and how many invocations each takes."""
    if batch is None and samples > 1:
        with suppress(ConfigError, InvalidModel, ModelCrashed):
            told = run_job("memory", {**job, "batch": samples}, timeout_s=timeout_s).document
            if told["batched"]:
                return {**told, "batch": samples, "invocations": 1}
    size = batch or 1
    if samples > size and samples % size:
        raise ConfigError(
            f"queries of {samples} examples are no whole number of batches of {size}",
            hint=f"--samples-per-query {samples // size * size} or {(samples // size + 1) * size}",
        )
    told = run_job("memory", {**job, "batch": size}, timeout_s=timeout_s).document
    return {**told, "batch": size, "invocations": max(1, samples // size)}


def _profile(job: Mapping[str, Any], timeout_s: float) -> Profile:
    """Return the profile; that a model cannot be watched is no reason not to measure it."""
    try:
        told = run_job("profile", job, timeout_s=timeout_s).document["profile"]
    except (InvalidModel, ModelCrashed) as error:
        return Profile(notes=(f"no profile: {error}",))
    return from_document(Profile, told, where="profile")


def _measure(
    job: Mapping[str, Any], mode: Mode, plan: Plan, timeout_s: float
) -> tuple[Told, BaseException | None]:
    """Measure as `mode` does; what cuts it short is returned where something was measured by then."""
    heard: list[Told] = []

    def child(plan: Plan) -> Told:
        journal: list[dict[str, Any]] = []
        try:
            asked = {**job, "plan": to_document(plan)}
            told = from_document(
                Told, run_job("time", asked, journal=journal, timeout_s=timeout_s).document, where="told"
            )
        except (KeyboardInterrupt, ModelCrashed):
            heard.extend(_partly(journal))
            raise
        heard.append(told)
        return told

    try:
        return mode.measure(child, plan), None
    except (KeyboardInterrupt, ModelCrashed) as error:
        cause = INTERRUPTED if isinstance(error, KeyboardInterrupt) else str(error)
        told = mode.together(heard, cause) if heard else None
        if told is None or not told.blocks:
            raise
        return told, error


def _partly(journal: list[dict[str, Any]]) -> list[Told]:
    """Return what a child that was cut short wrote of itself; nothing if it had not begun."""
    if not journal:
        return []
    blocks = from_document(tuple[TimingBlock, ...], [line["block"] for line in journal[1:]], where="blocks")
    return [replace(from_document(Told, journal[0], where="told"), blocks=blocks)]


def _judged(told: Told, plan: Plan, cut: BaseException | None) -> dict[str, Any]:
    blocks = told.blocks
    if not any(block.counted for block in blocks):
        # Only of a measurement that was cut short may none be left.
        blocks = tuple(replace(block, counted=True) for block in blocks)
    low, high = p50_interval([block.latencies_ns for block in blocks if block.counted])
    verdict: Verdict
    verdict, cause = judge(blocks, told.observed, precision=plan.precision)
    if cut is not None:
        verdict, cause = "inconclusive", told.stopped_by
    return {
        "blocks": blocks,
        "p50_low_ms": low / 1e6,
        "p50_high_ms": high / 1e6,
        "verdict": verdict,
        "verdict_cause": cause,
    }


def _notes(weighed: Mapping[str, Any]) -> list[str]:
    invocations, batch = weighed["invocations"], weighed["batch"]
    if invocations == 1:
        return []
    return [f"a query is {invocations} invocations with a batch of {batch}: the file takes no larger one"]
