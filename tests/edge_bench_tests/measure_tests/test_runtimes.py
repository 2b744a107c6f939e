"""What single runtimes promise beyond the contract, on models made by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_bench.errors import ConfigError
from edge_bench.measure import inspection
from edge_bench.measure.inspection import missing_import, runtime_for
from edge_bench.measure.sandbox import describe, predict

openvino = pytest.mark.skipif(bool(missing_import("openvino")), reason="openvino is not installed")


@openvino
@pytest.mark.parametrize(
    ("name", "shape", "tolerance"),
    [
        ("onnxruntime_examples/mnist.onnx", (1, 28, 28), 1e-4),
        ("mlperf_tiny/pretrainedResnet.tflite", (32, 32, 3), 1e-5),
        # Integers in and out: the scales come from the file. Roundings differ by some steps of 1/256.
        ("mlperf_tiny/pretrainedResnet_quant.tflite", (32, 32, 3), 0.05),
    ],
)
def test_openvino_computes_in_float32_what_the_default_runtime_computes(
    name: str, shape: tuple[int, ...], tolerance: float, shared_data: Path
) -> None:
    file = shared_data / "external_models" / name
    inputs = np.random.default_rng(0).integers(0, 256, (1, *shape)).astype(np.float32)
    answers = [predict(file, inputs, runtime=one, batch=1) for one in ("openvino", runtime_for(file))]
    largest = float(np.abs(answers[1]).max())
    np.testing.assert_allclose(answers[0] / largest, answers[1] / largest, atol=tolerance)


@openvino
def test_openvino_describes_a_file_as_litert_does(shared_data: Path) -> None:
    file = shared_data / "external_models" / "mlperf_tiny" / "kws_ref_model.tflite"
    assert describe(file, runtime="openvino") == describe(file, runtime="litert")


@openvino
def test_openvino_says_which_batch_a_file_takes(shared_data: Path) -> None:
    file = shared_data / "external_models" / "onnxruntime_examples" / "mnist.onnx"
    with pytest.raises(ConfigError, match="takes batches of 1 only, not 4"):
        predict(file, np.zeros((4, 1, 28, 28), np.float32), runtime="openvino", batch=4)


def test_the_next_installed_runtime_reads_what_the_default_one_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = {"litert": "ai_edge_litert"}
    monkeypatch.setattr(inspection, "missing_import", lambda name: missing.get(name, ""))
    assert runtime_for(Path("x.tflite")) == "tflite_runtime"
    missing["tflite_runtime"] = "tflite_runtime"
    assert runtime_for(Path("x.tflite")) == "tensorflow"
    missing |= dict.fromkeys(("tensorflow", "openvino"), "something")
    assert runtime_for(Path("x.tflite")) == "litert", "what the default one misses is told"
