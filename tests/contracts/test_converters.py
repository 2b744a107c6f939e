"""What every converter promises; a new format in the folder is held to it at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.export import Dim, ExportedProgram

from converters.export import FORMATS
from converters.formats import Converter
from converters.parity import logits_of
from edge_bench import variants
from edge_bench.measure.sandbox import describe, predict
from supernet.network import ElasticNetwork, folded
from supernet.spaces.lite import Lite

SIZE, CHANNELS, CLASSES = 12, 3, 5


@pytest.fixture(params=variants.names(FORMATS))
def converter(request: pytest.FixtureRequest) -> Converter:
    return variants.load(Converter, FORMATS, request.param)()


@pytest.fixture(scope="module")
def program() -> ExportedProgram:
    """A small network with every layer of the `lite` space, its weights random."""
    space = Lite(widths=(8, 12), strides=(1, 2), stem_width=8, head_width=16, resolutions=(SIZE,)).build(
        input_channels=CHANNELS, classes=CLASSES
    )
    torch.manual_seed(0)
    network = folded(ElasticNetwork(space).materialize(space.largest())).eval()
    example = torch.zeros(2, CHANNELS, SIZE, SIZE)
    return torch.export.export(network, (example,), dynamic_shapes=({0: Dim("batch")},))


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((19, CHANNELS, SIZE, SIZE), np.float32)


@pytest.mark.parametrize("batch", [1, 4])
def test_an_fp32_file_answers_as_the_network_at_any_batch(
    converter: Converter, program: ExportedProgram, inputs: np.ndarray, tmp_path: Path, batch: int
) -> None:
    file = tmp_path / f"model.{converter.format}"
    converter.convert(program, file)
    answered = predict(file, converter.layout(inputs), runtime=converter.runtime, batch=batch)
    assert np.abs(answered - logits_of(program, inputs)).max() <= converter.tolerance


def test_an_int8_file_is_near_the_network_whatever_the_range_of_an_image(
    converter: Converter, program: ExportedProgram, inputs: np.ndarray, tmp_path: Path
) -> None:
    source, target = (tmp_path / f"{name}.{converter.format}" for name in ("fp32", "int8"))
    converter.convert(program, source)
    # Each image in a range of its own: whoever averages ranges instead of joining them cuts off half.
    ranged = inputs * np.linspace(0.1, 3, len(inputs), dtype=np.float32)[:, None, None, None]
    converter.quantize(source, target, ranged)
    expected = logits_of(program, ranged)
    answered = predict(target, converter.layout(ranged), runtime=converter.runtime, batch=1)
    assert np.abs(answered - expected).max() <= 0.1 * np.abs(expected).max()
    assert np.abs(answered - expected).max() > 1e-6


def test_the_file_names_its_input_and_its_shape(
    converter: Converter, program: ExportedProgram, tmp_path: Path
) -> None:
    file = tmp_path / f"model.{converter.format}"
    converter.convert(program, file)
    ((given,), (answered,)) = describe(file, runtime=converter.runtime)
    layout = converter.layout(np.zeros((1, CHANNELS, SIZE, SIZE), np.float32)).shape
    assert given.shape[1:] == layout[1:] and given.dtype == "float32"
    assert answered.shape[-1] == CLASSES
