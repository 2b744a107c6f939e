"""Many networks at once are told what each would be told alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bench.choose.features import features
from edge_bench.choose.few_shot import choose_networks, fit_transfer
from edge_bench.choose.fitting import predict
from edge_bench.choose.foretelling import Foretelling, foretell
from edge_bench.choose.memory import file_bytes, footprint
from edge_bench.choose.networks import Networks
from edge_bench.choose.shipped import answering, foretold, shipped
from edge_bench.errors import InvalidArch
from edge_bench.records import ArchConfig, FittedPredictor, PlainSpace, SearchSpace, Subnet, operators

Make = Callable[..., Subnet]
MakePredictor = Callable[..., FittedPredictor]
SEEDS = st.integers(0, 2**32 - 1)


def drawn(space: SearchSpace, seed: int, count: int = 12) -> list[ArchConfig]:
    generator = np.random.default_rng(seed)
    return [space.sample(generator) for _ in range(count)]


@given(SEEDS)
def test_features_and_footprints_are_those_of_each_network(small_space: SearchSpace, seed: int) -> None:
    archs = drawn(small_space, seed)
    networks = Networks.of(small_space, archs)
    for place, arch in enumerate(archs):
        alone = features(small_space, arch)
        assert networks.features.names == tuple(alone)
        assert networks.features.values[place].tolist() == list(alone.values())
        listed = operators(small_space, arch)
        assert networks.operators[place] == len(listed)
        assert networks.weights[place] == sum(one.weights for one in listed)


def test_a_network_of_another_space_is_refused(small_space: SearchSpace, lite: SearchSpace) -> None:
    with pytest.raises(InvalidArch):
        Networks.of(small_space, [small_space.smallest(), lite.smallest()])


def test_more_networks_than_are_summed_at_once(lite: SearchSpace) -> None:
    archs = drawn(lite, 3, 5_000)
    values = Networks.of(lite, archs).features.values
    assert values.shape[0] == 5_000
    for place in (0, 4_095, 4_096, 4_999):
        assert values[place].tolist() == list(features(lite, archs[place]).values())


def test_a_prediction_is_that_of_the_network_alone_in_and_outside_what_was_measured(
    lite: SearchSpace, predictor: MakePredictor
) -> None:
    archs = [*drawn(lite, 1), lite.smallest(), lite.largest()]
    elsewhere = predictor(device="board", price_ms=3e-6)
    sampling = choose_networks(lite, [elsewhere], samples=8, held_out=4, seed=0)
    measured = [
        2 * predict(elsewhere, lite, one).latency_ms for one in (*sampling.samples, *sampling.held_out)
    ]
    few = fit_transfer(lite, [elsewhere], sampling, measured, device="phone", runtime="litert", threads=1)
    told = [predictor(), predictor(resolutions=lite.resolutions[:1]), few, *shipped("raspberry-pi-4")]
    warnings = set()
    for fitted in told:
        many = foretell(fitted, Networks.of(lite, archs))
        for place, arch in enumerate(archs):
            alone, together = predict(fitted, lite, arch), many.of(place)
            assert together.warning == alone.warning
            assert together.latency_ms == pytest.approx(alone.latency_ms)
            assert (together.low_ms, together.high_ms) == pytest.approx((alone.low_ms, alone.high_ms))
            warnings.add(bool(alone.warning))
    assert warnings == {True, False}


def test_the_predictor_that_answers_is_the_one_that_answers_for_a_network_alone(
    lite: SearchSpace, subnet: Make, predictor: MakePredictor
) -> None:
    narrow = replace(predictor(resolutions=lite.resolutions[:1]), id="narrow", created="9999-01-01")
    known = [narrow, predictor(), predictor(threads=4), *shipped("nvidia-titan-rtx"), *shipped("lg-g8")]
    subnets = [subnet(arch) for arch in {one.key: one for one in drawn(lite, 5, 30)}.values()]
    foretelling = Foretelling(subnets, known)
    chosen = set()
    for runtime in ("onnxruntime", "litert"):
        for one in subnets:
            alone = answering(known, lite, [one.arch], runtime=runtime)
            assert alone is not None
            found = foretelling.latency(one, runtime, "fp32")
            assert found is not None and found[0] is alone
            assert found[1].warning == foretold(alone, lite, one.arch, runtime=runtime).warning
            chosen.add(alone.id)
        assert foretelling.latency(subnets[0], runtime, "int8") is None
    assert len(chosen) > 2, "which answers depends on the network"


def test_sizes_and_footprints_are_those_of_a_network_alone_with_and_without_choices(
    lite: SearchSpace, mobile_space: SearchSpace, subnet: Make
) -> None:
    arch = lite.middle()
    plain = PlainSpace(name="plain", resolution=16, operators=operators(lite, arch))
    subnets = [
        subnet(arch),
        replace(subnet(mobile_space.largest(), space=mobile_space), id="mobile"),
        replace(subnet(arch), id="plain", space=plain, arch=plain.largest()),
    ]
    foretelling = Foretelling(subnets, [])
    for one in subnets:
        assert isinstance(one.space, SearchSpace | PlainSpace)
        assert foretelling.file_bytes(one, "tflite") == file_bytes(one.space, one.arch, form="tflite")
        for precision in ("fp32", "int8"):
            alone = footprint(one.space, one.arch, precision=precision)
            assert foretelling.footprint(one, precision) == alone
