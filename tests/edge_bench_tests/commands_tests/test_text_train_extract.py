"""`edge-bench train` and `extract` on text, as people type them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_bench import cli
from edge_bench.files import Home
from edge_bench.store import ResultStore

QUICK = {"training": {"epochs": 1, "epoch_steps": 2}}


@pytest.fixture
def translator(text_run: Callable[[str], tuple[Path, Home]], home: Home) -> str:
    """The name of a finished run in the test's own home."""
    original, _ = text_run("translation")
    shutil.copytree(original, home.runs / original.name)
    return "translation"


def document(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Run a command that must go well; return its document."""
    capsys.readouterr()
    assert cli.main([*words, "--json", "--quiet"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_training_tells_texts_and_their_metric(
    text_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", str(text_file("language_modelling", **QUICK))]) == 0
    told = capsys.readouterr().out
    assert "windows in" in told and "windows/s" in told and "selection perplexity: largest " in told
    assert "images" not in told and "accuracy" not in told and "next: edge-bench extract" in told


def test_layers_are_named_or_chosen_and_each_network_is_stored(
    translator: str, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, layers in (
        (["--depth", "2/1"], "0,2/0"),
        (["--arch", "0,1/1"], "0,1/1"),
        (["--arch", "d1/2"], "0/0,1"),
    ):
        [row] = document(capsys, "extract", translator, *words)["subnets"]
        assert row["layers"] == layers
        assert [metric["name"] for metric in row["metrics"]] == ["bleu", "bleu"]
    with ResultStore(home.store_url) as store:
        stored = store.subnets()
    assert len(stored) == 3
    assert all(home.absolute(one.program).is_file() and one.step is not None for one in stored)


def test_layers_are_found_by_search_where_that_is_asked_for(
    text_run: Callable[[str], tuple[Path, Home]], home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    original, _ = text_run("language_modelling")
    shutil.copytree(original, home.runs / original.name)
    words = ["extract", "language_modelling", "--depth", "3", "--keep-list", "search"]
    [row] = document(capsys, *words)["subnets"]
    assert len(row["layers"].split(",")) == 3
    judged = (home.runs / original.name / "judged.jsonl").read_text(encoding="utf-8").splitlines()
    best = min((json.loads(line)["metric"]["value"] for line in judged), default=None)
    assert len(judged) == 4 and row["metrics"][0]["value"] == best


def test_without_a_choice_depths_are_cut_from_the_deepest_to_the_shallowest(
    translator: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = document(capsys, "extract", translator, "--count", "2")["subnets"]
    assert [row["layers"] for row in rows] == ["0/0", "0,1,2/0,1"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--depth", "4/1"], "4 encoder layers are asked for"),
        (["--depth", "2"], "--depth names 1 stacks of layers"),
        (["--depth", "2/1", "--arch", "0/0"], "--depth and --arch are both given"),
        (["--arch", "0,9/0"], "there is no encoder layer 9"),
        (["--arch", "0,1"], "tells of one stack of layers"),
    ],
)
def test_layers_that_are_not_there_are_told_in_one_line(
    words: list[str], said: str, translator: str, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["extract", translator, *words]) == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told
    assert not home.artifacts.exists()


def test_a_file_or_kind_of_text_takes_the_place_of_the_data(
    text_file: Callable[..., Path], reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(text_file("text_classification", **QUICK))
    own = tmp_path / "own.tsv"
    shutil.copyfile(reviews / "dev.tsv", own)
    named = document(capsys, "train", path, "--data", f"labelled_text:{own}")
    shown = document(capsys, "train", path, "--data", str(own))
    # 60 rows, of each class a tenth for selection and a tenth for test.
    assert named["run"] == shown["run"] and named["training_texts"] == 48


def test_other_data_of_the_same_kind_keep_the_options_of_the_file_and_those_of_the_command(
    text_file: Callable[..., Path], pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backwards = {"path": "elsewhere", "source": "de", "target": "en"}
    path = str(text_file("translation", data=backwards, **QUICK))
    for split in ("first", "second"):
        for language in ("en", "de"):
            shutil.copyfile(pairs / f"test.{language}", tmp_path / f"test_{split}.{language}")
            shutil.copyfile(pairs / f"train.{language}", tmp_path / f"train.{language}")
    words = ["train", path, "--data", f"parallel_text:{tmp_path}"]
    assert cli.main(words) == 2
    assert "name the one that is meant: --set data.test=test_first" in capsys.readouterr().err
    run = document(capsys, *words, "--set", "data.test=test_first", "--set", "data.limit=100")
    assert run["training_pairs"] == 100
    options = json.loads((Path(run["folder"]) / "run.json").read_text(encoding="utf-8"))["config"]["data"]
    assert (options["source"], options["test"], options["path"]) == ("de", "test_first", str(tmp_path))


@pytest.mark.parametrize("split", ["dev", "test"])
@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("good " * 200 + "\t1", "tokens, begin and end included; the network takes at most"),
        ("good\t7", "line 61: label '7' is none of the classes 0, 1"),
    ],
)
def test_what_is_wrong_with_a_split_is_told_before_training(
    split: str,
    row: str,
    said: str,
    text_file: Callable[..., Path],
    reviews: Path,
    home: Home,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = tmp_path / "reviews"
    shutil.copytree(reviews, data)
    with (data / f"{split}.tsv").open("a", encoding="utf-8") as file:
        file.write(f"{row}\n")
    path = str(text_file("text_classification", data={"path": str(data)}, **QUICK))
    assert cli.main(["train", path]) == 2
    assert said in capsys.readouterr().err
    assert not list(home.runs.glob("*/checkpoint*"))


def test_bad_rows_of_text_are_left_out_where_that_is_asked_for(
    text_file: Callable[..., Path], reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "reviews"
    shutil.copytree(reviews, data)
    with (data / "train.tsv").open("a", encoding="utf-8") as file:
        file.write("\n\t1\n")
    path = str(text_file("text_classification", data={"path": str(data)}, **QUICK))
    assert cli.main(["train", path]) == 2
    assert "line 241" in capsys.readouterr().err
    assert document(capsys, "train", path, "--skip-bad")["skipped_texts"] == 2
    running = str(text_file("language_modelling", **QUICK))
    assert cli.main(["train", running, "--skip-bad"]) == 2
    assert "data of kind 'running_text' has no rows to leave out" in capsys.readouterr().err
