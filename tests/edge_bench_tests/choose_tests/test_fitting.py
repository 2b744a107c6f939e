"""Fitting: judged on networks not seen, warned outside what was seen."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edge_bench.choose.features import features
from edge_bench.choose.fitting import fit_predictor, predict
from edge_bench.documents import from_document, to_document
from edge_bench.records import ArchConfig, FittedPredictor, SearchSpace, operators
from supernet.spaces.lite_32 import LiteAt32
from supernet.spaces.mobilenet_v3 import MobilenetV3


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return LiteAt32(stem_stride=2, widths=(8, 12, 16), strides=(1, 2, 2), stem_width=8).build(
        input_channels=1, classes=10
    )


def sampled(space: SearchSpace, count: int, seed: int) -> list[ArchConfig]:
    generator = np.random.default_rng(seed)
    return list({arch.key: arch for arch in (space.sample(generator) for _ in range(count))}.values())


def latency_ms(space: SearchSpace, arch: ArchConfig) -> float:
    return sum(1e-3 + 1e-7 * one.macs + 2e-8 * one.activations for one in operators(space, arch))


def fitted(space: SearchSpace, archs: list[ArchConfig], unseen: list[ArchConfig]) -> FittedPredictor:
    return fit_predictor(
        space,
        archs,
        [latency_ms(space, arch) for arch in archs],
        kind="non_negative",
        device="this-machine",
        runtime="onnxruntime",
        threads=1,
        held_out_archs=unseen,
        held_out_latencies_ms=[latency_ms(space, arch) for arch in unseen],
    )


def test_what_is_additive_is_learned_and_beats_a_line_through_macs(space: SearchSpace) -> None:
    archs = sampled(space, 60, seed=0)
    made = fitted(space, archs[:40], archs[40:])
    assert made.held_out.networks == len(archs[40:])
    assert made.held_out.mape < 0.01 < made.baseline.mape
    assert made.held_out.within_10_percent == 1.0


def test_a_network_on_both_sides_is_refused(space: SearchSpace) -> None:
    archs = sampled(space, 20, seed=1)
    with pytest.raises(ValueError, match="held-out"):
        fitted(space, archs, archs[:1])


def test_a_stored_predictor_predicts_the_same(space: SearchSpace) -> None:
    archs = sampled(space, 40, seed=2)
    made = fitted(space, archs[:30], archs[30:])
    again = from_document(FittedPredictor, json.loads(json.dumps(to_document(made))))
    assert predict(again, space, archs[-1]) == predict(made, space, archs[-1])


def test_a_prediction_outside_what_was_measured_carries_a_warning(space: SearchSpace) -> None:
    small = [arch for arch in sampled(space, 200, seed=3) if arch.resolution == space.resolutions[0]]
    made = fitted(space, small[4:], small[:4])
    assert predict(made, space, small[0]).warning == ""
    assert "outside what was measured" in predict(made, space, space.largest()).warning


@pytest.mark.parametrize("kind", [LiteAt32, MobilenetV3])
def test_features_of_a_space_have_the_same_names_and_sum_to_its_macs(
    kind: type[LiteAt32] | type[MobilenetV3],
) -> None:
    space = kind().build(input_channels=3, classes=10)
    archs = [space.smallest(), space.largest(), *sampled(space, 5, seed=4)]
    names = {tuple(features(space, arch)) for arch in archs}
    assert len(names) == 1
    for arch in archs:
        total = sum(one.macs for one in operators(space, arch))
        seen = features(space, arch)
        assert seen["macs"] == total
        assert sum(value for name, value in seen.items() if name.endswith(".macs")) == total
