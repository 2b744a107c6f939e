"""Warm-up, blocks of runs, and when to stop. Runs inside the sandbox's child."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from edge_bench.measure.clock import Clock
from edge_bench.measure.intervals import p50_interval
from edge_bench.measure.runtimes import Session, Tensors
from edge_bench.records.result import TimingBlock
from edge_bench.statistics import percentile

Run = Callable[[], None]

# A block in which the work was kept off the CPU for longer than this share is measured again.
POLLUTED = 0.10
# Reading temperatures takes longer than a short block; it is done after one block a second.
THERMALS_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to measure. `precision` is half the p50 interval's width, as a share of p50.

    It stops as soon as the interval is narrow enough, but not before `min_runs` and `min_blocks`;
    and at `max_runs` or `max_seconds` in any case, where `stops_early` is false only then. The
    warm-up has its own time.

    A block is as many runs as take `block_ms`, of which at most `block_runs` are timed; where it is
    `filled`, the rest of its time is spent running too. `idle_ms` is slept before each run, which is
    then timed alone. Of no runs at all (`max_runs` 0) only the first is measured.
    """

    precision: float = 0.02
    min_runs: int = 64
    max_runs: int = 20_000
    max_seconds: float = 5.0
    min_blocks: int = 10
    block_ms: float = 20.0
    block_runs: int = 500
    warmup_ms: float = 100.0
    stops_early: bool = True
    filled: bool = False
    idle_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What was measured: the first run, as a block of its own, then blocks of warm ones in their order."""

    first: TimingBlock
    blocks: tuple[TimingBlock, ...]
    stopped_by: str

    @property
    def first_ns(self) -> int:
        return self.first.latencies_ns[0]


def measure(
    session: Session,
    feeds: Tensors,
    plan: Plan,
    *,
    threads: int,
    invocations: int = 1,
    begun: Callable[[TimingBlock], None] = lambda first: None,
    written: Callable[[TimingBlock], None] = lambda block: None,
) -> Timing:
    """Time `session` on `feeds`; it must not have run before, or the first inference is not one.

    Blocks that were polluted are kept with the reason, are not counted, and cost time of the same
    budget; if too few others are left at its end, the least polluted are counted after all.

    Args:
        session: the opened model.
        feeds: its inputs.
        plan: how long, and in which blocks.
        threads: how many of them the session works with.
        invocations: how often the session is invoked in a run, which is what is timed.
        begun: called once with the first run, before the warm-up.
        written: called with each block when it is over, outside of what is timed.
    """
    clock = session.clock(threads)
    session.prepare(feeds)
    run = session.invoke if invocations == 1 else _repeated(session.invoke, invocations)
    with undisturbed():
        first = _block(run, clock, 1)
        begun(first)
        if not plan.max_runs:
            return Timing(first=first, blocks=(), stopped_by="only the first run was asked for")
        usual_ns = _warm_up(run, clock, plan)
        return _measure(run, clock, plan, first, usual_ns, written)


def _measure(
    run: Run,
    clock: Clock,
    plan: Plan,
    first: TimingBlock,
    usual_ns: float,
    written: Callable[[TimingBlock], None],
) -> Timing:
    blocks: list[TimingBlock] = []
    runs = block_runs(plan, usual_ns)
    timed = _paced_block if plan.idle_ms else _block
    started = clock.wall_ns()
    looked = -THERMALS_NS
    while True:
        left = plan.max_runs - sum(len(block.latencies_ns) for block in blocks)
        begun = clock.wall_ns()
        block = timed(run, clock, min(runs, left), plan.idle_ms)
        block = replace(block, at_s=(begun - started) / 1e9)
        if begun - started - looked >= THERMALS_NS:
            looked = begun - started
            temperature_c, frequency_mhz = clock.thermals()
            block = replace(block, temperature_c=temperature_c, frequency_mhz=frequency_mhz)
        while plan.filled and clock.wall_ns() - begun < plan.block_ms * 1e6:
            run()
        blocks.append(block)
        written(block)
        seconds = (clock.wall_ns() - started) / 1e9
        if stopped_by := reason_to_stop(blocks, plan, seconds):
            return Timing(first=first, blocks=_settle(blocks, plan), stopped_by=stopped_by)


def reason_to_stop(blocks: list[TimingBlock], plan: Plan, seconds: float) -> str:
    """Return which rule of `plan` ends a measurement after these blocks and seconds, or nothing."""
    counted = [block.latencies_ns for block in blocks if block.counted]
    enough = len(counted) >= plan.min_blocks and sum(map(len, counted)) >= plan.min_runs
    if plan.stops_early and enough and half_width(counted) <= plan.precision:
        return f"the interval of p50 is within ±{plan.precision:.1%}"
    if seconds >= plan.max_seconds:
        return f"the {plan.max_seconds:g} s allowed were used up"
    if sum(len(block.latencies_ns) for block in blocks) >= plan.max_runs:
        return f"the {plan.max_runs} runs allowed were used up"
    return ""


def half_width(blocks: list[tuple[int, ...]]) -> float:
    """Return the larger side of the p50 interval, as a share of p50."""
    low, high = p50_interval(blocks)
    middle = percentile([value for block in blocks for value in block], 50)
    return max(high - middle, middle - low) / middle if middle else 0.0


def _settle(blocks: list[TimingBlock], plan: Plan) -> tuple[TimingBlock, ...]:
    """Count the least polluted blocks too where the others are too few to say anything."""
    settled = list(blocks)
    missing = min(plan.min_blocks, len(blocks)) - sum(block.counted for block in blocks)
    polluted = [index for index, block in enumerate(blocks) if not block.counted]
    polluted.sort(key=lambda index: blocks[index].off_cpu or 0.0)
    for index in polluted[: max(missing, 0)]:
        settled[index] = replace(blocks[index], counted=True, reason="")
    return tuple(settled)


def _warm_up(run: Run, clock: Clock, plan: Plan) -> float:
    """Run until the warm-up's time is over; return the usual nanoseconds of a run."""
    latencies: list[int] = []
    spent = 0
    while spent < plan.warmup_ms * 1e6 and len(latencies) < plan.max_runs:
        latencies += _block(run, clock, 1).latencies_ns
        spent += latencies[-1]
    return percentile(latencies, 50) if latencies else 0.0


def block_runs(plan: Plan, usual_ns: float) -> int:
    """Return how many runs of `usual_ns` nanoseconds make a block."""
    one_ms = usual_ns / 1e6 + plan.idle_ms
    return max(1, min(plan.block_runs, round(plan.block_ms / one_ms))) if one_ms else plan.block_runs


def _block(run: Run, clock: Clock, runs: int, idle_ms: float = 0.0) -> TimingBlock:
    # One reading ends a run and begins the next: their sum is the block's wall time, and a run
    # carries one clock call of overhead.
    stamps = [0] * (runs + 1)
    now = clock.wall_ns
    away = clock.away_ns()
    stamps[0] = now()
    for index in range(1, runs + 1):
        run()
        stamps[index] = now()
    away_after = clock.away_ns()
    latencies = tuple(after - before for before, after in zip(stamps, stamps[1:], strict=False))
    return _judged(latencies, None if away is None or away_after is None else away_after - away)


def _paced_block(run: Run, clock: Clock, runs: int, idle_ms: float) -> TimingBlock:
    # The sleep lies between the readings of both counters: it is neither latency nor pollution.
    latencies: list[int] = []
    away_ns: int | None = 0
    for _ in range(runs):
        clock.sleep(idle_ms / 1e3)
        away = clock.away_ns()
        before = clock.wall_ns()
        run()
        latencies.append(clock.wall_ns() - before)
        away_after = clock.away_ns()
        told = away is not None and away_after is not None and away_ns is not None
        away_ns = away_ns + away_after - away if told else None  # type: ignore[operator]
    return _judged(tuple(latencies), away_ns)


def _judged(latencies: tuple[int, ...], away_ns: int | None) -> TimingBlock:
    wall = sum(latencies)
    off_cpu = None
    if away_ns is not None:
        off_cpu = min(1.0, max(0.0, away_ns / wall)) if wall else 0.0
    polluted = off_cpu is not None and off_cpu > POLLUTED
    return TimingBlock(
        latencies_ns=latencies,
        counted=not polluted,
        off_cpu=off_cpu,
        reason=f"off the CPU for {off_cpu:.0%} of the block" if polluted else "",
    )


def _repeated(invoke: Run, times: int) -> Run:
    def run() -> None:
        for _ in range(times):
            invoke()

    return run


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Python's garbage collector out of the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
