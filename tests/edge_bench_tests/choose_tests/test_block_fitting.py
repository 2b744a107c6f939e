"""Prices of blocks: learned from lists or from whole networks, and judged on what was not fitted on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_bench.choose.block_fitting import MeasuredOn, Networks, fit_blocks, fit_scaled, fit_sums
from edge_bench.choose.features import block_features, blocks
from edge_bench.choose.fitting import predict, summed
from edge_bench.choose.predictors import FeatureTable, Predictions
from edge_bench.choose.predictors.block_prices import BlockPrices
from edge_bench.choose.predictors.lookup_table import LookupTable
from edge_bench.records import SearchSpace, operators
from supernet.spaces.lite_32 import LiteAt32

ON = MeasuredOn(device="a-phone", runtime="litert", source="somebody, 2020")


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return LiteAt32().build(input_channels=3, classes=10)


@pytest.fixture(scope="module")
def parts(space: SearchSpace) -> list[FeatureTable]:
    """The blocks of sixty networks, a table each."""
    generator = np.random.default_rng(5)
    archs = [space.smallest(), space.largest(), *(space.sample(generator) for _ in range(58))]
    return [FeatureTable.of([block_features(one) for one in blocks(operators(space, a))]) for a in archs]


@pytest.fixture(scope="module")
def price_list(parts: list[FeatureTable]) -> FeatureTable:
    every = np.unique(np.vstack([part.values for part in parts]), axis=0)
    return FeatureTable(names=parts[0].names, values=every)


def price_ms(table: FeatureTable) -> np.ndarray:
    """Multiply-accumulates, elements moved, a fixed cost, and a kernel of 5 costs more than its share."""
    macs, moved, kernel = table.columns(["macs", "activations", "kernel"]).T
    return np.asarray(1e-7 * macs * (1 + 0.3 * (kernel == 5)) + 3e-7 * moved + 0.004)


def networks(parts: list[FeatureTable], factor: float = 1.0) -> Networks:
    return Networks(blocks=parts, latencies_ms=np.array([factor * price_ms(one).sum() for one in parts]))


def test_a_price_list_prices_networks_it_has_not_seen(
    price_list: FeatureTable, parts: list[FeatureTable], space: SearchSpace
) -> None:
    fitted = fit_blocks(ON, price_list, price_ms(price_list), networks=networks(parts))
    assert (fitted.held_out_unit, fitted.held_out.networks, fitted.unit) == ("network", 60, "block")
    assert fitted.held_out.mape < 0.03 < fitted.baseline.mape
    assert (fitted.held_out.coverage or 0) >= 0.85
    assert not predict(fitted, space, space.middle()).warning
    assert fitted.source == "somebody, 2020" and "60 whole networks" in fitted.method


def test_without_networks_blocks_are_left_out_and_the_record_says_so(price_list: FeatureTable) -> None:
    fitted = fit_blocks(ON, price_list, price_ms(price_list))
    assert (fitted.held_out_unit, fitted.held_out.networks) == ("block", len(price_list))
    some = np.arange(len(price_list)) < 20
    assert fit_blocks(ON, price_list, price_ms(price_list), judged_on=some).held_out.networks == 20


def test_a_few_networks_scale_the_prices_of_another_device(
    price_list: FeatureTable, parts: list[FeatureTable]
) -> None:
    base = fit_blocks(ON, price_list, price_ms(price_list))
    fitted = fit_scaled(ON, base, price_list, networks(parts[:4], factor=2.5))
    assert fitted.held_out.networks == 4 and fitted.held_out.mape < 0.05
    ratio = fitted.parameters["prices_ms"]["blocks"] / base.parameters["prices_ms"]["blocks"]
    assert ratio == pytest.approx(2.5, rel=0.05)


def test_whole_networks_alone_tell_prices_of_work(parts: list[FeatureTable]) -> None:
    fitted = fit_sums(ON, networks(parts), held_out=20)
    assert (fitted.fitted_networks, fitted.held_out.networks) == (40, 20)
    assert fitted.held_out.mape < 0.05 and fitted.held_out.mape < fitted.baseline.mape


def test_noise_averages_out_over_a_network_and_what_leans_one_way_does_not(
    price_list: FeatureTable, parts: list[FeatureTable]
) -> None:
    fitted = fit_blocks(ON, price_list, price_ms(price_list), networks=networks(parts))
    fitted = replace(fitted, held_out=replace(fitted.held_out, mape=0.0))

    def reach(factors: list[float]) -> float:
        latency, high = np.ones(16), np.array(factors)
        told = summed(Predictions(latency_ms=latency, low_ms=latency / high, high_ms=high), fitted)
        assert told.latency_ms == 16
        return told.high_ms / told.latency_ms

    assert np.log(reach([1.2] * 16)) == pytest.approx(np.log(1.2) / 4)
    assert reach([1.2] * 8 + [1.8] * 8) > 1.2
    on_blocks = replace(fitted, held_out_unit="block")
    latency, high = np.ones(16), np.full(16, 1.2)
    told = summed(Predictions(latency_ms=latency, low_ms=latency / high, high_ms=high), on_blocks)
    assert told.high_ms / told.latency_ms == pytest.approx(1.2), "no network was measured to say better"


def test_a_table_answers_exactly_where_it_has_the_block(price_list: FeatureTable) -> None:
    latencies = price_ms(price_list) * np.random.default_rng(1).lognormal(0, 0.1, len(price_list))
    there, absent = price_list.taken(np.arange(0, 40)), price_list.taken(np.arange(40, 60))
    table = LookupTable().fit(there, latencies[:40])
    assert table.predict(there).latency_ms.tolist() == pytest.approx(latencies[:40].tolist())
    assert np.abs(table.predict(absent).latency_ms / latencies[40:60] - 1).mean() < 0.3
    twice = FeatureTable(names=there.names, values=np.vstack([there.values, there.values]))
    mean = LookupTable().fit(twice, np.concatenate([latencies[:40], 3 * latencies[:40]]))
    assert mean.predict(there).latency_ms.tolist() == pytest.approx((2 * latencies[:40]).tolist())


def test_the_interval_grows_away_from_what_was_measured(price_list: FeatureTable) -> None:
    latencies = price_ms(price_list) * np.random.default_rng(1).lognormal(0, 0.02, len(price_list))
    predictor = BlockPrices().fit(price_list, latencies)
    far = price_list.values.copy()
    for name in ("input_channels", "mid_channels", "output_channels", "macs", "activations", "weights"):
        far[:, price_list.names.index(name)] *= 30
    near, away = (
        predictor.predict(price_list),
        predictor.predict(FeatureTable(names=price_list.names, values=far)),
    )
    assert np.median(away.high_ms / away.latency_ms) > 1.02 * np.median(near.high_ms / near.latency_ms)


def test_a_kind_of_block_that_was_not_fitted_still_costs_something(price_list: FeatureTable) -> None:
    linear = price_list.columns(["is_linear"])[:, 0] > 0
    predictor = BlockPrices().fit(price_list.taken(~linear), price_ms(price_list)[~linear])
    told = predictor.predict(price_list.taken(linear))
    assert (told.latency_ms > 1e-4).all()
    assert (told.high_ms / told.latency_ms > 1.2).all()
