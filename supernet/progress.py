"""How far a long job is: a bar with an ETA on a terminal's stderr, else a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int, str], None]
SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def shown(
    description: str, *, done: int, total: int, say: Callable[[str], None], interactive: bool
) -> Iterator[Advance]:
    """Give a function that is told how many of `total` steps are done, and a word on how it goes."""
    if interactive:
        with _bar(description, done=done, total=total) as advance:
            yield advance
    else:
        yield _lines(description, done=done, total=total, say=say)


@contextmanager
def _bar(description: str, *, done: int, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[word]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, completed=done, word="")

        def advance(step: int, word: str) -> None:
            progress.update(task, completed=step, word=word)

        yield advance


def _lines(description: str, *, done: int, total: int, say: Callable[[str], None]) -> Advance:
    began = said = time.monotonic()

    def advance(step: int, word: str) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said < SECONDS_BETWEEN_LINES or step <= done:
            return
        said = now
        left = (now - began) / (step - done) * (total - step)
        say(f"{description} {step}/{total}, about {left:.0f} s left {word}".rstrip())

    return advance
