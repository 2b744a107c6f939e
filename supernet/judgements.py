"""What was judged of a finished run, a line each in its folder, so that nothing is judged twice."""

from __future__ import annotations

from pathlib import Path

from edge_bench.runs import JUDGED_FILE, Judgement, judgement, read_lines


def read_judgements(folder: Path) -> tuple[Judgement, ...]:
    """Return what the whole lines of a run folder's file say; nothing where there is no file."""
    return read_lines(folder / JUDGED_FILE, judgement).found
