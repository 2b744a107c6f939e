"""Rows of indices stand for exactly the architectures of a space."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bench.choose.encoding import Encoding
from edge_bench.errors import InvalidArch
from edge_bench.records import ArchConfig, Block, SearchSpace
from supernet.spaces.lite import Lite
from supernet.spaces.mobilenet_v3 import MobilenetV3

LITE = Lite(depths=(1, 3), resolutions=(16, 32)).build(input_channels=3, classes=10)
MOBILE = MobilenetV3().build(input_channels=3, classes=1000)
SMALL = Lite(widths=(8, 12), strides=(1, 2), depths=(1, 2), expands=(2, 3), resolutions=(8, 16)).build(
    input_channels=1, classes=3
)


@given(seed=st.integers(0, 2**32), space=st.sampled_from([LITE, MOBILE]))
def test_decoding_undoes_encoding(seed: int, space: SearchSpace) -> None:
    generator = np.random.default_rng(seed)
    archs = [space.sample(generator) for _ in range(4)] + [space.smallest(), space.largest()]
    encoding = Encoding(space)
    assert encoding.decode(encoding.encode(archs)) == archs


@given(seed=st.integers(0, 2**32), space=st.sampled_from([LITE, MOBILE]))
def test_every_row_of_indices_is_an_architecture_and_equal_networks_are_equal_rows(
    seed: int, space: SearchSpace
) -> None:
    encoding = Encoding(space)
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, encoding.choices, size=(5, encoding.columns)).astype(np.uint8)
    archs = encoding.decode(rows)
    assert all(space.contains(arch) for arch in archs)
    canonical = encoding.canonical(rows)
    assert np.array_equal(encoding.encode(archs), canonical)
    assert encoding.decode(canonical) == archs


def test_enumeration_holds_every_architecture_once() -> None:
    encoding = Encoding(SMALL)
    chunks = list(encoding.enumerate(chunk=100))
    rows = np.concatenate(chunks)
    assert {len(chunk) for chunk in chunks[:-1]} == {100}
    assert len(rows) == len(np.unique(rows, axis=0)) == SMALL.size()
    assert np.array_equal(rows, encoding.canonical(rows))
    assert all(map(SMALL.contains, encoding.decode(rows)))


def test_samples_are_distributed_as_those_of_the_space() -> None:
    encoding = Encoding(SMALL)
    generator = np.random.default_rng(1)
    ours = encoding.sample(4000, generator)
    theirs = encoding.encode([SMALL.sample(generator) for _ in range(4000)])
    for column, count in enumerate(encoding.choices):
        one, other = (np.bincount(rows[:, column], minlength=count) / 4000 for rows in (ours, theirs))
        assert np.abs(one - other).max() < 0.05


def test_one_hot_marks_the_resolution_and_kernel_and_expand_of_each_block_that_is_there() -> None:
    encoding = Encoding(SMALL)
    arch = ArchConfig(
        space=SMALL.name,
        resolution=16,
        blocks=(Block(source=0, kernel=5, expand=2), Block(source=2, kernel=3, expand=3)),
    )
    (seen,) = encoding.one_hot(encoding.encode([arch]))
    place = {"absent": [0, 0, 0, 0], "5, 2": [0, 1, 1, 0], "3, 3": [1, 0, 0, 1]}
    assert seen.tolist() == [0, 1] + place["5, 2"] + place["absent"] + place["3, 3"] + place["absent"]


def test_one_hot_tells_every_two_networks_apart() -> None:
    encoding = Encoding(SMALL)
    rows = np.concatenate(list(encoding.enumerate()))
    assert len(np.unique(encoding.one_hot(rows), axis=0)) == SMALL.size()


def test_an_architecture_of_another_space_is_refused() -> None:
    with pytest.raises(InvalidArch, match="kernel 7"):
        blocks = tuple(Block(source=place, kernel=7, expand=2) for place in (0, 2))
        Encoding(SMALL).encode([ArchConfig(space=SMALL.name, resolution=8, blocks=blocks)])


def test_an_index_that_a_column_does_not_have_is_refused() -> None:
    encoding = Encoding(SMALL)
    rows = encoding.encode([SMALL.smallest()])
    rows[0, 1] = 9
    with pytest.raises(ValueError, match="index 9 in column 1, which has 2 choices"):
        encoding.decode(rows)
    with pytest.raises(ValueError, match="11 columns"):
        encoding.decode(rows[:, :5])
