"""measure model files here or on a device: latency with an interval, memory, and a verdict"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from edge_bench import variants
from edge_bench.commands import Command, Context, Outcome
from edge_bench.commands._bench_report import Failure, outcome
from edge_bench.commands._judging import Judging, Quality, judging_of
from edge_bench.commands._seeing import add_arguments
from edge_bench.devices.job import Choice, job_for
from edge_bench.devices.job import Options as JobOptions
from edge_bench.devices.registry import Registry
from edge_bench.devices.transports import Transport, transport_of
from edge_bench.errors import (
    ConfigError,
    DeviceUnreachable,
    EdgeBenchError,
    MissingExtra,
    RuntimeUnavailable,
    StoreError,
    did_you_mean,
)
from edge_bench.files import Home, sha256_of
from edge_bench.measure.benchmark import CutShort, benchmark, runtime_for
from edge_bench.measure.inputs import unusual_length
from edge_bench.measure.inspection import check_exists
from edge_bench.measure.modes import Mode
from edge_bench.measure.modes.burst import Burst
from edge_bench.measure.runtimes import RUNTIMES
from edge_bench.measure.scenarios import Scenario
from edge_bench.measure.scenarios.single_stream import SingleStream
from edge_bench.records import THIS_MACHINE, Artifact, BenchmarkResult
from edge_bench.store import ResultStore

MODES = "edge_bench.measure.modes"
SCENARIOS = "edge_bench.measure.scenarios"
# What takes longer than this is announced.
LONG_S = 20
MAX_LENGTH = 65536
V = TypeVar("V", Mode, Scenario)


class Bench(Command):
    """Each file's result is stored as soon as it is there; a file that fails stops no other."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "files", metavar="FILE", nargs="*", help="a .onnx or .tflite file, or a stored artifact's id"
        )
        parser.add_argument(
            "--all", action="store_true", help="every stored artifact that has no such result yet"
        )
        parser.add_argument(
            "--device",
            metavar="NAME",
            default=THIS_MACHINE,
            help=f"a device of yours, from `edge-bench devices list` (default: {THIS_MACHINE})",
        )
        parser.add_argument(
            "--runtime",
            metavar="R[,R]",
            help=f"{', '.join(variants.names(RUNTIMES))} (default: the one that reads the file's ending)",
        )
        parser.add_argument(
            "--threads", metavar="N[,N]", default="1", help="thread counts, e.g. 1,2 (default: 1)"
        )
        parser.add_argument(
            "--batch",
            type=int,
            help="examples an inference (default: 1, or a query if the file takes it)",
        )
        parser.add_argument(
            "--length",
            type=int,
            metavar="N",
            help="tokens a text has, of text models (default: the longest that the model was made for)",
        )
        parser.add_argument(
            "--precision",
            type=float,
            default=0.02,
            help="stop when p50 is known to ± this share (default: 0.02)",
        )
        parser.add_argument(
            "--max-seconds",
            type=float,
            help="time for the runs of a file (default: 5; paced 15, cold 30, sustained 300)",
        )
        parser.add_argument(
            "--mode",
            metavar="M",
            default=Burst.name,
            help="when inferences are issued: " + _listed(MODES) + f" (default: {Burst.name})",
        )
        parser.add_argument(
            "--interval-ms",
            type=float,
            help="idling before each inference, for --mode paced (default: 100)",
        )
        parser.add_argument(
            "--scenario",
            metavar="S",
            default=SingleStream.name,
            help="what one latency is of: " + _listed(SCENARIOS) + " (default: single-stream)",
        )
        parser.add_argument(
            "--samples-per-query",
            type=int,
            metavar="N",
            help="examples a query, with --scenario multi-stream (default: 8) or offline (default: 64)",
        )

        parser.add_argument(
            "--profile",
            action="store_true",
            help="tell each operator's time and what ran it, in a pass of its own",
        )

        parser.add_argument(
            "--accuracy",
            metavar="DATA",
            help="also measure the file's accuracy on the test split of labelled data: a kind such as "
            "digits, kind:FOLDER, or a folder of one folder of images a class; of a text model its own "
            "metric, on files like those it learned from",
        )
        add_arguments(parser)

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        plan = _plan(options)
        with context.store() as store:
            plan = replace(plan, transport=_transport(options.device, store, context))
            targets, failures = _targets(options, store, context.home, plan)
            if not targets and not failures:
                return Outcome(document={"results": []}, text="every stored artifact has a result here")
            _check_outputs(store, options)
            sweep = Sweep(failures=failures)
            _bench(targets, plan, store, context, sweep)
        if len(sweep.failures) == 1 and not sweep.results and not sweep.skipped:
            raise sweep.failures[0].error
        return outcome(
            sweep.results,
            sweep.failures,
            sweep.skipped,
            lasts=sweep.lasts,
            artifacts=[target.artifact for target in targets if target.artifact],
            interrupted=sweep.interrupted,
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How each file is measured. No runtimes means the one that reads the file's ending; no transport,
    that it is measured here.
    """

    runtimes: tuple[str, ...] = ()
    threads: tuple[int, ...] = (1,)
    batch: int | None = None
    length: int | None = None
    mode: Mode = field(default_factory=Burst)
    scenario: Scenario = field(default_factory=SingleStream)
    precision: float = 0.02
    max_seconds: float | None = None
    profiled: bool = False
    judging: Judging | None = None
    transport: Transport | None = None

    @property
    def device(self) -> str:
        return self.transport.device.name if self.transport else THIS_MACHINE


@dataclass(frozen=True)
class Target:
    """A file to measure, and the artifact that it is, if it is one."""

    file: Path
    artifact: Artifact | None


@dataclass(kw_only=True)
class Sweep:
    """What has come of measuring so far: results, errors, and pairs of file and runtime left out.

    `lasts` holds, by a result's id, the one that was measured in the same way before.
    """

    results: list[BenchmarkResult] = field(default_factory=list)
    lasts: dict[str, BenchmarkResult | None] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    skipped: list[Failure] = field(default_factory=list)
    interrupted: bool = False
    judged: dict[tuple[Path, str | None], Quality] = field(default_factory=dict)


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
        KeyboardInterrupt: interrupted; what was measured until then is stored.
    """
    plan = Plan(threads=tuple(threads), precision=precision, max_seconds=max_seconds)
    targets = [Target(context.home.absolute(artifact.file), artifact) for artifact in artifacts]
    sweep = Sweep()
    with context.store() as store:
        _bench(targets, plan, store, context, sweep)
    if sweep.interrupted:
        raise KeyboardInterrupt
    if sweep.failures:
        raise sweep.failures[0].error
    return sweep.results


def _bench(
    targets: Sequence[Target], plan: Plan, store: ResultStore, context: Context, sweep: Sweep
) -> None:
    """Measure every combination, each stored at once; Ctrl-C ends it and keeps what there is."""
    jobs = list(_jobs(targets, plan))
    seconds = plan.mode.max_seconds if plan.max_seconds is None else plan.max_seconds
    if jobs and len(jobs) * seconds >= LONG_S:
        context.say(
            f"up to {len(jobs) * seconds:.0f} s of {plan.mode.name} runs; Ctrl-C keeps what there is"
        )
    refused: set[tuple[Path, str | None]] = set()
    try:
        for target, runtime, threads in context.track(jobs, description="bench", total=len(jobs)):
            if (target.file, runtime) in refused:
                continue
            try:
                result = _measured(target, runtime, threads, plan, context, sweep)
            except CutShort as cut:
                _keep(cut.result, store, sweep)
                if isinstance(cut.__cause__, EdgeBenchError):
                    sweep.failures.append(Failure(str(target.file), cut.__cause__))
                    continue
                raise KeyboardInterrupt from cut
            except (StoreError, DeviceUnreachable):
                raise
            except EdgeBenchError as error:
                unfit = isinstance(error, (RuntimeUnavailable, MissingExtra))
                if unfit:
                    refused.add((target.file, runtime))
                kept = sweep.skipped if unfit and len(plan.runtimes) > 1 else sweep.failures
                kept.append(Failure(str(target.file), error, runtime or ""))
                continue
            _keep(result, store, sweep)
    except KeyboardInterrupt:
        sweep.interrupted = True
    # A file that none of the runtimes takes was not measured: that is no success.
    for target in targets:
        named = [one for one in sweep.skipped if one.model == str(target.file)]
        if plan.runtimes and len(named) == len(plan.runtimes):
            sweep.failures += named
            sweep.skipped = [one for one in sweep.skipped if one not in named]


def _keep(result: BenchmarkResult, store: ResultStore, sweep: Sweep) -> None:
    sweep.lasts[result.id] = last_like(result, store)
    store.add(result)
    sweep.results.append(result)


def last_like(result: BenchmarkResult, store: ResultStore) -> BenchmarkResult | None:
    """Return the newest stored result of the same file, measured in the same way on the same device."""

    def way(one: BenchmarkResult) -> tuple[object, ...]:
        asked = (one.mode, one.scenario, one.batch, one.samples_per_query, one.interval_ms)
        return (one.origin, one.runtime, one.threads, one.length, *asked)

    stored = store.results(device=result.device, digest=result.digest)
    return next((one for one in reversed(stored) if one.id != result.id and way(one) == way(result)), None)


def _check_outputs(store: ResultStore, options: argparse.Namespace) -> None:
    """Raise before minutes of measuring where nothing could take what is measured."""
    if options.json and sys.stdout is None:
        raise StoreError("standard output is closed: --json has nowhere to go", hint="leave out --json")
    store.check_writable()


def _jobs(targets: Sequence[Target], plan: Plan) -> Iterator[tuple[Target, str | None, int]]:
    for target in targets:
        for runtime in plan.runtimes or (None,):
            for threads in plan.threads:
                yield target, runtime, threads


def _transport(device: str, store: ResultStore, context: Context) -> Transport | None:
    if device == THIS_MACHINE:
        return None
    return transport_of(Registry(store).get(device), home=context.home, store=store)


def _measured(
    target: Target, runtime: str | None, threads: int, plan: Plan, context: Context, sweep: Sweep
) -> BenchmarkResult:
    # Quality is the file's, whatever the device and the threads are: measured here, once.
    metrics, notes = _quality(target, runtime, plan, context, sweep)
    asked: dict[str, Any] = {
        "runtime": runtime,
        "threads": threads,
        "batch": plan.batch,
        "length": plan.length,
        "precision_target": plan.precision,
        "max_seconds": plan.max_seconds,
        "profiled": plan.profiled,
        "metrics": metrics,
        "notes": notes,
    }
    if plan.transport is not None:
        options = JobOptions(**asked, mode=Choice.of(plan.mode), scenario=Choice.of(plan.scenario))
        job = job_for(target.file, options, artifact=target.artifact)
        measured = plan.transport.run(job, target.file, say=context.say)
        assert isinstance(measured, BenchmarkResult)
        return measured
    return benchmark(
        target.file,
        **asked,
        mode=plan.mode,
        scenario=plan.scenario,
        home=context.home,
        artifact=target.artifact,
        waiting=lambda: context.say("waiting for another benchmark on this machine to end"),
    )


def _quality(target: Target, runtime: str | None, plan: Plan, context: Context, sweep: Sweep) -> Quality:
    """Return the file's accuracy and how it was measured; nothing where none is asked for."""
    if plan.judging is None:
        return (), ()
    key = (target.file, runtime)
    if key not in sweep.judged:
        # A device may have a runtime that is not installed here.
        here = None if plan.transport else runtime
        sweep.judged[key] = plan.judging.judged(target.file, target.artifact, here, context)
    return sweep.judged[key]


def _plan(options: argparse.Namespace) -> Plan:
    try:
        threads = tuple(int(word) for word in options.threads.split(","))
    except ValueError:
        raise ConfigError(f"--threads is '{options.threads}'; numbers are expected, e.g. 1,2") from None
    limits: list[tuple[str, bool, str]] = [
        ("--threads", all(1 <= count <= 256 for count in threads), "from 1 to 256"),
        ("--batch", options.batch is None or 1 <= options.batch <= 65536, "from 1 to 65536"),
        ("--precision", 0 < options.precision < 1, "above 0 and below 1"),
        ("--max-seconds", 0 < (options.max_seconds or 1) <= 86400, "above 0 and at most 86400"),
        ("--interval-ms", 0 < (options.interval_ms or 1) <= 60000, "above 0 and at most 60000"),
        ("--samples-per-query", 1 <= (options.samples_per_query or 1) <= 65536, "from 1 to 65536"),
    ]
    for name, fits, words in limits:
        if not fits:
            raise ConfigError(f"{name} must be {words}")
    check_length(options.length)
    runtimes = tuple(dict.fromkeys(options.runtime.split(","))) if options.runtime else ()
    for runtime in runtimes:
        # Raises what tells the nearest name, before anything is measured.
        variants.syntax(RUNTIMES, runtime, role="runtime")
    return Plan(
        runtimes=runtimes,
        threads=tuple(dict.fromkeys(threads)),
        batch=options.batch,
        length=options.length,
        mode=_variant(Mode, MODES, options.mode, {"interval_ms": options.interval_ms}),
        scenario=_variant(
            Scenario, SCENARIOS, options.scenario, {"samples_per_query": options.samples_per_query}
        ),
        precision=options.precision,
        max_seconds=options.max_seconds,
        profiled=options.profile,
        judging=judging_of(options),
    )


def check_length(length: int | None) -> None:
    """Raise `ConfigError` unless `length` is a number of tokens that a text may have, or None."""
    if length is not None and not 1 <= length <= MAX_LENGTH:
        raise ConfigError(f"--length must be from 1 to {MAX_LENGTH}")


def _variant(role: type[V], package: str, name: str, given: Mapping[str, Any]) -> V:
    """Return the variant with those options that were given; one that it does not have is refused."""
    found = variants.load(role, package, name)
    known = {one.name for one in fields(found) if one.init}
    document = {key: value for key, value in given.items() if value is not None}
    for key in document.keys() - known:
        option, chosen = key.replace("_", "-"), found.name.replace("_", "-")
        raise ConfigError(
            f"--{option} does not go with --{role.__name__.lower()} {chosen}",
            hint="edge-bench bench --help tells which one has it",
        )
    return found(**document)


def _listed(package: str) -> str:
    return ", ".join(name.replace("_", "-") for name in variants.names(package))


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
    targets = _with_steps(targets, artifacts, home)
    if options.all:
        measured = {
            (one.digest, one.runtime, one.threads, one.length, max(one.batch or 1, one.samples_per_query))
            for one in store.results(device=plan.device)
            if one.measured_here and (one.mode, one.scenario) == (plan.mode.name, plan.scenario.name)
        }
        samples = max(plan.batch or 1, plan.scenario.samples_per_query)
        for artifact in artifacts:
            if plan.length is not None and artifact.text is None:
                continue
            file = home.absolute(artifact.file)
            runtimes = [name.replace("-", "_") for name in plan.runtimes or (runtime_for(file),)]
            wanted = {
                (artifact.digest, runtime, threads, unusual_length(artifact, plan.length), samples)
                for runtime in runtimes
                for threads in plan.threads
            }
            if not wanted <= measured:
                targets.append(Target(file, artifact))
    return targets, failures


def _with_steps(targets: Sequence[Target], artifacts: Sequence[Artifact], home: Home) -> list[Target]:
    """Return the files, and behind a text model's the one that generates a token, unless it is named."""
    named = {target.artifact.id for target in targets if target.artifact}
    found: list[Target] = []
    for target in targets:
        found.append(target)
        if target.artifact:
            steps = [one for one in artifacts if one.step_of == target.artifact.id and one.id not in named]
            found += [Target(home.absolute(one.file), one) for one in steps]
    return found


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
