"""`edge-bench analyse early-phase`, as people type it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_bench import cli
from edge_bench.files import HOME_VARIABLE, Home

RUN = """
name = "small"
[data]
kind = "digits"
[model]
kind = "mlp"
resolution = 8
hidden = [12]
[techniques.lottery_ticket]
rate = 0.5
rewind = "2it"
[training]
epochs = 1
epoch_steps = 8
checkpoint_steps = 3
batch_size = 16
learning_rate = 0.02
threads = 1
device = "cpu"
"""
ARMS = ["--left", "0.5", "--perturb", "noise:deviations=2", "--pretrain", "random_labels"]


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """The command on a run of 8 steps."""
    path = tmp_path / "small.toml"
    path.write_text(RUN, encoding="utf-8")
    return ["analyse", "early-phase", str(path)]


def answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert cli.main([*words, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_the_first_steps_are_told_without_arms(
    command: list[str], home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command, "--steps", "4it", "--points", "3", "--layers"]) == 0
    told = capsys.readouterr().out
    lines = told.splitlines()
    steps = [line.split()[0] for line in lines if line.strip()[:1].isdigit()]
    assert steps[:5] == ["0", "1", "2", "4", "8"]
    assert "signs changed" in told and "cos end" in told
    assert any(line.endswith(".weight") for line in lines)
    assert "next: edge-bench analyse early-phase" in told and "--perturb all" in told
    [run] = home.runs.iterdir()
    assert run.name.startswith("small-telemetry-") and f"telemetry: {run / 'telemetry.json'}" in told


def test_arms_are_told_beside_the_ticket_over_seeds(
    command: list[str], home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*command, *ARMS, "--seed", "0", "--seed", "1"]
    assert cli.main(words) == 0
    told = capsys.readouterr()
    lines = [line for line in told.out.splitlines() if " + 6" in line]
    assert [line.split("  ")[1].strip() for line in lines] == [
        "ticket",
        "noise:deviations=2",
        "pre-trained: none",
        "pre-trained: random_labels",
    ]
    assert "50.0 %" in lines[0] and "±" in lines[1]
    document = answer(words, capsys)
    assert [len(document[part]) for part in ("telemetry", "arms", "runs")] == [2, 4, 8]
    ticket, noise, _, labels = document["arms"]
    assert ticket["test_less_ticket"] is None and noise["seeds"] == [0, 1]
    assert noise["test_less_ticket"] == pytest.approx(noise["test"] - ticket["test"])
    assert (labels["early_steps"], labels["steps"], labels["metric"]) == (2, 6, "accuracy")
    of_noise = [row["test"] for row in document["runs"] if row["arm"] == "noise:deviations=2"]
    assert noise["test"] == pytest.approx(sum(of_noise) / 2)
    assert all(Path(row["folder"]).parent == home.runs for row in document["runs"])


def test_the_rewind_point_may_be_given(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = [*command, "--rewind", "5it", "--level", "0", "--perturb", "shuffle_globally"]
    assert [(arm["early_steps"], arm["steps"], arm["left"]) for arm in answer(words, capsys)["arms"]] == [
        (5, 3, 1.0),
        (5, 3, 1.0),
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--perturb", "shufle_globally"], "Did you mean 'shuffle_globally'"),
        (["--perturb", "noise:deviation=2"], "Did you mean 'deviations'"),
        (["--pretrain", "blurry"], "Did you mean 'blurred'"),
        (["--pretrain", "blurred:factor=9"], "images of 8 pixels would have 0 left"),
        (["--perturb", "noise", "--left", "2"], "left is 2; it must be above 0 and at most 1"),
        (["--level", "3"], "--level is given, but no arm to compare"),
        (["--perturb", "noise", "--pretrain-steps", "4it"], "no kind of pre-training is asked for"),
        (["--pretrain", "random_labels", "--rewind", "0it"], "rewind is 0it: no step is left"),
        (["--steps", "9ep"], "steps is 9ep, step 72; it must be 1it to 1ep"),
        (["--perturb", "noise", "--rewind", "9it"], "keep holds 1ep1it, step 9; it must be 1it to 1ep"),
    ],
)
def test_what_cannot_be_done_is_told(
    words: list[str], told: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command, *words]) == 2
    assert told in capsys.readouterr().err


def test_texts_are_not_blurred(text_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["analyse", "early-phase", str(text_file("text_classification")), "--pretrain", "blurred"]
    assert cli.main(words) == 2
    told = capsys.readouterr().err
    assert "[pretraining.blurred] is not for text classification; it is for image classification" in told


@pytest.mark.slow
def test_arms_that_were_killed_go_on(command: list[str], home: Home, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "edge_bench", *command, *ARMS, "--json", "--quiet"]
    whole = {**os.environ, HOME_VARIABLE: str(tmp_path / "undisturbed")}
    expected = json.loads(subprocess.run(words, env=whole, capture_output=True, check=True).stdout)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None and not list(home.runs.glob("*-noise-*/checkpoint.safetensors")):
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    assert found["telemetry"] == expected["telemetry"] and found["arms"] == expected["arms"]
