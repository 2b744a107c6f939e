"""Rows of indices stand for exactly the architectures of a space."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.choose.encoding import Encoding
from edge_bench.errors import InvalidArch
from edge_bench.records import ArchConfig, Block, SearchSpace


@pytest.fixture(params=["small_space", "mobile_space"], scope="session")
def any_space(request: pytest.FixtureRequest) -> SearchSpace:
    """Each of the spaces."""
    space = request.getfixturevalue(request.param)
    assert isinstance(space, SearchSpace)
    return space


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_decoding_undoes_encoding(any_space: SearchSpace, seed: int) -> None:
    space, generator = any_space, np.random.default_rng(seed)
    archs = [space.sample(generator) for _ in range(4)] + [space.smallest(), space.largest()]
    encoding = Encoding(space)
    assert encoding.decode(encoding.encode(archs)) == archs


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_every_row_of_indices_is_an_architecture_and_equal_networks_are_equal_rows(
    any_space: SearchSpace, seed: int
) -> None:
    space = any_space
    encoding = Encoding(space)
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, encoding.choices, size=(5, encoding.columns)).astype(np.uint8)
    archs = encoding.decode(rows)
    assert all(space.contains(arch) for arch in archs)
    canonical = encoding.canonical(rows)
    assert np.array_equal(encoding.encode(archs), canonical)
    assert encoding.decode(canonical) == archs


def test_enumeration_holds_every_architecture_once(small_space: SearchSpace) -> None:
    encoding = Encoding(small_space)
    chunks = list(encoding.enumerate(chunk=100))
    rows = np.concatenate(chunks)
    assert {len(chunk) for chunk in chunks[:-1]} == {100}
    assert len(rows) == len(np.unique(rows, axis=0)) == small_space.size()
    assert np.array_equal(rows, encoding.canonical(rows))
    assert all(map(small_space.contains, encoding.decode(rows)))


def test_samples_are_distributed_as_those_of_the_space(small_space: SearchSpace) -> None:
    encoding = Encoding(small_space)
    generator = np.random.default_rng(1)
    ours = encoding.sample(4000, generator)
    theirs = encoding.encode([small_space.sample(generator) for _ in range(4000)])
    for column, count in enumerate(encoding.choices):
        one, other = (np.bincount(rows[:, column], minlength=count) / 4000 for rows in (ours, theirs))
        assert np.abs(one - other).max() < 0.05


def test_one_hot_marks_the_resolution_and_kernel_and_expand_of_each_block_that_is_there(
    small_space: SearchSpace,
) -> None:
    encoding = Encoding(small_space)
    blocks = (
        Block(source=0, kernel=5, expand=2),
        Block(source=2, kernel=3, expand=2),
        Block(source=5, kernel=5, expand=2),
        Block(source=6, kernel=5, expand=2),
    )
    arch = ArchConfig(space=small_space.name, resolution=16, blocks=blocks)
    (seen,) = encoding.one_hot(encoding.encode([arch]))
    first, second, third = [0, 1, 1, 0] + [0, 0, 0, 0], [1, 0, 1] + [0, 0, 0] * 2, [1, 1] * 2
    assert seen.tolist() == [0, 1, 0] + first + second + third


def test_one_hot_tells_every_two_networks_apart(small_space: SearchSpace) -> None:
    encoding = Encoding(small_space)
    rows = np.concatenate(list(encoding.enumerate()))
    assert len(np.unique(encoding.one_hot(rows), axis=0)) == small_space.size()


def test_an_architecture_of_another_space_is_refused(small_space: SearchSpace) -> None:
    arch = ArchConfig(space="other", resolution=8, blocks=())
    with pytest.raises(InvalidArch, match="of space 'other', not 'small'"):
        Encoding(small_space).encode([arch])


def test_an_index_that_a_column_does_not_have_is_refused(small_space: SearchSpace) -> None:
    encoding = Encoding(small_space)
    rows = encoding.encode([small_space.smallest()])
    rows[0, 1] = 9
    with pytest.raises(ValueError, match="index 9 in column 1, which has 2 choices"):
        encoding.decode(rows)
    with pytest.raises(ValueError, match="18 columns"):
        encoding.decode(rows[:, :5])
