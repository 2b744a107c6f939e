"""What the kernel tells of the rest of the machine while a measurement runs.

Every source may be absent (containers, macOS, old kernels); what is absent is None. `root` is the
folder under which `proc` and `sys` lie.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from edge_bench.measure.heat import clock_share, headroom_c, slowed_by, thermals, throttle_count
from edge_bench.measure.kernel import ROOT, text_of

_SHARES = ("pressure", "steal", "others", "frequency", "run_delay", "quota")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """Counters at one moment. `ticks` is (idle, stolen, all) over all CPUs, in clock ticks, `own_s` this
    process' CPU time, `run_delay_ns` how long its threads were ready and did not run, `quota_us` how long
    the CPU quota of its control group stopped it, `frequency` the highest present/maximum ratio over
    the cores. `slowed` and `headroom_c` are as `heat` tells them.
    """

    at_ns: int
    own_s: float
    pressure_us: int | None
    ticks: tuple[int, int, int] | None
    throttled: int | None
    frequency: float | None
    run_delay_ns: int | None = None
    quota_us: int | None = None
    temperature_c: float | None = None
    headroom_c: float | None = None
    slowed: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What happened between two moments; shares are fractions of time.

    `pressure`: some task of the machine waited for a CPU. `steal`: the host ran somebody else.
    `others`: other processes used the machine's CPUs; they slow the model by sharing caches, memory
    and hardware threads even where it is never off the CPU. `run_delay`: each of the model's threads was
    ready and waited for a CPU, blocks that were measured again included. `quota`: a control group's
    CPU quota stopped it.
    `throttled`: how often a core was slowed to cool. `slowed`: what slowed the CPU at the end, in words.
    `frequency`: the clock at the end, of what it was at the start; `clock`: the same, of the highest.
    `temperatures_c`: the hottest zone at the start and the end; `headroom_c`: what was left at the end
    until a zone slows the machine.
    """

    pressure: float | None = None
    steal: float | None = None
    others: float | None = None
    throttled: int | None = None
    frequency: float | None = None
    run_delay: float | None = None
    quota: float | None = None
    slowed: tuple[str, ...] | None = None
    clock: float | None = None
    temperatures_c: tuple[float, float] | None = None
    headroom_c: float | None = None


def witness(*, root: Path = ROOT) -> Witness:
    """Read the counters now."""
    return Witness(
        at_ns=time.perf_counter_ns(),
        own_s=time.process_time(),
        pressure_us=_pressure_us(root),
        ticks=_ticks(root),
        throttled=throttle_count(root=root),
        frequency=clock_share(root=root),
        run_delay_ns=run_delay_ns(root / "proc/self/task"),
        quota_us=_quota_us(root),
        temperature_c=thermals(root=root)[0],
        headroom_c=headroom_c(root=root),
        slowed=slowed_by(root=root),
    )


def between(before: Witness, after: Witness, *, threads: int = 1) -> Observed:
    """Return what happened from `before` to `after` to work done by `threads` threads."""
    wall_us = max((after.at_ns - before.at_ns) / 1e3, 1e-3)
    steal = others = None
    if before.ticks is not None and after.ticks is not None:
        idle, stolen, ticks = (new - old for old, new in zip(before.ticks, after.ticks, strict=True))
        own = (after.own_s - before.own_s) * _TICKS_A_SECOND
        steal = stolen / ticks if ticks > 0 else 0.0
        others = max(0.0, (ticks - idle - stolen - own) / ticks) if ticks > 0 else 0.0
    known = before.temperature_c is not None and after.temperature_c is not None
    return Observed(
        pressure=_share(before.pressure_us, after.pressure_us, wall_us),
        steal=steal,
        others=others,
        throttled=_grown(before.throttled, after.throttled),
        frequency=after.frequency / before.frequency if before.frequency and after.frequency else None,
        run_delay=_share(before.run_delay_ns, after.run_delay_ns, wall_us * 1e3 * threads),
        quota=_share(before.quota_us, after.quota_us, wall_us),
        slowed=after.slowed,
        clock=after.frequency,
        temperatures_c=(before.temperature_c, after.temperature_c) if known else None,  # type: ignore[arg-type]
        headroom_c=after.headroom_c,
    )


def combined(parts: Sequence[Observed]) -> Observed:
    """Return what happened over several stretches, one at least.

    Shares are means, throttling is a sum, and how it stands at the end is what the last one saw.
    """

    def told(name: str) -> list[float]:
        return [value for part in parts if (value := getattr(part, name)) is not None]

    means = {name: sum(values) / len(values) for name in _SHARES if (values := told(name))}
    throttled = int(sum(told("throttled"))) if told("throttled") else None
    temperatures_c = [part.temperatures_c for part in parts if part.temperatures_c is not None]
    ends_c = (temperatures_c[0][0], temperatures_c[-1][1]) if temperatures_c else None
    return replace(parts[-1], **means, throttled=throttled, temperatures_c=ends_c)  # type: ignore[arg-type]


def run_delay_ns(tasks: Path) -> int | None:
    """Return the run-queue delay of all threads under `tasks`, or None where the kernel tells none."""
    try:
        # A thread that ended meanwhile is left out; of the measuring threads none ends.
        texts = [text_of(tasks, f"{task.name}/schedstat") for task in tasks.iterdir()]
    except OSError:
        return None
    delays = [int(words[1]) for text in texts if len(words := text.split()) >= 2]
    return sum(delays) if delays else None


def _grown(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _share(before: int | None, after: int | None, whole: float) -> float | None:
    grown = _grown(before, after)
    return None if grown is None else min(1.0, max(0.0, grown / whole))


def _pressure_us(root: Path) -> int | None:
    found = re.search(r"^some .*total=(\d+)", text_of(root, "proc/pressure/cpu"), re.MULTILINE)
    return int(found[1]) if found else None


def _ticks(root: Path) -> tuple[int, int, int] | None:
    """Return (idle, stolen, all) ticks since start over all CPUs."""
    found = re.search(r"^cpu\s+([\d ]+)$", text_of(root, "proc/stat"), re.MULTILINE)
    ticks = [int(word) for word in found[1].split()] if found else []
    # user nice system idle iowait irq softirq steal; guest time is counted in user already.
    return (ticks[3] + ticks[4], ticks[7], sum(ticks[:8])) if len(ticks) >= 8 else None


def _quota_us(root: Path) -> int | None:
    """Return how long quotas stopped this process' control group and those above it, of either version."""
    told = []
    for controllers, path in re.findall(
        r"^\d+:(.*):/(.*)$", text_of(root, "proc/self/cgroup"), re.MULTILINE
    ):
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = "sys/fs/cgroup/cpu" if controllers else "sys/fs/cgroup"
        for group in (PurePosixPath(path), *PurePosixPath(path).parents):
            counters = text_of(root, f"{base}/{group}/cpu.stat")
            found = re.search(r"^throttled_(usec|time) (\d+)$", counters, re.MULTILINE)
            # Version 1 counts in nanoseconds.
            told += [int(found[2]) // (1 if found[1] == "usec" else 1000)] if found else []
    return sum(told) if told else None
