"""From a file to a record, and the command around it."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_bench.cli import main
from edge_bench.commands import Context
from edge_bench.commands.bench import bench_artifacts
from edge_bench.documents import from_document, to_document
from edge_bench.errors import ConfigError, DataError, InvalidModel
from edge_bench.files import Home, sha256_of
from edge_bench.measure.benchmark import benchmark
from edge_bench.measure.inputs import dequantized, quantized, random_feeds
from edge_bench.measure.lock import exclusive
from edge_bench.measure.quality import accuracy, measured_accuracy
from edge_bench.records import Artifact, BenchmarkResult, TensorSpec
from edge_bench.store import ResultStore

FIELDS = (
    "model format runtime threads precision p50_ms p50_low_ms p50_high_ms p90_ms p99_ms load_ms first_ms "
    "peak_memory_mb runs verdict verdict_cause"
).split()


def script(folder: Path, name: str = "known", **document: Any) -> Path:
    file = folder / f"{name}.scripted"
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


def stored(home: Home, file: Path, name: str) -> Artifact:
    kept = home.artifacts / file.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(file.read_bytes())
    artifact = Artifact(
        id=f"id-{name}",
        name=name,
        subnet=None,
        format="onnx",
        precision="fp32",
        file=home.relative(kept),
        digest=sha256_of(kept),
        size_bytes=kept.stat().st_size,
        inputs=(),
        outputs=(),
        metrics=(),
        created="2026-01-01T00:00:00+00:00",
    )
    with ResultStore(home.store_url) as store:
        store.add(artifact)
    return artifact


def results(home: Home) -> list[BenchmarkResult]:
    with ResultStore(home.store_url) as store:
        return store.results()


def test_known_latencies_become_known_figures(tmp_path: Path, home: Home) -> None:
    # The first and the 100 ms of warm-up are not counted; of a hundred the quantiles are known.
    counted = [4.0 + index / 1000 for index in range(100)]
    file = script(tmp_path, latencies_ms=[90.0, 100.0, *counted * 2])
    result = benchmark(file, home=home, min_runs=100)
    assert result.first_ms == 90.0
    assert result.latencies_ms == pytest.approx(counted)
    assert (result.p50_ms, result.p90_ms, result.p99_ms) == (4.049, 4.089, 4.098)
    assert result.p50_low_ms <= result.p50_ms <= result.p50_high_ms
    assert (result.runs, result.verdict, result.format) == (100, "clean", "scripted")


def test_a_disturbed_script_is_noisy_and_keeps_every_block(tmp_path: Path, home: Home) -> None:
    file = script(tmp_path, latencies_ms=[10.0], off_cpu=[0.5])
    result = benchmark(file, home=home, max_seconds=1)
    assert result.verdict == "noisy"
    assert sum(len(block.latencies_ns) for block in result.blocks) == 100
    assert 0 < result.runs < 100


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_a_real_file_gives_a_whole_record(
    runtime: str, tiny_onnx: Path, tiny_tflite: Path, home: Home
) -> None:
    file = {"onnxruntime": tiny_onnx, "litert": tiny_tflite}[runtime]
    result = benchmark(file, home=home, max_seconds=0.3, threads=2, batch=4)
    assert (result.runtime, result.threads, result.batch, result.precision) == (runtime, 2, 4, "fp32")
    assert result.digest == sha256_of(file) and result.artifact is None
    assert result.load_ms > 0 and result.first_ms > 0 and result.p50_ms > 0
    assert 10 < result.peak_memory_mb < 2000
    assert result.environment["python"] and result.environment["input_shapes"] == {"inputs": [4, 4]}
    assert from_document(BenchmarkResult, json.loads(json.dumps(to_document(result)))) == result


def test_two_results_never_share_an_id(tmp_path: Path, home: Home) -> None:
    file = script(tmp_path, latencies_ms=[1.0])
    assert benchmark(file, home=home).id != benchmark(file, home=home).id


def test_a_model_that_answers_no_finite_number_is_refused(tmp_path: Path, home: Home) -> None:
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Sub", ["x", "one"], ["negative"]), helper.make_node("Log", ["negative"], ["y"])],
        "nan",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])],
    )
    file = tmp_path / "nan.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.write_bytes(model.SerializeToString())
    with pytest.raises(InvalidModel, match="output 'y' is not finite"):
        benchmark(file, home=home)


def test_the_lock_lets_one_in_at_a_time_and_says_so(home: Home) -> None:
    waited, entered = threading.Event(), threading.Event()

    def second() -> None:
        with exclusive(home, waiting=waited.set):
            entered.set()

    with exclusive(home):
        other = threading.Thread(target=second)
        other.start()
        assert waited.wait(20)
        assert not entered.is_set()
    other.join(20)
    assert entered.is_set()


def test_the_command_prints_every_promised_field_and_stores_the_result(
    tiny_onnx: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(tiny_onnx), "--json", "--max-seconds", "0.2", "--threads", "1,2"]) == 0
    rows = json.loads(capsys.readouterr().out)["results"]
    assert [row["threads"] for row in rows] == [1, 2]
    assert all(name in rows[0] for name in FIELDS)
    assert [one.id for one in results(home)] == [row["id"] for row in rows]


def test_a_strangers_copy_of_a_stored_artifact_is_recognised(tmp_path: Path, home: Home) -> None:
    file = script(tmp_path, latencies_ms=[1.0])
    artifact = stored(home, file, "ours")
    assert main(["bench", str(file), "--quiet"]) == 0
    assert (results(home)[0].artifact, results(home)[0].model) == (artifact.id, "ours")


def test_an_artifact_is_benched_by_id_and_all_benches_what_has_no_result(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        stored(home, script(tmp_path, f"m{number}", latencies_ms=[1.0 + number]), f"m{number}")
    assert main(["bench", "id-m1", "--quiet"]) == 0
    assert main(["bench", "--all", "--quiet"]) == 0
    assert [one.model for one in results(home)] == ["m1", "m0", "m2"]
    capsys.readouterr()
    assert main(["bench", "--all", "--quiet"]) == 0
    assert "every stored artifact has a result" in capsys.readouterr().out
    assert len(results(home)) == 3


def test_one_bad_file_stops_no_other_and_the_worst_status_is_told(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    good = script(tmp_path, "good", latencies_ms=[1.0])
    bad, crash = tmp_path / "bad.tflite", script(tmp_path, "crash", latencies_ms=[1.0], crash="SIGABRT")
    bad.write_text("no model", encoding="utf-8")
    files = [str(one) for one in (bad, tmp_path / "absent.onnx", crash, good)]
    assert main(["bench", *files, "--json", "--quiet"]) == 6
    document = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in document["results"]] == ["good.scripted"]
    assert {row["kind"] for row in document["failures"]} == {"InvalidModel", "ConfigError", "ModelCrashed"}
    assert len(results(home)) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "nothing to bench"),
        (["x.onnx"], "no file and no artifact 'x.onnx'"),
        (["--all", "--threads", "two"], "--threads"),
        (["--all", "--threads", "0"], "--threads"),
        (["--all", "--batch", "0"], "--batch"),
        (["--all", "--precision", "2"], "--precision"),
        (["--all", "--max-seconds", "-1"], "--max-seconds"),
    ],
)
def test_options_that_cannot_be_meant_are_usage_errors(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *options]) == 2
    assert words in capsys.readouterr().err


def test_stored_artifacts_are_benched_by_the_function_that_quickstart_calls(
    tmp_path: Path, home: Home
) -> None:
    artifact = stored(home, script(tmp_path, latencies_ms=[3.0]), "ours")
    found = bench_artifacts(Context(home=home, quiet=True), [artifact])
    assert [one.p50_ms for one in found] == [3.0]
    assert results(home) == found
    missing = replace(artifact, file="artifacts/gone.scripted")
    with pytest.raises(ConfigError, match="there is no file"):
        bench_artifacts(Context(home=home, quiet=True), [missing])


def test_a_batch_that_the_file_does_not_take_is_a_usage_error(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = shared_data / "external_models" / "onnxruntime_examples" / "mnist.onnx"
    assert main(["bench", str(file), "--batch", "4", "--quiet"]) == 2
    assert "takes batches of 1 only" in capsys.readouterr().err


@pytest.mark.slow
def test_models_made_by_others_bench(
    shared_data: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared_data / "external_models"
    files = sorted(str(path) for path in folder.rglob("*") if path.suffix in (".tflite", ".onnx"))
    assert main(["bench", *files, "--json", "--quiet", "--max-seconds", "0.2"]) == 0
    assert len(json.loads(capsys.readouterr().out)["results"]) == len(files) == len(results(home))


def test_accuracy_is_the_share_of_right_answers() -> None:
    logits = np.array([[1, 2], [3, 0], [0, 1], [5, 4]], np.float32)
    metric = accuracy(logits, np.array([1, 0, 0, 0]), split="test")
    assert (metric.name, metric.value, metric.examples, metric.split) == ("accuracy", 0.75, 4, "test")
    with pytest.raises(DataError, match="do not fit 3 labels"):
        accuracy(logits, np.array([1, 0, 0]), split="test")


def test_the_accuracy_of_a_file_is_measured_by_running_it(tiny_onnx: Path) -> None:
    inputs = np.random.default_rng(0).random((6, 4), np.float32)
    # With ascending weights the last logit is always the largest.
    metric = measured_accuracy(
        tiny_onnx, inputs, np.array([2, 2, 2, 2, 2, 0]), runtime="onnxruntime", split="selection"
    )
    assert metric.value == pytest.approx(5 / 6)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantizing_and_back_errs_by_half_a_step_at_most(dtype: str) -> None:
    spec = TensorSpec(name="x", dtype=dtype, shape=(None,), scale=0.1, zero_point=10)
    limits = np.iinfo(dtype)
    low, high = 0.1 * (limits.min - 10), 0.1 * (limits.max - 10)
    real = np.linspace(low, high, 999, dtype=np.float32)
    assert np.abs(dequantized(quantized(real, spec), spec) - real).max() <= 0.0501
    beyond = quantized(np.array([-1e6, 1e6], np.float32), spec)
    assert beyond.tolist() == [limits.min, limits.max]


def test_random_inputs_fit_their_tensors_and_repeat() -> None:
    specs = (
        TensorSpec(name="tokens", dtype="int64", shape=(None, None)),
        TensorSpec(name="image", dtype="float32", shape=(None, 3, None, None)),
        TensorSpec(name="raw", dtype="uint8", shape=(1, 8), scale=0.5, zero_point=0),
        TensorSpec(name="flag", dtype="bool", shape=()),
    )
    feeds, again = random_feeds(specs, batch=2), random_feeds(specs, batch=2)
    assert {name: array.shape for name, array in feeds.items()} == {
        "tokens": (2, 128),
        "image": (2, 3, 224, 224),
        "raw": (1, 8),
        "flag": (),
    }
    assert all(feeds[spec.name].dtype.name == spec.dtype for spec in specs)
    assert set(np.unique(feeds["tokens"])) == {0, 1} and feeds["raw"].max() > 1
    assert all(np.array_equal(feeds[name], again[name]) for name in feeds)
