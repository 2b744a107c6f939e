"""Search spaces: what their options mean, and what is said of options that make no space."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edge_bench import variants
from edge_bench.documents import from_document, to_document
from edge_bench.errors import ConfigError, InvalidArch
from edge_bench.records import ArchConfig, SearchSpace, operators
from supernet.network import ElasticNetwork, folded, parameters_of
from supernet.run import open_space
from supernet.spaces import Space
from supernet.spaces.lite import Lite
from supernet.spaces.lite_32 import LiteAt32
from supernet.spaces.mobilenet_v3 import MobilenetV3

KINDS = variants.names("supernet.spaces")


def preset(kind: str, **options: object) -> Space:
    """Return a variant with its defaults, but for `options`."""
    return variants.load(Space, "supernet.spaces", kind)(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_every_space_builds_with_its_defaults_and_survives_its_document(kind: str) -> None:
    space = preset(kind).build(input_channels=3, classes=10)
    assert from_document(SearchSpace, to_document(space)) == space
    assert space.name == kind


def test_mobilenet_v3_is_the_once_for_all_space() -> None:
    # Cai et al.: 7371 options a stage, five stages, 25 resolutions; 565 MMACs at 10 classes, 7.7 M
    # parameters at 1000 were measured on the authors' own network.
    assert MobilenetV3().build(input_channels=3, classes=10).size() == 7371**5 * 25
    macs = {c: _sum(MobilenetV3().build(input_channels=3, classes=c), "macs") for c in (10, 1000)}
    assert macs[10] == pytest.approx(565e6, rel=0.01)
    weights = _sum(MobilenetV3().build(input_channels=3, classes=1000), "weights")
    assert weights == pytest.approx(7.7e6, rel=0.02)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.endswith("_32")])
def test_presets_of_class_size_have_the_choices_of_the_paper(kind: str) -> None:
    space = preset(kind).build(input_channels=3, classes=1000)
    assert (space.resolutions[0], space.resolutions[-1]) == (128, 224)
    for stage in space.stages:
        assert (stage.kernels, stage.depths, stage.expands) == ((3, 5, 7), (2, 3, 4), (3, 4, 6))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.endswith("_32")])
def test_presets_for_32_px_keep_maps_of_4_pixels_and_small_kernels(kind: str) -> None:
    space = preset(kind).build(input_channels=3, classes=10)
    assert space.resolutions[-1] == 32
    for arch in (space.smallest(), space.largest()):
        pool = next(op for op in operators(space, arch) if op.kind == "global_pool")
        assert pool.input_size >= 4 and 32 / pool.input_size <= 8
    assert {stage.kernels for stage in space.stages} == {(3, 5)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_width_multiplier_multiplies_every_width(kind: str) -> None:
    plain = preset(kind).build(input_channels=3, classes=10)
    doubled = preset(kind, width_multiplier=2.0).build(input_channels=3, classes=10)
    assert doubled.stem_width == 2 * plain.stem_width
    assert doubled.head_width == 2 * plain.head_width
    assert doubled.feature_width == 2 * plain.feature_width
    assert [s.width for s in doubled.stages] == [2 * s.width for s in plain.stages]


@pytest.mark.parametrize("kind", KINDS)
def test_cost_grows_with_about_the_square_of_the_width_multiplier(kind: str) -> None:
    plain = preset(kind).build(input_channels=3, classes=2)
    doubled = preset(kind, width_multiplier=2.0).build(input_channels=3, classes=2)
    # Depthwise layers and the classifier grow with its first power.
    for what in ("macs", "weights"):
        assert 3.3 < _sum(doubled, what) / _sum(plain, what) <= 4.05


def test_widths_between_two_multiples_are_rounded_to_the_divisor() -> None:
    space = LiteAt32(width_multiplier=0.55, divisor=4).build(input_channels=1, classes=2)
    assert [stage.width for stage in space.stages] == [12, 24, 36]  # 13.2, 22, 35.2
    whole = LiteAt32(widths=(13, 21, 34)).build(input_channels=1, classes=2)
    assert [stage.width for stage in whole.stages] == [13, 21, 34]


def test_choices_may_differ_from_stage_to_stage() -> None:
    table = {
        "kind": "lite_32",
        "kernels": [[3], [3, 5], [5, 7]],
        "depths": [[1], [1, 2], [3]],
        "expands": [4],
    }
    space = open_space(table).build(input_channels=1, classes=10)
    assert [stage.kernels for stage in space.stages] == [(3,), (3, 5), (5, 7)]
    assert [stage.depths for stage in space.stages] == [(1,), (1, 2), (3,)]
    assert [stage.expands for stage in space.stages] == [(4,)] * 3
    largest = space.largest()
    assert [(block.source, block.kernel) for block in largest.blocks] == [
        *[(0, 3), (1, 5), (2, 5)],
        *[(3, 7), (4, 7), (5, 7)],
    ]


@pytest.mark.parametrize("kind", ["lite", "lite_32"])
def test_lite_has_nothing_that_quantizes_badly(kind: str) -> None:
    space = preset(kind).build(input_channels=1, classes=10)
    kinds = {(op.kind, op.activation) for op in operators(space, space.largest())}
    assert {activation for _, activation in kinds} <= {"relu6", None}
    assert "squeeze_excite" not in {kind for kind, _ in kinds}


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=5)
@given(
    seed=st.integers(0, 2**32),
    channels=st.integers(1, 4),
    classes=st.integers(2, 1000),
    resolution=st.sampled_from([None, 33, 47, 65]),
)
def test_any_network_of_a_preset_costs_what_its_operators_say(
    kind: str, seed: int, channels: int, classes: int, resolution: int | None
) -> None:
    # On torch's meta device shapes are computed and numbers are not.
    space = preset(kind).build(input_channels=channels, classes=classes)
    if resolution is not None:
        space = replace(space, resolutions=(resolution,))
    arch = space.sample(np.random.default_rng(seed))
    with torch.device("meta"):
        plain = folded(ElasticNetwork(space).materialize(arch))
        sizes, logits = _map_sizes(plain, torch.empty(1, channels, arch.resolution, arch.resolution))
    listed = operators(space, arch)
    assert parameters_of(plain) == sum(op.weights for op in listed)
    convolutions = ("convolution", "pointwise", "depthwise")
    assert sizes == [(op.output_channels, op.output_size) for op in listed if op.kind in convolutions]
    assert logits == (1, classes)


@pytest.mark.parametrize("kind", ["lite_32", "mobilenet_v3_32"])
@pytest.mark.parametrize(("channels", "classes", "resolution"), [(1, 2, 33), (3, 1000, 47), (4, 2, 16)])
def test_any_channels_classes_and_size_are_computed(
    kind: str, channels: int, classes: int, resolution: int
) -> None:
    space = preset(kind, width_multiplier=0.25, resolutions=(resolution,)).build(
        input_channels=channels, classes=classes
    )
    torch.manual_seed(0)
    network = ElasticNetwork(space)
    x = torch.randn(4, channels, resolution, resolution)
    for arch in (space.smallest(), space.largest()):
        network.use(arch)
        logits = network(x)
        assert logits.shape == (4, classes) and logits.std() > 0
        assert (logits - network.materialize(arch).train()(x)).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kernels": (3, 4)}, "kernels holds 4; valid choices: 3, 5, 7"),
        ({"kernels": (5, 3)}, "kernels is [5, 3]; it must list one or more choices in ascending order"),
        ({"kernels": ((3,), (5,))}, "kernels lists 2 stages and widths lists 3; give one list for all"),
        ({"kernels": ((3,), (3, 9), (3,))}, "kernels of stage 1 holds 9; valid choices: 3, 5, 7"),
        ({"depths": ((1,), (1,), ())}, "depths of stage 2 is []"),
        ({"expands": (0, 2)}, "expands holds 0; valid choices: 1 to 8"),
        ({"depths": ()}, "depths is []"),
        ({"depths": (1, 9)}, "depths holds 9; valid choices: 1 to 8"),
        ({"strides": (1, 2)}, "strides lists 2 stages and widths lists 3"),
        ({"strides": (1, 2, 3)}, "strides holds 3; valid choices: 1, 2"),
        ({"stem_stride": 4}, "stem_stride holds 4; valid choices: 1, 2"),
        ({"resolutions": (2, 32)}, "resolutions holds 2, but the strides shrink a map 4 times"),
        ({"resolutions": (32, 16)}, "resolutions is [32, 16]; it must list"),
        ({"resolutions": (5000,)}, "resolutions holds 5000; valid choices: 1 to 4096"),
        ({"width_multiplier": 0.0}, "width_multiplier is 0; it must be above 0"),
        ({"widths": (), "strides": ()}, "widths is empty"),
        ({"widths": (0, 8, 8)}, "widths holds 0; valid choices: 1 or more"),
        ({"head_width": 0}, "head_width holds 0; valid choices: 1 or more"),
        ({"divisor": 3}, "divisor holds 3; valid choices: 1, 2, 4, 8, 16, 32"),
    ],
)
def test_an_option_that_makes_no_space_is_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        dataclasses.replace(LiteAt32(), **options).build(input_channels=1, classes=10)  # type: ignore[arg-type]
    assert said in str(raised.value)


def test_options_of_mobilenet_v3_alone_are_checked_too() -> None:
    with pytest.raises(ConfigError, match="activations lists 1 stages and widths lists 5"):
        MobilenetV3(activations=("relu",)).build(input_channels=3, classes=10)
    with pytest.raises(ConfigError, match="feature_width holds -1; valid choices: 0 or more"):
        MobilenetV3(feature_width=-1).build(input_channels=3, classes=10)
    with pytest.raises(ConfigError, match="3 channels and 1 classes; .* 2 classes are needed"):
        MobilenetV3().build(input_channels=3, classes=1)


def test_an_unknown_option_or_kind_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown key 'space.width'.*Did you mean 'widths'"):
        open_space({"kind": "lite", "width": [8]})
    with pytest.raises(ConfigError, match="unknown space 'light'.*Did you mean 'lite'"):
        open_space({"kind": "light"})
    with pytest.raises(ConfigError, match="must name a kind"):
        open_space({})


def test_a_kernel_that_a_block_cannot_have_names_the_block_before_anything_is_computed() -> None:
    space = Lite(resolutions=(32,)).build(input_channels=3, classes=10)
    with torch.device("meta"):
        network = ElasticNetwork(space)
    arch = _with_block(space.largest(), 5, kernel=9)
    said = r"block 5 \(source 5\) has kernel 9; space 'lite' allows 3, 5, 7 there"
    for refuses in (network.use, network.materialize):
        with pytest.raises(InvalidArch, match=said):
            refuses(arch)


def test_a_stage_deeper_than_its_space_allows_is_refused_not_cut_short() -> None:
    space = Lite().build(input_channels=3, classes=10)
    fifth = replace(space.largest().blocks[3], source=4)
    largest = space.largest()
    deeper = replace(largest, blocks=(*largest.blocks[:4], fifth, *largest.blocks[4:]))
    said = r"stage 1 lists blocks \[4, 4, 5, 6, 7\]; space 'lite' allows the first 2, 3, 4 of 4…7"
    with pytest.raises(InvalidArch, match=said):
        space.check(deeper)


def _with_block(arch: ArchConfig, index: int, **changes: int) -> ArchConfig:
    changed = replace(arch.blocks[index], **changes)
    return replace(arch, blocks=(*arch.blocks[:index], changed, *arch.blocks[index + 1 :]))


def _map_sizes(network: nn.Module, x: torch.Tensor) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
    """Return channels and side of convolutions' outputs (not squeeze-excite's), and the logits' shape."""
    seen: list[tuple[int, int]] = []
    hooks = [
        module.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape[1:3])))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and ".squeeze." not in name
    ]
    logits = network(x)
    for hook in hooks:
        hook.remove()
    return seen, tuple(logits.shape)


def _sum(space: SearchSpace, what: str) -> int:
    return sum(getattr(operator, what) for operator in operators(space, space.largest()))
