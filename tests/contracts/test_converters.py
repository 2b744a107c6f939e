"""What every converter promises; a new format in the folder is held to it at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.export import Dim, ExportedProgram

from converters.export import FORMATS
from converters.formats import Converter
from converters.formats.onnx import Onnx
from converters.parity import logits_of
from edge_bench import variants
from edge_bench.errors import ConversionError, MissingExtra, UnsupportedOperator
from edge_bench.measure.inspection import formats
from edge_bench.measure.sandbox import describe, predict
from supernet.models.lenet import Lenet
from supernet.network import ElasticNetwork, folded
from supernet.spaces.lite_32 import LiteAt32

SIZE, CHANNELS, CLASSES = 12, 3, 5
FULL = Path("/dev/full")


@torch.library.custom_op("edge_bench_tests::of_no_format", mutates_args=())
def of_no_format(x: torch.Tensor) -> torch.Tensor:
    """An operator that only this test knows."""
    return 2 * x


of_no_format.register_fake(torch.empty_like)


@pytest.fixture(scope="module", params=variants.names(FORMATS))
def converter(request: pytest.FixtureRequest) -> Converter:
    try:
        return variants.load(Converter, FORMATS, request.param)()
    except (MissingExtra, ModuleNotFoundError) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def program() -> ExportedProgram:
    """A small network with every layer of the `lite` space, its weights random."""
    space = LiteAt32(
        stem_stride=2, widths=(8, 12), strides=(1, 2), stem_width=8, head_width=16, resolutions=(SIZE,)
    ).build(input_channels=CHANNELS, classes=CLASSES)
    torch.manual_seed(0)
    network = folded(ElasticNetwork(space).materialize(space.largest())).eval()
    example = torch.zeros(2, CHANNELS, SIZE, SIZE)
    return torch.export.export(network, (example,), dynamic_shapes=({0: Dim("batch")},))


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((19, CHANNELS, SIZE, SIZE), np.float32)


@pytest.fixture(scope="module")
def file(converter: Converter, program: ExportedProgram, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fp32 file of `program`; tests leave it as it is."""
    made = tmp_path_factory.mktemp("converted") / f"model.{converter.format}"
    converter.convert(program, made)
    return made


def test_the_format_is_the_name_and_its_runtime_reads_it(converter: Converter) -> None:
    assert converter.format in variants.names(FORMATS)
    assert converter.format in formats(converter.runtime)


@pytest.mark.parametrize("batch", [1, 4])
def test_an_fp32_file_answers_as_the_network_at_any_batch(
    converter: Converter, file: Path, program: ExportedProgram, inputs: np.ndarray, batch: int
) -> None:
    answered = predict(file, converter.layout(inputs), runtime=converter.runtime, batch=batch)
    assert np.abs(answered - logits_of(program, inputs)).max() <= converter.tolerance


def test_a_network_that_flattens_its_maps_answers_at_any_batch(
    converter: Converter, inputs: np.ndarray, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = Lenet(resolution=SIZE, widths=(4, 6), hidden=(8,)).build(channels=CHANNELS, classes=CLASSES)
    example = torch.zeros(2, CHANNELS, SIZE, SIZE)
    made = torch.export.export(network.eval(), (example,), dynamic_shapes=({0: Dim("batch")},))
    target = tmp_path / f"model.{converter.format}"
    converter.convert(made, target)
    for batch in (1, 4):
        answered = predict(target, converter.layout(inputs), runtime=converter.runtime, batch=batch)
        assert np.abs(answered - logits_of(made, inputs)).max() <= converter.tolerance


def test_an_int8_file_is_near_the_network_whatever_the_range_of_an_image(
    converter: Converter, file: Path, program: ExportedProgram, inputs: np.ndarray, tmp_path: Path
) -> None:
    target = tmp_path / f"int8.{converter.format}"
    # Each image in a range of its own: whoever averages ranges instead of joining them cuts off half.
    ranged = inputs * np.linspace(0.1, 3, len(inputs), dtype=np.float32)[:, None, None, None]
    converter.quantize(file, target, ranged)
    expected = logits_of(program, ranged)
    answered = predict(target, converter.layout(ranged), runtime=converter.runtime, batch=1)
    assert np.abs(answered - expected).max() <= 0.1 * np.abs(expected).max()
    assert np.abs(answered - expected).max() > 1e-6


def test_the_file_names_its_input_and_its_shape(converter: Converter, file: Path) -> None:
    ((given,), (answered,)) = describe(file, runtime=converter.runtime)
    layout = converter.layout(np.zeros((1, CHANNELS, SIZE, SIZE), np.float32)).shape
    assert given.shape[1:] == layout[1:] and given.dtype == "float32"
    assert answered.shape[-1] == CLASSES


def test_a_file_holds_nothing_of_the_machine_that_made_it(file: Path) -> None:
    # Exporters like to note a stack trace beside each operator.
    content = file.read_bytes()
    assert b".py" not in content and str(Path.cwd()).encode() not in content


def test_an_operator_without_a_form_is_named_and_nothing_is_written(
    converter: Converter, tmp_path: Path
) -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return of_no_format(x).mean((2, 3))

    odd = torch.export.export(Odd(), (torch.zeros(2, 3, 4, 4),), dynamic_shapes=({0: Dim("batch")},))
    with pytest.raises(UnsupportedOperator, match=f"{converter.format}: .*of_no_format") as told:
        converter.convert(odd, tmp_path / f"odd.{converter.format}")
    assert "\n" not in told.value.message
    assert not list(tmp_path.iterdir())


def test_onnx_refuses_a_program_whose_batch_is_fixed(tmp_path: Path) -> None:
    fixed = torch.export.export(torch.nn.Flatten(), (torch.zeros(2, 1, 2, 2),))
    with pytest.raises(ConversionError, match="fixes the batch of 'image' at 2") as told:
        Onnx().convert(fixed, tmp_path / "fixed.onnx")
    assert "dynamic batch" in told.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_an_error_of_the_disk_and_not_of_the_network(
    converter: Converter, file: Path, program: ExportedProgram, inputs: np.ndarray
) -> None:
    with pytest.raises(OSError, match="No space left"):
        converter.convert(program, FULL)
    with pytest.raises(OSError, match="No space left"):
        converter.quantize(file, FULL, inputs)
