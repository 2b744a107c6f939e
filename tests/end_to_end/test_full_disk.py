"""A disk that takes no more is told in one line, and leaves nothing half-written.

A limit on the size of files stands for the full disk: writes fail in the middle of a file as there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from edge_bench.errors import OUR_FAULT
from edge_bench.files import Home

LIMIT_BYTES = 4_000
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from edge_bench.cli import main
sys.exit(main(sys.argv[2:]))
"""


def refused(home: Home, *words: str) -> None:
    """Run a command whose files may have `LIMIT_BYTES`, and check that it says so and cleans up."""
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, str(LIMIT_BYTES), *words, "--quiet", "--home", str(home.root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == OUR_FAULT, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "larger than this process may write" in ended.stderr
    assert "name another folder" in ended.stderr
    kept = [file for file in home.root.rglob("*") if file.is_file()]
    assert not [file for file in kept if file.name.startswith(".")], "a temporary file is left"


def test_training_says_so_and_leaves_no_part_of_a_checkpoint(home: Home, run_file: Path) -> None:
    refused(home, "train", str(run_file))
    assert not list(home.root.rglob("*.safetensors"))


def test_extracting_says_so_and_leaves_no_part_of_a_program(home: Home, trained: tuple[Path, Home]) -> None:
    shutil.copytree(trained[1].runs, home.runs)
    refused(home, "extract", trained[0].name, "--count", "2", "--screen", "0")
    assert not list(home.root.rglob("program.pt2"))
