"""What a model's tensors take of memory is read off the file, and agrees with its architecture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from converters import sketches
from edge_bench.choose.costs import peak_memory_bytes
from edge_bench.errors import InvalidModel
from edge_bench.measure.footprint import footprint
from edge_bench.measure.liveness import Graph, Step, peak_live_bytes
from edge_bench.records import SearchSpace, operators
from supernet.spaces.lite_32 import LiteAt32
from supernet.spaces.mobilenet_v3 import MobilenetV3


def graph(steps: list[Step], **sizes: int) -> Graph:
    return Graph(steps=steps, sizes=sizes, constants=frozenset(), inputs=["x"], outputs=["y"])


def test_a_chain_holds_two_tensors_at_once() -> None:
    chain = [Step("conv", ["x", "w"], ["a"]), Step("conv", ["a"], ["b"]), Step("conv", ["b"], ["y"])]
    assert peak_live_bytes(graph(chain, x=10, a=100, b=40, y=5)) == 140


def test_a_branch_is_held_until_it_is_added_and_the_sum_is_written_over_it() -> None:
    branch = [
        Step("conv", ["x"], ["a"]),
        Step("conv", ["a"], ["b"]),
        Step("conv", ["b"], ["c"]),
        Step("add", ["a", "c"], ["y"]),
    ]
    assert peak_live_bytes(graph(branch, x=1, a=100, b=50, c=100, y=100)) == 250
    copied = [*branch[:3], Step("concat", ["a", "c"], ["y"])]
    assert peak_live_bytes(graph(copied, x=1, a=100, b=50, c=100, y=100)) == 300


def test_a_view_is_no_memory_of_its_own_and_holds_what_it_views() -> None:
    views = [
        Step("conv", ["x"], ["a"]),
        Step("reshape", ["a", "shape"], ["flat"]),
        Step("conv", ["x"], ["b"]),
        Step("gemm", ["flat", "b"], ["y"]),
    ]
    assert peak_live_bytes(graph(views, x=10, a=100, flat=100, b=7, y=1)) == 117


def test_an_input_is_never_written_over_and_an_output_stays_to_the_end() -> None:
    assert peak_live_bytes(graph([Step("relu", ["x"], ["y"])], x=10, y=10)) == 20
    early = [Step("conv", ["x"], ["y"]), Step("conv", ["x"], ["a"]), Step("conv", ["a"], ["b"])]
    assert peak_live_bytes(graph(early, x=1, y=50, a=8, b=8)) == 66


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=12))
def test_the_peak_lies_between_the_largest_tensor_and_all_of_them(sizes: list[int]) -> None:
    names = ["x", *(f"t{place}" for place in range(len(sizes) - 2)), "y"]
    steps = [Step("conv", [before], [after]) for before, after in zip(names, names[1:], strict=False)]
    told = peak_live_bytes(graph(steps, **dict(zip(names, sizes, strict=True))))
    assert max(sizes) <= told <= sum(sizes)
    assert told == max(one + other for one, other in zip(sizes, sizes[1:], strict=False))


def test_a_graph_made_to_keep_a_reader_busy_is_read_in_time_that_grows_with_its_size() -> None:
    count = 30_000
    wide = [Step("relu", ["x"], [f"t{place}"]) for place in range(count)]
    wide.append(Step("add", [f"t{place}" for place in range(count)], ["y"]))
    sizes = {f"t{place}": 4 for place in range(count)}
    assert peak_live_bytes(graph(wide, x=4, y=8, **sizes)) == 4 * count + 8


@pytest.fixture(scope="module")
def lite() -> SearchSpace:
    return LiteAt32().build(input_channels=3, classes=10)


@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_a_file_takes_what_its_architecture_says(form: str, lite: SearchSpace, tmp_path: Path) -> None:
    write = {"onnx": sketches.write_onnx, "tflite": sketches.write_tflite}[form]
    generator = np.random.default_rng(0)
    for arch in (lite.smallest(), lite.largest(), lite.sample(generator)):
        write(lite, arch, tmp_path / f"net.{form}")
        told = footprint(tmp_path / f"net.{form}")
        assert told is not None and told.activations_bytes == peak_memory_bytes(lite, arch)
        weights = 4 * sum(one.weights for one in operators(lite, arch))
        # Shapes of views and paddings are constants too.
        assert weights <= told.weights_bytes <= weights + 4096


def test_squeeze_excite_takes_no_more_in_a_file_than_its_architecture_says(tmp_path: Path) -> None:
    space = MobilenetV3().build(input_channels=3, classes=10)
    arch = space.smallest()
    sketches.write_tflite(space, arch, tmp_path / "net.tflite")
    told = footprint(tmp_path / "net.tflite")
    assert told is not None and told.activations_bytes is not None
    assert 0.9 * peak_memory_bytes(space, arch) <= told.activations_bytes <= peak_memory_bytes(space, arch)


def test_an_onnx_file_that_tells_its_shapes_needs_no_inference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr("edge_bench.measure.footprint.run_job", refused)
    told = footprint(saved(tmp_path / "net.onnx", described=True))
    assert told is not None
    assert (told.weights_bytes, told.activations_bytes) == (4 * 4 * 9 + 8, 4 * (8 * 3 + 8 * 3))


def test_an_onnx_file_whose_shapes_follow_from_values_has_no_known_activations(tmp_path: Path) -> None:
    told = footprint(saved(tmp_path / "net.onnx", described=False, operator="NonZero"))
    assert told is not None and told.weights_bytes and told.activations_bytes is None


def test_quantized_values_count_as_they_are_held_between_fused_operators(tmp_path: Path) -> None:
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    zero = numpy_helper.from_array(np.int8(0), "zero")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("Softmax", ["d"], ["s"]),
        helper.make_node("QuantizeLinear", ["s", "scale", "zero"], ["y"]),
    ]
    made = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 100])],
        [helper.make_tensor_value_info("y", TensorProto.INT8, [1, 100])],
        [scale, zero],
    )
    onnx.save(helper.make_model(made), tmp_path / "quantized.onnx")
    told = footprint(tmp_path / "quantized.onnx")
    assert told is not None and told.activations_bytes == 200


def test_a_damaged_file_is_refused_and_another_format_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(b"\0\0\0\0TFL3" + b"\xff" * 40)
    with pytest.raises(InvalidModel):
        footprint(tmp_path / "net.tflite")
    assert footprint(tmp_path / "net.pt2") is None


def test_published_models_take_what_is_known_of_them(shared_data: Path) -> None:
    folder = shared_data / "external_models"
    known = {
        # The expanded maps of MobileNetV2's second block: 112×112×96 and 56×56×96, a byte each.
        "coral/mobilenet_v2_1.0_224_quant.tflite": 112 * 112 * 96 + 56 * 56 * 96,
        "mlperf_tiny/vww_96_int8.tflite": 48 * 48 * 8 + 48 * 48 * 16,
        "mlperf_tiny_onnx/vww_K1_mobilenet_v1.onnx": 48 * 48 * 8 + 48 * 48 * 16,
    }
    for name, activations in known.items():
        if not (folder / name).is_file():
            pytest.skip(f"no {name}")
        told = footprint(folder / name)
        assert told is not None and told.activations_bytes == activations


def saved(path: Path, *, described: bool, operator: str = "Softmax") -> Path:
    """Write x [8, 3] → MatMul → `operator`, with weights [3, 3], 4 more [3, 9] and a vector of int64."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node(operator, ["a"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(np.eye(3, dtype=np.float32), "w"),
        numpy_helper.from_array(np.zeros((3, 9), np.float32), "more"),
        numpy_helper.from_array(np.zeros(1, np.int64), "vector"),
    ]
    shape = None if operator == "NonZero" else [8, 3]
    kind = TensorProto.INT64 if operator == "NonZero" else TensorProto.FLOAT
    made = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, 3])],
        [helper.make_tensor_value_info("y", kind, shape)],
        weights,
        value_info=[helper.make_tensor_value_info("a", TensorProto.FLOAT, [8, 3])] if described else [],
    )
    onnx.save(helper.make_model(made), path)
    return path
