"""What every latency predictor must do: a file put into `choose/predictors/` is tested by being there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from edge_bench import variants
from edge_bench.choose.features import MACS, features
from edge_bench.choose.fitting import BASELINE, PREDICTORS
from edge_bench.choose.predictors import FeatureTable, LatencyPredictor
from edge_bench.errors import NotFittedError
from supernet.spaces.lite_32 import LiteAt32

Features = Mapping[str, float]
FITTED = 60


@pytest.fixture(params=variants.names(PREDICTORS))
def kind(request: pytest.FixtureRequest) -> type[LatencyPredictor]:
    return variants.load(LatencyPredictor, PREDICTORS, request.param)


@pytest.fixture(scope="module")
def networks() -> list[Features]:
    """Features of networks of a real space, all different; the extremes first."""
    space = LiteAt32().build(input_channels=1, classes=10)
    generator = np.random.default_rng(3)
    archs = [space.smallest(), space.largest(), *(space.sample(generator) for _ in range(100))]
    return [features(space, arch) for arch in {arch.key: arch for arch in archs}.values()]


def by_macs_ms(network: Features) -> float:
    """Half of it overhead for a small network, as on a real machine."""
    return 0.02 + 3e-8 * network[MACS]


def by_operator_ms(network: Features) -> float:
    """Depthwise multiply-accumulates cost more, elements moved cost, and so does each operator."""
    counts = sum(value for name, value in network.items() if name.endswith(".count"))
    moved = sum(value for name, value in network.items() if name.endswith(".activations"))
    depthwise = sum(
        value for name, value in network.items() if name.startswith("depthwise") and name.endswith(".macs")
    )
    return 0.01 + 2e-8 * network[MACS] + 2e-7 * depthwise + 3e-7 * moved + 0.003 * counts


def errors(
    predictor: LatencyPredictor, networks: list[Features], truth: Callable[[Features], float]
) -> list[float]:
    predicted = predictor.predict(FeatureTable.of(networks)).latency_ms
    return [abs(latency / truth(one) - 1) for latency, one in zip(predicted, networks, strict=True)]


def errors_of_the_mean(networks: list[Features], truth: Callable[[Features], float]) -> list[float]:
    """Return the errors on unseen networks of a predictor that only knows the mean of the fitted ones."""
    mean = np.mean([truth(one) for one in networks[:FITTED]])
    return [float(abs(mean / truth(one) - 1)) for one in networks[FITTED:]]


def fitted_on(
    kind: type[LatencyPredictor],
    networks: list[Features],
    truth: Callable[[Features], float],
    *,
    noise: float = 0.0,
    seed: int = 0,
) -> LatencyPredictor:
    factors = np.random.default_rng(seed).lognormal(0.0, noise, len(networks))
    latencies_ms = [truth(one) * factor for one, factor in zip(networks, factors, strict=True)]
    return kind().fit(FeatureTable.of(networks), latencies_ms)


def test_a_price_of_multiply_accumulates_is_found(
    kind: type[LatencyPredictor], networks: list[Features]
) -> None:
    predictor = fitted_on(kind, networks[:FITTED], by_macs_ms)
    unseen = errors(predictor, networks[FITTED:], by_macs_ms)
    if kind.adds_up:
        assert max(unseen) < 0.02
    else:
        assert np.mean(unseen) < np.mean(errors_of_the_mean(networks, by_macs_ms)) / 2


def test_what_adds_up_by_operators_is_predicted_for_networks_not_seen(
    kind: type[LatencyPredictor], networks: list[Features]
) -> None:
    unseen = networks[FITTED:]
    predictor = fitted_on(kind, networks[:FITTED], by_operator_ms)
    mean_error = np.mean(errors(predictor, unseen, by_operator_ms))
    baseline = variants.load(LatencyPredictor, PREDICTORS, BASELINE)
    if kind is baseline:
        pytest.skip("the baseline knows only the sum")
    if not kind.adds_up:
        assert mean_error < np.mean(errors_of_the_mean(networks, by_operator_ms)) / 2
        return
    line = fitted_on(baseline, networks[:FITTED], by_operator_ms)
    assert mean_error < 0.01
    assert mean_error < np.mean(errors(line, unseen, by_operator_ms)) / 3


def test_parameters_that_went_through_json_predict_the_same(
    kind: type[LatencyPredictor], networks: list[Features]
) -> None:
    predictor = fitted_on(kind, networks[:FITTED], by_operator_ms, noise=0.05)
    again = kind.from_parameters(json.loads(json.dumps(predictor.parameters(), allow_nan=False)))
    table = FeatureTable.of(networks)
    assert list(again.predict(table)) == list(predictor.predict(table))


def test_nothing_is_predicted_before_a_fit(kind: type[LatencyPredictor], networks: list[Features]) -> None:
    with pytest.raises(NotFittedError):
        kind().predict(FeatureTable.of(networks[:1]))


def test_features_of_another_space_are_refused(
    kind: type[LatencyPredictor], networks: list[Features]
) -> None:
    predictor = fitted_on(kind, networks[:FITTED], by_operator_ms)
    with pytest.raises(NotFittedError, match="other features"):
        predictor.predict(FeatureTable.of([{"area": 1.0}]))


@pytest.mark.parametrize("count", [2, 3, 8, FITTED])
def test_the_interval_encloses_the_prediction(
    kind: type[LatencyPredictor], networks: list[Features], count: int
) -> None:
    # A forest takes long to fit, and its interval is found as that of the others.
    for seed in range(30 if kind.adds_up else 3):
        predictor = fitted_on(kind, networks[:count], by_operator_ms, noise=0.5, seed=seed)
        for prediction in predictor.predict(FeatureTable.of(networks[::10])):
            assert 0 < prediction.low_ms <= prediction.latency_ms <= prediction.high_ms


def test_more_noise_gives_a_wider_interval(kind: type[LatencyPredictor], networks: list[Features]) -> None:
    widths = []
    for noise in (0.0, 0.3):
        predictor = fitted_on(kind, networks[:FITTED], by_macs_ms, noise=noise)
        (prediction,) = predictor.predict(FeatureTable.of(networks[-1:]))
        widths.append((prediction.high_ms - prediction.low_ms) / prediction.latency_ms)
    assert 0.3 < widths[1]
    assert widths[0] < (0.05 if kind.adds_up else widths[1] / 2)


@pytest.mark.parametrize("latencies_ms", [[], [1.0], [1.0, 2.0, 3.0]])
def test_a_fit_says_what_is_missing(
    kind: type[LatencyPredictor], networks: list[Features], latencies_ms: list[float]
) -> None:
    with pytest.raises(ValueError, match="at least 2 of each"):
        kind().fit(FeatureTable.of(networks[: min(2, len(latencies_ms) or 1)]), latencies_ms)
