"""The main job on a tiny run, each step by its command, and what is said when something is wrong."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drawn_digits import share_right

from edge_bench import variants
from edge_bench.choose.fitting import PREDICTORS
from edge_bench.choose.snippets import Picked, run_script
from edge_bench.files import HOME_VARIABLE, Home
from edge_bench.store import ResultStore

BENCH_FIELDS = (
    "model format runtime threads precision p50_ms p50_low_ms p50_high_ms p90_ms p99_ms load_ms first_ms "
    "peak_memory_mb runs verdict verdict_cause"
).split()
PICK_FIELDS = (
    "artifact format precision metric latency_ms latency_low_ms latency_high_ms source reasons"
).split()
FIT_FIELDS = "device runtime held_out mape within_10_percent spearman".split()

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_toml: str) -> Path:
    made = tmp_path_factory.mktemp("main-job")
    (made / "tiny.toml").write_text(tiny_toml, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def edge_bench(folder: Path) -> Run:
    """A function that runs one command line in a process of its own."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edge_bench", *words],
            cwd=folder,
            env={**os.environ, HOME_VARIABLE: str(folder / "home")},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def job(edge_bench: Run) -> dict[str, dict[str, Any]]:
    """The document of each step."""
    steps = (
        ("train", "tiny.toml"),
        ("extract", "tiny", "--count", "3", "--screen", "4"),
        ("fit", "--nets", "8", "--held-out", "4", "--compare"),
        ("export",),
        ("bench", "--all", "--max-seconds", "0.2"),
        ("pick", "--device", "this-machine", "--max-latency-ms", "1000"),
    )
    documents = {}
    for step in steps:
        ended = edge_bench(*step, "--json")
        assert ended.returncode == 0, f"{step}\n{ended.stderr}"
        documents[step[0]] = json.loads(ended.stdout)
    return documents


def test_each_step_answers_with_the_fields_that_scripts_rely_on(job: dict[str, dict[str, Any]]) -> None:
    assert len(job["extract"]["subnets"]) == 3
    assert len(job["export"]["artifacts"]) == len(job["bench"]["results"]) == 6
    for result in job["bench"]["results"]:
        assert set(BENCH_FIELDS) <= set(result)
        assert 0 < result["p50_low_ms"] <= result["p50_ms"] <= result["p50_high_ms"]
    assert {one["runtime"] for one in job["fit"]["predictors"]} == {"onnxruntime", "litert"}
    for one in job["fit"]["predictors"]:
        assert set(FIT_FIELDS) <= set(one)
        assert {row["kind"] for row in one["compared"]} == set(variants.names(PREDICTORS))
    candidate = job["pick"]["candidate"]
    assert set(PICK_FIELDS) <= set(candidate) and "alternatives" in job["pick"]
    assert candidate["source"] == "measured" and candidate["reasons"]
    best = max(one["selection_accuracy"] for one in job["export"]["artifacts"])
    assert candidate["metric"]["value"] == best


def test_peaks_that_fit_predicts_are_those_that_bench_measures(job: dict[str, dict[str, Any]]) -> None:
    weighed = {one["runtime"]: one["memory"] for one in job["fit"]["predictors"]}
    for result in job["bench"]["results"]:
        # These networks take some kilobytes.
        assert result["peak_memory_mb"] == pytest.approx(weighed[result["runtime"]]["base_mb"], rel=0.1)
    assert job["pick"]["candidate"]["memory_source"] == "measured"


def test_the_picked_script_classifies_an_image_as_often_right_as_was_told(
    job: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    script = next(file for file in job["pick"]["files"] if file.endswith("run_model.py"))
    told = job["pick"]["candidate"]["test_metric"]["value"]
    assert share_right(Path(script), tmp_path) == pytest.approx(told)


def test_a_pick_goes_to_the_folder_that_is_named(job: dict[str, dict[str, Any]], edge_bench: Run) -> None:
    for preset in ("speed", "accuracy"):
        ended = edge_bench("pick", "--preset", preset, "--output", "elsewhere", "--json")
        assert ended.returncode == 0, ended.stderr
        document = json.loads(ended.stdout)
        files = [Path(file) for file in document["files"]]
        assert all(file.is_file() and file.parent.name == "elsewhere" for file in files)
        assert sorted(files) == sorted(files[0].parent.iterdir())
        assert json.loads((files[0].parent / "pick.json").read_text())["preset"] == preset


def test_a_pick_by_p90_takes_along_the_gate_that_holds_it(
    job: dict[str, dict[str, Any]], edge_bench: Run, folder: Path
) -> None:
    limits = ("--percentile", "p90", "--max-latency-ms", "1000", "--output", "by-p90")
    ended = edge_bench("pick", *limits, "--json")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    one = told["candidate"]
    assert (one["latency_is"], one["source"], one["chance"]) == ("p90", "measured", 1.0)
    assert any("within the p90 budget of at most 1000 ms" in reason for reason in one["reasons"])
    assert told["changes"]
    assert told["gate"] == "edge-bench check model." + one["format"] + " --max-p90-ms 1000"
    words = shlex.split(told["gate"])[1:]
    words[1] = str(folder / "by-p90" / words[1])
    held = edge_bench(*words, "--json")
    assert held.returncode in (0, 4), held.stderr
    assert json.loads(held.stdout)["checks"][0]["name"] == "latency p90"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["pick", "--max-latency-ms", "0.000001"], 3, "the nearest miss is tiny-"),
        (["pick", "--run", "tniy"], 2, "Known: tiny-"),
        (["pick", "--device", "this-machin"], 2, "Did you mean 'this-machine'?"),
        (["pick", "--max-latency-ms", "-1"], 2, "a number above 0"),
        (["train", "nothing.toml"], 2, "nothing.toml"),
        (["train", "tiny.toml", "--set", "training.epoch=3"], 2, "Did you mean 'epochs'"),
        (["fit", "--runtimes", "litrt"], 2, "Did you mean 'litert'?"),
        (["export", "--format", "coreml"], 2, "Known: onnx, tflite."),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line_with_its_status(
    job: dict[str, dict[str, Any]], edge_bench: Run, words: list[str], status: int, said: str
) -> None:
    ended = edge_bench(*words)
    assert ended.returncode == status, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_run_misspelt_is_told_with_the_nearest(job: dict[str, dict[str, Any]], edge_bench: Run) -> None:
    name = job["train"]["run"]
    for command in ("pick", "fit"):
        ended = edge_bench(command, "--run", f"{name}x")
        assert ended.returncode == 2
        assert f"Did you mean '{name}'?" in ended.stderr


def test_a_pick_replaces_an_older_one_whole_and_nothing_that_is_no_pick(
    job: dict[str, dict[str, Any]], edge_bench: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    words = ("pick", "--output", str(folder))
    assert edge_bench(*words).returncode == 0
    whole = {file.name for file in folder.iterdir()}
    (folder / "model.left_over").touch()
    assert edge_bench(*words).returncode == 0
    assert {file.name for file in folder.iterdir()} == whole
    assert [one.name for one in tmp_path.iterdir()] == ["mine"]
    (folder / "pick.json").rename(tmp_path / "away.json")
    ended = edge_bench(*words)
    assert ended.returncode == 2 and "holds no pick" in ended.stderr
    assert {file.name for file in folder.iterdir()} == whole - {"pick.json"}


def test_a_second_export_and_bench_do_nothing_again(
    job: dict[str, dict[str, Any]], edge_bench: Run, folder: Path
) -> None:
    def files() -> dict[Path, int]:
        found = (folder / "home" / "artifacts").rglob("*")
        return {file: file.stat().st_mtime_ns for file in found if file.is_file()}

    before = files()
    exported = edge_bench("export", "--json")
    assert json.loads(exported.stdout) == job["export"]
    assert files() == before
    assert json.loads(edge_bench("bench", "--all", "--json").stdout) == {"results": []}


def test_the_script_of_a_quantized_file_is_as_often_right_as_was_told(
    job: dict[str, dict[str, Any]], edge_bench: Run, folder: Path, tmp_path: Path
) -> None:
    largest = job["extract"]["subnets"][-1]["id"]
    ended = edge_bench("export", largest, "--format", "tflite", "--precision", "int8", "--json")
    assert ended.returncode == 0, ended.stderr
    [row] = json.loads(ended.stdout)["artifacts"]
    home = Home(folder / "home")
    with ResultStore(home.store_url) as store:
        artifact = next(one for one in store.artifacts() if one.id == row["id"])
        subnet = next(one for one in store.subnets() if one.id == largest)
    shutil.copyfile(home.absolute(artifact.file), tmp_path / "model.tflite")
    script = tmp_path / "run_model.py"
    text = run_script(Picked.of(artifact, subnet, file="model.tflite"))
    script.write_text(text, encoding="utf-8")
    assert share_right(script, tmp_path) == pytest.approx(row["test_accuracy"])


@pytest.mark.slow
def test_the_quickstart_does_it_all_and_is_quick_the_second_time(edge_bench: Run) -> None:
    words = ("quickstart", "--json", "--set", "training.epochs=1")
    first = edge_bench(*words)
    assert first.returncode == 0, first.stderr
    document = json.loads(first.stdout)
    assert {"run", "subnets", "artifacts", "fit", "pick", "seconds", "peak_memory_mb"} <= set(document)
    fp32 = {(one["subnet"], one["format"]) for one in document["artifacts"] if one["precision"] == "fp32"}
    assert len(fp32) >= 24
    again = json.loads(edge_bench(*words).stdout)
    assert again["artifacts"] == document["artifacts"]
    assert "fit" not in again["step_seconds"]
