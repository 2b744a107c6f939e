"""which of two models is faster, measured in turns; or how often this machine is wrong about that"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from edge_bench.commands import Command, Context, Outcome
from edge_bench.commands.bench import check_length, target_of
from edge_bench.documents import to_document
from edge_bench.errors import GATE_FAILED, INTERRUPTED, OK, ConfigError, UnstableTiming
from edge_bench.measure.comparison import Comparison, ComparisonPlan, Side, compare
from edge_bench.measure.inputs import feeding_of
from edge_bench.measure.inspection import runtime_for
from edge_bench.measure.ratios import MIN_LAUNCHES, Ratio, rate_interval

T = TypeVar("T", int, str)

# Of comparisons of a model with itself, at most this share may see a difference.
FALSE_ALARMS = 0.05
# About 0.1 ms of work: sines, which one thread computes in numpy alone.
OWN_WORK = {"sines": 20_000}


class Compare(Command):
    """B is held against A. Their turns disturb each other's caches, so neither becomes a stored result."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        usual = ComparisonPlan()
        parser.add_argument(
            "files", metavar="A B", nargs="*", help="two model files, or stored artifacts' ids"
        )
        parser.add_argument(
            "--runtime", metavar="R[,R]", help="one for both or one each; default: by the file's ending"
        )
        parser.add_argument(
            "--threads", metavar="N[,N]", default="1", help="one for both or one each (default: 1)"
        )
        parser.add_argument(
            "--length", type=int, metavar="N", help="tokens a text has, of text models (default: their own)"
        )
        parser.add_argument(
            "--precision",
            type=float,
            default=usual.precision,
            help=f"stop when the ratio is known to ± this share (default: {usual.precision})",
        )
        parser.add_argument(
            "--margin",
            type=float,
            default=usual.margin,
            help=f"a difference within this share is none (default: {usual.margin})",
        )
        parser.add_argument(
            "--max-seconds",
            type=float,
            default=usual.max_seconds,
            help=f"time for a comparison, starting the models included (default: {usual.max_seconds:g})",
        )
        parser.add_argument("--seed", type=int, default=0, help="of the order of turns (default: 0)")
        parser.add_argument(
            "--self-test",
            action="store_true",
            help="compare a file (default: some work of our own) with itself, again and again: "
            "how often is a difference seen where there is none?",
        )
        parser.add_argument(
            "--trials", type=int, default=100, help="comparisons of the self-test (default: 100)"
        )

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        plan = _plan(options)
        if options.self_test:
            with _same_side(options, context) as side:
                return _self_test(side, plan, options.trials, context)
        if len(options.files) != 2:
            raise ConfigError(
                f"compare takes two models, {len(options.files)} given",
                hint="edge-bench compare A B, or edge-bench compare --self-test",
            )
        a, b = sides(options, context)
        found = compare(
            a, b, home=context.home, plan=plan, waiting=_waiting(context), heard=_heard(context)
        )
        if found.ratio.low is None and not found.interrupted:
            raise UnstableTiming(
                f"{len(found.launches)} launches in {plan.max_seconds:g} s are too few to compare; "
                f"{MIN_LAUNCHES} are needed (ratio so far: {found.ratio.middle:.3f})",
                hint=f"--max-seconds {_enough_seconds(plan, len(found.launches)):g}",
            )
        status = INTERRUPTED if found.interrupted else OK
        return Outcome(document=document(found), text=told(found), status=status)


def sides(options: argparse.Namespace, context: Context) -> tuple[Side, Side]:
    """Return the two models that `options` name by `files`, `runtime` and `threads`."""
    with context.store() as store:
        artifacts = store.artifacts()
    targets = [target_of(given, artifacts, context.home) for given in options.files]
    a, b = (target.file for target in targets)
    fed = [feeding_of(target.artifact, options.length) for target in targets]
    runtimes = _pair(options.runtime, str, "--runtime") if options.runtime else (None, None)
    threads = _pair(options.threads, int, "--threads")
    if not all(1 <= count <= 256 for count in threads):
        raise ConfigError("--threads must be from 1 to 256")
    check_length(options.length)
    return (
        Side(model=a, runtime=runtimes[0] or runtime_for(a), threads=threads[0], feeding=fed[0]),
        Side(model=b, runtime=runtimes[1] or runtime_for(b), threads=threads[1], feeding=fed[1]),
    )


def document(found: Comparison) -> dict[str, Any]:
    """Return a comparison as a document, every raw block included; without an interval, no answer."""
    ends = (("a", found.a, found.p50_a_ms), ("b", found.b, found.p50_b_ms))
    return {
        **{
            name: {
                "model": side.model.name,
                "runtime": side.runtime.replace("-", "_"),
                "threads": side.threads,
                "p50_in_turns_ms": p50_ms,
            }
            for name, side, p50_ms in ends
        },
        "answer": None if found.ratio.low is None else found.answer,
        "ratio": found.ratio.middle,
        "ratio_low": found.ratio.low,
        "ratio_high": found.ratio.high,
        "margin": found.margin,
        "within_margin": found.ratio.within(found.margin),
        "rounds": found.rounds,
        "rounds_left_out": found.rounds_left_out,
        "verdict": found.verdict,
        "verdict_cause": found.verdict_cause,
        "stopped_by": found.stopped_by,
        "interrupted": found.interrupted,
        "launches": to_document(found.launches),
    }


def told(found: Comparison) -> str:
    """Return a comparison in words, never more than its interval says."""
    a, b = _labels(found.a, found.b)
    if found.ratio.low is None:
        first = f"too few launches to say which of {a} and {b} is faster"
    elif found.answer == "no difference seen":
        first = f"no difference seen between {a} and {b}"
        if found.ratio.within(found.margin):
            first += f": if there is one, it is below {found.margin:.1%}"
    else:
        first = f"{b} is {found.answer} than {a}"
    lines = [
        first,
        f"ratio B/A: {interval(found.ratio)}",
        f"A {a}: p50 {found.p50_a_ms:.4g} ms in turns",
        f"B {b}: p50 {found.p50_b_ms:.4g} ms in turns",
        f"{found.rounds} rounds in {len(found.launches)} launches, {found.rounds_left_out} left out "
        f"as polluted; it ended because {found.stopped_by}",
        f"{found.verdict}: {found.verdict_cause}",
    ]
    return "\n".join(lines)


def interval(ratio: Ratio) -> str:
    """Return a ratio with its interval in words."""
    if ratio.low is None or ratio.high is None:
        return f"{ratio.middle:.4f} (of fewer than {MIN_LAUNCHES} launches: no interval)"
    return f"{ratio.middle:.4f} (95 % interval {ratio.low:.4f} to {ratio.high:.4f})"


@dataclass
class _Trials:
    """What a self-test has seen so far."""

    found: list[Comparison] = field(default_factory=list)

    @property
    def answered(self) -> list[Comparison]:
        """Those that had time for an interval; the others could see nothing."""
        return [one for one in self.found if one.ratio.low is not None]

    @property
    def alarms(self) -> int:
        return sum(one.answer != "no difference seen" for one in self.answered)

    @property
    def missed(self) -> int:
        return sum(one.ratio.answer(0.0) != "no difference seen" for one in self.answered)


def _self_test(side: Side, plan: ComparisonPlan, count: int, context: Context) -> Outcome:
    if not 1 <= count <= 100_000:
        raise ConfigError("--trials must be from 1 to 100000")
    trials = _Trials()
    interrupted = False
    try:
        for seed in context.track(range(count), description="A/A", total=count):
            one = compare(
                side,
                side,
                home=context.home,
                plan=replace(plan, seed=plan.seed + seed),
                waiting=_waiting(context),
            )
            if interrupted := one.interrupted:
                break
            # Raw blocks of a hundred comparisons would fill the memory for nothing.
            trials.found.append(replace(one, launches=()))
    except KeyboardInterrupt:
        interrupted = True
    if not trials.answered:
        if interrupted:
            raise KeyboardInterrupt
        raise UnstableTiming(
            f"none of {len(trials.found)} comparisons had time for {MIN_LAUNCHES} launches",
            hint=f"--max-seconds {2 * plan.max_seconds:g}",
        )
    return _self_test_outcome(side, plan, trials, interrupted)


def _self_test_outcome(side: Side, plan: ComparisonPlan, trials: _Trials, interrupted: bool) -> Outcome:
    count, alarms = len(trials.answered), trials.alarms
    low, high = rate_interval(alarms, count)
    verdicts = Counter(one.verdict for one in trials.answered)
    passed = alarms / count <= FALSE_ALARMS
    document = {
        "model": side.model.name,
        "runtime": side.runtime.replace("-", "_"),
        "threads": side.threads,
        "margin": plan.margin,
        "trials": count,
        "trials_without_interval": len(trials.found) - count,
        "false_alarms": alarms,
        "false_alarm_rate": alarms / count,
        "rate_low": low,
        "rate_high": high,
        "intervals_without_1": trials.missed,
        "verdicts": dict(verdicts),
        "passed": passed,
        "interrupted": interrupted,
        "ratios": [to_document(one.ratio) for one in trials.answered],
    }
    lines = [
        f"{alarms} of {count} comparisons of {side.model.name} with itself saw a difference beyond "
        f"{plan.margin:.1%}: {alarms / count:.1%} false alarms (95 % interval {low:.1%} to {high:.1%}); "
        f"{'that is' if passed else 'that is NOT'} within {FALSE_ALARMS:.0%}",
        f"{trials.missed} of {count} intervals did not hold 1 (of 95 % intervals, 5 % may)",
        "verdicts: " + ", ".join(f"{number} {verdict}" for verdict, number in verdicts.most_common()),
    ]
    if left := len(trials.found) - count:
        lines.append(f"{left} more had no time for {MIN_LAUNCHES} launches and are not counted")
    if interrupted:
        lines.insert(0, f"interrupted after {count} comparisons; what there is:")
    status = INTERRUPTED if interrupted else OK if passed else GATE_FAILED
    return Outcome(document=document, text="\n".join(lines), status=status)


@contextmanager
def _same_side(options: argparse.Namespace, context: Context) -> Iterator[Side]:
    """Give the model of the self-test: the file named, or one of our own that lasts for the block."""
    if len(options.files) > 1:
        raise ConfigError(f"--self-test takes one model at most, {len(options.files)} given")
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        own = Path(folder) / "sines.scripted"
        own.write_text(json.dumps(OWN_WORK), encoding="utf-8")
        file = options.files[0] if options.files else str(own)
        side, _ = sides(argparse.Namespace(**{**vars(options), "files": [file, file]}), context)
        yield side


def _plan(options: argparse.Namespace) -> ComparisonPlan:
    limits: list[tuple[str, bool, str]] = [
        ("--precision", 0 < options.precision < 1, "above 0 and below 1"),
        ("--margin", 0 <= options.margin < 1, "at least 0 and below 1"),
        ("--max-seconds", 0 < options.max_seconds <= 3600, "above 0 and at most 3600"),
    ]
    for name, fits, words in limits:
        if not fits:
            raise ConfigError(f"{name} must be {words}")
    return ComparisonPlan(
        precision=options.precision,
        margin=options.margin,
        max_seconds=options.max_seconds,
        seed=options.seed,
    )


def _pair(given: str, kind: Callable[[str], T], name: str) -> tuple[T, T]:
    words = [word.strip() for word in given.split(",")]
    try:
        values = [kind(word) for word in words]
    except ValueError:
        values = []
    if len(values) not in (1, 2):
        raise ConfigError(f"{name} is '{given}'; it takes one for both, or one each with a comma between")
    return values[0], values[-1]


def _labels(a: Side, b: Side) -> tuple[str, str]:
    """Return what tells two models apart: their names, where these differ."""
    if a.model.name != b.model.name:
        return a.model.name, b.model.name
    one, other = (
        f"{side.model.name} ({side.runtime}, {side.threads} thread{'s' if side.threads > 1 else ''})"
        for side in (a, b)
    )
    return (one, other) if one != other else (str(a.model), str(b.model))


def _enough_seconds(plan: ComparisonPlan, launches: int) -> float:
    return round(plan.max_seconds * plan.min_launches / launches * 1.2)


def _waiting(context: Context) -> Callable[[], None]:
    return lambda: context.say("waiting for another benchmark on this machine to end")


def _heard(context: Context) -> Callable[[int, Ratio], None]:
    return lambda launches, ratio: context.say(f"launch {launches}: ratio B/A {interval(ratio)}")
