"""The fast perceptron computes what the plain formula says, whoever is scored beside it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.choose.encoding import Encoding
from edge_bench.choose.perceptron import BATCH, Perceptron
from edge_bench.records import SearchSpace


@pytest.fixture(scope="module")
def encoding(mobile_space: SearchSpace) -> Encoding:
    return Encoding(mobile_space)


@pytest.fixture(scope="module")
def network(encoding: Encoding) -> Perceptron:
    generator = np.random.default_rng(0)
    sizes = (encoding.one_hot_width, 40, 30, 1)
    shapes = list(zip(sizes, sizes[1:], strict=False))
    weights = [generator.normal(0, 0.3, shape) for shape in shapes]
    return Perceptron(weights, [generator.normal(0, 1, shape[1]) for shape in shapes])


def test_a_score_is_that_of_layer_after_layer_in_double_precision(
    encoding: Encoding, network: Perceptron
) -> None:
    rows = encoding.sample(500, np.random.default_rng(1))
    values = encoding.one_hot(rows).astype(np.float64)
    for layer, (weights, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        values = values @ weights.astype(np.float64) + bias
        if layer < 2:
            values = np.maximum(values, 0)
    assert network.score(encoding, rows) == pytest.approx(values[:, 0], abs=1e-4)
    assert np.ptp(values) > 1


@given(start=st.integers(0, BATCH), count=st.integers(1, 2 * BATCH))
@settings(max_examples=40, deadline=None)
def test_a_score_depends_on_who_is_scored_beside_by_rounding_alone(
    encoding: Encoding, network: Perceptron, start: int, count: int
) -> None:
    rows = encoding.sample(3 * BATCH, np.random.default_rng(2))
    alone = network.score(encoding, rows[start : start + count])
    beside = network.score(encoding, rows)[start : start + count]
    np.testing.assert_allclose(alone, beside, rtol=1e-5, atol=1e-5)


def test_nothing_is_scored_where_nothing_is_given(encoding: Encoding, network: Perceptron) -> None:
    assert network.score(encoding, np.empty((0, encoding.columns), np.uint8)).shape == (0,)


def test_a_perceptron_of_another_space_is_refused(small_space: SearchSpace, network: Perceptron) -> None:
    encoding = Encoding(small_space)
    with pytest.raises(ValueError, match="architectures of space 'small' have 24"):
        network.score(encoding, encoding.encode([small_space.smallest()]))


def test_layers_that_do_not_follow_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="no layers that follow each other to one output"):
        Perceptron([np.zeros((4, 3)), np.zeros((2, 1))], [np.zeros(3), np.zeros(1)])
    with pytest.raises(ValueError, match="no layers that follow each other to one output"):
        Perceptron([np.zeros((4, 2))], [np.zeros(2)])
