"""`edge-bench results`: the store as a table and as a file that other tools read."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest

from edge_bench import errors
from edge_bench.cli import main
from edge_bench.commands import results
from edge_bench.documents import from_document
from edge_bench.files import Home
from edge_bench.records import (
    AccuracyErrors,
    ArchConfig,
    Artifact,
    BenchmarkResult,
    Block,
    FittedAccuracyPredictor,
    FittedPredictor,
    HeldOut,
    Metric,
    Parity,
    Preprocessing,
    SearchSpace,
    Stage,
    Subnet,
    Survey,
    TimingBlock,
)
from edge_bench.store import KINDS, VERSION, ResultStore

ROOT = Path(__file__).parents[3]
Run = Callable[..., subprocess.CompletedProcess[str]]
CREATED = "2026-01-01T00:00:00+00:00"


def metric(value: float, split: Any) -> Metric:
    return Metric(name="accuracy", value=value, higher_is_better=True, split=split, examples=100)


def subnet() -> Subnet:
    stage = Stage(width=8, stride=1, depths=(1, 2), kernels=(3,), expands=(2,))
    return Subnet(
        id="net-1",
        run="trial-00ff",
        technique="once_for_all",
        space=SearchSpace(
            name="lite",
            input_channels=1,
            classes=10,
            resolutions=(16,),
            stem_width=8,
            stem_stride=1,
            stages=(stage,),
            head_width=8,
        ),
        arch=ArchConfig(space="lite", resolution=16, blocks=(Block(source=0, kernel=3, expand=2),)),
        program="runs/trial/net-1.pt2",
        digest="00",
        params=1000,
        macs=50000,
        task="image_classification",
        metrics=(metric(0.5, "selection"), metric(0.875, "test")),
        class_names=("a", "b"),
        preprocessing=Preprocessing(size=16, channels=1, mean=(0.5,), std=(0.25,)),
        data={"kind": "digits"},
        created=CREATED,
    )


def artifact() -> Artifact:
    return Artifact(
        id="file-1",
        name="net-1-onnx",
        subnet="net-1",
        format="onnx",
        precision="fp32",
        file="artifacts/net-1.onnx",
        digest="01",
        size_bytes=2_500_000,
        inputs=(),
        outputs=(),
        metrics=(metric(0.75, "selection"), metric(0.9375, "test")),
        created=CREATED,
        parity=Parity(max_abs_error=1e-6, tolerance=1e-4, batch_sizes=(1,), examples=10),
    )


def result(id: str, *, device: str = "this-machine", model: str = "net.onnx", **changes: Any) -> Any:
    values: dict[str, Any] = {
        "artifact": None,
        "digest": "01",
        "format": "onnx",
        "precision": "fp32",
        "runtime": "onnxruntime",
        "runtime_version": "1.0",
        "threads": 2,
        "batch": 1,
        "load_ms": 10.0,
        "first_ms": 5.0,
        "blocks": (
            TimingBlock(latencies_ns=(9_000_000,), counted=False, off_cpu=0.5, reason="polluted"),
            TimingBlock(latencies_ns=(1_000_000, 2_000_000, 3_000_000), counted=True, off_cpu=None),
        ),
        "p50_low_ms": 1.0,
        "p50_high_ms": 3.0,
        "peak_memory_mb": 42.0,
        "verdict": "clean",
        "verdict_cause": "p50 is known",
        "stopped_by": "precision",
        "environment": {},
        "created": CREATED,
    }
    return BenchmarkResult(id=id, device=device, model=model, **values | changes)


def predictor() -> FittedPredictor:
    held_out = HeldOut(
        networks=6, mape=0.031, within_5_percent=0.8, within_10_percent=1.0, spearman=0.99, kendall=0.95
    )
    return FittedPredictor(
        id="fit-1",
        kind="non_negative",
        device="this-machine",
        runtime="litert",
        threads=1,
        precision="fp32",
        space="lite-00",
        fitted_networks=24,
        parameters={},
        validity={},
        held_out=held_out,
        baseline=held_out,
        created=CREATED,
    )


def survey() -> Survey:
    return Survey(
        id="survey",
        device="pi",
        digest="0" * 64,
        space="lite-0",
        runtime="onnxruntime",
        threads=1,
        latencies_ms={"0123456789ab": 1.5, "block-0123456789ab": 0.5},
        environment={"cpu": "a CPU"},
        created="2026-01-01T00:00:00+00:00",
    )


def accuracy_predictor() -> FittedAccuracyPredictor:
    held_out = AccuracyErrors(networks=100, rmse_points=0.4, kendall=0.91, spearman=0.98)
    return FittedAccuracyPredictor(
        id="trial-00ff-additive",
        kind="additive",
        run="trial-00ff",
        space="lite-00",
        metric="accuracy",
        split="selection",
        examples=5000,
        fitted_networks=300,
        parameters={},
        held_out=held_out,
        baselines={"mean": AccuracyErrors(networks=100, rmse_points=2.5)},
        cross_validated={"additive": held_out},
        created=CREATED,
    )


def fill(home: Home, *records: Any) -> None:
    with ResultStore(home.store_url) as store:
        store.add(*records)


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["results", "list", *arguments, "--json"]) == errors.OK
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["results", *arguments]) == errors.USAGE
    told = capsys.readouterr()
    assert not told.out and told.err.count("edge-bench: ") == 1
    return told.err


def test_the_table_shows_each_result_with_its_interval_and_the_metric_of_its_file(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(home, artifact(), result("one", artifact="file-1"), result("two", model="strange.onnx"))
    assert main(["results", "list"]) == errors.OK
    lines = capsys.readouterr().out.splitlines()
    (own,) = (line for line in lines if "net.onnx" in line)
    for told in ("onnxruntime", "fp32", "1 to 3", "42", "accuracy 0.9375", "clean"):
        assert told in own
    (strange,) = (line for line in lines if "strange.onnx" in line)
    assert "accuracy" not in strange and "clean" in strange


def test_what_is_no_single_inference_after_another_is_told_apart(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(home, result("plain"))
    main(["results", "list"])
    assert " how " not in capsys.readouterr().out
    offline = result("offline", scenario="offline", samples_per_query=64)
    fill(home, result("cold", mode="cold"), offline)
    main(["results", "list"])
    said = capsys.readouterr().out
    assert " how " in said and " cold " in said and " offline × 64" in said


def test_the_document_has_the_fields_of_a_benchmark_and_its_metric(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(home, artifact(), result("one", artifact="file-1"))
    (row,) = listed(capsys)["results"]
    fields = (
        "model format runtime threads precision p50_ms p50_low_ms p50_high_ms p90_ms p99_ms load_ms"
        " first_ms peak_memory_mb runs verdict verdict_cause"
    )
    assert set(fields.split()) <= set(row)
    assert (row["p50_ms"], row["runs"], row["metric"]) == (2.0, 3, "accuracy")
    assert (row["metric_value"], row["metric_split"], row["metric_examples"]) == (0.9375, "test", 100)


@pytest.mark.parametrize(
    ("kind", "shown", "expected"),
    [
        (
            "subnet",
            ["net-1", "trial-00ff", "0.875"],
            {"blocks": 1, "resolution": 16, "metric_value": 0.875},
        ),
        ("artifact", ["file-1", "2.5", "1e-06"], {"size_bytes": 2_500_000, "parity_tolerance": 1e-4}),
        ("predictor", ["fit-1", "0.031", "0.99"], {"fitted_networks": 24, "held_out_networks": 6}),
        (
            "accuracy_predictor",
            ["trial-00ff-additive", "0.91", "0.4"],
            {"fitted_networks": 300, "mean_rmse_points": 2.5, "split": "selection"},
        ),
        ("result", ["net.onnx"], {"device": "this-machine", "load_ms": 10.0}),
    ],
)
def test_every_kind_of_record_has_its_table(
    home: Home,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    shown: list[str],
    expected: dict[str, Any],
) -> None:
    fill(home, subnet(), artifact(), predictor(), accuracy_predictor(), result("one"))
    assert main(["results", "list", "--kind", kind]) == errors.OK
    table = capsys.readouterr().out
    assert all(word in table for word in shown)
    (row,) = listed(capsys, "--kind", kind)[f"{kind}s"]
    assert expected.items() <= row.items()


def test_an_empty_store_says_what_fills_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results"]) == errors.OK
    assert "quickstart" in capsys.readouterr().out
    assert listed(capsys) == {"results": []}


def test_results_of_one_device_can_be_asked_for(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    fill(home, result("here"), result("there", device="pocket-board"))
    assert [row["id"] for row in listed(capsys, "--device", "pocket-board")["results"]] == ["there"]
    # A device that is known and has no result is no error.
    assert listed(capsys, "--device", "raspberry-pi-4") == {"results": []}
    assert "Did you mean 'pocket-board'?" in refusal(capsys, "list", "--device", "pocket-bord")
    assert "belong to no device" in refusal(capsys, "list", "--kind", "subnet", "--device", "this-machine")


def test_an_exported_file_holds_what_the_list_tells(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(home, artifact(), result("one", artifact="file-1"), result("two"))
    told = listed(capsys)["results"]
    for ending in ("csv", "jsonl", "parquet"):
        assert main(["results", "export", str(tmp_path / f"out.{ending}"), "--json"]) == errors.OK
        assert json.loads(capsys.readouterr().out)["rows"] == 2
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {name: "" if value is None else str(value) for name, value in row.items()} for row in told
    ]
    raw = [1.0, 2.0, 3.0]
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["one", "two"]
    frame = pd.read_parquet(tmp_path / "out.parquet")
    assert list(frame.columns) == [*told[0], "latencies_ms"]
    assert list(frame["p50_ms"]) == [2.0, 2.0] and list(frame["latencies_ms"][0]) == raw
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == [
        "out.csv",
        "out.jsonl",
        "out.parquet",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_of_json_is_a_whole_record_with_its_version_and_fits_the_printed_schema(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    kept = {
        "result": result("one"),
        "artifact": artifact(),
        "subnet": subnet(),
        "predictor": predictor(),
        "accuracy_predictor": accuracy_predictor(),
        "survey": survey(),
    }
    fill(home, kept[kind])
    assert main(["results", "export", str(tmp_path / "out.jsonl"), "--kind", kind]) == errors.OK
    document = json.loads((tmp_path / "out.jsonl").read_text())
    capsys.readouterr()
    assert main(["results", "schema", "--kind", kind]) == errors.OK
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    assert document.pop("version") == VERSION
    assert from_document(KINDS[kind], document) == kept[kind]
    for wrong in (document, {**document, "version": VERSION, "more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_the_published_schema_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results", "schema"]) == errors.OK
    published = ROOT / "docs" / "schema" / f"benchmark-result-{VERSION}.json"
    told = capsys.readouterr().out
    hint = f"edge-bench results schema > {published.relative_to(ROOT)}"
    assert published.read_text(encoding="utf-8") == told, hint


def test_a_schema_takes_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert "takes --kind alone" in refusal(capsys, "schema", "out.json")


@pytest.mark.parametrize("model", ["=1+1.onnx", "+x", "-x.onnx", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_csv_holds_no_text_that_a_spreadsheet_runs(home: Home, tmp_path: Path, model: str) -> None:
    fill(home, result("one", model=model, load_ms=-1.0))
    assert main(["results", "export", str(tmp_path / "out.csv")]) == errors.OK
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["model"] == f"'{model}"
    # A number stays a number.
    assert row["load_ms"] == "-1.0"
    assert main(["results", "export", str(tmp_path / "out.jsonl")]) == errors.OK
    assert json.loads((tmp_path / "out.jsonl").read_text())["model"] == model


def test_an_ending_that_is_not_known_says_what_would_work(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(home, result("one"))
    for name, told in (("out.xlsx", "ends in '.xlsx'"), ("out", "has no ending")):
        said = refusal(capsys, "export", str(tmp_path / name))
        assert told in said and ".csv, .jsonl or .parquet" in said and "out.csv" in said
    assert not list(tmp_path.glob("out*"))


def test_what_is_missing_or_too_much_is_told(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "needs a file" in refusal(capsys, "export")
    assert "results export out.csv" in refusal(capsys, "list", "out.csv")
    assert "holds no result to export" in refusal(capsys, "export", str(tmp_path / "out.csv"))
    fill(home, result("one"))
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in refusal(capsys, "export", str(tmp_path / "folder.csv"))
    (tmp_path / "file").write_text("a file", encoding="utf-8")
    assert "is a file" in refusal(capsys, "export", str(tmp_path / "file" / "out.csv"))
    assert not (tmp_path / "out.csv").exists()


def test_a_disk_that_fills_up_while_exporting_leaves_the_old_file(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(home, result("one"))
    target = tmp_path / "out.csv"
    target.write_text("what was there", encoding="utf-8")

    def half(rows: Any, path: Path) -> None:
        path.write_text("half of", encoding="utf-8")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setitem(results.WRITERS, ".csv", half)
    assert main(["results", "export", str(target)]) == errors.OUR_FAULT
    assert "no space left" in capsys.readouterr().err
    assert target.read_text(encoding="utf-8") == "what was there"
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["out.csv"]


def test_a_file_name_that_is_no_text_can_be_listed_and_exported(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # What Python makes of the file name b"\xff.onnx".
    fill(home, result("one", model="\udcff.onnx"))
    assert listed(capsys)["results"][0]["model"] == "\\udcff.onnx"
    for ending in ("csv", "jsonl", "parquet"):
        assert main(["results", "export", str(tmp_path / f"out.{ending}")]) == errors.OK
    assert pd.read_parquet(tmp_path / "out.parquet")["model"][0] == "\\udcff.onnx"


def test_parquet_without_its_library_gives_the_install_line_and_leaves_the_old_file(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(home, result("one"))
    target = tmp_path / "out.parquet"
    target.write_text("what was there", encoding="utf-8")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'edge-bench[tables]'" in refusal(capsys, "export", str(target))
    assert target.read_text(encoding="utf-8") == "what was there"
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["out.parquet"]


def test_a_home_below_a_file_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("a file", encoding="utf-8")
    assert main(["results", "list", "--home", str(tmp_path / "file" / "home")]) == errors.OUR_FAULT
    told = capsys.readouterr().err
    assert told.count("edge-bench: ") == 1 and "--home" in told and "Traceback" not in told


def test_the_base_install_lists_and_exports_what_needs_no_library(
    base_install: Run, home: Home, tmp_path: Path
) -> None:
    fill(home, result("one"))
    told = base_install("results", "list", "--json")
    assert [row["id"] for row in json.loads(told.stdout)["results"]] == ["one"]
    assert base_install("results", "export", "out.csv").returncode == errors.OK
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").count("\n") == 2
    refused = base_install("results", "export", "out.parquet")
    assert refused.returncode == errors.USAGE and "edge-bench[tables]" in refused.stderr
