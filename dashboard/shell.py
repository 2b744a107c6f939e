"""Commands that a page shows to be copied."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from edge_bench.files import Home
from edge_bench.records import THIS_MACHINE, BenchmarkResult


def command(words: Iterable[str], home: Home) -> str:
    """Return an `edge-bench` command for a shell, of the home folder that the page shows."""
    return shlex.join(["edge-bench", *words, "--home", str(home.root)])


def bench(files: Iterable[str], home: Home, *, device: str, more: Iterable[str] = ()) -> str:
    """Return the command that measures files (paths, or artifacts' ids) on a device."""
    where = [] if device == THIS_MACHINE else ["--device", device]
    return command(["bench", *files, *where, *more], home)


def bench_again(result: BenchmarkResult, home: Home, *more: str) -> str:
    """Return the command that measures a result's file as it was measured, where `more` says no other."""
    asked = [] if "--runtime" in more else ["--runtime", result.runtime]
    if "--threads" not in more and result.threads:
        asked += ["--threads", str(result.threads)]
    return bench([named(result)], home, device=result.device, more=[*asked, *more])


def fit(home: Home, *, device: str) -> str:
    """Return the command that fits the latency predictors of a device."""
    return command(["fit"] if device == THIS_MACHINE else ["devices", "profile", device], home)


def named(result: BenchmarkResult) -> str:
    """Return what a command calls a result's file."""
    return result.artifact or result.model
