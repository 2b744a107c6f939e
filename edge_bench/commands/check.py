"""a gate for CI: hold a model file to limits of latency, memory, size and regression"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_bench.commands import Command, Context, Outcome
from edge_bench.commands.bench import Target, target_of
from edge_bench.commands.compare import document as comparison_document
from edge_bench.documents import from_document, to_document
from edge_bench.errors import INTERRUPTED, ConfigError, EdgeBenchError, did_you_mean
from edge_bench.files import write_text
from edge_bench.measure import gate
from edge_bench.measure.benchmark import CutShort, benchmark
from edge_bench.measure.comparison import Comparison, ComparisonPlan, Side, compare
from edge_bench.measure.environment import changes, fingerprint
from edge_bench.measure.gate_reports import junit, markdown, sentence
from edge_bench.measure.inputs import TOKENS, feeding_of, plain_name
from edge_bench.measure.inspection import runtime_for
from edge_bench.records import BenchmarkResult
from edge_bench.statistics import runs_needed
from edge_bench.store import ResultStore

# Where one of these differs it is another machine; where others do, it is this one after an update.
SAME_MACHINE = "cpu machine cores logical_cores usable_cores max_frequency_khz".split()
STDOUT = "-"
# GitHub shows what a step's commands leave in the file that this names.
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
# Of the fewest runs that bound a percentile the bound is the largest one; of more it is less loose.
TAIL_RUNS_ABOVE = 5


class CheckModel(Command):
    """Ends with 0 if all limits hold, 3 if one does not, 4 if it was too noisy to say."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="a model file, or a stored artifact's id")
        limits = parser.add_argument_group("limits")
        for name, words in (
            ("latency-ms", "of p50, whose interval must lie below it"),
            ("p90-ms", "of p90, whose upper bound must lie below it"),
            ("p99-ms", "of p99, whose upper bound must lie below it"),
            ("memory-mb", "of the process that runs it (10⁶ bytes)"),
            ("size-mb", "of the file (10⁶ bytes)"),
        ):
            limits.add_argument(f"--max-{name}", type=float, metavar="X", help=words)
        limits.add_argument(
            "--baseline",
            metavar="B",
            help="hold latency to that of a model file (measured in turns), an artifact, a stored result's "
            "id or model name, or a .jsonl that `results export` wrote on this machine",
        )
        limits.add_argument(
            "--max-regression",
            type=float,
            default=0.05,
            metavar="SHARE",
            help="by how much it may be slower than the baseline (default: 0.05)",
        )
        parser.add_argument(
            "--force-baseline",
            action="store_true",
            help="take a stored baseline of another machine; the report says so",
        )
        parser.add_argument("--runtime", metavar="R", help="default: the one that reads the file's ending")
        parser.add_argument("--threads", type=int, default=1, help="default: 1")
        parser.add_argument(
            "--max-seconds", type=float, default=5.0, help="of warm runs in each try (default: 5)"
        )
        parser.add_argument(
            "--compare-seconds",
            type=float,
            default=ComparisonPlan().max_seconds,
            help="of a comparison with a baseline model, in each try (default: 30)",
        )
        parser.add_argument(
            "--retries", type=int, default=2, help="tries more where it was too noisy to say (default: 2)"
        )
        parser.add_argument("--junit", metavar="PATH", help="write JUnit XML")
        parser.add_argument(
            "--markdown",
            metavar="PATH",
            help='write Markdown; "-" prints it, and to $GITHUB_STEP_SUMMARY it is added',
        )

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        _check_options(options)
        with context.store() as store:
            target = target_of(options.file, store.artifacts(), context.home)
            baseline = _baseline(options, target, store, context)
            try:
                found = _measured(options, target, baseline, store, context)
            except EdgeBenchError as error:
                _report(options, target.file.name, [], (), error.message)
                raise
        _report(options, target.file.name, found.checks, found.notes, "")
        return _outcome(options, target.file.name, found)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A result that was measured earlier: p50 with its bounds in ms, and where and how it was measured."""

    name: str
    p50_ms: float
    low_ms: float
    high_ms: float
    runtime: str
    threads: int | None
    environment: Mapping[str, Any] | None
    created: str


@dataclass(kw_only=True)
class _Found:
    """The checks of the last try, and what they rest on."""

    checks: list[gate.Check]
    notes: tuple[str, ...] = ()
    result: BenchmarkResult | None = None
    comparison: Comparison | None = None
    tries: int = 1


def _check_options(options: argparse.Namespace) -> None:
    named = ("max_latency_ms", "max_p90_ms", "max_p99_ms", "max_memory_mb", "max_size_mb")
    given = [name for name in named if getattr(options, name) is not None]
    if not given and options.baseline is None:
        raise ConfigError(
            "no limit is given, so there is nothing to check",
            hint="give --max-latency-ms, --max-p90-ms, --max-p99-ms, --max-memory-mb, --max-size-mb or "
            "--baseline",
        )
    limits: list[tuple[str, bool, str]] = [
        *((f"--{name.replace('_', '-')}", getattr(options, name) > 0, "above 0") for name in given),
        ("--max-regression", 0 <= options.max_regression < 100, "at least 0 and below 100"),
        ("--threads", 1 <= options.threads <= 256, "from 1 to 256"),
        ("--max-seconds", 0 < options.max_seconds <= 3600, "above 0 and at most 3600"),
        ("--compare-seconds", 0 < options.compare_seconds <= 3600, "above 0 and at most 3600"),
        ("--retries", 0 <= options.retries <= 100, "from 0 to 100"),
    ]
    for name, fits, words in limits:
        if not fits:
            raise ConfigError(f"{name} must be {words}")
    if options.markdown == STDOUT and options.json:
        raise ConfigError("--markdown - and --json both want to be all that is printed", hint="name a file")


def _measured(
    options: argparse.Namespace,
    target: Target,
    baseline: Target | Stored | None,
    store: ResultStore,
    context: Context,
) -> _Found:
    """Measure until no check is too noisy to say, or the tries are used up."""
    found = _Found(checks=[])
    for tries in range(1, options.retries + 2):
        _measure_once(options, target, baseline, store, context, found)
        found.tries = tries
        answer = gate.overall(found.checks)
        interrupted = found.comparison is not None and found.comparison.interrupted
        if answer != "too noisy to say" or interrupted or tries > options.retries:
            break
        context.say(f"too noisy to say; trying again ({tries} of {options.retries})")
    return found


def _measure_once(
    options: argparse.Namespace,
    target: Target,
    baseline: Target | Stored | None,
    store: ResultStore,
    context: Context,
    found: _Found,
) -> None:
    checks: list[gate.Check] = []
    if options.max_size_mb is not None:
        checks.append(gate.exactly("size", "MB", options.max_size_mb, target.file.stat().st_size / 1e6))
    alone = (options.max_latency_ms, options.max_p90_ms, options.max_p99_ms, options.max_memory_mb)
    if isinstance(baseline, Stored) or any(limit is not None for limit in alone):
        found.result = _bench(options, target, store, context)
        checks += _of_result(options, found.result)
        if isinstance(baseline, Stored):
            check, found.notes = _against(baseline, found.result, options)
            checks.append(check)
    if isinstance(baseline, Target):
        found.comparison = _compare(options, baseline, target, context)
        checks.append(gate.regression(found.comparison, options.max_regression))
    found.checks = checks


def _of_result(options: argparse.Namespace, result: BenchmarkResult) -> list[gate.Check]:
    checks = []
    if options.max_latency_ms is not None:
        checks.append(gate.latency(result, options.max_latency_ms))
    for percent, limit_ms in _tails(options).items():
        checks.append(gate.tail_latency(result, limit_ms, percent=percent))
    if options.max_memory_mb is not None:
        peak_mb = result.peak_memory_mb or 0.0
        checks.append(gate.exactly("peak memory", "MB", options.max_memory_mb, peak_mb))
    return checks


def _tails(options: argparse.Namespace) -> dict[int, float]:
    """Return the limits in ms on percentiles above the median."""
    limits = {90: options.max_p90_ms, 99: options.max_p99_ms}
    return {percent: limit_ms for percent, limit_ms in limits.items() if limit_ms is not None}


def _bench(
    options: argparse.Namespace, target: Target, store: ResultStore, context: Context
) -> BenchmarkResult:
    """Measure the file as `bench` does and store the result, as much as there is of it."""
    tail = max(_tails(options), default=None)
    try:
        result = benchmark(
            target.file,
            home=context.home,
            runtime=options.runtime,
            threads=options.threads,
            min_runs=runs_needed(tail, above=TAIL_RUNS_ABOVE) if tail else None,
            max_seconds=options.max_seconds,
            artifact=target.artifact,
            waiting=_waiting(context),
        )
    except CutShort as cut:
        store.add(cut.result)
        raise cut.__cause__ or cut from None
    store.add(result)
    return result


def _compare(options: argparse.Namespace, baseline: Target, target: Target, context: Context) -> Comparison:
    a, b = (
        Side(
            model=one.file,
            runtime=options.runtime or runtime_for(one.file),
            threads=options.threads,
            feeding=feeding_of(one.artifact),
        )
        for one in (baseline, target)
    )
    # Fine enough that a model that is as fast as its baseline passes.
    plan = ComparisonPlan(
        precision=max(0.005, min(0.02, options.max_regression / 4)), max_seconds=options.compare_seconds
    )
    return compare(a, b, home=context.home, plan=plan, waiting=_waiting(context))


def _waiting(context: Context) -> Callable[[], None]:
    return lambda: context.say("waiting for another benchmark on this machine to end")


def _against(
    baseline: Stored, result: BenchmarkResult, options: argparse.Namespace
) -> tuple[gate.Check, tuple[str, ...]]:
    _check_lengths(baseline, result)
    bounds = (baseline.p50_ms, baseline.low_ms, baseline.high_ms)
    check = gate.stored_regression(result, baseline.name, bounds, options.max_regression)
    notes = [f"baseline: {baseline.name}, measured {baseline.created}, p50 {baseline.p50_ms:.4g} ms"]
    if baseline.environment is None:
        notes.append("the baseline does not say which machine it was measured on (--force-baseline)")
    else:
        before, after = (_comparable(one) for one in (baseline.environment, result.environment))
        notes += [
            f"changed since the baseline: {name}: {old} → {new}"
            for name, (old, new) in changes(before, after).items()
        ]
    return check, tuple(notes)


def _check_lengths(baseline: Stored, result: BenchmarkResult) -> None:
    """Raise where the baseline was run on shorter or longer texts."""
    before, after = (_token_shapes(one or {}) for one in (baseline.environment, result.environment))
    for name in before.keys() & after.keys():
        if before[name] != after[name]:
            raise ConfigError(
                f"the stored baseline '{baseline.name}' was run on {name} of {before[name]}, "
                f"not of {after[name]}",
                hint="give the baseline's model file: edge-bench compare --length N runs both on as many",
            )


def _token_shapes(environment: Mapping[str, Any]) -> dict[str, Any]:
    shapes = environment.get("input_shapes", {})
    return {plain_name(name): list(shape) for name, shape in shapes.items() if plain_name(name) in TOKENS}


def _comparable(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of a machine; the inputs' shapes belong to the model."""
    return {name: value for name, value in environment.items() if name != "input_shapes"}


def _baseline(
    options: argparse.Namespace, target: Target, store: ResultStore, context: Context
) -> Target | Stored | None:
    """Return what `--baseline` names: a model to measure in turns, or a stored result of this machine.

    Raises:
        ConfigError: nothing of that name, or a result of another machine, runtime or number of threads.
    """
    given = options.baseline
    if given is None:
        return None
    path, artifacts = Path(given).expanduser(), store.artifacts()
    lines = path.exists() and path.suffix.lower() == ".jsonl"
    if (path.exists() and not lines) or given in {name for one in artifacts for name in (one.id, one.name)}:
        return target_of(given, artifacts, context.home)
    if lines:
        found = _from_lines(path, target.artifact.name if target.artifact else target.file.name)
    else:
        results = store.results()
        found = [_stored(one) for one in results if given in (one.id, one.model) and one.plain]
        if not found:
            near = did_you_mean(given, {word for one in results for word in (one.id, one.model)})
            raise ConfigError(f"there is no file, artifact or stored result '{given}'.{near}")
    runtime = (options.runtime or runtime_for(target.file)).replace("-", "_")
    stored = _newest(found, runtime, options.threads, given)
    if not options.force_baseline:
        _check_machine(stored)
    return stored


def _stored(result: BenchmarkResult) -> Stored:
    middle, low, high = result.p50_bounds_ms
    return Stored(
        name=result.model,
        p50_ms=middle,
        low_ms=low,
        high_ms=high,
        runtime=result.runtime,
        threads=result.threads,
        environment=result.environment or None,
        created=result.created,
    )


def _from_lines(path: Path, model: str) -> list[Stored]:
    """Return the results of a model of that name in a file that `results export` wrote."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            document = json.loads(line)
            document.pop("version", None)
            result = from_document(BenchmarkResult, document)
        except (ValueError, AttributeError, ConfigError) as error:
            raise ConfigError(
                f"line {number} of '{path}' is no stored result: {error}",
                hint="edge-bench results export results.jsonl writes such a file",
            ) from None
        if result.model == model and result.plain:
            found.append(_stored(result))
    if not found:
        raise ConfigError(f"'{path}' holds no result of '{model}', run back to back at batch 1")
    return found


def _newest(found: Sequence[Stored], runtime: str, threads: int, given: str) -> Stored:
    alike = [one for one in found if (one.runtime, one.threads) == (runtime, threads)]
    if not alike:
        have = ", ".join(sorted({f"{one.runtime} with {one.threads}" for one in found}))
        raise ConfigError(
            f"'{given}' was measured in {have} threads, not in {runtime} with {threads}",
            hint="measure both alike: --runtime and --threads",
        )
    # Moments are kept to the second; of results of one second, the one stored last is the newest.
    return max(reversed(alike), key=lambda one: one.created)


def _check_machine(stored: Stored) -> None:
    instead = "give the baseline's model file, which is measured here in turns; or --force-baseline"
    if stored.environment is None:
        raise ConfigError(
            f"the stored baseline '{stored.name}' does not say which machine it was measured on",
            hint=instead,
        )
    here = fingerprint()
    before, after = ({name: one.get(name) for name in SAME_MACHINE} for one in (stored.environment, here))
    if differing := changes(before, after):
        words = "; ".join(f"{name} {old} there, {new} here" for name, (old, new) in differing.items())
        raise ConfigError(
            f"the stored baseline '{stored.name}' was measured on another machine: {words}", hint=instead
        )


def _report(
    options: argparse.Namespace, model: str, checks: Sequence[gate.Check], notes: Sequence[str], error: str
) -> None:
    """Write what was asked for, whole or not at all; of a measurement that failed too."""
    if options.junit:
        write_text(Path(options.junit).expanduser(), junit(model, checks, error=error))
    if options.markdown and options.markdown != STDOUT:
        path = Path(options.markdown).expanduser()
        text = markdown(model, checks, notes=notes, error=error)
        if options.markdown == os.environ.get(STEP_SUMMARY) and path.exists():
            text = path.read_text(encoding="utf-8") + text
        write_text(path, text)


def _outcome(options: argparse.Namespace, model: str, found: _Found) -> Outcome:
    answer = gate.overall(found.checks)
    interrupted = found.comparison is not None and found.comparison.interrupted
    document = {
        "model": model,
        "outcome": answer,
        "checks": [to_document(check) for check in found.checks],
        "notes": list(found.notes),
        "tries": found.tries,
        "result": found.result.summary() if found.result else None,
        "comparison": comparison_document(found.comparison) if found.comparison else None,
    }
    if options.markdown == STDOUT:
        text = markdown(model, found.checks, notes=found.notes).rstrip()
    else:
        lines = [f"{model}: {answer}", *map(sentence, found.checks), *found.notes]
        text = "\n".join(lines)
    return Outcome(document=document, text=text, status=INTERRUPTED if interrupted else gate.STATUS[answer])
