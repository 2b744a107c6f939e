"""Files of an LSTM answer as their programs do: one operator over a text in ONNX, unrolled in TFLite."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch.export import ExportedProgram

from converters.formats.onnx import Onnx
from converters.programs import Named
from edge_bench.measure.runtimes.onnxruntime import OnnxRuntime
from edge_bench.text.stepping import stepper_of
from supernet.models import TextNetwork
from supernet.models.lstm import Lstm
from supernet.programs import save_program

LENGTH = 6


@pytest.fixture(scope="module")
def network() -> TextNetwork:
    """A small network of drawn weights."""
    torch.manual_seed(0)
    model = Lstm(width=8, length=LENGTH)
    return model.build(model.space(vocabulary=11, outputs=11), pad=0).eval()


@pytest.fixture(scope="module")
def programs(
    network: TextNetwork, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ExportedProgram, ExportedProgram]:
    """What reads a text and what generates a token, saved and loaded again."""
    folder = tmp_path_factory.mktemp("programs")
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=LENGTH)}
    tokens = torch.zeros(2, LENGTH - 1, dtype=torch.long)
    save_program(network.reader().eval(), (tokens,), {"tokens": free}, folder / "reader.pt2")
    stepper, inputs = network.stepper(), network.step_inputs()
    assert stepper is not None
    save_program(stepper.eval(), tuple(inputs.examples.values()), dict(inputs.free), folder / "step.pt2")
    reader, step = (torch.export.load(folder / f"{name}.pt2") for name in ("reader", "step"))
    return reader, step


def test_onnx_files_take_any_batch_and_length_and_steps_answer_as_the_whole_text(
    network: TextNetwork, programs: tuple[ExportedProgram, ExportedProgram], tmp_path: Path
) -> None:
    files = [tmp_path / "reader.onnx", tmp_path / "step.onnx"]
    for program, file in zip(programs, files, strict=True):
        Onnx().convert(program, file)
    # Neither paths of the machine that wrote them nor notes of the exporter.
    for file in files:
        assert b".py" not in file.read_bytes() and b"pkg.torch" not in file.read_bytes()
    kinds = Counter(node.op_type for node in onnx.load(str(files[0])).graph.node)
    assert kinds["Scan"] == 2 and not kinds.keys() & {"Loop", "If", "Dropout"}
    reader, step = (OnnxRuntime().open(file, threads=1) for file in files)
    stepper = stepper_of(step.run, network.step(), room=LENGTH)
    for shape in ((1, LENGTH), (3, 1), (5, 4)):
        tokens = np.random.default_rng(shape[0]).integers(0, 11, shape)
        with torch.no_grad():
            expected = network(torch.from_numpy(tokens)).numpy()
        np.testing.assert_allclose(reader.run({"tokens": tokens})["logits"], expected, atol=1e-5)
        stepper.start(len(tokens))
        for place in range(shape[1]):
            np.testing.assert_allclose(stepper.step(tokens[:, place], place), expected[:, place], atol=1e-5)


def test_a_scan_that_is_unrolled_answers_as_before(
    programs: tuple[ExportedProgram, ExportedProgram],
) -> None:
    from converters.formats.tflite import _unroll_scans

    reader = Named(programs[0])
    tokens = torch.randint(0, 11, (2, LENGTH))
    with torch.inference_mode():
        before = reader(tokens=tokens)["logits"]
        _unroll_scans(reader)
        torch.testing.assert_close(reader(tokens=tokens)["logits"], before, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_tflite_files_answer_as_the_network(
    network: TextNetwork, programs: tuple[ExportedProgram, ExportedProgram], tmp_path: Path
) -> None:
    from converters.formats.tflite import TFLite
    from edge_bench.measure.runtimes.litert import LiteRT

    for program, name in zip(programs, ("reader", "step"), strict=True):
        TFLite().convert(program, tmp_path / f"{name}.tflite", length=LENGTH)
    reader, step = (LiteRT().open(tmp_path / f"{name}.tflite", threads=1) for name in ("reader", "step"))
    stepper = stepper_of(step.run, network.step(), room=LENGTH, fixed=True, whole=np.int32)
    tokens = np.random.default_rng(0).integers(0, 11, (1, LENGTH))
    with torch.no_grad():
        expected = network(torch.from_numpy(tokens)).numpy()
    np.testing.assert_allclose(
        reader.run({"tokens": tokens.astype(np.int32)})["logits"], expected, atol=1e-4
    )
    for place in range(LENGTH):
        np.testing.assert_allclose(stepper.step(tokens[:, place], place), expected[:, place], atol=1e-4)
