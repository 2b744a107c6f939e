"""Commands: one file each, the only place where stages meet.

A command's file imports nothing heavy at its top: torch, a converter or streamlit is imported
inside `run`, so that `--help` answers at once and a missing extra is told in one line.
"""

from __future__ import annotations

import argparse
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from edge_bench.files import Home
from edge_bench.store import ResultStore


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command answers: a document for `--json`, a text for people, and an exit status.

    Of several processes that run a command together, all but one are `silent`.
    """

    document: dict[str, Any]
    text: str
    status: int = 0
    silent: bool = False


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every command is given. Progress and logs go to stderr, answers are returned."""

    home: Home
    json: bool = False
    quiet: bool = False
    interactive: bool = field(default_factory=lambda: sys.stderr.isatty())

    def say(self, text: str) -> None:
        """Print a line of progress on stderr."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)  # noqa: T201

    @contextmanager
    def store(self) -> Iterator[ResultStore]:
        """Open the home folder's store for the length of the block."""
        with ResultStore(self.home.store_url) as store:
            yield store

    def track(self, items: Iterable[Any], *, description: str, total: int) -> Iterator[Any]:
        """Yield `items` behind a progress bar with an ETA (a line now and then where no terminal)."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        if not self.interactive or self.quiet:
            self.say(f"{description} ({total})")
            yield from items
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
        )
        # Once a second: what it draws takes CPU time from what may be being measured.
        with Progress(*columns, console=Console(stderr=True), refresh_per_second=1) as progress:
            yield from progress.track(items, description=description, total=total)


class Command(ABC):
    """One sub-command. The first line of its file's docstring is its help.

    `run` returns what to print and raises `EdgeBenchError` for what the user can mend; only
    `cli.py` prints and exits.
    """

    @abstractmethod
    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare options. `--home`, `--json` and `--quiet` are there already."""

    @abstractmethod
    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        """Do the work."""


def table(rows: list[dict[str, Any]], *, columns: Iterable[str] | None = None) -> str:
    """Return rows as a text table for a terminal or a pipe."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    names = list(columns or (rows[0] if rows else ()))
    drawn = Table(box=box.SIMPLE_HEAD)
    for name in names:
        numeric = bool(rows) and isinstance(rows[0].get(name), (int, float))
        drawn.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(cell(row.get(name)) for name in names))
    width = None if sys.stdout.isatty() else 200
    console = Console(width=width, color_system=None, markup=False, highlight=False)
    with console.capture() as captured:
        console.print(drawn)
    return captured.get().rstrip()


def cell(value: Any) -> str:
    """Return what a table shows of a value; floats with 4 significant digits."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
