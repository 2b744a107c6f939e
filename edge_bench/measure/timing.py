"""Warm-up, blocks of back-to-back runs, and when to stop. Runs inside the sandbox's child."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from edge_bench.measure.clock import Clock
from edge_bench.measure.intervals import p50_interval
from edge_bench.measure.runtimes import Session, Tensors
from edge_bench.records.result import TimingBlock
from edge_bench.statistics import percentile

# A block in which the work was kept off the CPU for longer than this share is measured again.
POLLUTED = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to measure. `precision` is half the p50 interval's width, as a share of p50.

    It stops as soon as the interval is narrow enough, but not before `min_runs` and `min_blocks`;
    and at `max_runs` or `max_seconds` in any case. The warm-up has its own time.
    """

    precision: float = 0.02
    min_runs: int = 64
    max_runs: int = 20_000
    max_seconds: float = 5.0
    min_blocks: int = 10
    block_ms: float = 20.0
    block_runs: int = 500
    warmup_ms: float = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What was measured: the first inference, then blocks of warm ones in their order."""

    first_ns: int
    blocks: tuple[TimingBlock, ...]
    stopped_by: str


def measure(session: Session, feeds: Tensors, plan: Plan, *, threads: int) -> Timing:
    """Time `session` on `feeds`; it must not have run before, or the first inference is not one.

    Blocks that were polluted are kept with the reason, are not counted, and cost time of the same
    budget; if too few others are left at its end, the least polluted are counted after all.
    """
    clock = session.clock(threads)
    session.prepare(feeds)
    with undisturbed():
        first = _block(session, clock, 1).latencies_ns[0]
        runs = _warm_up(session, clock, plan)
        return _measure(session, clock, plan, first, runs)


def _measure(session: Session, clock: Clock, plan: Plan, first: int, runs: int) -> Timing:
    blocks: list[TimingBlock] = []
    started = clock.wall_ns()
    while True:
        left = plan.max_runs - sum(len(block.latencies_ns) for block in blocks)
        blocks.append(_block(session, clock, min(runs, left)))
        seconds = (clock.wall_ns() - started) / 1e9
        if stopped_by := _stop(blocks, plan, seconds):
            return Timing(first_ns=first, blocks=_settle(blocks, plan), stopped_by=stopped_by)


def _stop(blocks: list[TimingBlock], plan: Plan, seconds: float) -> str:
    counted = [block.latencies_ns for block in blocks if block.counted]
    enough = len(counted) >= plan.min_blocks and sum(map(len, counted)) >= plan.min_runs
    if enough and half_width(counted) <= plan.precision:
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


def _warm_up(session: Session, clock: Clock, plan: Plan) -> int:
    """Run until the warm-up's time is over; return how many runs make a block."""
    latencies: list[int] = []
    spent = 0
    while spent < plan.warmup_ms * 1e6 and len(latencies) < plan.max_runs:
        latencies += _block(session, clock, 1).latencies_ns
        spent += latencies[-1]
    usual = percentile(latencies, 50)
    return max(1, min(plan.block_runs, round(plan.block_ms * 1e6 / usual))) if usual else plan.block_runs


def _block(session: Session, clock: Clock, runs: int) -> TimingBlock:
    # One reading ends a run and begins the next: their sum is the block's wall time, and a run
    # carries one clock call of overhead.
    stamps = [0] * (runs + 1)
    invoke, now = session.invoke, clock.wall_ns
    away = clock.away_ns()
    stamps[0] = now()
    for index in range(1, runs + 1):
        invoke()
        stamps[index] = now()
    away_after = clock.away_ns()
    wall = stamps[-1] - stamps[0]
    off_cpu = None
    if away is not None and away_after is not None:
        off_cpu = min(1.0, max(0.0, (away_after - away) / wall)) if wall else 0.0
    polluted = off_cpu is not None and off_cpu > POLLUTED
    return TimingBlock(
        latencies_ns=tuple(after - before for before, after in zip(stamps, stamps[1:], strict=False)),
        counted=not polluted,
        off_cpu=off_cpu,
        reason=f"off the CPU for {off_cpu:.0%} of the block" if polluted else "",
    )


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Python's garbage collector out of the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
