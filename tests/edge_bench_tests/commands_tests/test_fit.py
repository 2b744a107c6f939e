"""`edge-bench fit accuracy`: measured, stored, resumed. `fit` alone still means latency."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_bench import errors
from edge_bench.cli import main
from edge_bench.files import Home
from edge_bench.store import ResultStore

FEW = ("--nets", "20", "--held-out", "10", "--quiet")


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Tiny networks are quickest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(trained: tuple[Path, Home], home: Home) -> Path:
    """The tiny run in a home of one's own; nothing of it was judged yet."""
    folder = home.runs / trained[0].name
    shutil.copytree(trained[0], folder)
    (folder / "judged.jsonl").unlink(missing_ok=True)
    return folder


def fitted(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["fit", "accuracy", *FEW, "--json", *arguments]) == errors.OK
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told["accuracy_predictor"]


def test_an_accuracy_predictor_is_fitted_judged_and_stored(
    run: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    told = fitted(capsys)
    assert (told["run"], told["fitted"], told["held_out"]) == (run.name, 20, 10)
    assert (told["metric"], told["split"]) == ("accuracy", "selection")
    # Which of them errs less is chance on ten networks of two epochs; the contract tests hold them to that.
    assert told["rmse_points"] > 0 and told["baselines"]["mean"]["rmse_points"] > 0
    assert told["baselines"]["mean"]["kendall"] is None and told["seconds_a_network"] > 0
    assert len((run / "judged.jsonl").read_text().splitlines()) == 30
    with ResultStore(home.store_url) as store:
        (stored,) = store.accuracy_predictors(run=run.name)
    assert (stored.id, stored.held_out.rmse_points) == (told["id"], told["rmse_points"])


def test_a_second_fit_measures_nothing_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = fitted(capsys, "--run", run.name)
    lines = (run / "judged.jsonl").read_text()
    assert fitted(capsys, "--run", run.name) == first
    assert (run / "judged.jsonl").read_text() == lines


def test_people_see_predictor_and_baselines_side_by_side(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "accuracy", *FEW, "--kind", "additive"]) == errors.OK
    lines = capsys.readouterr().out.splitlines()
    heads, *_ = (line for line in lines if "Kendall tau" in line)
    assert "RMSE, points" in heads
    assert [line.split()[0] for line in lines if line.strip().startswith(("additive", "macs", "mean"))] == [
        "additive",
        "macs",
        "mean",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["accuracy", "--kind", "aditive"], "Did you mean 'additive'"),
        (["accuracy", "--threads", "2"], "--threads does not apply to accuracy"),
        (["accuracy", "--run", "none"], "there is no run 'none'"),
        (["accuracy", "--nets", "3"], "at least 20 are needed"),
        (["accuracy", "--held-out", "3"], "at least 10 are needed"),
        (["precision"], "invalid choice: 'precision'"),
        (["--nets", "3"], "--nets must be 8 or more"),
        ([], "there is no subnet in the store, so no search space is known"),
        (["latency"], "there is no subnet in the store, so no search space is known"),
    ],
)
def test_mistakes_are_answered_in_one_line_before_anything_is_measured(
    run: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *words, "--quiet"]) == errors.USAGE
    assert said in capsys.readouterr().err
    assert not (run / "judged.jsonl").exists()


def test_without_a_finished_run_there_is_nothing_to_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "accuracy"]) == errors.USAGE
    assert "no run is finished yet" in capsys.readouterr().err
