"""The tiny run with values changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from supernet.run import RunConfig, load_run


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks are quickest on one thread, more so beside other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny(run_file: Path) -> Callable[..., RunConfig]:
    """A function that gives the tiny run with some values changed."""
    return lambda *overrides: load_run(run_file, overrides)
