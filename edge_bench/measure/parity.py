"""Our median beside those of other programs, on one file, measured in turns."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_bench import variants
from edge_bench.documents import from_document, to_document
from edge_bench.errors import EdgeBenchError, MissingExtra
from edge_bench.files import Home
from edge_bench.measure.inspection import check_model
from edge_bench.measure.lock import exclusive
from edge_bench.measure.peers import PEERS, Assignment, Report
from edge_bench.measure.ratios import Ratio, ratio
from edge_bench.measure.sandbox import describe, run_job
from edge_bench.measure.timing import Plan
from edge_bench.measure.verdict import judge
from edge_bench.measure.witness import Observed
from edge_bench.records import THIS_PROGRAM, TimingBlock
from edge_bench.statistics import percentile

# Loading a large model and starting a program may take this long beside its measuring.
SETUP_S = 300
# Our own first turn, which is not counted, tells the peers how many runs fit in their time.
FIRST_S = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one program measured in one round. `reason` says what disturbed it, else empty."""

    report: Report
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One program's median over the rounds that count, and its ratio to ours in the same rounds.

    `said` is all that it said of its own numbers' quality. Where every round was `disturbed`, all count.
    """

    name: str
    version: str
    p50_ms: float
    resolution_ms: float
    ratio: Ratio
    said: tuple[str, ...]
    rounds: int
    rounds_left_out: int
    disturbed: bool


@dataclass(slots=True)
class Parity:
    """Turns by program, in rounds, and the programs that took no part: name to the reason."""

    rounds: list[dict[str, Turn]] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def figures(self) -> list[Figure]:
        """Every program's figure, ours first, then by name."""
        names = {name for turns in self.rounds for name in turns if name not in self.absent}
        return [self._figure(name) for name in sorted(names, key=lambda one: (one != THIS_PROGRAM, one))]

    def _figure(self, name: str) -> Figure:
        both = [(turns[THIS_PROGRAM], turns[name]) for turns in self.rounds if name in turns]
        clean = [pair for pair in both if not any(turn.reason for turn in pair)]
        counted = clean or both
        theirs = [turn.report for _, turn in counted]
        return Figure(
            name=name,
            version=theirs[-1].version,
            p50_ms=percentile([report.p50_ms for report in theirs], 50),
            resolution_ms=theirs[-1].resolution_ms,
            ratio=ratio([[(our.report.p50_ms, turn.report.p50_ms)] for our, turn in counted]),
            said=tuple(dict.fromkeys(turn.report.said for _, turn in both)),
            rounds=len(counted),
            rounds_left_out=len(both) - len(counted),
            disturbed=not clean,
        )


def parity(
    model: Path,
    *,
    home: Home,
    runtime: str,
    threads: int = 1,
    rounds: int = 6,
    seconds: float = 1.0,
    seed: int = 0,
    waiting: Callable[[], None] = lambda: None,
    track: Callable[[Sequence[int]], Iterable[int]] = lambda rounds: rounds,
) -> Parity:
    """Measure a file by ourselves and by every peer that reads it, in rounds, each turn a new process.

    The order within a round is random. A peer that is not installed, or fails, is named and left out.
    Interrupted, it tells what there is, if that is a round.

    Args:
        model: the file.
        home: whose lock lets one benchmark run at a time.
        runtime: our runtime.
        threads: of ours and of every peer.
        rounds: how many; six are the fewest for an interval of a ratio.
        seconds: of measuring for each turn.
        seed: of the order.
        waiting: called once if another benchmark has to end first.
        track: wraps the rounds, to show how far it is.

    Raises:
        ConfigError, RuntimeUnavailable, InvalidModel, ModelCrashed: we cannot measure it ourselves.
    """
    check_model(model, runtime=runtime)
    inputs, _ = describe(model, runtime=runtime)
    ending = model.suffix.lstrip(".").lower()
    peers = [name for name in variants.names(PEERS) if ending in variants.stated(PEERS, name, "formats")]
    found = Parity()
    generator = random.Random(seed)
    job = {"runtime": runtime, "model": str(model.resolve()), "batch": 1, "threads": threads}
    with exclusive(home, waiting=waiting):
        usual_ms = _ours(job, FIRST_S).report.p50_ms
        assignment = Assignment(
            model=str(job["model"]),
            threads=threads,
            seconds=seconds,
            runs=max(10, min(100_000, round(seconds * 1e3 / usual_ms))),
            inputs=inputs,
        )
        try:
            for _round in track(range(rounds)):
                found.rounds.append(_round_of(job, assignment, peers, found.absent, generator))
        except KeyboardInterrupt:
            if not found.rounds:
                raise
            found.interrupted = True
    return found


def _round_of(
    job: Mapping[str, object],
    assignment: Assignment,
    peers: Sequence[str],
    absent: dict[str, str],
    generator: random.Random,
) -> dict[str, Turn]:
    """Return one round's turns; a peer that fails is put down in `absent` and not asked again."""
    present = [name for name in peers if variants.stated(PEERS, name, "name") not in absent]
    turns: dict[str, Turn] = {}
    for name in generator.sample([THIS_PROGRAM, *present], len(present) + 1):
        if name == THIS_PROGRAM:
            turns[THIS_PROGRAM] = _ours(job, assignment.seconds)
            continue
        known_as = variants.stated(PEERS, name, "name")
        try:
            turns[known_as] = _theirs(name, assignment)
        except MissingExtra as error:
            absent[known_as] = f"not installed: {error.hint}"
        except EdgeBenchError as error:
            absent[known_as] = error.message
    return turns


def _ours(job: Mapping[str, object], seconds: float) -> Turn:
    plan = Plan(max_seconds=seconds, stops_early=False, max_runs=1_000_000)
    asked = {**job, "plan": to_document(plan), "invocations": 1}
    told = run_job("time", asked, timeout_s=SETUP_S + seconds).document
    blocks = from_document(tuple[TimingBlock, ...], told["blocks"], where="blocks")
    observed = from_document(Observed, told["observed"], where="observed")
    verdict, _ = judge(blocks, observed, precision=plan.precision)
    latencies = [ns / 1e6 for block in blocks if block.counted for ns in block.latencies_ns]
    report = Report(
        p50_ms=percentile(latencies, 50),
        runs=len(latencies),
        said=verdict,
        version=str(told["runtime_version"]),
    )
    return Turn(report=report, reason=_reason(blocks, observed))


def _theirs(name: str, assignment: Assignment) -> Turn:
    job = {"peer": name, "threads": assignment.threads, "assignment": to_document(assignment)}
    # A program of others may measure for longer than it was asked to.
    told = run_job("peer", job, timeout_s=SETUP_S + 10 * assignment.seconds).document
    observed = from_document(Observed, told["observed"], where="observed")
    return Turn(report=from_document(Report, told["report"], where="report"), reason=_reason([], observed))


def _reason(blocks: Sequence[TimingBlock], observed: Observed) -> str:
    """Say what disturbed a turn; of a program that shows no blocks, as far as the machine tells."""
    verdict, cause = judge(blocks, observed, precision=1.0)
    return cause if verdict in ("noisy", "throttled") else ""
