"""int8 files: what sets their ranges, and how their weights are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from converters import quantization, sketches
from edge_bench.errors import ConversionError
from edge_bench.measure.sandbox import describe
from edge_bench.records import SearchSpace
from supernet.spaces.lite_32 import LiteAt32

SIZE, CHANNELS = 8, 2


@pytest.fixture
def space() -> SearchSpace:
    return LiteAt32(
        stem_stride=2, widths=(8,), strides=(1,), stem_width=8, head_width=16, resolutions=(SIZE,)
    ).build(input_channels=CHANNELS, classes=5)


@pytest.fixture
def images() -> np.ndarray:
    """Images [n, channels, size, size] within ±1, of which one alone has a pixel of −3 and one of 5."""
    made = np.random.default_rng(0).uniform(-1, 1, (20, CHANNELS, SIZE, SIZE)).astype(np.float32)
    made[4, 0, 0, 0], made[9, 1, 3, 3] = -3, 5
    return made


def test_the_range_of_a_tflite_input_is_that_of_all_images(
    space: SearchSpace, images: np.ndarray, tmp_path: Path
) -> None:
    source, target = tmp_path / "fp32.tflite", tmp_path / "int8.tflite"
    sketches.write_tflite(space, space.smallest(), source)
    quantization.in_child("tflite", source, target, images.transpose(0, 2, 3, 1))
    ((given,), (answered,)) = describe(target, runtime="litert")
    assert given.dtype == answered.dtype == "int8"
    assert given.scale is not None and given.zero_point is not None
    assert given.scale * (-128 - given.zero_point) == pytest.approx(-3, abs=given.scale)
    assert given.scale * (127 - given.zero_point) == pytest.approx(5, abs=given.scale)


def test_an_onnx_file_has_unsigned_activations_and_signed_weights_per_channel(
    space: SearchSpace, images: np.ndarray, tmp_path: Path
) -> None:
    source, target = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    sketches.write_onnx(space, space.smallest(), source)
    quantization.in_child("onnx", source, target, images)
    graph = onnx.load(str(target)).graph
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    (first,) = (
        node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "image"
    )
    scale, zero = (constants[name] for name in first.input[1:])
    assert zero.dtype == np.uint8
    ends = float(scale) * (np.array([0, 255]) - float(zero))
    np.testing.assert_allclose(ends, [-3, 5], atol=float(scale))
    made_by = {node.output[0]: node for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        weight, scales = (constants[name] for name in made_by[node.input[1]].input[:2])
        assert weight.dtype == np.int8 and scales.shape == (len(weight),)


@pytest.mark.parametrize("method", list(quantization.METHODS))
def test_a_file_that_cannot_be_quantized_is_told_in_one_line(
    method: str, images: np.ndarray, tmp_path: Path
) -> None:
    source, target = tmp_path / "noise", tmp_path / "int8"
    source.write_bytes(b"no model at all")
    with pytest.raises(ConversionError, match="'noise' cannot be quantized: ") as told:
        quantization.in_child(method, source, target, images)
    assert "\n" not in told.value.message
    assert not target.exists()


def test_a_child_that_takes_too_long_is_ended_and_told(
    images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "TIMEOUT_S", 0.01)
    with pytest.raises(ConversionError, match="took more than") as told:
        quantization.in_child("onnx", tmp_path / "any.onnx", tmp_path / "int8.onnx", images)
    assert "fewer" in told.value.hint
