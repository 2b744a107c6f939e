"""Predictors that come with edge-bench open, answer for spaces of ours, and say what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

import device_profiles
from edge_bench.choose.candidates import candidates
from edge_bench.choose.costs import latency_table
from edge_bench.choose.encoding import Encoding
from edge_bench.choose.fitting import OUTSIDE_FACTOR, predict
from edge_bench.choose.shipped import UNTOLD, answering, foretold, shipped
from edge_bench.records import ArchConfig, FittedPredictor, SearchSpace, Subnet
from supernet.spaces.lite_32 import LiteAt32
from supernet.spaces.mobilenet_v3 import MobilenetV3


@pytest.fixture(scope="module")
def at_32() -> SearchSpace:
    return LiteAt32().build(input_channels=3, classes=10)


@pytest.fixture(scope="module")
def once_for_all() -> SearchSpace:
    return MobilenetV3(width_multiplier=1.2).build(input_channels=3, classes=1000)


@pytest.mark.parametrize("device", device_profiles.predicted_devices())
def test_every_predictor_answers_for_our_spaces_and_tells_its_source(
    device: str, at_32: SearchSpace
) -> None:
    found = shipped(device)
    assert found and len({one.id for one in found}) == len(found)
    for one in found:
        assert one.device == device and one.unit == "block"
        assert "20" in one.source and one.method and one.held_out.networks > 0
        assert one.held_out.mape < one.baseline.mape or device == "lg-g8"
        small, large = (predict(one, at_32, arch) for arch in (at_32.smallest(), at_32.largest()))
        assert 0 < small.low_ms < small.latency_ms < large.latency_ms < large.high_ms


def test_inside_what_was_measured_nothing_is_warned_of_and_outside_the_interval_is_wide(
    at_32: SearchSpace, once_for_all: SearchSpace
) -> None:
    (note,) = shipped("samsung-note-10")
    arch = replace(once_for_all.middle(), resolution=224)
    inside = predict(note, once_for_all, arch)
    assert not inside.warning and inside.high_ms / inside.latency_ms < 1.1
    outside = predict(note, at_32, at_32.middle())
    assert outside.warning.startswith("outside what was measured")
    assert outside.high_ms >= OUTSIDE_FACTOR * outside.latency_ms
    assert outside.low_ms <= outside.latency_ms / OUTSIDE_FACTOR


def test_a_kind_of_block_that_was_never_measured_is_told(once_for_all: SearchSpace) -> None:
    (pixel,) = shipped("google-pixel-1")
    told = predict(pixel, once_for_all, once_for_all.middle()).warning
    assert "a block of kind global_pool is in it, and none was measured" in told


def test_a_front_is_searched_with_the_same_prices(at_32: SearchSpace) -> None:
    (pi,) = shipped("raspberry-pi-4")
    encoding = Encoding(at_32)
    archs = [at_32.smallest(), at_32.middle(), at_32.largest()]
    costs = latency_table(encoding, pi)(encoding.encode(archs))
    assert costs.tolist() == pytest.approx([predict(pi, at_32, arch).latency_ms for arch in archs])


def test_the_runtime_that_was_measured_is_asked_first_then_what_does_not_warn(
    at_32: SearchSpace, once_for_all: SearchSpace
) -> None:
    def asked(device: str, space: SearchSpace, runtime: str) -> FittedPredictor | None:
        return answering(shipped(device), space, [space.middle()], runtime=runtime)

    assert asked("samsung-note-10", at_32, "onnxruntime") is None
    assert asked("samsung-note-10", at_32, "litert") is not None
    wide = MobilenetV3().build(input_channels=3, classes=1000)
    chosen = asked("nvidia-titan-rtx", wide, "litert")
    assert chosen is not None and "ofa_mbv3" in chosen.id and chosen.runtime == UNTOLD
    told = foretold(chosen, wide, wide.middle(), runtime="litert").warning
    assert told == "outside what was measured: a runtime that is not told was measured, not litert"
    assert asked("nvidia-jetson-tx2", at_32, "litert") is None, "its predictor is of 16 images at once"


def test_what_was_measured_here_comes_before_what_was_published(at_32: SearchSpace) -> None:
    (pi,) = shipped("raspberry-pi-4")
    own = replace(pi, id="own", source="measured here", threads=1)
    arch = at_32.middle()
    assert answering([own, pi], at_32, [arch], runtime="litert") is own
    several = replace(own, threads=4)
    assert answering([several], at_32, [arch], runtime="litert") is None


def test_a_candidate_of_a_published_device_is_marked_and_names_who_measured(
    lite: SearchSpace, subnet: Callable[..., Subnet]
) -> None:
    arch: ArchConfig = lite.smallest()
    (one,) = candidates([subnet(arch)], [], [], shipped("raspberry-pi-4"), device="raspberry-pi-4")
    assert (one.source, one.format, one.runtime, one.threads) == ("predicted", "tflite", "litert", 0)
    assert one.warning and "HW-NAS-Bench" in one.origin
