"""The fingerprint of the machine that a measurement was made on.

Every source may be absent; what cannot be read says "unavailable". `root` is the folder under which
`proc` and `sys` lie, so that tests can lay out a machine of their own.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from edge_bench.measure.kernel import ROOT, UNAVAILABLE, text_of


def fingerprint(*, root: Path = ROOT) -> dict[str, Any]:
    """Return CPU, cores, governor, kernel, operating system, memory, container and Python."""
    return {
        "cpu": cpu_model(root),
        "cpu_features": cpu_features(root),
        "machine": platform.machine(),
        "cores": psutil.cpu_count(logical=False) or UNAVAILABLE,
        "logical_cores": psutil.cpu_count() or UNAVAILABLE,
        "usable_cores": usable_cores(),
        "governor": text_of(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "max_frequency_khz": text_of(root, "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"),
        "kernel": platform.release(),
        "os": operating_system(root),
        "memory_mb": round(psutil.virtual_memory().total / 1e6),
        "container": container(root),
        "python": platform.python_version(),
    }


def circumstances(
    *, runtime_version: str, delegate: str, threads: int, folder: Path, root: Path = ROOT
) -> dict[str, Any]:
    """Return the fingerprint and what else may move a latency from one run to the next.

    `folder` is the one whose git revision is told: where the user stands.
    """
    return {
        **fingerprint(root=root),
        "runtime_version": runtime_version,
        "delegate": delegate,
        "threads": threads,
        "git_revision": git_revision(folder),
    }


def git_revision(folder: Path) -> str:
    """Return the commit that `folder` stands at, shortened, or "none" outside of a repository."""
    command = ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "none"
    return told.stdout.strip() if told.returncode == 0 else "none"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two fingerprints: key to (before, after)."""
    keys = [*before, *(key for key in after if key not in before)]
    pairs = {key: (before.get(key), after.get(key)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def cpu_model(root: Path = ROOT) -> str:
    """Return the CPU's name as the kernel tells it."""
    told = text_of(root, "proc/cpuinfo")
    for key in ("model name", "Model", "Hardware"):
        found = re.search(rf"^{key}\s*:\s*(.+)$", told, re.MULTILINE)
        if found:
            return found[1].strip()
    board = text_of(root, "sys/firmware/devicetree/base/model").strip("\0")
    if board != UNAVAILABLE:
        return board
    return platform.processor() or UNAVAILABLE


def cpu_features(root: Path = ROOT) -> list[str]:
    """Return the instruction sets that decide a neural network's speed, of those the CPU has."""
    matched = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text_of(root, "proc/cpuinfo"), re.MULTILINE)
    told = set(matched[1].split()) if matched else set()
    deciding = (
        "sse4_2 avx avx2 fma f16c avx512f avx512_vnni avx_vnni amx_int8 amx_bf16 "
        "asimd asimdhp asimddp i8mm bf16 sve sve2"
    )
    return [feature for feature in deciding.split() if feature in told]


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def operating_system(root: Path = ROOT) -> str:
    """Return the distribution's name and version, or the system's."""
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', text_of(root, "etc/os-release"), re.MULTILINE)
    return found[1] if found else f"{platform.system()} {platform.release()}"


def container(root: Path = ROOT) -> str:
    """Return "docker", "podman" or another container's name, or "none"."""
    for marker, name in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if (root / marker).exists():
            return name
    groups = text_of(root, "proc/1/cgroup")
    found = re.search(r"docker|kubepods|containerd|lxc", groups)
    return found[0] if found else "none"
