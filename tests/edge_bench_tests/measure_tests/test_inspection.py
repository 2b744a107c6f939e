"""What is told of a model file before any runtime sees it, and what the sandbox's child is denied."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_bench.errors import ConfigError, InvalidModel
from edge_bench.measure import onnx_file, tflite_file
from edge_bench.measure.inspection import check_model, memory_limit_bytes, runtime_for
from edge_bench.measure.sandbox import MAX_PROCESSES, _limits

ROOT = Path(__file__).parents[3]


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark of hostile models, whose cases these tests share."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import hostile_models

    return hostile_models


def repacked(tflite: Path, change: Callable[[Any], None], to: Path) -> Path:
    """Write a TFLite file that differs from another by `change` of its unpacked model."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(tflite.read_bytes(), 0)
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    to.write_bytes(bytes(builder.Output()))
    return to


def test_the_walk_of_a_tflite_file_tells_its_ends_and_sizes(tiny_tflite: Path) -> None:
    seen = tflite_file.survey_file(tiny_tflite)
    assert [(one.name, one.dtype, one.shape) for one in seen.inputs] == [("inputs", "float32", (1, 4))]
    assert [(one.name, one.dtype, one.shape) for one in seen.outputs] == [("logits", "float32", (1, 3))]
    assert seen.precision == "fp32" and not seen.custom and not seen.external
    # 12 weights, and the larger of 4 inputs and 3 logits.
    assert seen.needed_bytes == 12 * 4 + 4 * 4


def test_the_walk_of_an_onnx_file_tells_its_sizes(tiny_onnx: Path) -> None:
    assert onnx_file.survey_file(tiny_onnx).needed_bytes == 12 * 4 + 4 * 4


def test_models_made_by_others_pass_and_state_what_the_interpreter_states(shared_data: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    files = [path for path in (shared_data / "external_models").rglob("*") if runtime_reads(path)]
    assert len(files) >= 20
    for file in files:
        check_model(file, runtime=runtime_for(file))
        if file.suffix == ".tflite":
            stated = Interpreter(model_path=str(file)).get_input_details()
            told = [(one.name, one.scale or 0.0) for one in tflite_file.survey_file(file).inputs]
            assert told == [(item["name"], item["quantization"][0]) for item in stated]


def runtime_reads(path: Path) -> bool:
    return path.suffix in (".tflite", ".onnx")


def test_every_byte_cut_off_a_tflite_file_is_refused(tiny_tflite: Path, tmp_path: Path) -> None:
    content = tiny_tflite.read_bytes()
    file = tmp_path / "cut.tflite"
    refused = 0
    for length in range(len(content)):
        file.write_bytes(content[:length])
        try:
            tflite_file.survey_file(file)
        except InvalidModel as error:
            refused += "cut.tflite" in error.message
    # A file may end with padding that nothing points to.
    assert refused >= len(content) - 8


def test_an_offset_that_leads_outside_is_refused(tiny_tflite: Path, tmp_path: Path) -> None:
    content = bytearray(tiny_tflite.read_bytes())
    content[:4] = struct.pack("<I", 0x7FFFFFFF)
    file = tmp_path / "far.tflite"
    file.write_bytes(content)
    with pytest.raises(InvalidModel, match="points outside itself"):
        check_model(file, runtime="litert")


def test_tflite_tensors_larger_than_memory_are_refused(tiny_tflite: Path, tmp_path: Path) -> None:
    def grow(model: Any) -> None:
        model.subgraphs[0].tensors[2].shape = np.array([200_000, 200_000], np.int32)

    file = repacked(tiny_tflite, grow, tmp_path / "large.tflite")
    with pytest.raises(InvalidModel, match="asks for at least 160 GB by the shapes of its tensors"):
        check_model(file, runtime="litert")


def test_tflite_weights_with_less_data_than_their_shape_are_refused(
    tiny_tflite: Path, tmp_path: Path
) -> None:
    def grow(model: Any) -> None:
        model.subgraphs[0].tensors[1].shape = np.array([3, 4000], np.int32)

    file = repacked(tiny_tflite, grow, tmp_path / "thin.tflite")
    with pytest.raises(InvalidModel, match="tensor 'weights' asks for 48,000 bytes and holds 48"):
        check_model(file, runtime="litert")


def test_a_long_text_that_many_tables_share_is_not_read_for_each(
    tiny_tflite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tflite_file, "MAX_READINGS", 0)
    with pytest.raises(InvalidModel, match="share a long vector or text"):
        check_model(tiny_tflite, runtime="litert")


@pytest.mark.parametrize("sides", [[1 << 62] * 60, [2] * 100])
def test_shapes_beyond_all_numbers_are_refused_in_a_line(sides: list[int], tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, sides)
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [value])
    file = tmp_path / "vast.onnx"
    file.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(InvalidModel, match=r"1e\+15 GB|more than 64 dimensions"):
        check_model(file, runtime="onnxruntime")


@pytest.mark.parametrize("place", ["../weights.bin", "/etc/hostname"])
def test_tflite_weights_outside_the_folder_are_refused(
    place: str, tiny_tflite: Path, tmp_path: Path
) -> None:
    from ai_edge_litert import schema_py_generated as schema

    def send_away(model: Any) -> None:
        group = schema.ExternalBufferGroupT()
        group.name = place
        model.externalBufferGroups = [group]

    file = repacked(tiny_tflite, send_away, tmp_path / "away.tflite")
    with pytest.raises(InvalidModel, match="outside its folder"):
        check_model(file, runtime="litert")


@pytest.mark.parametrize(
    ("code", "options", "refused"),
    [
        ("FlexReadFile", b"", "ReadFile"),
        # What runs is what the options name.
        ("FlexAdd", b"\x08WriteFile\x00\x12\x09WriteFile", "WriteFile"),
        ("FlexMatrixInverse", b"\x0dMatrixInverse", None),
        ("FlexReadVariableOp", b"", None),
        # A long word costs no more time than its length.
        ("FlexAdd", b"a" * 3_000_000, None),
    ],
)
def test_tensorflows_operators_that_touch_files_are_refused(
    code: str, options: bytes, refused: str | None, tiny_tflite: Path, tmp_path: Path
) -> None:
    def change(model: Any) -> None:
        model.operatorCodes[0].customCode = code
        model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 32
        operator = model.subgraphs[0].operators[0]
        operator.builtinOptionsType, operator.builtinOptions = 0, None
        operator.customOptions = list(options)

    file = repacked(tiny_tflite, change, tmp_path / "flex.tflite")
    if refused:
        with pytest.raises(InvalidModel, match=f"read or write files or run Python: {refused}"):
            check_model(file, runtime="tensorflow")
    else:
        check_model(file, runtime="tensorflow")


def test_a_pipe_is_no_model_and_nobody_waits_for_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.onnx"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="is no regular file"):
        check_model(pipe, runtime="onnxruntime")


def test_hostile_onnx_files_are_told_by_their_bytes(hostile: Any, tmp_path: Path) -> None:
    told: dict[str, str] = {}
    for name, content in hostile.hand_made():
        file = tmp_path / "case.onnx"
        file.write_bytes(content)
        try:
            check_model(file, runtime="onnxruntime")
        except InvalidModel as error:
            assert "\n" not in error.message
            told[name] = error.message
    outside = [name for name in told if name.startswith("weights outside")]
    assert len(outside) == 5 and all("outside its folder" in told[name] for name in outside)
    assert sum("asks for at least" in line for line in told.values()) >= 7
    assert "holds 0" in told["weights of 160 GB without data"]
    assert "nested more than" in told["branches 90 deep"]


def test_more_fields_than_a_walk_can_follow_are_refused(
    tiny_onnx: Path, tiny_tflite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "MAX_FIELDS", 5)
    monkeypatch.setattr(tflite_file, "MAX_TABLES", 5)
    with pytest.raises(InvalidModel, match="more than 5 fields"):
        onnx_file.survey_file(tiny_onnx)
    with pytest.raises(InvalidModel, match="more than 5 tables"):
        tflite_file.survey_file(tiny_tflite)


def test_some_damaged_files_end_well(hostile: Any, shared_data: Path, tmp_path: Path) -> None:
    judge(hostile, shared_data, tmp_path, range(1000, 1040))


@pytest.mark.slow
def test_hundreds_of_damaged_and_hostile_files_end_well(
    hostile: Any, shared_data: Path, tmp_path: Path
) -> None:
    judge(hostile, shared_data, tmp_path, range(2000, 2400), made=list(hostile.hand_made()))


def judge(hostile: Any, shared_data: Path, folder: Path, seeds: range, **more: Any) -> None:
    """Check that every case ends in a status and a line, and that some of each kind were there."""
    models = hostile.sources(shared_data / "external_models")
    hostile.TIMEOUT_S = 5
    ways = set()
    for name, file in hostile.cases(models, seeds, folder, **more):
        ended = hostile.ending(file)
        assert ended.well, f"{name}: {ended}"
        ways.add(ended.way)
    assert {"ran", "refused by inspection", "refused by the runtime"} <= ways
    assert not list(folder.iterdir())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lets a process leave")
def test_the_child_has_no_network_where_the_system_allows_that() -> None:
    call = """
import socket, sys
from edge_bench.measure.isolation import leave_network
if not leave_network():
    sys.exit(2)
with socket.socket() as caller:
    caller.settimeout(5)
    sys.exit(int(caller.connect_ex(("127.0.0.1", int(sys.argv[1]))) == 0))
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
        child = subprocess.run([sys.executable, "-c", call, str(port)], check=False)
    if child.returncode == 2:
        pytest.skip("this system lets no process leave its network")
    assert child.returncode == 0


def test_a_child_is_limited_in_memory_time_processes_and_files() -> None:
    limits = _limits(10, 2)
    assert limits["RLIMIT_AS"] == memory_limit_bytes()
    assert limits["RLIMIT_CPU"] == 30 and limits["RLIMIT_CORE"] == 0 and limits["RLIMIT_FSIZE"] > 0
    if sys.platform.startswith("linux"):
        assert limits["RLIMIT_NPROC"] > MAX_PROCESSES
