"""What every network for images must do, whatever its options: one `[model]` file each."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from edge_bench import variants
from edge_bench.documents import from_document, to_document
from edge_bench.records import PlainSpace, macs_of, operators
from supernet.draws import drawing
from supernet.models import ImageModel, Model
from supernet.network import folded
from supernet.run import MODELS

IMAGE_MODELS = [
    name for name in variants.names(MODELS) if issubclass(variants.load(Model, MODELS, name), ImageModel)
]
SIDES = (8, 13)


@pytest.fixture(params=[(name, side) for name in IMAGE_MODELS for side in SIDES])
def model(request: pytest.FixtureRequest) -> ImageModel:
    name, side = request.param
    kind: Any = variants.load(Model, MODELS, name)
    return cast(ImageModel, kind(resolution=side))


@pytest.fixture
def network(model: ImageModel) -> nn.Module:
    with drawing(0):
        return model.build(channels=3, classes=5)


def test_its_operators_are_what_it_computes(model: ImageModel, network: nn.Module) -> None:
    space = model.space(channels=3, classes=5)
    listed = operators(space, space.largest())
    seen: list[tuple[int, int, int]] = []

    def see(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            seen.append(
                (inputs[0].shape[1], output.shape[1], output[0, 0].numel() if output.ndim == 4 else 1)
            )

    for module in network.modules():
        module.register_forward_hook(see)
    assert network.eval()(torch.zeros(2, 3, model.resolution, model.resolution)).shape == (2, 5)
    weighed = [one for one in listed if one.weights]
    told = Counter((one.input_channels, one.output_channels, one.output_size**2) for one in weighed)
    assert told == Counter(seen)
    plain = folded(network)
    assert sum(one.weights for one in listed) == sum(parameter.numel() for parameter in plain.parameters())
    assert macs_of(space, space.largest()) == sum(one.macs for one in listed)
    for before, after in zip(listed, listed[1:], strict=False):
        # In a row, but for a shortcut, which reads the block's input, and what is flattened.
        if after.kind not in ("linear", "add") and after.kernel > 1:
            assert (before.output_channels, before.output_size) == (after.input_channels, after.input_size)


def test_a_folded_network_computes_what_the_trained_one_does(model: ImageModel, network: nn.Module) -> None:
    images = torch.randn(6, 3, model.resolution, model.resolution)
    network.train()
    network(images)
    expected = network.eval()(images)
    plain = folded(network)
    torch.testing.assert_close(plain(images), expected, rtol=1e-4, atol=1e-4)
    assert not [module for module in plain.modules() if isinstance(module, nn.BatchNorm2d)]


def test_every_weight_learns(model: ImageModel, network: nn.Module) -> None:
    images = torch.randn(6, 3, model.resolution, model.resolution)
    network.train()(images).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_it_is_drawn_by_the_seed_alone(model: ImageModel, network: nn.Module) -> None:
    for seed, same in ((0, True), (1, False)):
        with drawing(seed):
            again = model.build(channels=3, classes=5)
        pairs = zip(network.parameters(), again.parameters(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs) == same


def test_its_space_has_one_member_and_is_kept_as_a_document(model: ImageModel) -> None:
    space = model.space(channels=1, classes=10)
    assert space.size() == 1 and space.contains(space.smallest())
    assert from_document(PlainSpace, to_document(space)) == space
