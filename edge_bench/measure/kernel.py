"""Reading what the kernel tells under /proc and /sys, where any of it may be absent.

A file of its own since the measuring child needs no more of `environment` than this.
"""

from __future__ import annotations

from pathlib import Path

UNAVAILABLE = "unavailable"
ROOT = Path("/")


def text_of(root: Path, name: str) -> str:
    """Return the stripped text of a file under `root`, or "unavailable"."""
    try:
        return (root / name).read_text(encoding="utf-8", errors="replace").strip() or UNAVAILABLE
    except OSError:
        return UNAVAILABLE
