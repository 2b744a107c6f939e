"""One benchmark at a time on a machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge_bench.files import Home, locked


@contextmanager
def exclusive(home: Home, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the home folder's benchmark lock during the block; call `waiting` if another holds it.

    Raises:
        StoreError: the home folder may not be written.
    """
    with locked(home.root / "benchmark.lock", taken=waiting):
        yield
