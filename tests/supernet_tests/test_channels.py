"""Sorting channels changes no network that was trained, and gives the narrow ones the best channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from edge_bench.records import ArchConfig, SearchSpace
from supernet.channels import importance_orders, reorder
from supernet.network import ElasticNetwork
from supernet.phases import Phase, narrowed

FULL_WIDTH = Phase(name="depth", epochs=1, open=("resolution", "kernel", "depth"))

TWO_WIDTHS = replace(FULL_WIDTH, open=(*FULL_WIDTH.open, "expand"), choices={"expand": 2})


def _network(space: SearchSpace) -> ElasticNetwork:
    torch.manual_seed(0)
    network = ElasticNetwork(space)
    for name, parameter in network.named_parameters():
        if name.endswith(("norm.weight", "norm.bias")):
            # Different in every channel, so that a forgotten permutation shows.
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return network


def _answers(network: ElasticNetwork, archs: list[ArchConfig]) -> list[torch.Tensor]:
    answers = []
    for arch in archs:
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(
            4, network.space.input_channels, arch.resolution, arch.resolution, generator=generator
        )
        network.use(arch)
        with torch.no_grad():
            answers.append(network(x))
    return answers


def _archs(space: SearchSpace, count: int = 6) -> list[ArchConfig]:
    generator = np.random.default_rng(0)
    return [space.largest(), *(space.sample(generator) for _ in range(count))]


def test_sorting_leaves_every_network_that_was_open_as_it_was(space: SearchSpace) -> None:
    network, open_before = _network(space), narrowed(space, FULL_WIDTH)
    archs = _archs(open_before)
    before = _answers(network, archs)
    orders = importance_orders(network, open_before)
    assert any(not torch.equal(one.order, torch.arange(len(one.order))) for one in orders)
    reorder(orders, dict(network.named_parameters()))
    for one, other in zip(before, _answers(network, archs), strict=True):
        assert torch.allclose(one, other, atol=1e-5, rtol=0)


def test_sorting_stays_within_the_widths_that_were_trained(space: SearchSpace) -> None:
    two_widths = narrowed(
        space, replace(FULL_WIDTH, open=(*FULL_WIDTH.open, "expand"), choices={"expand": 2})
    )
    network, archs = _network(space), _archs(two_widths)
    before = _answers(network, archs)
    reorder(importance_orders(network, two_widths), dict(network.named_parameters()))
    for one, other in zip(before, _answers(network, archs), strict=True):
        assert torch.allclose(one, other, atol=1e-5, rtol=0)


def test_the_first_channels_are_those_whose_weights_in_the_projection_are_largest(
    space: SearchSpace,
) -> None:
    network, open_before = _network(space), narrowed(space, FULL_WIDTH)
    reorder(importance_orders(network, open_before), dict(network.named_parameters()))
    for block in network.blocks:
        norms = block.project.weight.detach().abs().sum((0, 2, 3))  # type: ignore[union-attr]
        assert bool((norms.diff() <= 0).all())


def test_what_lies_beside_the_weights_is_ordered_alike(space: SearchSpace) -> None:
    network = _network(space)
    orders = importance_orders(network, narrowed(space, FULL_WIDTH))
    copies = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    reorder(orders, dict(network.named_parameters()))
    reorder(orders, copies)
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, copies[name])
