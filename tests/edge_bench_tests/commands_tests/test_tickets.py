"""`edge-bench tickets`, as people type it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_bench import cli
from edge_bench.files import HOME_VARIABLE, Home

QUICK = {"techniques": None, "training": {"epochs": 1, "epoch_steps": 4, "checkpoint_steps": 2}}


@pytest.fixture
def ladder_file(text_file: Callable[..., Path]) -> str:
    """A run file that says nothing of tickets."""
    return str(text_file("text_classification", **QUICK))


def test_levels_are_told_with_what_is_left_of_them(
    ladder_file: str, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tickets", ladder_file, "--rounds", "2", "--rewind", "2it", "--control", "one_shot"]
    assert cli.main(words) == 0
    told = capsys.readouterr()
    assert "level 2 of 2, control one_shot: 64.0 % left, accuracy" in told.err
    assert "next: edge-bench extract text_classification-level2-" in told.out
    assert cli.main([*words, "--json"]) == 0
    again = capsys.readouterr()
    assert "goes on" not in again.err and "train text_classification" not in again.err
    rows = json.loads(again.out)["levels"]
    assert [(row["level"], row["control"]) for row in rows] == [
        (0, None),
        (1, None),
        (1, "one_shot"),
        (2, None),
        (2, "one_shot"),
    ]
    assert all(Path(row["folder"]).parent == home.runs for row in rows)


def test_a_control_that_is_none_is_told_with_the_known_ones(
    ladder_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["tickets", ladder_file, "--control", "luck"]) == 2
    assert "one_shot" in capsys.readouterr().err


def test_a_step_that_is_none_is_told(ladder_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tickets", ladder_file, "--rewind", "early"]) == 2
    assert "'early' is no step of training" in capsys.readouterr().err


@pytest.mark.slow
def test_a_ladder_that_was_killed_goes_on(ladder_file: str, home: Home, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_bench", "tickets", ladder_file, "--rounds", "2"]
    command += ["--rewind", "2it", "--json", "--quiet"]
    whole = {**os.environ, HOME_VARIABLE: str(tmp_path / "undisturbed")}
    expected = json.loads(subprocess.run(command, env=whole, capture_output=True, check=True).stdout)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None and not list(home.runs.glob("*-level1-*/checkpoint.safetensors")):
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    for one, two in zip(expected["levels"], found["levels"], strict=True):
        assert (one["left"], one["value"]) == (two["left"], two["value"])
        assert Path(one["folder"]).name == Path(two["folder"]).name
