"""The script beside a picked file runs by itself and answers as edge-bench does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from converters import sketches
from edge_bench import variants
from edge_bench.choose.candidates import RUNTIMES
from edge_bench.choose.snippets import Picked, run_script
from edge_bench.data import prepare
from edge_bench.measure import inspection
from edge_bench.measure.runtimes import Runtime
from edge_bench.records import Artifact, Preprocessing, SearchSpace, Subnet
from edge_bench.records.artifact import Format

SEEN = Preprocessing(size=4, channels=1, mean=(0.5,), std=(0.3,))


@pytest.fixture
def sides(tmp_path: Path) -> Path:
    """An ONNX file for images of 4×4 pixels: class 0 is dark, 1 bright on the left, 2 on the right."""
    weights = np.zeros((4, 4, 3), np.float32)
    weights[:, :2, 1] = weights[:, 2:, 2] = 1
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "sides",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights.reshape(16, 3), "weights")],
    )
    path = tmp_path / "model.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(str(path))
    return path


@pytest.fixture
def script_of(
    lite: SearchSpace, subnet: Callable[..., Subnet], artifact: Callable[..., Artifact], sides: Path
) -> Callable[..., str]:
    """A function that gives the script for `sides`, its three classes named."""
    made = artifact(subnet(lite.smallest()))
    seen = replace(made, preprocessing=SEEN)
    return lambda *names: run_script(Picked.of(replace(seen, class_names=names), None, file=sides.name))


def answers(folder: Path, script: str, images: list[Path]) -> list[str]:
    """Run the script from elsewhere and return what it prints after each image's name."""
    (folder / "run_model.py").write_text(script, encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-I", str(folder / "run_model.py"), *map(str, images)],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "edge_bench" not in script
    printed = ended.stdout
    told = []
    for image in images:
        head, _, printed = printed.partition(f"{image}: ")
        told.append(head)
    return [answer.removesuffix("\n") for answer in [*told[1:], printed]]


def drawn(folder: Path) -> list[Path]:
    """Draw images that are dark, bright on the left (in colour), bright on the right; sizes differ."""
    pixels = np.zeros((16, 16), np.uint8)
    left = np.zeros((24, 40, 3), np.uint8)
    left[:, :20] = 255
    right = np.zeros((5, 9), np.uint8)
    right[:, 5:] = 255
    images = []
    for name, array in (("dark", pixels), ("left", left), ("right", right)):
        images.append(folder / f"{name}.png")
        Image.fromarray(array).save(images[-1])
    return images


def test_the_script_prints_each_image_s_class(
    script_of: Callable[..., str], sides: Path, tmp_path: Path
) -> None:
    script = script_of("dark", "left", "right")
    assert answers(sides.parent, script, drawn(tmp_path)) == ["dark", "left", "right"]


def test_the_script_resizes_with_antialiasing_as_training_did(
    script_of: Callable[..., str], sides: Path, tmp_path: Path
) -> None:
    # Three of four columns are bright on the left; the dark one is that which a nearest pixel would see.
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:, :8] = np.where(np.arange(8) % 4 == 2, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "striped.png")
    script = script_of("dark", "left", "right")
    assert answers(sides.parent, script, [tmp_path / "striped.png"]) == ["left"]


def test_names_of_classes_are_data_whatever_they_hold(
    script_of: Callable[..., str], sides: Path, tmp_path: Path
) -> None:
    names = (
        "it's \"two\" '''three''' \"\"\"",
        'line\nbreak\\n\\"); raise SystemExit(9) #',
        "$file ${size} $$ % { } é 数",
    )
    script = script_of(*names)
    assert answers(sides.parent, script, drawn(tmp_path)) == list(names)


@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_the_script_answers_as_edge_bench_does_on_colour_images(
    form: Format,
    lite: SearchSpace,
    subnet: Callable[..., Subnet],
    artifact: Callable[..., Artifact],
    tmp_path: Path,
) -> None:
    space = replace(lite, input_channels=3, classes=10)
    arch = space.largest()
    model = tmp_path / f"model.{form}"
    {"onnx": sketches.write_onnx, "tflite": sketches.write_tflite}[form](space, arch, model)
    seen = Preprocessing(size=arch.resolution, channels=3, mean=(0.1, 0.5, 0.9), std=(0.02, 0.05, 0.1))
    names = tuple(f"class {index}" for index in range(10))
    pixels = np.random.default_rng(0).integers(0, 256, (12, 21, 21, 3), np.uint8)
    images = []
    for index, one in enumerate(pixels):
        images.append(tmp_path / f"{index}.png")
        Image.fromarray(one // (index + 1)).save(images[-1])
    runtime = variants.load(Runtime, inspection.RUNTIMES, RUNTIMES[form])()
    session = runtime.open(model, threads=1)
    made = artifact(subnet(arch, space=space), format=form)
    file = replace(made, class_names=names, inputs=session.inputs, preprocessing=seen)
    expected = []
    for index, one in enumerate(pixels):
        fed = prepare((one // (index + 1))[None], seen)
        if form == "tflite":
            fed = np.ascontiguousarray(fed.transpose(0, 2, 3, 1))
        logits = session.run({session.inputs[0].name: fed})[session.outputs[0].name]
        expected.append(names[int(logits.argmax())])
    assert len(set(expected)) > 1, "images that all look alike to the network show nothing"
    assert answers(tmp_path, run_script(Picked.of(file, None, file=model.name)), images) == expected
