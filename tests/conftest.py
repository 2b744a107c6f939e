"""Shared by all tests: a home folder of one's own, and where the real data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_bench.files import HOME_VARIABLE, Home

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home folder that nobody else writes to; commands find it by the environment."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return Home(tmp_path / "home")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; the test skips where there is none."""
    folder = Path(os.environ.get("EDGE_BENCH_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; name its folder by EDGE_BENCH_DATA")
    return folder
