"""How far a command of another process is, read off the folders in which its sandbox works."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_bench.measure.sandbox import FOLDER
from edge_bench.measure.worker import JOB, JOURNAL

STAGES = {
    "memory": "weighing it and checking its answers",
    "time": "timing",
    "profile": "profiling",
    "predict": "running it on data",
    "describe": "reading the file",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What the sandbox does now, and how many blocks of runs it has timed."""

    stage: str
    blocks: int = 0


def progress(temporary: Path) -> Progress | None:
    """Return what the newest sandbox does that works under a temporary folder; None where none does.

    Reading disturbs nothing: blocks are counted by the lines of the journal that the child writes anyway.
    """
    found: list[tuple[int, Progress]] = []
    for job in temporary.glob(f"{FOLDER}*/{JOB}"):
        # A folder goes when its job ends.
        with suppress(OSError, ValueError):
            name = json.loads(job.read_text(encoding="utf-8"))["job"]
            told = Progress(stage=STAGES.get(name, "running it"), blocks=_blocks(job.with_name(JOURNAL)))
            found.append((job.stat().st_mtime_ns, told))
    return max(found, key=lambda one: one[0])[1] if found else None


def _blocks(journal: Path) -> int:
    """Return how many blocks a journal holds: a line each behind the first, which tells of loading."""
    with suppress(OSError):
        return max(journal.read_bytes().count(b"\n") - 1, 0)
    return 0
