"""The plain row of convolutions: it is what its operators say, with every norm and padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import device_profiles
from converters.export import FORMATS
from converters.formats import Converter
from converters.parity import logits_of
from edge_bench import variants
from edge_bench.choose.fitting import predict
from edge_bench.choose.shipped import shipped
from edge_bench.errors import ConfigError, MissingExtra
from edge_bench.measure.sandbox import predict as answered_by
from supernet.models.convnet import Convnet
from supernet.network import folded

WIDTHS, STRIDES = (8, 16, 16), (1, 2, 1)


def convnet(**options: Any) -> Convnet:
    return Convnet(**{"resolution": 11, "widths": WIDTHS, "strides": STRIDES, **options})


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("padding", ["zeros", "none"])
def test_a_network_computes_what_its_operators_say(norm: str, padding: str) -> None:
    model = convnet(norm=norm, padding=padding)
    listed = model.space(channels=3, classes=5).operators
    network = folded(model.build(channels=3, classes=5))
    sizes: list[int] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.GroupNorm):
            layer.register_forward_hook(lambda _layer, _inputs, output: sizes.append(output.shape[-1]))
    assert network(torch.zeros(2, 3, 11, 11)).shape == (2, 5)
    kinds = ["convolution", "group_norm"] if norm == "group" else ["convolution"]
    assert [one.kind for one in listed] == kinds * len(WIDTHS) + ["global_pool", "linear"]
    assert sizes == [one.output_size for one in listed if one.kind in kinds]
    unfolded = sum(WIDTHS) if norm == "group" else 0
    parameters = sum(parameter.numel() for parameter in network.parameters())
    # Behind a group norm a convolution needs no bias, which the list counts.
    assert sum(one.weights for one in listed) == parameters + unfolded


def test_without_padding_nothing_tells_where_an_image_ends() -> None:
    torch.manual_seed(0)
    image = torch.full((1, 3, 11, 11), 0.5)
    spread = {}
    for padding in ("zeros", "none"):
        network = convnet(padding=padding, norm="none").build(channels=3, classes=5)
        maps = network.get_submodule("layers")(image)
        spread[padding] = (maps - maps.mean((2, 3), keepdim=True)).abs().max().item()
    assert spread["none"] < 1e-5 < 1e-2 < spread["zeros"]


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("name", variants.names(FORMATS))
def test_an_exported_file_answers_as_the_network(name: str, norm: str, tmp_path: Path) -> None:
    try:
        converter = variants.load(Converter, FORMATS, name)()
    except (MissingExtra, ModuleNotFoundError) as error:
        pytest.skip(str(error))
    torch.manual_seed(0)
    network = folded(convnet(norm=norm, padding="none", resolution=12).build(channels=3, classes=5))
    example = torch.zeros(2, 3, 12, 12)
    program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    file = tmp_path / f"model.{converter.format}"
    converter.convert(program, file)
    inputs = np.random.default_rng(0).standard_normal((3, 3, 12, 12), np.float32)
    answered = answered_by(file, converter.layout(inputs), runtime=converter.runtime, batch=1)
    assert np.abs(answered - logits_of(program, inputs)).max() <= converter.tolerance


def test_a_group_norm_is_predicted_to_take_time() -> None:
    fitted = shipped(device_profiles.predicted_devices()[0])[0]
    latencies = {}
    for norm in ("batch", "group"):
        space = Convnet(norm=norm).space(channels=3, classes=10)
        latencies[norm] = predict(fitted, space, space.largest()).latency_ms
    assert latencies["group"] > latencies["batch"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"widths": ()}, "widths is empty"),
        ({"strides": (1, 2)}, "has 3 widths and 2 strides"),
        ({"strides": (1, 0, 1)}, "strides holds 0"),
        ({"norm": "group", "groups": 3}, "groups is 3; every width must be a multiple"),
        ({"padding": "none", "resolution": 7}, "convolution 3 has a map of 2 pixels a side, too small"),
    ],
)
def test_options_that_make_no_network_are_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        convnet(**options).space(channels=3, classes=5)


def test_strides_may_be_left_out() -> None:
    space = convnet(strides=()).space(channels=3, classes=5)
    assert [one.output_size for one in space.operators[:3]] == [11, 11, 11]
