"""One benchmark at a time on a machine."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge_bench.files import Home, explained


@contextmanager
def exclusive(home: Home, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the home folder's benchmark lock during the block; call `waiting` if another holds it.

    The kernel lets go of the lock when the process ends, however it ends.

    Raises:
        StoreError: the home folder may not be written.
    """
    path = home.root / "benchmark.lock"
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
