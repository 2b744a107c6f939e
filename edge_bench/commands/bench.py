"""measure model files on this machine: latency with an interval, memory, and a verdict"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.errors import OK, ConfigError, EdgeBenchError, StoreError, did_you_mean
from edge_bench.files import Home, sha256_of
from edge_bench.measure.benchmark import benchmark, runtime_for
from edge_bench.measure.inspection import check_exists
from edge_bench.records import THIS_MACHINE, Artifact, BenchmarkResult
from edge_bench.store import ResultStore

COLUMNS = (
    "model format runtime threads precision p50_ms ± p90_ms p90_bound_ms p99_ms load_ms first_ms memory_mb"
    " runs verdict"
)


class Bench(Command):
    """Each file's result is stored as soon as it is there; a file that fails stops no other."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "files", metavar="FILE", nargs="*", help="a .onnx or .tflite file, or a stored artifact's id"
        )
        parser.add_argument(
            "--all", action="store_true", help="every stored artifact that has no result here yet"
        )
        parser.add_argument("--runtime", metavar="R", help="default: the one that reads the file's ending")
        parser.add_argument(
            "--threads", metavar="N[,N]", default="1", help="thread counts, e.g. 1,2 (default: 1)"
        )
        parser.add_argument("--batch", type=int, default=1, help="examples an inference (default: 1)")
        parser.add_argument(
            "--precision",
            type=float,
            default=0.02,
            help="stop when p50 is known to ± this share (default: 0.02)",
        )
        parser.add_argument(
            "--max-seconds", type=float, default=5.0, help="time for warm runs of a file (default: 5)"
        )

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        plan = _plan(options)
        with context.store() as store:
            targets, failures = _targets(options, store, context.home, plan)
            if not targets and not failures:
                return Outcome(document={"results": []}, text="every stored artifact has a result here")
            results = _bench(targets, plan, store, context, failures)
        if len(failures) == 1 and not results:
            raise failures[0].error
        return _outcome(results, failures)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How each file is measured."""

    runtime: str | None = None
    threads: tuple[int, ...] = (1,)
    batch: int = 1
    precision: float = 0.02
    max_seconds: float = 5.0


@dataclass(frozen=True)
class Target:
    """A file to measure, and the artifact that it is, if it is one."""

    file: Path
    artifact: Artifact | None


@dataclass(frozen=True)
class Failure:
    """What was asked for and the error it ended with."""

    model: str
    error: EdgeBenchError


def bench_artifacts(
    context: Context,
    artifacts: Sequence[Artifact],
    *,
    threads: Sequence[int] = (1,),
    precision: float = 0.02,
    max_seconds: float = 5.0,
) -> list[BenchmarkResult]:
    """Measure stored artifacts in the runtime that reads each, storing every result at once.

    Raises:
        EdgeBenchError: the first failure; what was measured before it is stored.
    """
    plan = Plan(threads=tuple(threads), precision=precision, max_seconds=max_seconds)
    targets = [Target(context.home.absolute(artifact.file), artifact) for artifact in artifacts]
    failures: list[Failure] = []
    with context.store() as store:
        results = _bench(targets, plan, store, context, failures)
    if failures:
        raise failures[0].error
    return results


def _bench(
    targets: Sequence[Target],
    plan: Plan,
    store: ResultStore,
    context: Context,
    failures: list[Failure],
) -> list[BenchmarkResult]:
    results: list[BenchmarkResult] = []
    jobs = [(target, threads) for target in targets for threads in plan.threads]
    for target, threads in context.track(jobs, description="bench", total=len(jobs)):
        try:
            result = benchmark(
                target.file,
                home=context.home,
                runtime=plan.runtime,
                threads=threads,
                batch=plan.batch,
                precision_target=plan.precision,
                max_seconds=plan.max_seconds,
                artifact=target.artifact,
                waiting=lambda: context.say("waiting for another benchmark on this machine to end"),
            )
        except StoreError:
            raise
        except EdgeBenchError as error:
            failures.append(Failure(str(target.file), error))
            continue
        store.add(result)
        results.append(result)
    return results


def _plan(options: argparse.Namespace) -> Plan:
    try:
        threads = tuple(int(word) for word in options.threads.split(","))
    except ValueError:
        raise ConfigError(f"--threads is '{options.threads}'; numbers are expected, e.g. 1,2") from None
    limits: list[tuple[str, bool, str]] = [
        ("--threads", all(1 <= count <= 256 for count in threads), "from 1 to 256"),
        ("--batch", 1 <= options.batch <= 65536, "from 1 to 65536"),
        ("--precision", 0 < options.precision < 1, "above 0 and below 1"),
        ("--max-seconds", 0 < options.max_seconds <= 3600, "above 0 and at most 3600"),
    ]
    for name, fits, words in limits:
        if not fits:
            raise ConfigError(f"{name} must be {words}")
    return Plan(
        runtime=options.runtime,
        threads=threads,
        batch=options.batch,
        precision=options.precision,
        max_seconds=options.max_seconds,
    )


def _targets(
    options: argparse.Namespace, store: ResultStore, home: Home, plan: Plan
) -> tuple[list[Target], list[Failure]]:
    """Return the files that are asked for, and what was asked for and is not there."""
    artifacts = store.artifacts()
    if not options.files and not options.all:
        raise ConfigError(
            "nothing to bench: name model files or artifacts, or give --all", hint="edge-bench bench --help"
        )
    targets: list[Target] = []
    failures: list[Failure] = []
    for given in options.files:
        try:
            targets.append(target_of(given, artifacts, home))
        except EdgeBenchError as error:
            failures.append(Failure(given, error))
    if options.all:
        measured = {
            (result.digest, result.runtime, result.threads, result.batch)
            for result in store.results(device=THIS_MACHINE)
            if result.measured_here
        }
        for artifact in artifacts:
            file = home.absolute(artifact.file)
            runtime = (plan.runtime or runtime_for(file)).replace("-", "_")
            wanted = {(artifact.digest, runtime, threads, plan.batch) for threads in plan.threads}
            if not wanted <= measured:
                targets.append(Target(file, artifact))
    return targets, failures


def target_of(given: str, artifacts: Sequence[Artifact], home: Home) -> Target:
    """Return the file that a path, or a stored artifact's id or name, stands for.

    Raises:
        ConfigError: neither a file nor an artifact; the nearest id is told.
    """
    file = Path(given).expanduser()
    if not file.exists():
        named = [artifact for artifact in artifacts if given in (artifact.id, artifact.name)]
        if named:
            return Target(home.absolute(named[-1].file), named[-1])
        ids = [artifact.id for artifact in artifacts]
        raise ConfigError(f"there is no file and no artifact '{given}'.{did_you_mean(given, ids)}")
    check_exists(file)
    digest = sha256_of(file)
    return Target(file, next((one for one in artifacts if one.digest == digest), None))


def _outcome(results: Sequence[BenchmarkResult], failures: Sequence[Failure]) -> Outcome:
    document: dict[str, Any] = {"results": [result.summary() for result in results]}
    lines = [table([_row(result) for result in results], columns=COLUMNS.split())] if results else []
    lines += [f"{one.model} ({one.runtime}): {one.verdict}: {one.verdict_cause}" for one in results]
    if failures:
        document["failures"] = [
            {
                "model": failure.model,
                "kind": type(failure.error).__name__,
                "message": failure.error.message,
                "status": failure.error.status,
            }
            for failure in failures
        ]
        lines += [f"failed: {failure.model}: {failure.error.message}" for failure in failures]
    status = max((failure.error.status for failure in failures), default=OK)
    return Outcome(document=document, text="\n".join(lines), status=status)


def _row(result: BenchmarkResult) -> dict[str, Any]:
    middle, low, high = result.p50_bounds_ms
    width = f"{max(high - middle, middle - low) / middle:.1%}" if middle else None
    return {**result.summary(), "±": width, "memory_mb": result.peak_memory_mb}
