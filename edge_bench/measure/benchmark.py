"""One model file measured on this machine: the record of it, with a verdict."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_bench.documents import from_document, to_document
from edge_bench.files import Home, sha256_of
from edge_bench.measure.environment import fingerprint
from edge_bench.measure.inspection import check_exists, check_model, runtime_for
from edge_bench.measure.intervals import p50_interval
from edge_bench.measure.lock import exclusive
from edge_bench.measure.sandbox import run_job
from edge_bench.measure.timing import Plan
from edge_bench.measure.verdict import judge
from edge_bench.measure.witness import Observed
from edge_bench.records import THIS_MACHINE, Artifact, BenchmarkResult, TimingBlock
from edge_bench.store import now

# Loading, checking and warming up a large model may take this long before anything is timed.
SETUP_S = 300

__all__ = ["benchmark", "runtime_for"]


def benchmark(
    model: Path,
    *,
    home: Home,
    runtime: str | None = None,
    threads: int = 1,
    batch: int = 1,
    precision_target: float = 0.02,
    min_runs: int = 64,
    max_seconds: float = 5.0,
    artifact: Artifact | None = None,
    device: str = THIS_MACHINE,
    waiting: Callable[[], None] = lambda: None,
) -> BenchmarkResult:
    """Measure a model file on random inputs, back to back, and return the record.

    Memory has a child of its own, since watching it would disturb the timing. That child runs first
    and checks the answers too: a file that crashes its runtime, or answers no finite numbers, is
    known before anything is timed, and the timed child's first inference is truly its first.

    Args:
        model: the file.
        home: whose lock lets one benchmark run at a time.
        runtime: name of a runtime; None takes the one that reads the file's ending.
        threads: intra-operator threads.
        batch: examples an inference.
        precision_target: half-width of p50's 95 % interval at which to stop, as a share of p50.
        min_runs: inferences to count at least, time permitting.
        max_seconds: time for warm inferences, polluted ones included.
        artifact: the stored artifact that this file is, if it is one.
        device: the name results are kept under.
        waiting: called once if another benchmark has to end first.

    Raises:
        ConfigError: no such file, or its batch is fixed at another size.
        RuntimeUnavailable: no such runtime reads it.
        InvalidModel, ModelCrashed: the runtime refuses the file, or died of it.
    """
    check_exists(model)
    runtime = runtime or runtime_for(model)
    check_model(model, runtime=runtime)
    plan = Plan(precision=precision_target, min_runs=min_runs, max_seconds=max_seconds)
    job = {"runtime": runtime, "model": str(model.resolve()), "batch": batch, "threads": threads}
    timeout_s = SETUP_S + 2 * max_seconds
    with exclusive(home, waiting=waiting):
        memory = run_job("memory", job, timeout_s=timeout_s).document
        told = run_job("time", {**job, "plan": to_document(plan)}, timeout_s=timeout_s).document
    blocks = from_document(tuple[TimingBlock, ...], told["blocks"], where="blocks")
    counted = [block.latencies_ns for block in blocks if block.counted]
    low, high = p50_interval(counted)
    observed = from_document(Observed, told["observed"], where="observed")
    verdict, cause = judge(blocks, observed, precision=precision_target)
    environment: dict[str, Any] = {**fingerprint(), "input_shapes": told["input_shapes"]}
    return BenchmarkResult(
        id=str(uuid.uuid4()),
        artifact=artifact.id if artifact else None,
        model=artifact.name if artifact else model.name,
        digest=sha256_of(model),
        format=model.suffix.lstrip(".").lower(),
        precision=artifact.precision if artifact else told["precision"],
        device=device,
        runtime=runtime.replace("-", "_"),
        runtime_version=told["runtime_version"],
        threads=threads,
        batch=batch,
        load_ms=told["load_ms"],
        first_ms=told["first_ms"],
        blocks=blocks,
        p50_low_ms=low / 1e6,
        p50_high_ms=high / 1e6,
        peak_memory_mb=memory["peak_memory_mb"],
        verdict=verdict,
        verdict_cause=cause,
        stopped_by=told["stopped_by"],
        environment=environment,
        created=now(),
    )
