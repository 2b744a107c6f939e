"""How warm the machine is, how fast its clock runs, and what slows it, as the kernel tells.

Every source may be absent (virtual machines, containers, macOS); what is absent is None. `root` is the
folder under which `sys` lies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edge_bench.measure.kernel import ROOT, text_of

_CPUS = "sys/devices/system/cpu"
_THERMAL = "sys/class/thermal"
# Sensors that are absent or asleep tell values such as -274 or 0 °C, or 32767.
_SANE_C = (1.0, 150.0)
# Cooling devices that slow the CPU; others are fans, the GPU's clock or the memory's.
_SLOWS_THE_CPU = re.compile(r"Processor|.*cpufreq.*|.*cpuidle.*|intel_powerclamp")
# What the Raspberry Pi's firmware says of this moment, by bit.
_FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
_FIRMWARE_BITS = {
    0: "the supply voltage is low",
    1: "the firmware caps the clock",
    2: "the firmware throttles the CPU",
    3: "the firmware's temperature limit is reached",
}


def thermals(*, root: Path = ROOT) -> tuple[float | None, float | None]:
    """Return the hottest thermal zone in °C and the fastest core's clock in MHz, each None if untold.

    The clock is that of cpufreq. A virtual machine has none: what /proc/cpuinfo says there never moves.
    """
    temperatures = [told for zone in _zones(root) if (told := _degrees(root, f"{zone}/temp")) is not None]
    clocks = [now for now, _ in _clocks_khz(root)]
    return max(temperatures, default=None), max(clocks) / 1e3 if clocks else None


def headroom_c(*, root: Path = ROOT) -> float | None:
    """Return the least distance in °C to a trip point at which a zone begins to slow the machine."""
    distances = []
    for zone in _zones(root):
        now = _degrees(root, f"{zone}/temp")
        for kind in (root / zone).glob("trip_point_*_type"):
            slows = text_of(root, f"{zone}/{kind.name}") in ("passive", "hot")
            trip = _degrees(root, f"{zone}/{kind.name.removesuffix('_type')}_temp")
            if slows and now is not None and trip is not None:
                distances.append(trip - now)
    return min(distances, default=None)


def slowed_by(*, root: Path = ROOT) -> tuple[str, ...] | None:
    """Return what slows the CPU at this moment, in words; None where nothing tells of it."""
    told = [*_cooling(root), *_firmware(root)]
    return tuple(words for words in told if words) if told else None


def throttle_count(*, root: Path = ROOT) -> int | None:
    """Return how often the cores were throttled to cool since the machine started (x86)."""
    names = sorted((root / _CPUS).glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    counts = [text_of(root, str(name.relative_to(root))) for name in names]
    told = [int(count) for count in counts if count.isdigit()]
    return sum(told) if told else None


def clock_share(*, root: Path = ROOT) -> float | None:
    """Return the clock of the core that is nearest to its highest, as a share of that."""
    return max((now / most for now, most in _clocks_khz(root)), default=None)


def _zones(root: Path) -> list[str]:
    return [f"{_THERMAL}/{folder.name}" for folder in sorted((root / _THERMAL).glob("thermal_zone*"))]


def _degrees(root: Path, name: str) -> float | None:
    text = text_of(root, name)
    degrees = int(text) / 1e3 if re.fullmatch(r"-?\d+", text) else None
    return degrees if degrees is not None and _SANE_C[0] <= degrees <= _SANE_C[1] else None


def _cooling(root: Path) -> Iterator[str]:
    """Yield one text for each cooling device of the CPU: what it does, or an empty one."""
    for folder in sorted((root / _THERMAL).glob("cooling_device*")):
        device = f"{_THERMAL}/{folder.name}"
        kind, state = text_of(root, f"{device}/type"), text_of(root, f"{device}/cur_state")
        if _SLOWS_THE_CPU.fullmatch(kind) and re.fullmatch(r"-?\d+", state):
            yield f"the cooling device {kind} is at step {state}" if int(state) > 0 else ""


def _firmware(root: Path) -> Iterator[str]:
    text = text_of(root, _FIRMWARE)
    if re.fullmatch(r"(0x)?[0-9a-fA-F]+", text):
        flags = int(text, 16)
        yield ""
        yield from (words for bit, words in _FIRMWARE_BITS.items() if flags >> bit & 1)


def _clocks_khz(root: Path) -> list[tuple[int, int]]:
    """Return the present and the highest clock of every core that tells both."""
    clocks = []
    for folder in sorted((root / _CPUS).glob("cpu[0-9]*/cpufreq")):
        name = str(folder.relative_to(root))
        now, most = (text_of(root, f"{name}/{key}") for key in ("scaling_cur_freq", "cpuinfo_max_freq"))
        if now.isdigit() and most.isdigit() and int(most):
            clocks.append((int(now), int(most)))
    return clocks
