"""`edge-bench bench --accuracy`: the quality of the very file whose latency is told, beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_bench.cli import main
from edge_bench.commands import _judging, bench
from edge_bench.files import Home, sha256_of
from edge_bench.measure.adoption import as_found
from edge_bench.records import Artifact, BenchmarkResult, Preprocessing
from edge_bench.store import ResultStore

SIDE = 4


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An ONNX file for grey images of 4×4: class 0 where their mean lies below 0.5, else class 1."""
    from onnx import TensorProto, helper, numpy_helper

    pixels = SIDE * SIDE
    weights = np.stack([np.full(pixels, -1 / pixels), np.full(pixels, 1 / pixels)], axis=1)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
        ],
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [
            numpy_helper.from_array(weights.astype(np.float32), "weights"),
            numpy_helper.from_array(np.array([0.5, -0.5], np.float32), "bias"),
        ],
    )
    file = tmp_path / "brightness.onnx"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.write_bytes(made.SerializeToString())
    return file


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of dark and light images; one of each, in the test split, lies with the wrong class."""
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path / "images"
    for split in ("train", "selection", "test"):
        for name, shade in (("dark", 40), ("light", 220)):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(4):
                wrong = split == "test" and number == 0
                pixels = np.full((6, 6, 3), 255 - shade if wrong else shade, np.uint8)
                image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def measured(
    capsys: pytest.CaptureFixture[str], *words: object, status: int = 0
) -> tuple[dict[str, Any], str]:
    options = ["--json", "--quiet", "--max-seconds", "0.1"]
    assert main(["bench", *map(str, words), *options]) == status
    said = capsys.readouterr()
    return json.loads(said.out), said.err


def results(home: Home) -> list[BenchmarkResult]:
    with ResultStore(home.store_url) as store:
        return store.results()


def test_a_strangers_accuracy_stands_beside_its_latency_and_says_what_was_assumed(
    model: Path, images: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    document, _ = measured(capsys, model, "--accuracy", images)
    [row] = document["results"]
    [metric] = row["metrics"]
    assert (metric["name"], metric["split"], metric["examples"]) == ("accuracy", "test", 8)
    assert metric["value"] == 0.75
    assert row["notes"] == [
        "accuracy 75.00% of 8 test examples of folder images: 4 px, mean 0, std 1 "
        "(assumed: --mean and --std say otherwise)"
    ]
    [kept] = results(home)
    assert kept.metrics[0].value == 0.75 and kept.p50_ms > 0


def test_mean_and_std_are_what_the_file_is_fed(
    model: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # All is far below 0.5 then, so all is dark.
    document, _ = measured(capsys, model, "--accuracy", images, "--mean", "2", "--std", "1")
    assert document["results"][0]["metrics"][0]["value"] == 0.5
    assert document["results"][0]["notes"][0].endswith("mean 2, std 1 (as given)")


def test_a_stored_artifact_is_fed_as_its_record_says(
    model: Path, images: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    upside_down = Preprocessing(size=SIDE, channels=1, mean=(1.0,), std=(-1.0,))
    artifact = Artifact(
        id="ours",
        name="ours",
        subnet=None,
        format="onnx",
        precision="fp32",
        file=str(model),
        digest=sha256_of(model),
        size_bytes=1,
        inputs=as_found(model, runtime="onnxruntime").inputs,
        outputs=(),
        metrics=(),
        created="2026-01-01T00:00:00+00:00",
        preprocessing=upside_down,
    )
    with ResultStore(home.store_url) as store:
        store.add(artifact)
    document, _ = measured(capsys, "ours", "--accuracy", images)
    assert document["results"][0]["metrics"][0]["value"] == 0.25
    assert "(as stored)" in document["results"][0]["notes"][0]


def test_accuracy_is_measured_once_for_all_thread_counts(
    model: Path, images: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []

    def counted(artifact: Artifact, **options: Any) -> Artifact:
        judged.append(artifact.name)
        return judge(artifact, **options)

    judge = _judging.judge
    monkeypatch.setattr(_judging, "judge", counted)
    document, _ = measured(capsys, model, "--accuracy", images, "--threads", "1,2")
    assert judged == ["brightness.onnx"]
    assert [row["metrics"][0]["value"] for row in document["results"]] == [0.75, 0.75]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--accuracy", "digits"], 6, "the file gives 2 outputs; the data has 10 classes"),
        (["--accuracy", "nowhere"], 2, "'nowhere' is neither a folder nor a kind of data"),
        (["--accuracy", "digits", "--layout", "nhwc"], 6, "takes inputs of shape"),
        (["--accuracy", "digits", "--size", "9"], 2, "takes images of 4 pixels"),
        (["--mean", "0.5"], 2, "name the data, --accuracy"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_timed(
    words: list[str],
    status: int,
    message: str,
    model: Path,
    home: Home,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("edge_bench.data.digits")
    monkeypatch.setattr(bench, "benchmark", lambda *_, **__: pytest.fail("it was timed"))
    _, told = measured(capsys, model, *words, status=status)
    assert message in told
    assert not results(home)
