"""`edge-bench import`: a stranger's file is copied whole, judged on labelled data, stands among ours."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from dashboard.frames import candidate_frame, front
from edge_bench import errors
from edge_bench.choose.candidates import candidates
from edge_bench.cli import main
from edge_bench.files import Home
from edge_bench.records import THIS_MACHINE, Artifact
from edge_bench.store import ResultStore

CLASSES, SIDE = ("dark", "left", "right"), 4
Make = Callable[..., Path]


@pytest.fixture
def stranger(tmp_path: Path) -> Make:
    """Write an ONNX file for 4×4 images: output 0 is for dark ones, 1 for bright left halves, 2 for right.

    `channels_last` and `colours` lay out the input, `order` the outputs, `batch` fixes the batch,
    `external` keeps the weights in a file beside it, `raw` takes bytes of 0…255 as uint8.
    """

    def make(
        name: str = "sides.onnx",
        *,
        channels_last: bool = False,
        colours: int = 1,
        order: tuple[int, ...] = (0, 1, 2),
        batch: int | str = "batch",
        external: bool = False,
        raw: bool = False,
        side: int | str = SIDE,
    ) -> Path:
        weights = np.zeros((SIDE, SIDE, colours, len(order)), np.float32)
        weights[:, : SIDE // 2, :, order.index(1)] = weights[:, SIDE // 2 :, :, order.index(2)] = 1
        if not channels_last:
            weights = weights.transpose(2, 0, 1, 3)
        bias = np.zeros(len(order), np.float32)
        bias[order.index(0)] = 0.5 * (255 if raw else 1)
        shape = [batch, side, side, colours] if channels_last else [batch, colours, side, side]
        graph = helper.make_graph(
            [
                helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
                helper.make_node("Flatten", ["real"], ["flat"]),
                helper.make_node("Gemm", ["flat", "weights", "bias"], ["y"]),
            ],
            "sides",
            [helper.make_tensor_value_info("x", TensorProto.UINT8 if raw else TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, len(order)])],
            [
                numpy_helper.from_array(weights.reshape(-1, len(order)), "weights"),
                numpy_helper.from_array(bias, "bias"),
            ],
        )
        path = tmp_path / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        if external:
            onnx.save_model(
                model, str(path), save_as_external_data=True, location="w.bin", size_threshold=0
            )
        else:
            path.write_bytes(model.SerializeToString())
        return path

    return make


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of class folders that the file of `stranger` tells apart without a mistake."""
    for label, name in enumerate(CLASSES):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(8):
            pixels = np.full((SIDE, SIDE), number, np.uint8)
            if label:
                pixels[:, (label - 1) * 2 : label * 2] = 200 + number
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


def imported(home: Home) -> list[Artifact]:
    with ResultStore(home.store_url) as store:
        return store.artifacts()


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main([*map(str, arguments), "--json", "--quiet"]) == 0, capsys.readouterr().err
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([*map(str, arguments), "--quiet"]) in (errors.USAGE, errors.INVALID_MODEL)
    return capsys.readouterr().err


def test_an_imported_file_is_copied_and_judged_on_both_splits(
    stranger: Make, images: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stranger()
    told = run(capsys, "import", path, "--data", images)
    assert told["selection_accuracy"] == told["test_accuracy"] == 1.0
    [one] = imported(home)
    assert (one.name, one.subnet, one.format, one.precision) == ("sides", None, "onnx", "fp32")
    assert home.absolute(one.file).read_bytes() == path.read_bytes()
    assert one.class_names == CLASSES and one.data == {"kind": "folder", "path": str(images)}
    path.unlink()
    run(capsys, "bench", one.id, "--max-seconds", "0.2", "--precision", "0.5")


def test_importing_twice_is_the_same_import_and_data_may_come_later(
    stranger: Make, images: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(capsys, "import", stranger())
    assert "selection_accuracy" not in first
    again = run(capsys, "import", stranger("copy.onnx"), "--data", images)
    assert (again["id"], again["name"], again["file"]) == (first["id"], "sides", first["file"])
    run(capsys, "import", stranger())
    [one] = imported(home)
    assert one.metric("selection"), "importing again without data forgets nothing"
    renamed = run(capsys, "import", "sides", "--data", images)
    assert renamed["id"] == first["id"], "an import is found by its name"
    home.absolute(one.file).unlink()
    run(capsys, "import", stranger("third.onnx"))
    assert home.absolute(one.file).is_file(), "a file that was lost comes back"


def test_a_file_without_quality_is_told_how_to_get_one(
    stranger: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(stranger())]) == 0
    assert "pick leaves it out; to measure it: edge-bench import imported-" in capsys.readouterr().out


@pytest.mark.parametrize(
    "how",
    [
        {"channels_last": True},
        {"colours": 3},
        {"colours": 3, "channels_last": True},
        {"batch": 1},
        {"batch": 4},
    ],
    ids=str,
)
def test_any_layout_number_of_channels_and_batch_is_taken(
    how: dict[str, Any], stranger: Make, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "import", stranger(**how), "--data", images)["test_accuracy"] == 1.0


def test_inputs_of_raw_bytes_take_pixels_as_they_are(
    stranger: Make, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run(capsys, "import", stranger(raw=True), "--data", images)
    assert told["test_accuracy"] == 1.0 and told["preprocessing"]["std"] == [1 / 255]


def test_a_quantized_file_is_fed_and_read_by_its_scale(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _quantized_tflite(tmp_path / "sides.tflite")
    told = run(capsys, "import", path, "--data", images)
    assert (told["precision"], told["test_accuracy"]) == ("int8", 1.0)
    assert told["preprocessing"]["mean"] == [0.5], "its range of -1…1 tells mean and std"


def test_external_weights_come_along_and_change_the_import(
    stranger: Make, images: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stranger(external=True)
    first = run(capsys, "import", path, "--data", images)
    [one] = imported(home)
    weights = home.absolute(one.file).parent / "w.bin"
    assert first["test_accuracy"] == 1.0 and weights.read_bytes() == (path.parent / "w.bin").read_bytes()
    assert one.size_bytes == path.stat().st_size + weights.stat().st_size
    (path.parent / "w.bin").write_bytes(b"\0" * weights.stat().st_size)
    other = run(capsys, "import", path)
    assert other["id"] != first["id"] and other["name"] != first["name"]


def test_labels_say_which_output_is_which(
    stranger: Make, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stranger(order=(2, 3, 0, 1))
    assert "gives 4 outputs; the data has 3 classes" in refused(capsys, "import", path, "--data", images)
    (tmp_path / "labels.txt").write_text("Right\nnothing\nDark\nleft\n")
    told = run(capsys, "import", path, "--data", images, "--labels", tmp_path / "labels.txt")
    assert told["test_accuracy"] == 1.0
    (tmp_path / "labels.txt").write_text("right\nnothing\ndarkness\nleft\n")
    said = refused(capsys, "import", path, "--data", images, "--labels", tmp_path / "labels.txt")
    assert "class 'dark' that --labels does not name. Did you mean 'darkness'?" in said


def test_wrong_preprocessing_is_suspected_where_the_file_only_guesses(
    stranger: Make, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(stranger()), "--data", str(images), "--mean", "100"]) == 0
    assert "no better than guessing among 3" in capsys.readouterr().out


def test_what_does_not_fit_is_told_and_leaves_the_store_usable(
    stranger: Make,
    images: Path,
    tiny_onnx: Path,
    tmp_path: Path,
    home: Home,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    (tmp_path / "folder").mkdir()
    free = stranger("free.onnx", side="side")
    for arguments, told in (
        ([tiny_onnx, "--data", images], "takes inputs of shape ['any', 4]; square images"),
        ([free, "--data", images], "images of any size; say which"),
        ([stranger(), "--data", images, "--size", 8], "takes images of 4 pixels"),
        ([stranger(), "--data", images, "--mean", "0.1,0.2"], "--mean has 2 values; the file takes 1"),
        ([stranger(), "--data", images, "--std", "0"], "numbers above 0"),
        ([stranger(), "--mean", "0"], "name the data, --data"),
        ([stranger(), "--data", tmp_path / "nowhere"], "neither a folder nor a kind of data"),
        ([tmp_path / "broken.onnx"], "is not an ONNX model"),
        ([tmp_path / "absent.onnx"], "there is no file, folder or import"),
        ([tmp_path / "folder"], "a folder without saved_model.pb"),
    ):
        assert told in refused(capsys, "import", *arguments)
    assert not list(home.artifacts.glob(".import-*")), "a refused file leaves nothing behind"
    assert {one.name for one in imported(home)} == {"tiny", "free", "sides"}
    assert run(capsys, "import", free, "--data", images, "--size", 4)["test_accuracy"] == 1.0


def test_strangers_stand_on_the_front_and_are_picked_with_card_and_script(
    stranger: Make, images: Path, home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "import", stranger(channels_last=True, colours=3), "--data", images)
    run(capsys, "import", stranger("worse.onnx", order=(1, 0, 2)), "--data", images)
    run(capsys, "import", stranger("unknown.onnx", batch=1))
    run(capsys, "bench", "--all", "--max-seconds", "0.2", "--precision", "0.9")
    with ResultStore(home.store_url) as store:
        found = candidates([], store.artifacts(), store.results(), [], device=THIS_MACHINE)
    frame = candidate_frame(found)
    assert set(frame["name"]) == {"sides", "worse"} and set(frame["task"]) == {"folder images, accuracy"}
    assert "sides" in set(front(frame)["name"])
    assert main(["pick", "--output", str(tmp_path / "picked")]) == 0
    told = capsys.readouterr()
    assert "Picked sides" in told.out
    assert "left out, with no quality known on folder images: unknown" in told.err
    card = (tmp_path / "picked" / "model_card.md").read_text()
    assert "Made elsewhere and imported" in card and "## Quality" in card
    script = [sys.executable, str(tmp_path / "picked" / "run_model.py"), str(images / "left" / "0.png")]
    ended = subprocess.run(script, capture_output=True, text=True, timeout=120)
    assert ended.stdout.strip().endswith(": left"), ended.stderr


def test_pick_keeps_data_apart(stranger: Make, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "import", stranger(), "--data", images)
    run(capsys, "bench", "--all", "--max-seconds", "0.2", "--precision", "0.9")
    assert main(["pick", "--data", "digits"]) == errors.GATE_FAILED
    assert "no latency is known" in capsys.readouterr().err
    assert run(capsys, "pick", "--data", images)["candidate"]["name"] == "sides"


@pytest.mark.slow
def test_a_program_of_torch_needs_trust_and_is_converted_in_the_sandbox(
    images: Path, tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _exported_program(tmp_path / "sides.pt2")
    assert "may run code that it holds" in refused(capsys, "import", path)
    told = run(capsys, "import", path, "--trust", "--data", images)
    assert (told["format"], told["name"], told["test_accuracy"]) == ("onnx", "sides", 1.0)
    again = run(capsys, "import", path, "--trust")
    assert again["id"] == told["id"]


@pytest.mark.parametrize(
    ("entry", "content", "told"),
    [
        ("data/weights/model.pt", b"", "pickled weights"),
        (
            "data/weights/model_weights_config.json",
            b'{"config": {"w": {"path_name": "weight_0", "use_pickle": true}}}',
            "pickled weights",
        ),
        ("data/constants/custom_obj_0", b"", "pickled objects"),
        ("data/constants/opaque_obj_0", b"", "pickled objects"),
        ("data/aotinductor/model/model.so", b"", "compiled code"),
        ("data/sample_inputs/model.pt", b"cbuiltins\nexec\n", "without unpickling"),
    ],
)
def test_a_program_that_would_be_unpickled_is_refused_even_with_trust(
    entry: str, content: bytes, told: str, tmp_path: Path
) -> None:
    from converters.sources.exported_program import refuse_pickles

    path = tmp_path / "evil.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"evil/{entry}", content)
    with pytest.raises(errors.InvalidModel, match=told):
        refuse_pickles(path)


@pytest.mark.slow
def test_keras_files_and_saved_models_are_converted_by_tensorflow(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow", reason="the extra tensorflow is not installed")
    script = (
        "import sys, numpy as np; from tensorflow import keras\n"
        "w = np.zeros((4, 4, 3), 'float32'); w[:, :2, 1] = w[:, 2:, 2] = 1\n"
        "def save(layers, name):\n"
        "    m = keras.Sequential([keras.Input((4, 4, 1)), *layers, keras.layers.Flatten(),"
        " keras.layers.Dense(3)])\n"
        "    m.layers[-1].set_weights([w.reshape(16, 3), np.array([0.5, 0, 0], 'float32')])\n"
        "    for ending in ('.keras', '.h5'): m.save(name + ending)\n"
        "    return m\n"
        "save([], 'good').export('good', verbose=False)\n"
        "save([keras.layers.Lambda(lambda x: x * 2)], 'code')\n"
    )
    subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True, timeout=300
    )
    for name in ("good.keras", "good.h5", "good"):
        told = run(capsys, "import", tmp_path / name, "--data", images)
        assert (told["format"], told["test_accuracy"]) == ("tflite", 1.0)
    for name in ("code.keras", "code.h5"):
        assert "Lambda layer, which is Python code" in refused(capsys, "import", tmp_path / name)
    (tmp_path / "cut.keras").write_bytes((tmp_path / "good.keras").read_bytes()[:500])
    assert "no whole Keras model" in refused(capsys, "import", tmp_path / "cut.keras")


def test_a_keras_file_without_tensorflow_names_the_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if importlib.util.find_spec("tensorflow"):
        pytest.skip("tensorflow is installed")
    if not any(one.startswith("tensorflow") for one in importlib.metadata.requires("edge-bench") or ()):
        pytest.skip("edge-bench was installed here before it had the extra")
    (tmp_path / "net.keras").write_bytes(b"PK")
    assert "pip install 'edge-bench[tensorflow]'" in refused(capsys, "import", tmp_path / "net.keras")


def _exported_program(path: Path) -> Path:
    import torch
    from torch import nn

    network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 3))
    with torch.no_grad():
        weights = torch.zeros(3, SIDE, SIDE)
        weights[1, :, :2] = weights[2, :, 2:] = 1
        network[1].weight.copy_(weights.flatten(1))
        network[1].bias.copy_(torch.tensor([0.5, 0, 0]))
    example = (torch.zeros(2, 1, SIDE, SIDE),)
    shapes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(network.eval(), example, dynamic_shapes=shapes), path)
    return path


def _quantized_tflite(path: Path) -> Path:
    """Write the network for images between −1 and 1, uint8 in and out, as one fully connected operator."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    # With pixels in −1…1 a dark half sums to −8 and a bright one to 8 × 0.6.
    weights = np.zeros((3, SIDE, SIDE), np.int8)
    weights[1, :, :2] = weights[2, :, 2:] = 100
    scales = {"x": (2 / 255, 128), "weights": (0.01, 0), "bias": (2 / 25500, 0), "y": (0.1, 128)}
    bias = np.asarray([0, 0, 0], np.int32)
    shapes = {"x": [1, SIDE, SIDE, 1], "weights": [3, SIDE * SIDE], "bias": [3], "y": [1, 3]}
    kinds = {
        "x": schema.TensorType.UINT8,
        "weights": schema.TensorType.UINT8,
        "bias": schema.TensorType.INT32,
        "y": schema.TensorType.UINT8,
    }
    scales["weights"] = (0.01, 128)
    contents = {
        "weights": (weights.astype(np.int16) + 128).astype(np.uint8).tobytes(),
        "bias": bias.tobytes(),
    }
    model = schema.ModelT()
    model.version, model.buffers = 3, [schema.BufferT()]
    tensors = []
    for name in shapes:
        tensor, quantization = schema.TensorT(), schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = [scales[name][0]], [scales[name][1]]
        tensor.name, tensor.shape, tensor.type = name, shapes[name], kinds[name]
        tensor.quantization = quantization
        if name in contents:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(contents[name], np.uint8)
            model.buffers.append(buffer)
            tensor.buffer = len(model.buffers) - 1
        tensors.append(tensor)
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0, 1, 2], [3]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, [operator], [0], [3]
    model.operatorCodes, model.subgraphs = [code], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path
