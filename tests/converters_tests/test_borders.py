"""Export compares a file with its network at the borders of an image, where another padding shows."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from converters import export
from converters.borders import border_error, border_inputs
from converters.export import export_subnet
from converters.formats.onnx import Onnx
from converters.parity import logits_of
from edge_bench.errors import ParityError
from edge_bench.files import Home, sha256_of
from edge_bench.records import ArchConfig, PlainSpace, Preprocessing, Subnet
from edge_bench.records.operators import linear
from edge_bench.store import now
from supernet.models.resnet import Resnet
from supernet.network import ElasticNetwork, PlainNetwork, folded
from supernet.spaces.lite_32 import LiteAt32

SIZE, CLASSES = 8, 4
SEEN = Preprocessing(size=SIZE, channels=1, mean=(0.0,), std=(0.5,))


def network(kind: str) -> nn.Module:
    """Return an untrained network of a kind for images [n, 1, 8, 8]."""
    torch.manual_seed(0)
    if kind == "resnet":
        made = Resnet(depth=8, width=4, resolution=SIZE).build(channels=1, classes=CLASSES)
    elif kind == "lite":
        space = LiteAt32(
            stem_stride=2, widths=(8, 12), strides=(1, 2), stem_width=8, head_width=16, resolutions=(SIZE,)
        ).build(input_channels=1, classes=CLASSES)
        made = ElasticNetwork(space).materialize(space.largest())
    else:
        # Nothing but a convolution and mean pooling: where the border of an image is empty, it does not
        # matter by how many pixels its map is moved.
        layer = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 6, 3, padding=1, bias=False), act=nn.ReLU()))
        made = PlainNetwork(layer, None, nn.Linear(6, CLASSES))
    return folded(made)


def program_of(made: nn.Module) -> ExportedProgram:
    example = torch.zeros(2, 1, SIZE, SIZE)
    return torch.export.export(made, (example,), dynamic_shapes=({0: Dim("batch")},))


def padded_below_and_right_only(made: nn.Module) -> nn.Module:
    """Return the network with all padding of its convolutions below and to the right."""
    for module in list(made.modules()):
        for child, layer in list(module._modules.items()):
            if isinstance(layer, nn.Conv2d) and any(layer.padding):
                edge = layer.padding[0]
                assert isinstance(edge, int)
                # As SAME: at stride 2 an even side lacks one row less.
                missing = 2 * edge - (layer.stride[0] - 1)
                layer.padding = (0, 0)
                module._modules[child] = nn.Sequential(nn.ZeroPad2d((0, missing, 0, missing)), layer)
    return made


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of noise in the middle of a black border, in place of a data set's."""
    pixels = np.zeros((40, SIZE, SIZE, 1), np.uint8)
    pixels[:, 2:6, 2:6] = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1))
    names = tuple(str(number) for number in range(CLASSES))
    loaded = SimpleNamespace(pixels=pixels, labels=np.arange(40) % CLASSES, class_names=names)
    source = SimpleNamespace(load=lambda split, size=None: loaded)
    monkeypatch.setattr(export, "open_images", lambda table: source)
    export._examples.cache_clear()


@pytest.fixture
def subnet_of(home: Home, images: None) -> Any:
    """A function that gives the stored subnet of a network."""

    def make(made: nn.Module) -> Subnet:
        path = home.artifacts / "net" / "program.pt2"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.export.save(program_of(made), path)
        return Subnet(
            id="net",
            run="net",
            technique="plain",
            space=PlainSpace(name="net", resolution=SIZE, operators=(linear(6, CLASSES, None),)),
            arch=ArchConfig(space="net", resolution=SIZE, blocks=()),
            program=home.relative(path),
            digest=sha256_of(path),
            params=1,
            macs=1,
            task="image_classification",
            metrics=(),
            class_names=tuple(str(number) for number in range(CLASSES)),
            preprocessing=SEEN,
            data={"kind": "noise"},
            created=now(),
        )

    return make


@pytest.mark.parametrize("format", ["onnx", "tflite"])
@pytest.mark.parametrize("kind", ["lite", "resnet"])
def test_files_answer_as_their_network_at_the_borders(
    kind: str, format: str, home: Home, subnet_of: Any
) -> None:
    (artifact,) = export_subnet(subnet_of(network(kind)), home=home, format=format)
    assert artifact.parity is not None and artifact.parity.border_max_abs_error is not None
    assert artifact.parity.border_max_abs_error < 1e-4


def test_an_exporter_that_pads_below_and_right_only_is_refused(
    home: Home, subnet_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = Onnx.convert

    def wrong(self: Onnx, program: ExportedProgram, target: Path, *, length: int = 1) -> None:
        convert(self, program_of(padded_below_and_right_only(network("plain"))), target)

    monkeypatch.setattr(Onnx, "convert", wrong)
    subnet = subnet_of(network("plain"))
    with pytest.raises(ParityError, match=r"white at its (top|left|bottom|right).*alone") as caught:
        export_subnet(subnet, home=home, format="onnx")
    assert "must pad each side" in caught.value.hint
    # What real samples say of the same file: nothing.
    monkeypatch.setattr(export, "border_error", lambda *given, **options: 0.0)
    (artifact,) = export_subnet(subnet, home=home, format="onnx")
    assert artifact.parity is not None and artifact.parity.max_abs_error < 1e-6


@pytest.mark.parametrize("kind", ["lite", "resnet"])
def test_another_padding_at_stride_2_shows_at_a_border(kind: str) -> None:
    inputs = border_inputs(SEEN)
    right = logits_of(program_of(network(kind)), inputs)
    wrong = logits_of(program_of(padded_below_and_right_only(network(kind))), inputs)
    with pytest.raises(ParityError, match=r"'tflite' differs .* white at its .* alone"):
        border_error(Path("net.tflite"), right, wrong, tolerance=1e-3)
    assert border_error(Path("net.tflite"), right, wrong, tolerance=None) > 1e-3
    assert border_error(Path("net.tflite"), right, right, tolerance=1e-3) == 0


def test_the_border_that_differs_most_is_named_and_what_is_no_number_refused() -> None:
    expected = np.zeros((9, CLASSES), np.float32)
    given = expected.copy()
    given[1, 2], given[3, 0] = 0.5, 0.25
    with pytest.raises(ParityError, match=r"by 0\.5 .* at its bottom edge alone \(0 where"):
        border_error(Path("net.onnx"), expected, given, tolerance=0.1)
    given[7, 0] = np.nan
    with pytest.raises(ParityError, match=r"by inf .* at its bottom right corner alone"):
        border_error(Path("net.onnx"), expected, given, tolerance=None)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_each_image_is_white_at_a_border_of_its_own_and_one_in_its_middle(size: int) -> None:
    inputs = border_inputs(Preprocessing(size=size, channels=3, mean=(0, 0, 0), std=(1, 1, 1)))
    assert inputs.shape == (9, 3, size, size) and inputs.min() >= 0
    assert (inputs.reshape(9, -1).max(1) == 1).all()
    if size == 7:
        assert inputs[:8, :, 1:-1, 1:-1].max() == 0 and len(np.unique(inputs, axis=0)) == 9
