"""Dead units: what is cut out of a network changes no answer, and all that can be cut is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from converters.dead_units import without_dead_units
from converters.programs import macs_of, weights_of
from edge_bench.errors import ConversionError
from edge_bench.records import macs_of as macs_of_space
from supernet.network import ElasticNetwork, folded
from supernet.spaces.lite_32 import LiteAt32

SIZE = 6
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.Sigmoid, nn.GELU)


class Residual(nn.Module):
    """An inverted residual: 1×1, depthwise 3×3, 1×1, added to what went in."""

    def __init__(self, width: int, inner: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, inner, 1),
            act(),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner),
            act(),
            nn.Conv2d(inner, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Excited(nn.Module):
    """A squeeze-excite."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(width, inner, 1), nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.expand(torch.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * nn.functional.hardsigmoid(scale)


def mlp(widths: Sequence[int], act: type[nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise((SIZE**2, *widths)):
        layers += [nn.Linear(before, after), act()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 3))


def cnn(width: int, inner: int, act: type[nn.Module], padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        act(),
        Residual(width, inner, act),
        Excited(width, 3),
        nn.Conv2d(width, inner, 3, padding=padding, bias=False),
        act(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(inner * ((SIZE - 2 + 2 * padding) // 2) ** 2, 5),
        act(),
        nn.Linear(5, 3),
    )


def pruned(network: nn.Module, sparsity: float, seed: int) -> nn.Module:
    """Return the network with random biases, and that share of its other weights zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
            if weight.ndim > 1:
                weight *= torch.rand(weight.shape, generator=generator) >= sparsity
    return network.eval()


def program_of(network: nn.Module, channels: int = 1, size: int = SIZE) -> ExportedProgram:
    example = torch.zeros(2, channels, size, size)
    return torch.export.export(network.eval(), (example,), dynamic_shapes=({0: Dim("batch")},))


def difference(one: ExportedProgram, other: ExportedProgram, channels: int = 1, size: int = SIZE) -> float:
    """Return the largest difference of answers, as a share of the largest answer above 1."""
    x = torch.randn(5, channels, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, answered = one.module()(x), other.module()(x)
    return float((answered - expected).abs().max() / max(1.0, float(expected.abs().max())))


@settings(max_examples=10, deadline=None)
@given(
    widths=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    act=st.sampled_from(ACTIVATIONS),
    sparsity=st.floats(0.5, 1),
    seed=st.integers(0, 999),
)
def test_a_sparse_mlp_answers_the_same_without_its_dead_units(
    widths: list[int], act: type[nn.Module], sparsity: float, seed: int
) -> None:
    program = program_of(pruned(mlp(widths, act), sparsity, seed))
    cut = without_dead_units(program)
    assert difference(program, cut.program) <= 1e-5
    assert without_dead_units(cut.program).cut == 0


@settings(max_examples=10, deadline=None)
@given(
    width=st.integers(1, 6),
    inner=st.integers(1, 8),
    act=st.sampled_from(ACTIVATIONS),
    padding=st.integers(0, 1),
    sparsity=st.floats(0.5, 1),
    seed=st.integers(0, 999),
)
def test_a_sparse_cnn_answers_the_same_without_its_dead_units(
    width: int, inner: int, act: type[nn.Module], padding: int, sparsity: float, seed: int
) -> None:
    program = program_of(pruned(cnn(width, inner, act, padding), sparsity, seed))
    cut = without_dead_units(program)
    assert difference(program, cut.program) <= 1e-5
    assert without_dead_units(cut.program).cut == 0


def test_neurons_that_nothing_reaches_or_reads_are_cut_and_their_constants_move_on() -> None:
    network = mlp((4, 3), nn.Sigmoid)
    first, second, last = (layer for layer in network if isinstance(layer, nn.Linear))
    with torch.no_grad():
        first.weight[1] = 0  # says sigmoid of its bias
        second.weight[:, 2] = 0  # is read by nobody
        last.weight[:, 0] = 0
    program = program_of(network)
    cut = without_dead_units(program)
    assert (cut.units, cut.cut) == (7, 3)
    assert difference(program, cut.program) <= 1e-6
    shapes = [tuple(weight.shape) for weight in cut.program.state_dict.values() if weight.ndim > 1]
    assert sorted(shapes) == [(2, 2), (2, SIZE**2), (3, 2)]


def test_what_only_dead_units_read_is_dead_too() -> None:
    network = mlp((4, 3), nn.ReLU)
    _, second, last = (layer for layer in network if isinstance(layer, nn.Linear))
    with torch.no_grad():
        second.weight[1:, 0] = 0  # the first neuron speaks to one other
        last.weight[:, 0] = 0  # which nobody reads
    assert without_dead_units(program_of(network)).cut == 2


@pytest.mark.parametrize(("padding", "cut"), [(0, 1), (1, 0)])
def test_a_constant_channel_stays_where_a_padded_border_would_miss_it(padding: int, cut: int) -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 3, 1), nn.Conv2d(3, 2, 3, padding=padding), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    with torch.no_grad():
        network[0].weight[0] = 0
        network[0].bias[0] = 1
    program = program_of(network)
    made = without_dead_units(program)
    assert made.cut == cut and difference(program, made.program) <= 1e-6


def test_channels_that_are_added_stay_while_either_speaks() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), Residual(4, 6, nn.ReLU), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    stem, last = network[0], network[2].layers[-1]
    with torch.no_grad():
        last.weight[0] = last.bias[0] = 0  # the stem's first channel goes on alone
        stem.weight[1] = stem.bias[1] = 0  # and its second is silent before it is added to
        for layer in (stem, last):
            layer.weight[2] = layer.bias[2] = 0  # the third speaks nowhere
    program = program_of(network)
    cut = without_dead_units(program)
    assert cut.cut == 1 and difference(program, cut.program) <= 1e-6


def test_a_network_without_dead_units_stays_whole() -> None:
    network = pruned(cnn(4, 6, nn.ReLU, 1), 0.0, 0)
    program = program_of(network)
    cut = without_dead_units(program)
    assert cut.cut == 0 and weights_of(cut.program) == weights_of(program)


def test_an_operator_that_is_not_known_keeps_what_it_reads() -> None:
    class Sorted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sort(dim=1).values

    network = nn.Sequential(nn.Flatten(), nn.Linear(SIZE**2, 4), Sorted(), nn.Linear(4, 3))
    with torch.no_grad():
        network[1].weight[:2] = 0
    program = program_of(network)
    cut = without_dead_units(program)
    assert cut.cut == 0 and difference(program, cut.program) == 0


def test_macs_of_a_program_are_those_of_its_architecture() -> None:
    space = LiteAt32(
        stem_stride=2, widths=(8, 12), strides=(1, 2), stem_width=8, head_width=16, resolutions=(12,)
    ).build(input_channels=3, classes=5)
    network = folded(ElasticNetwork(space).materialize(space.largest()))
    assert macs_of(program_of(network, 3, 12)) == macs_of_space(space, space.largest())


def test_a_text_model_is_refused() -> None:
    class Text(nn.Module):
        def forward(self, tokens: Tensor) -> Tensor:
            return tokens.float()

    program = torch.export.export(Text(), (torch.zeros(2, 3, dtype=torch.int64),))
    with pytest.raises(ConversionError, match="for images and out of policies only"):
        without_dead_units(program)
