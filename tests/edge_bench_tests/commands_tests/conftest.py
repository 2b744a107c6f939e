"""The command line as it is after `pip install edge-bench`, with no extra."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import edge_bench

Run = Callable[..., subprocess.CompletedProcess[str]]
# -S keeps the environment's own packages off the path; what the base needs is put there by hand.
MAIN = (
    "import sys; sys.path += sys.argv[1:3]; from edge_bench.cli import main; sys.exit(main(sys.argv[3:]))"
)


@pytest.fixture(scope="session")
def base_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of links to the distributions that edge-bench needs without any extra, and no other."""
    folder = tmp_path_factory.mktemp("base")
    for distribution in needed("edge-bench", set()):
        for name in {file.parts[0] for file in distribution.files or ()}:
            source = Path(str(distribution.locate_file(name)))
            if name not in ("..", "__pycache__") and source.exists():
                (folder / name).symlink_to(source)
    return folder


@pytest.fixture
def base_install(base_packages: Path, tmp_path: Path) -> Run:
    """Run `edge-bench` where nothing but the base is installed."""
    root = Path(edge_bench.__file__).parents[1]
    if (root / "numpy").exists():
        # Not a checkout but an installed wheel, which is among the links already.
        root = base_packages

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", MAIN, str(base_packages), str(root), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def needed(name: str, seen: set[str]) -> Iterator[importlib.metadata.Distribution]:
    """Yield a distribution and all that it requires where no extra is asked for."""
    if name in seen:
        return
    seen.add(name)
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        # A requirement of another platform or Python.
        return
    yield distribution
    for line in distribution.requires or ():
        if "extra ==" not in line and (found := re.match(r"[\w.-]+", line)):
            yield from needed(found[0].lower().replace("_", "-"), seen)
