"""Sketches compute what the real converters' files compute, operator for operator."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch.export import Dim

from converters import sketches
from converters.formats.onnx import Onnx
from converters.formats.tflite import TFLite
from edge_bench.choose.features import blocks
from edge_bench.errors import InvalidArch
from edge_bench.measure.sandbox import predict
from edge_bench.records import SearchSpace, operators
from supernet.network import ElasticNetwork, folded

# These cost no time of their own, or are another spelling of the same.
IGNORED = {"Constant", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze"}


def test_both_formats_of_a_sketch_answer_alike(space: SearchSpace, tmp_path: Path) -> None:
    arch = space.largest()
    size = arch.resolution
    images = np.random.default_rng(0).standard_normal((3, space.input_channels, size, size), np.float32)
    sketches.write_onnx(space, arch, tmp_path / "net.onnx", seed=7)
    sketches.write_tflite(space, arch, tmp_path / "net.tflite", seed=7)
    first = predict(tmp_path / "net.onnx", images, runtime="onnxruntime", batch=1)
    second = predict(tmp_path / "net.tflite", images.transpose(0, 2, 3, 1), runtime="litert", batch=1)
    assert np.isfinite(first).all() and np.abs(first).max() > 1e-3
    assert np.abs(first - second).max() <= 1e-4 * max(1, np.abs(first).max())


def test_a_sketch_has_the_operators_that_the_converter_writes(space: SearchSpace, tmp_path: Path) -> None:
    arch = space.largest()
    network = folded(ElasticNetwork(space).materialize(arch)).eval()
    example = torch.zeros(2, space.input_channels, arch.resolution, arch.resolution)
    program = torch.export.export(network, (example,), dynamic_shapes=({0: Dim("batch")},))
    Onnx().convert(program, tmp_path / "real.onnx")
    sketches.write_onnx(space, arch, tmp_path / "sketch.onnx")
    assert onnx_operators(tmp_path / "sketch.onnx") == onnx_operators(tmp_path / "real.onnx")
    TFLite().convert(program, tmp_path / "real.tflite")
    sketches.write_tflite(space, arch, tmp_path / "sketch.tflite")
    assert tflite_operators(tmp_path / "sketch.tflite") == tflite_operators(tmp_path / "real.tflite")


def test_an_architecture_of_another_space_is_refused_and_nothing_is_written(
    space: SearchSpace, tmp_path: Path
) -> None:
    other = replace(space.largest(), resolution=7)
    for write in (sketches.write_onnx, sketches.write_tflite):
        with pytest.raises(InvalidArch, match="resolution 7"):
            write(space, other, tmp_path / "net")
    assert not list(tmp_path.iterdir())


def onnx_operators(file: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(str(file)).graph.node if node.op_type not in IGNORED)


def tflite_operators(file: Path) -> Counter[str]:
    """Count the operators by name; one that is fused into another is none of its own."""
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file.read_bytes(), 0))
    (graph,) = model.subgraphs
    kinds = (names[model.operatorCodes[operator.opcodeIndex].builtinCode] for operator in graph.operators)
    return Counter(kind for kind in kinds if kind != "RESHAPE")


def test_a_block_alone_is_a_file_that_runs_in_both_formats(space: SearchSpace, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(operators(space, space.largest()))):
        first = block[0]
        shape = (2, first.input_channels, first.input_size, first.input_size)
        inputs = np.random.default_rng(0).standard_normal(shape, np.float32)
        channels_last = inputs.transpose(0, 2, 3, 1)
        if first.kind == "linear":
            inputs = channels_last = inputs[:, :, 0, 0]
        onnx_file, tflite_file = tmp_path / f"{number}.onnx", tmp_path / f"{number}.tflite"
        sketches.write_operators_onnx(block, onnx_file)
        sketches.write_operators_tflite(block, tflite_file)
        one = predict(onnx_file, inputs, runtime="onnxruntime", batch=1)
        other = predict(tflite_file, channels_last, runtime="litert", batch=1)
        if one.ndim == 4:
            one = one.transpose(0, 2, 3, 1)
        assert one.shape == other.shape and np.abs(one - other).max() <= 1e-4 * max(1, np.abs(one).max())
