"""Short names of architectures mean one architecture of the space, and what is none is told apart."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bench.errors import InvalidArch
from edge_bench.records import SearchSpace, Stage, TransformerSpace
from edge_bench.records.notation import arch_name, parse_arch

STAGE = Stage(width=8, stride=1, depths=(2, 3, 4), kernels=(3, 5, 7), expands=(3, 4, 6))
SPACE = SearchSpace(
    name="any",
    input_channels=3,
    classes=10,
    resolutions=(128, 176, 224),
    stem_width=8,
    stem_stride=2,
    stages=(STAGE, replace(STAGE, kernels=(3, 5)), replace(STAGE, depths=(1, 2, 3))),
    head_width=16,
)
# What every stage allows.
DEPTHS, EXPANDS, KERNELS = (2, 3), (3, 4, 6), (3, 5)


@given(
    depth=st.sampled_from(DEPTHS),
    expand=st.sampled_from(EXPANDS),
    kernel=st.sampled_from(KERNELS),
    resolution=st.sampled_from([None, *SPACE.resolutions]),
    width_letter=st.sampled_from("ewEW"),
    order=st.permutations(range(3)),
)
def test_a_short_name_is_a_network_whose_blocks_are_all_alike(
    depth: int, expand: int, kernel: int, resolution: int | None, width_letter: str, order: list[int]
) -> None:
    parts = [f"D{depth}", f"{width_letter}{expand}", f"k{kernel}"]
    text = "-".join(parts[place] for place in order) + (f"@{resolution}" if resolution else "")
    arch = parse_arch(text, SPACE)
    assert arch is not None and SPACE.contains(arch)
    assert {(block.expand, block.kernel) for block in arch.blocks} == {(expand, kernel)}
    assert [SPACE.stage_of(block.source) for block in arch.blocks] == [
        stage for stage in range(3) for _ in range(depth)
    ]
    assert arch.resolution == (resolution or 224)


def test_different_short_names_mean_different_networks() -> None:
    names = [
        f"d{d}-e{e}-k{k}@{r}" for d, e, k, r in itertools.product(DEPTHS, EXPANDS, KERNELS, (128, 224))
    ]
    archs = [parse_arch(name, SPACE) for name in names]
    assert len({arch.key for arch in archs if arch}) == len(names)


def test_the_ends_and_the_middle_have_names() -> None:
    assert parse_arch("largest", SPACE) == SPACE.largest()
    assert parse_arch(" Smallest ", SPACE) == SPACE.smallest()
    assert parse_arch("smallest@224", SPACE) == replace(SPACE.smallest(), resolution=224)
    middle = parse_arch("middle", SPACE)
    assert middle is not None and SPACE.contains(middle) and middle.resolution == 176
    assert [block.kernel for block in middle.blocks] == [5] * 8
    assert {block.expand for block in middle.blocks} == {4}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("d5-e6-k3", "depth is 5, but stage 0 of space 'any' allows 2, 3, 4"),
        ("d4-e6-k3", "depth is 4, but stage 2 of space 'any' allows 1, 2, 3"),
        ("d2-e6-k9@128", "kernel is 9, but stage 0 of space 'any' allows 3, 5, 7"),
        ("d2-e6-k7@128", "kernel is 7, but stage 1 of space 'any' allows 3, 5"),
        ("d2-e5-k3", "expand is 5, but stage 0 of space 'any' allows 3, 4, 6"),
        ("d2-e6-k3@130", "resolution 130 is not in space 'any'; it may be one of 128, 176, 224"),
        ("largest@1", "resolution 1 is not in space 'any'"),
    ],
)
def test_a_choice_that_the_space_does_not_have_is_named_with_its_stage(text: str, said: str) -> None:
    with pytest.raises(InvalidArch) as told:
        parse_arch(text, SPACE)
    assert said in told.value.message


@given(
    st.one_of(
        st.text(max_size=12),
        st.sampled_from(
            [
                "",
                "d4",
                "d2-e3",
                "d2-d2-k3",
                "d2-e3-w3",
                "d2-e3-k3-k3",
                "d2e3k3",
                "largest@",
                "d2-e3-k3@x",
                "a.json",
            ]
        ),
    )
)
def test_what_is_no_short_name_is_none(text: str) -> None:
    assert parse_arch(text, SPACE) is None or text.strip().lower() in ("smallest", "middle", "largest")


def transformer(encoder_layers: int, decoder_layers: int) -> TransformerSpace:
    return TransformerSpace(
        name="any",
        vocabulary=20,
        length=32,
        width=8,
        heads=2,
        hidden=16,
        outputs=20,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers,
    )


@given(
    layers=st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(any),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_layers_of_any_text_model_are_read_back_from_their_name(
    layers: tuple[int, int], seed: int
) -> None:
    space = transformer(*layers)
    arch = space.sample(np.random.default_rng(seed))
    assert parse_arch(arch_name(space, arch), space) == arch


@pytest.mark.parametrize(
    ("text", "encoder", "decoder"),
    [
        ("largest", (0, 1, 2, 3, 4, 5), (0, 1, 2, 3)),
        ("Smallest", (0,), (0,)),
        ("d3/1", (0, 2, 4), (0,)),
        ("D6/2", (0, 1, 2, 3, 4, 5), (0, 2)),
        ("0,2,4/0,3", (0, 2, 4), (0, 3)),
        (" 4, 2 / 1", (2, 4), (1,)),
    ],
)
def test_a_text_model_is_named_by_depth_or_by_the_layers_it_keeps(
    text: str, encoder: tuple[int, ...], decoder: tuple[int, ...]
) -> None:
    space = transformer(6, 4)
    arch = parse_arch(text, space)
    assert arch is not None
    assert space.kept(arch) == {"encoder": encoder, "decoder": decoder}


def test_one_stack_of_layers_needs_no_slash() -> None:
    for space in (transformer(6, 0), transformer(0, 6)):
        by_depth, by_layers = parse_arch("d2", space), parse_arch("0,3", space)
        assert by_depth == by_layers
        assert by_depth is not None and [block.source for block in by_depth.blocks] == [0, 3]


@pytest.mark.parametrize(
    ("layers", "text", "said"),
    [
        ((6, 0), "0,6", "there is no encoder layer 6; network 'any' has 0 to 5"),
        ((6, 4), "0,1/4", "there is no decoder layer 4; network 'any' has 0 to 3"),
        ((6, 0), "d7", "7 encoder layers are asked for; network 'any' can keep 1 to 6"),
        ((6, 4), "d3/0", "0 decoder layers are asked for; network 'any' can keep 1 to 4"),
        ((6, 4), "d3", "'d3' tells of one stack of layers; network 'any' has 6 in its encoder and 4 in"),
        ((6, 4), "0,2", "'0,2' tells of one stack of layers"),
        ((0, 4), "0,2/1", "'0,2/1' tells of an encoder and a decoder; network 'any' has only its decoder"),
        ((6, 0), "0,2,2", "'0,2,2' names a layer twice"),
    ],
)
def test_a_layer_that_is_not_there_is_told_with_those_that_are(
    layers: tuple[int, int], text: str, said: str
) -> None:
    with pytest.raises(InvalidArch) as error:
        parse_arch(text, transformer(*layers))
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["d4-e6-k7", "0,,2", "0,2/", "largest@32", "a1b2c3d4e5f6", "123456789012"])
def test_what_is_no_name_of_a_text_model_is_left_to_files_and_keys(text: str) -> None:
    assert parse_arch(text, transformer(6, 0)) is None
