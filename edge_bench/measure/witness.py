"""What the kernel tells of the rest of the machine while a measurement runs.

Every source may be absent (containers, macOS, old kernels); what is absent is None. `root` is the
folder under which `proc` and `sys` lie.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from edge_bench.measure.environment import ROOT, UNAVAILABLE, text_of

_CPUS = "sys/devices/system/cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """Counters at one moment. `frequency` is the highest present/maximum ratio over the cores."""

    at_ns: int
    pressure_us: int | None
    steal: tuple[int, int] | None
    throttled: int | None
    frequency: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What happened between two moments; shares are fractions of time.

    `pressure`: some task of the machine waited for a CPU. `steal`: the host ran somebody else.
    `throttled`: how often a core was slowed to cool. `frequency`: the clock at the end, of what it
    was at the start.
    """

    pressure: float | None = None
    steal: float | None = None
    throttled: int | None = None
    frequency: float | None = None


def witness(*, root: Path = ROOT) -> Witness:
    """Read the counters now."""
    return Witness(
        at_ns=time.perf_counter_ns(),
        pressure_us=_pressure_us(root),
        steal=_steal(root),
        throttled=_throttled(root),
        frequency=_frequency(root),
    )


def between(before: Witness, after: Witness) -> Observed:
    """Return what happened from `before` to `after`."""
    wall_us = max((after.at_ns - before.at_ns) / 1e3, 1e-3)
    pressure = steal = frequency = throttled = None
    if before.pressure_us is not None and after.pressure_us is not None:
        pressure = min(1.0, (after.pressure_us - before.pressure_us) / wall_us)
    if before.steal is not None and after.steal is not None:
        ticks = after.steal[1] - before.steal[1]
        steal = (after.steal[0] - before.steal[0]) / ticks if ticks > 0 else 0.0
    if before.throttled is not None and after.throttled is not None:
        throttled = after.throttled - before.throttled
    if before.frequency and after.frequency:
        frequency = after.frequency / before.frequency
    return Observed(pressure=pressure, steal=steal, throttled=throttled, frequency=frequency)


def _pressure_us(root: Path) -> int | None:
    found = re.search(r"^some .*total=(\d+)", text_of(root, "proc/pressure/cpu"), re.MULTILINE)
    return int(found[1]) if found else None


def _steal(root: Path) -> tuple[int, int] | None:
    """Return (stolen, all) ticks since start over all CPUs."""
    found = re.search(r"^cpu\s+([\d ]+)$", text_of(root, "proc/stat"), re.MULTILINE)
    ticks = [int(word) for word in found[1].split()] if found else []
    # user nice system idle iowait irq softirq steal; guest time is counted in user already.
    return (ticks[7], sum(ticks[:8])) if len(ticks) >= 8 else None


def _throttled(root: Path) -> int | None:
    names = sorted((root / _CPUS).glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    counts = [text_of(root, str(name.relative_to(root))) for name in names]
    told = [int(count) for count in counts if count.isdigit()]
    return sum(told) if told else None


def _frequency(root: Path) -> float | None:
    ratios = []
    for folder in sorted((root / _CPUS).glob("cpu[0-9]*/cpufreq")):
        name = str(folder.relative_to(root))
        now, most = (text_of(root, f"{name}/{key}") for key in ("scaling_cur_freq", "cpuinfo_max_freq"))
        if UNAVAILABLE not in (now, most) and now.isdigit() and most.isdigit() and int(most):
            ratios.append(int(now) / int(most))
    return max(ratios) if ratios else None
