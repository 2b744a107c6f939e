"""Tables of costs give, for arrays of rows, what one architecture after the other gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.choose.costs import (
    BYTES,
    BlockTable,
    latency_table,
    live_bytes,
    macs_table,
    peak_memory_bytes,
    peak_memory_table,
    size_table,
)
from edge_bench.choose.encoding import Encoding
from edge_bench.choose.features import blocks
from edge_bench.choose.fitting import fit_predictor, predict
from edge_bench.errors import ConfigError
from edge_bench.records import FittedPredictor, SearchSpace, operators
from supernet.models.resnet import Resnet


@pytest.fixture(scope="module", params=["small_space", "mobile_space"])
def encoding(request: pytest.FixtureRequest) -> Encoding:
    return Encoding(request.getfixturevalue(request.param))


@pytest.fixture(scope="module", params=["corrected", "non_negative", "ridge", "line"])
def fitted(request: pytest.FixtureRequest, encoding: Encoding) -> FittedPredictor:
    """A predictor of each kind, fitted to latencies that have something of everything."""
    pytest.importorskip("edge_bench.choose.predictors." + request.param)
    space, generator = encoding.space, np.random.default_rng(3)
    extremes = encoding.encode([space.smallest(), space.largest()])
    drawn = np.concatenate([extremes, encoding.sample(60, generator)])
    rows = drawn[np.sort(np.unique(drawn, axis=0, return_index=True)[1])][:30]
    archs = encoding.decode(rows)
    latencies = 1 + macs_table(encoding)(rows) * 1e-7 + generator.random(30)
    return fit_predictor(
        space,
        archs[:20],
        latencies[:20].tolist(),
        kind=request.param,
        device="this-machine",
        runtime="onnxruntime",
        threads=1,
        held_out_archs=archs[20:],
        held_out_latencies_ms=latencies[20:].tolist(),
    )


@pytest.fixture(scope="module")
def tables(encoding: Encoding) -> list[BlockTable]:
    return [table(encoding) for table in (macs_table, size_table, peak_memory_table)]


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_counts_are_exactly_those_of_the_operators(
    encoding: Encoding, tables: list[BlockTable], seed: int
) -> None:
    rows = encoding.sample(3, np.random.default_rng(seed))
    macs, size, memory = (table(rows) for table in tables)
    for index, arch in enumerate(encoding.decode(rows)):
        listed = operators(encoding.space, arch)
        assert macs[index] == sum(one.macs for one in listed)
        assert size[index] == BYTES * sum(one.weights for one in listed)
        assert memory[index] == peak_memory_bytes(encoding.space, arch)


def test_latencies_are_those_of_the_predictor(encoding: Encoding, fitted: FittedPredictor) -> None:
    rows = encoding.sample(20, np.random.default_rng(7))
    told = [predict(fitted, encoding.space, arch).latency_ms for arch in encoding.decode(rows)]
    assert latency_table(encoding, fitted)(rows) == pytest.approx(told, rel=1e-12)


def test_a_predictor_of_another_space_is_refused(
    small_space: SearchSpace, mobile_space: SearchSpace, encoding: Encoding, fitted: FittedPredictor
) -> None:
    other = mobile_space if encoding.space is small_space else small_space
    with pytest.raises(ConfigError, match="was fitted for space"):
        latency_table(Encoding(other), fitted)


def test_the_input_of_a_residual_block_is_held_until_it_is_added(small_space: SearchSpace) -> None:
    # Stage 0 keeps width and size: its first block has a residual of 8 channels at 4×4 pixels.
    arch = small_space.smallest()
    listed = operators(small_space, arch)
    block = [(one, live) for one, live in zip(listed, live_bytes(listed), strict=True) if one.block == 0]
    block_input = 8 * 4 * 4
    assert [one.kind for one, _ in block] == ["pointwise", "depthwise", "pointwise", "add"]
    first, depthwise, project, add = (live for _, live in block)
    mid = 16 * 4 * 4
    assert first == BYTES * (block_input + mid)
    assert depthwise == BYTES * (mid + mid + block_input)
    assert project == BYTES * (mid + block_input + block_input)
    assert add == BYTES * 3 * block_input


def test_the_block_of_a_residual_network_holds_its_input_until_it_is_added() -> None:
    listed = tuple(Resnet(resolution=8, depth=8, width=4).operators(channels=1, classes=2))
    found = zip(listed, live_bytes(listed), strict=True)
    first, second, shortcut, add = [live for one, live in found if one.block == 1]
    before, after = 4 * 8 * 8, 8 * 4 * 4
    assert first == BYTES * (before + after)
    assert second == BYTES * (after + after + before)
    assert shortcut == BYTES * (before + after + before)
    assert add == BYTES * 3 * after


def test_a_residual_network_is_priced_convolution_by_convolution() -> None:
    listed = tuple(Resnet(resolution=8, depth=8, width=4).operators(channels=1, classes=2))
    assert {len(block) for block in blocks(listed)} == {1}


def test_the_cheapest_row_is_the_cheapest_of_all(small_space: SearchSpace) -> None:
    encoding = Encoding(small_space)
    rows = np.concatenate(list(encoding.enumerate()))
    for table in (macs_table(encoding), size_table(encoding), peak_memory_table(encoding)):
        assert table(table.cheapest()) == table(rows).min()
