"""What the kernel tells of the rest of the machine while a measurement runs.

Every source may be absent (containers, macOS, old kernels); what is absent is None. `root` is the
folder under which `proc` and `sys` lie.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from edge_bench.measure.environment import ROOT, text_of

_CPUS = "sys/devices/system/cpu"
_ZONES = "sys/class/thermal"
# Sensors that are absent or asleep tell values such as -274 or 0 °C, or 32767.
_SANE_C = (1.0, 150.0)
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """Counters at one moment. `ticks` is (idle, stolen, all) over all CPUs, in clock ticks, `own_s` this
    process' CPU time, `frequency` the highest present/maximum ratio over the cores.
    """

    at_ns: int
    own_s: float
    pressure_us: int | None
    ticks: tuple[int, int, int] | None
    throttled: int | None
    frequency: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What happened between two moments; shares are fractions of time.

    `pressure`: some task of the machine waited for a CPU. `steal`: the host ran somebody else.
    `others`: other processes used the machine's CPUs; they slow the model by sharing caches, memory
    and hardware threads even where it is never off the CPU.
    `throttled`: how often a core was slowed to cool. `frequency`: the clock at the end, of what it
    was at the start.
    """

    pressure: float | None = None
    steal: float | None = None
    others: float | None = None
    throttled: int | None = None
    frequency: float | None = None


def witness(*, root: Path = ROOT) -> Witness:
    """Read the counters now."""
    return Witness(
        at_ns=time.perf_counter_ns(),
        own_s=time.process_time(),
        pressure_us=_pressure_us(root),
        ticks=_ticks(root),
        throttled=_throttled(root),
        frequency=_frequency(root),
    )


def between(before: Witness, after: Witness) -> Observed:
    """Return what happened from `before` to `after`."""
    wall_us = max((after.at_ns - before.at_ns) / 1e3, 1e-3)
    pressure = steal = others = frequency = throttled = None
    if before.pressure_us is not None and after.pressure_us is not None:
        pressure = min(1.0, (after.pressure_us - before.pressure_us) / wall_us)
    if before.ticks is not None and after.ticks is not None:
        idle, stolen, ticks = (new - old for old, new in zip(before.ticks, after.ticks, strict=True))
        own = (after.own_s - before.own_s) * _TICKS_A_SECOND
        steal = stolen / ticks if ticks > 0 else 0.0
        others = max(0.0, (ticks - idle - stolen - own) / ticks) if ticks > 0 else 0.0
    if before.throttled is not None and after.throttled is not None:
        throttled = after.throttled - before.throttled
    if before.frequency and after.frequency:
        frequency = after.frequency / before.frequency
    return Observed(pressure=pressure, steal=steal, others=others, throttled=throttled, frequency=frequency)


def thermals(*, root: Path = ROOT) -> tuple[float | None, float | None]:
    """Return the hottest thermal zone in °C and the fastest core's clock in MHz, each None if untold.

    The clock is that of cpufreq. A virtual machine has none: what /proc/cpuinfo says there never moves.
    """
    clocks = [now for now, _ in _clocks_khz(root)]
    return max(_temperatures_c(root), default=None), max(clocks) / 1e3 if clocks else None


def _temperatures_c(root: Path) -> list[float]:
    names = sorted((root / _ZONES).glob("thermal_zone*"))
    told = (_millidegrees(root, f"{_ZONES}/{name.name}/temp") for name in names)
    return [one for one in told if one is not None]


def _millidegrees(root: Path, name: str) -> float | None:
    text = text_of(root, name)
    degrees = int(text) / 1e3 if re.fullmatch(r"-?\d+", text) else None
    return degrees if degrees is not None and _SANE_C[0] <= degrees <= _SANE_C[1] else None


def _pressure_us(root: Path) -> int | None:
    found = re.search(r"^some .*total=(\d+)", text_of(root, "proc/pressure/cpu"), re.MULTILINE)
    return int(found[1]) if found else None


def _ticks(root: Path) -> tuple[int, int, int] | None:
    """Return (idle, stolen, all) ticks since start over all CPUs."""
    found = re.search(r"^cpu\s+([\d ]+)$", text_of(root, "proc/stat"), re.MULTILINE)
    ticks = [int(word) for word in found[1].split()] if found else []
    # user nice system idle iowait irq softirq steal; guest time is counted in user already.
    return (ticks[3] + ticks[4], ticks[7], sum(ticks[:8])) if len(ticks) >= 8 else None


def _throttled(root: Path) -> int | None:
    names = sorted((root / _CPUS).glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    counts = [text_of(root, str(name.relative_to(root))) for name in names]
    told = [int(count) for count in counts if count.isdigit()]
    return sum(told) if told else None


def _frequency(root: Path) -> float | None:
    return max((now / most for now, most in _clocks_khz(root)), default=None)


def _clocks_khz(root: Path) -> list[tuple[int, int]]:
    """Return the present and the highest clock of every core that tells both."""
    clocks = []
    for folder in sorted((root / _CPUS).glob("cpu[0-9]*/cpufreq")):
        name = str(folder.relative_to(root))
        now, most = (text_of(root, f"{name}/{key}") for key in ("scaling_cur_freq", "cpuinfo_max_freq"))
        if now.isdigit() and most.isdigit() and int(most):
            clocks.append((int(now), int(most)))
    return clocks
