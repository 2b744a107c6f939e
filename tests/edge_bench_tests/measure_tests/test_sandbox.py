"""Files of every kind of brokenness: each becomes one error, and this process lives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from edge_bench.cli import main
from edge_bench.errors import ConfigError, InvalidModel, ModelCrashed, RuntimeUnavailable
from edge_bench.measure.inspection import check_model, runtime_for
from edge_bench.measure.onnx_file import survey_file
from edge_bench.measure.sandbox import describe, predict, run_job, survey


def scripted(folder: Path, **script: Any) -> Path:
    file = folder / "a.scripted"
    file.write_text(json.dumps({"latencies_ms": [1.0], **script}), encoding="utf-8")
    return file


def ask(model: Path, *, timeout_s: float = 60) -> np.ndarray:
    return predict(model, np.ones((1, 4), np.float32), runtime="scripted", batch=1, timeout_s=timeout_s)


@pytest.mark.parametrize("batch", [1, 2, 5, 8])
@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_any_batch_gives_the_answers_of_the_network(
    runtime: str, batch: int, tiny_onnx: Path, tiny_tflite: Path
) -> None:
    model = {"onnxruntime": tiny_onnx, "litert": tiny_tflite}[runtime]
    inputs = np.random.default_rng(0).random((5, 4), np.float32)
    answers = predict(model, inputs, runtime=runtime, batch=batch)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, inputs @ np.arange(12, dtype=np.float32).reshape(4, 3), rtol=1e-5)


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_a_file_is_described_as_it_states_itself(runtime: str, tiny_onnx: Path, tiny_tflite: Path) -> None:
    inputs, outputs = describe({"onnxruntime": tiny_onnx, "litert": tiny_tflite}[runtime], runtime=runtime)
    assert [(one.name, one.dtype, one.shape) for one in inputs] == [("inputs", "float32", (None, 4))]
    assert [(one.name, one.dtype, one.shape) for one in outputs] == [("logits", "float32", (None, 3))]


def test_integer_tensors_are_spoken_to_in_real_numbers(shared_data: Path) -> None:
    folder = shared_data / "external_models" / "mlperf_tiny"
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    eight = predict(folder / "pretrainedResnet_quant.tflite", pixels, runtime="litert", batch=2)
    full = predict(folder / "pretrainedResnet.tflite", pixels, runtime="litert", batch=2)
    assert eight.shape == full.shape == (3, 10)
    np.testing.assert_allclose(eight.sum(axis=1), 1, atol=0.05)
    np.testing.assert_allclose(eight, full, atol=0.3)


def test_inputs_of_another_shape_are_refused_in_words(tiny_onnx: Path) -> None:
    with pytest.raises(InvalidModel, match=r"takes inputs of shape \(None, 4\), not \(2, 5\)"):
        predict(tiny_onnx, np.ones((2, 5), np.float32), runtime="onnxruntime", batch=1)


def test_a_survey_gives_each_model_its_own_latency(tmp_path: Path) -> None:
    models = []
    for latency in (1.0, 2.5, 0.25):
        model = tmp_path / f"{latency}.scripted"
        model.write_text(json.dumps({"latencies_ms": [latency]}), encoding="utf-8")
        models.append(model)
    assert survey(models, runtime="scripted", rounds=2) == [1.0, 2.5, 0.25]
    assert survey([], runtime="scripted") == []


def test_a_survey_takes_off_the_time_in_which_other_work_had_the_cpu(tmp_path: Path) -> None:
    file = tmp_path / "disturbed.scripted"
    file.write_text(json.dumps({"latencies_ms": [4.0, 2.0], "off_cpu": [0.75, 0.5]}), encoding="utf-8")
    assert survey([file], runtime="scripted", rounds=1) == [1.0]


def test_a_survey_of_real_files_answers_in_milliseconds(tiny_onnx: Path) -> None:
    latencies = survey([tiny_onnx, tiny_onnx], runtime="onnxruntime", rounds=2, round_ms=2)
    assert all(0 < latency < 100 for latency in latencies)


@pytest.mark.parametrize("name", ["SIGABRT", "SIGSEGV", "SIGKILL"])
def test_a_crash_is_an_error_that_names_the_signal(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelCrashed, match=rf"the model crashed the runtime \({name}\)"):
        ask(scripted(tmp_path, crash=name))


def test_a_model_that_hangs_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(ModelCrashed, match="did not answer within 1.5 s"):
        ask(scripted(tmp_path, hang_seconds=60), timeout_s=1.5)
    assert not psutil.Process().children()


def test_the_child_sees_none_of_the_users_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit(9)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert ask(scripted(tmp_path)).tolist() == [[2.0, 2.0, 2.0, 2.0]]


def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    model = scripted(tmp_path, hang_seconds=120)
    code = (
        "import numpy as np, sys; from pathlib import Path; from edge_bench.measure.sandbox import predict;"
        "predict(Path(sys.argv[1]), np.ones((1, 4), np.float32), runtime='scripted', batch=1)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(model)]) as parent:
        child = _first_child(parent.pid)
        parent.kill()
    child.wait(20)
    assert not child.is_running()


def _first_child(pid: int) -> psutil.Process:
    for _ in range(600):
        if children := psutil.Process(pid).children():
            return children[0]
        time.sleep(0.05)
    raise AssertionError("no child was started")


def test_a_graph_that_asks_for_160_gigabytes_is_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    size = helper.make_tensor("size", TensorProto.INT64, [1], [40_000_000_000])
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
    graph = helper.make_graph(
        [
            helper.make_node("ConstantOfShape", ["size"], ["many"], value=value),
            helper.make_node("Add", ["many", "x"], ["y"]),
        ],
        "bomb",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [size],
    )
    bomb = tmp_path / "bomb.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    bomb.write_bytes(model.SerializeToString())
    with pytest.raises((InvalidModel, ModelCrashed)):
        predict(bomb, np.ones((1,), np.float32), runtime="onnxruntime", batch=1)


@pytest.mark.parametrize("place", ["../secret.bin", "/etc/hostname", "link.bin"])
def test_weights_outside_the_models_folder_are_refused(tmp_path: Path, place: str) -> None:
    from onnx import TensorProto, helper

    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=place)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "outside",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        [weights],
    )
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    file = folder / "m.onnx"
    file.write_bytes(helper.make_model(graph).SerializeToString())
    assert survey_file(file).external == {place}
    with pytest.raises(InvalidModel, match="outside its folder"):
        check_model(file, runtime="onnxruntime")


def broken(tiny_onnx: Path, tiny_tflite: Path) -> dict[str, bytes]:
    noise = np.random.default_rng(0).bytes(4000)
    onnx_bytes, tflite_bytes = tiny_onnx.read_bytes(), tiny_tflite.read_bytes()
    return {
        "text.tflite": b"I am a text file, whatever my name says.\n",
        "empty.tflite": b"",
        "noise.tflite": noise,
        "noise-with-magic.tflite": b"\x1c\x00\x00\x00TFL3" + noise,
        "cut.tflite": tflite_bytes[: len(tflite_bytes) // 2],
        "text.onnx": b"I am a text file, whatever my name says.\n",
        "empty.onnx": b"",
        "noise.onnx": noise,
        "cut.onnx": onnx_bytes[: len(onnx_bytes) // 2],
        "no-graph.onnx": b"\x08\x08",
    }


@pytest.mark.parametrize("name", sorted(broken(Path(os.devnull), Path(os.devnull))))
def test_broken_files_end_the_command_with_status_6_and_nothing_is_stored(
    name: str,
    tiny_onnx: Path,
    tiny_tflite: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / name
    file.write_bytes(broken(tiny_onnx, tiny_tflite)[name])
    assert main(["bench", str(file), "--quiet"]) == 6
    told = capsys.readouterr()
    assert name in told.err and told.out == ""
    assert len(told.err.strip().splitlines()) <= 2


def test_a_path_that_is_not_there_and_a_folder_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file '.*absent.onnx'"):
        check_model(tmp_path / "absent.onnx", runtime="onnxruntime")
    with pytest.raises(ConfigError, match="is a folder"):
        check_model(tmp_path, runtime="onnxruntime")


def test_a_runtime_is_found_by_the_files_ending(tiny_onnx: Path) -> None:
    assert runtime_for(Path("x.onnx")) == "onnxruntime"
    assert runtime_for(Path("x.TFLITE")) == "litert"
    with pytest.raises(RuntimeUnavailable, match=r"no runtime reads 'x\.pt'"):
        runtime_for(Path("x.pt"))
    with pytest.raises(RuntimeUnavailable) as refused:
        check_model(tiny_onnx, runtime="litert")
    assert refused.value.hint == "--runtime onnxruntime reads .onnx"


def test_the_walk_of_an_onnx_file_names_its_operators(tiny_onnx: Path) -> None:
    seen = survey_file(tiny_onnx)
    assert seen.operators == {"MatMul"} and not seen.external


def test_jobs_may_run_from_a_thread(tmp_path: Path) -> None:
    model = scripted(tmp_path)
    answers: list[np.ndarray] = []
    worker = threading.Thread(target=lambda: answers.append(ask(model)))
    worker.start()
    worker.join(60)
    assert len(answers) == 1


def test_the_childs_error_keeps_its_class(tmp_path: Path) -> None:
    job = {"runtime": "onnxruntim", "model": str(scripted(tmp_path)), "batch": 1, "threads": 1}
    with pytest.raises(ConfigError, match="Did you mean 'onnxruntime'"):
        run_job("describe", job, timeout_s=60)


def test_a_child_imports_nothing_that_only_its_parent_needs() -> None:
    # Together they took a fifth of a child's start.
    code = "import sys; from edge_bench.measure import worker; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"importlib.metadata", "psutil", "sqlalchemy", "rich"} & set(told.split())
