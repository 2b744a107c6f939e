"""What holds for every search space and every architecture in it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.documents import canonical_json, from_document, to_document
from edge_bench.errors import InvalidArch
from edge_bench.records import ArchConfig, Block, SearchSpace, Stage, operators


def choices(values: list[int]) -> st.SearchStrategy[tuple[int, ...]]:
    """One or more of `values`, ascending."""
    return st.sets(st.sampled_from(values), min_size=1).map(lambda chosen: tuple(sorted(chosen)))


def holds_for(*drawn: st.SearchStrategy[object]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As `given`, without a time limit for each example: the machine may be busy."""
    return lambda test: settings(deadline=None, max_examples=60)(given(*drawn)(test))


stages = st.builds(
    Stage,
    width=st.integers(1, 40),
    stride=st.sampled_from([1, 2]),
    depths=choices([1, 2, 3, 4]),
    kernels=choices([3, 5, 7]),
    expands=choices([1, 2, 3, 4, 6]),
    activation=st.sampled_from(["relu", "relu6", "h_swish"]),
    squeeze_excite=st.booleans(),
)
spaces = st.builds(
    SearchSpace,
    name=st.just("any"),
    input_channels=st.integers(1, 4),
    classes=st.integers(2, 20),
    resolutions=choices([16, 24, 32, 64]),
    stem_width=st.integers(1, 32),
    stem_stride=st.sampled_from([1, 2]),
    stages=st.lists(stages, min_size=1, max_size=4).map(tuple),
    head_width=st.integers(1, 64),
    feature_width=st.sampled_from([0, 16]),
    stem_block=st.booleans(),
    divisor=st.sampled_from([1, 4, 8]),
)
seeds = st.integers(0, 2**32)


@holds_for(spaces, seeds)
def test_what_is_sampled_lies_in_the_space(space: SearchSpace, seed: int) -> None:
    assert space.contains(space.sample(np.random.default_rng(seed)))


@holds_for(spaces, seeds)
def test_equal_seeds_sample_equal_architectures(space: SearchSpace, seed: int) -> None:
    first, second = (space.sample(np.random.default_rng(seed)) for _ in range(2))
    assert first == second and first.key == second.key


@holds_for(spaces, seeds, st.floats(0, 1))
def test_what_is_mutated_lies_in_the_space(space: SearchSpace, seed: int, probability: float) -> None:
    generator = np.random.default_rng(seed)
    arch = space.sample(generator)
    assert space.contains(space.mutate(arch, generator, probability=probability))


@holds_for(spaces, seeds)
def test_a_mutation_of_probability_zero_changes_nothing(space: SearchSpace, seed: int) -> None:
    generator = np.random.default_rng(seed)
    arch = space.sample(generator)
    assert space.mutate(arch, generator, probability=0.0) == arch


@holds_for(spaces, seeds)
def test_no_architecture_costs_more_than_the_largest_or_less_than_the_smallest(
    space: SearchSpace, seed: int
) -> None:
    arch = space.sample(np.random.default_rng(seed))
    low, here, high = (
        sum(op.macs for op in operators(space, one)) for one in (space.smallest(), arch, space.largest())
    )
    assert space.contains(space.largest()) and space.contains(space.smallest())
    assert low <= here <= high


@holds_for(spaces, seeds)
def test_spaces_and_architectures_survive_their_documents(space: SearchSpace, seed: int) -> None:
    arch = space.sample(np.random.default_rng(seed))
    for record in (space, arch):
        text = canonical_json(record)
        read = from_document(type(record), json.loads(text))
        assert read == record and canonical_json(read) == text
    assert from_document(ArchConfig, to_document(arch)).key == arch.key


@holds_for(spaces, seeds, seeds)
def test_keys_are_equal_exactly_where_architectures_are(space: SearchSpace, one: int, other: int) -> None:
    first, second = (space.sample(np.random.default_rng(seed)) for seed in (one, other))
    assert (first.key == second.key) == (first == second)
    assert len(first.key) == 12


@holds_for(
    st.lists(
        st.builds(
            Stage,
            width=st.just(8),
            stride=st.just(1),
            depths=choices([1, 2]),
            kernels=choices([3, 5]),
            expands=choices([2, 3]),
        ),
        min_size=1,
        max_size=2,
    ),
    choices([8, 16]),
)
def test_the_size_is_the_number_of_different_architectures(
    stages: list[Stage], resolutions: tuple[int, ...]
) -> None:
    space = SearchSpace(
        name="any",
        input_channels=1,
        classes=2,
        resolutions=resolutions,
        stem_width=8,
        stem_stride=1,
        stages=tuple(stages),
        head_width=8,
    )
    listed = list(every(space))
    assert all(space.contains(arch) for arch in listed)
    assert len({arch.key for arch in listed}) == len(listed) == space.size()


@holds_for(spaces, seeds, st.data())
def test_a_choice_that_a_space_does_not_have_is_named(
    space: SearchSpace, seed: int, data: st.DataObject
) -> None:
    arch = space.sample(np.random.default_rng(seed))
    index = data.draw(st.integers(0, len(arch.blocks) - 1))
    choice, said = data.draw(st.sampled_from([("kernel", "kernel 9"), ("expand", "expand 9")]))
    broken = replace(arch.blocks[index], **{choice: 9})
    arch = replace(arch, blocks=(*arch.blocks[:index], broken, *arch.blocks[index + 1 :]))
    assert not space.contains(arch)
    with pytest.raises(InvalidArch, match=f"block {index} .* has {said}; .* allows"):
        space.check(arch)


@holds_for(spaces, seeds)
def test_a_stage_that_is_no_prefix_or_too_long_is_refused(space: SearchSpace, seed: int) -> None:
    arch = space.sample(np.random.default_rng(seed))
    for blocks in (arch.blocks[1:], arch.blocks[::-1], (*arch.blocks, arch.blocks[-1]), ()):
        if blocks != arch.blocks:
            assert not space.contains(replace(arch, blocks=blocks))
    beyond = Block(source=99, kernel=3, expand=2)
    assert not space.contains(replace(arch, blocks=(*arch.blocks, beyond)))
    assert not space.contains(replace(arch, space="other"))
    assert not space.contains(replace(arch, resolution=17))


def every(space: SearchSpace) -> list[ArchConfig]:
    """List a small space whole."""
    per_stage = []
    for offset, stage in zip(space.offsets, space.stages, strict=True):
        pairs = list(itertools.product(stage.kernels, stage.expands))
        per_stage.append(
            [
                tuple(
                    Block(source=offset + place, kernel=kernel, expand=expand)
                    for place, (kernel, expand) in enumerate(chosen)
                )
                for depth in stage.depths
                for chosen in itertools.product(pairs, repeat=depth)
            ]
        )
    return [
        ArchConfig(space=space.name, resolution=resolution, blocks=sum(blocks, ()))
        for resolution in space.resolutions
        for blocks in itertools.product(*per_stage)
    ]
