"""The README's tour works as it stands, command by command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from edge_bench.files import Home

ROOT = Path(__file__).parents[2]


def tour() -> str:
    """Return the block that follows the mark."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- tour -->\n```sh\n(.*?)```", readme, re.DOTALL)
    assert found, "README.md has no tour"
    return found[1]


def test_the_tour_in_the_readme_works_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["sh", "-ex", "-c", tour()],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    assert "tflite" in (tmp_path / "results.csv").read_text(encoding="utf-8")
    [picked] = Home(tmp_path / "tour").picks.iterdir()
    assert {file.name for file in picked.iterdir()} > {"model_card.md", "run_model.py", "pick.json"}
