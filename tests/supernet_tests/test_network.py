"""The elastic network and the plain networks cut from it compute, and cost, the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_bench.errors import InvalidArch
from edge_bench.records import ArchConfig, Operator, SearchSpace, operators
from edge_bench.records.operators import squeezed_width
from supernet.calibration import recalibrate
from supernet.layers import ElasticDepthwise
from supernet.network import ElasticNetwork, folded, parameters_of
from supernet.tasks._trainees import initialised

CONVOLUTIONS = ("convolution", "pointwise", "depthwise")


def test_a_materialised_network_computes_what_the_elastic_one_does(space: SearchSpace) -> None:
    network = disturbed(space)
    for arch in architectures(space):
        x = images(space, arch)
        network.use(arch)
        # In training mode both normalise by the batch.
        difference = network(x) - network.materialize(arch).train()(x)
        assert difference.abs().max() <= 1e-5


def test_a_folded_network_computes_what_the_calibrated_one_does(space: SearchSpace) -> None:
    network = disturbed(space)
    for arch in architectures(space, count=2):
        x = images(space, arch)
        plain = network.materialize(arch)
        recalibrate(plain, [x])
        flat = folded(plain)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in flat.modules())
        assert (flat(x) - plain(x)).abs().max() <= 1e-5


def test_parameters_and_macs_are_those_of_the_operators(space: SearchSpace) -> None:
    network = ElasticNetwork(space)
    for arch in architectures(space):
        listed = operators(space, arch)
        plain = network.materialize(arch)
        recalibrate(plain, [images(space, arch)])
        assert macs_of(folded(plain), images(space, arch)) == sum(op.macs for op in listed)
        assert parameters_of(folded(plain)) == sum(op.weights for op in listed)
        # Batch norm has a scale and a shift for each channel, of which folding leaves a bias.
        channels = sum(op.output_channels for op in listed if op.kind in CONVOLUTIONS)
        assert parameters_of(plain) == sum(op.weights for op in listed) + channels


def test_a_plain_network_shares_nothing_with_the_elastic_one(space: SearchSpace) -> None:
    network = ElasticNetwork(space)
    plain = network.materialize(space.largest())
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    for parameter in network.parameters():
        nn.init.constant_(parameter, 7.0)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_folded_network_shares_nothing_with_the_one_it_was_folded_from(space: SearchSpace) -> None:
    plain = ElasticNetwork(space).materialize(space.largest())
    recalibrate(plain, [images(space, space.largest())])
    kept = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    flat = folded(plain)
    for parameter in flat.parameters():
        nn.init.constant_(parameter, 7.0)
    assert not flat.training and all(not parameter.requires_grad for parameter in flat.parameters())
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, kept[name])


def test_two_networks_of_one_architecture_share_nothing_but_values(space: SearchSpace) -> None:
    network = ElasticNetwork(space)
    one, other = (network.materialize(space.smallest()) for _ in range(2))
    seen: list[object] = []
    for module in one.modules():
        module.register_forward_hook(lambda *_: seen.append(_))
    other.train()(images(space, space.smallest()))
    assert not seen
    for name, buffer in one.named_buffers():
        if name.endswith("num_batches_tracked"):
            assert buffer == 0


def test_a_squeeze_excite_is_as_wide_as_mobilenets() -> None:
    # make_divisible(width // 4, 8) of once-for-all's code: never more than a tenth below a quarter.
    assert [squeezed_width(width) for width in (16, 72, 96, 120, 240, 672, 960)] == [
        8,
        24,
        24,
        32,
        64,
        168,
        240,
    ]


def test_a_smaller_kernel_starts_as_the_centre_of_the_larger() -> None:
    layer = ElasticDepthwise(4, kernels=(3, 5, 7), stride=1, act=None)
    whole = layer.weight.detach()
    assert torch.equal(layer.plain(2, 7).get_submodule("conv").weight, whole[:2])
    assert torch.equal(layer.plain(4, 5).get_submodule("conv").weight, whole[:, :, 1:6, 1:6])
    assert torch.equal(layer.plain(4, 3).get_submodule("conv").weight, whole[:, :, 2:5, 2:5])


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
def test_maps_smaller_than_the_kernel_give_what_plain_layers_give(size: int, stride: int) -> None:
    layer = ElasticDepthwise(4, kernels=(3, 5, 7), stride=stride, act="relu6")
    x = torch.randn(5, 4, size, size)
    for kernel in (3, 5, 7):
        expected = layer.plain(4, kernel).train()(x)
        assert layer(x, kernel).shape == expected.shape
        assert (layer(x, kernel) - expected).abs().max() <= 1e-5


def test_every_weight_learns(space: SearchSpace) -> None:
    network = disturbed(space)
    largest = space.largest()
    transformed = replace(largest, blocks=tuple(replace(block, kernel=3) for block in largest.blocks))
    for arch in (largest, transformed):
        network.use(arch)
        network(images(space, arch)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_an_architecture_of_another_space_is_refused(space: SearchSpace) -> None:
    network = ElasticNetwork(space)
    other = ArchConfig(space="other", resolution=space.resolutions[0], blocks=space.largest().blocks)
    for refuses in (network.use, network.materialize):
        with pytest.raises(InvalidArch, match="is of space 'other'"):
            refuses(other)


def test_equal_seeds_give_equal_networks_and_leave_torchs_own_alone(space: SearchSpace) -> None:
    state = torch.get_rng_state()
    first, second, other = (initialised(space, seed).stem.weight for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, second) and not torch.equal(first, other)


def disturbed(space: SearchSpace) -> ElasticNetwork:
    """A network in which no scale is one, no shift zero and no kernel transform the identity."""
    torch.manual_seed(0)
    network = ElasticNetwork(space)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return network


def architectures(space: SearchSpace, count: int = 6) -> list[ArchConfig]:
    generator = np.random.default_rng(5)
    return [space.largest(), space.smallest(), *(space.sample(generator) for _ in range(count))]


def images(space: SearchSpace, arch: ArchConfig) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, space.input_channels, arch.resolution, arch.resolution, generator=generator)


def macs_of(network: nn.Module, x: Tensor) -> int:
    """Count multiply-accumulates for one image by watching every convolution and linear layer."""
    counted = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal counted
        weight = module.weight
        assert isinstance(weight, Tensor)
        counted += output[0].numel() * weight[0].numel()

    hooks = [
        module.register_forward_hook(count)
        for module in network.modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    network(x)
    for hook in hooks:
        hook.remove()
    return counted


def test_operators_name_each_convolution_once(space: SearchSpace) -> None:
    arch = space.largest()
    listed: tuple[Operator, ...] = operators(space, arch)
    plain = ElasticNetwork(space).materialize(arch)
    squeezes = 2 * sum(op.kind == "squeeze_excite" for op in listed)
    convolutions = sum(isinstance(module, nn.Conv2d) for module in plain.modules())
    assert convolutions - squeezes == sum(op.kind in CONVOLUTIONS for op in listed)
