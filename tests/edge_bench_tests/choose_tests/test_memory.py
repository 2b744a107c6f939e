"""Peak memory and size are told before a file is there, marked as predicted, and budgets heed them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters import sketches
from edge_bench.choose.candidates import candidates
from edge_bench.choose.memory import file_bytes, fit_memory, footprint, peak_memory
from edge_bench.choose.pick import pick
from edge_bench.errors import NoCandidate, NotFittedError
from edge_bench.records import (
    Artifact,
    BenchmarkResult,
    Budget,
    FittedMemory,
    FittedPredictor,
    Footprint,
    SearchSpace,
    Subnet,
)
from supernet.spaces.mobilenet_v3 import MobilenetV3

DEVICE = "this-machine"
SPREAD = [(1, 1), (30, 2), (5, 6), (12, 3), (20, 5), (8, 1), (25, 6), (16, 4)]


def of(weights_mb: float, activations_mb: float) -> Footprint:
    return Footprint(weights_bytes=round(weights_mb * 1e6), activations_bytes=round(activations_mb * 1e6))


def fitted(*, base: float = 60.0, weights: float = 2.0, activations: float = 1.5) -> FittedMemory:
    seen = [of(*pair) for pair in SPREAD]
    return fit_memory(seen, [base + weights * one + activations * other for one, other in SPREAD])


@given(st.floats(10, 200), st.floats(0.5, 4), st.floats(0.5, 4))
def test_what_the_runtime_takes_is_recovered(base: float, weights: float, activations: float) -> None:
    told = fitted(base=base, weights=weights, activations=activations)
    assert (told.base_mb, told.per_weight, told.per_activation) == pytest.approx(
        (base, weights, activations), rel=1e-6
    )
    assert told.mape < 1e-6 and told.networks == len(SPREAD)


def test_a_larger_network_never_takes_less() -> None:
    seen = [of(*pair) for pair in SPREAD]
    told = fit_memory(seen, [100 - weights for weights, _ in SPREAD])
    assert told.per_weight >= 0 and told.per_activation >= 0


def test_the_interval_holds_most_networks_left_out_and_their_error_is_told() -> None:
    noise = (1.0, -2.0, 0.5, 3.0, -1.0, 2.0, -3.0, 1.5)
    peaks = [60 + 2 * one + other + off for (one, other), off in zip(SPREAD, noise, strict=True)]
    told = fit_memory([of(*pair) for pair in SPREAD], peaks)
    assert 3.0 < told.half_width_mb < 15 and 0 < told.mape < 0.1
    one = peak_memory(told, of(10, 2))
    assert one.low_mb < one.peak_mb < one.high_mb and not one.warning


def test_beyond_what_was_measured_a_prediction_says_so() -> None:
    assert peak_memory(fitted(), of(31, 2)).warning == ""
    assert "its weights take 50 MB, at most 30 MB" in peak_memory(fitted(), of(50, 2)).warning
    assert "its activations take 9 MB" in peak_memory(fitted(), of(5, 9)).warning


def test_too_few_networks_or_unknown_activations_are_refused() -> None:
    unknown = Footprint(weights_bytes=1, activations_bytes=None)
    for seen in ([of(1, 1)] * 3, [of(*pair) for pair in SPREAD[:4]] + [unknown]):
        with pytest.raises(NotFittedError):
            fit_memory(seen, [60.0] * len(seen))
    with pytest.raises(NotFittedError, match="activations are not known"):
        peak_memory(fitted(), unknown)


def test_eight_bits_take_a_quarter(lite: SearchSpace) -> None:
    whole, quarter = (footprint(lite, lite.largest(), precision=kind) for kind in ("fp32", "int8"))
    assert quarter.weights_bytes * 4 == whole.weights_bytes
    assert quarter.activations_bytes and quarter.activations_bytes * 4 == whole.activations_bytes


@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_the_size_of_a_file_is_told_before_it_is_written(
    form: str, lite: SearchSpace, tmp_path: Path
) -> None:
    write = {"onnx": sketches.write_onnx, "tflite": sketches.write_tflite}[form]
    for space in (lite, MobilenetV3().build(input_channels=3, classes=10)):
        for arch in (space.smallest(), space.largest()):
            write(space, arch, tmp_path / f"net.{form}")
            size = (tmp_path / f"net.{form}").stat().st_size
            # A writer of our own, whose names are shorter than the exporter's.
            assert size == pytest.approx(file_bytes(space, arch, form=form), abs=0.1 * size + 3000)


Make = Callable[..., Subnet]
MakeFile = Callable[..., Artifact]
MakeResult = Callable[..., BenchmarkResult]
MakePredictor = Callable[..., FittedPredictor]


def test_a_network_without_a_file_has_a_predicted_size_and_peak(
    lite: SearchSpace, subnet: Make, predictor: MakePredictor
) -> None:
    small, memory = subnet(lite.smallest()), fitted()
    [one] = candidates([small], [], [], [replace(predictor(), memory=memory)], device=DEVICE)
    assert (one.size_source, one.memory_source) == ("predicted", "predicted")
    assert one.size_bytes == file_bytes(lite, small.arch, form="onnx")
    told = peak_memory(memory, footprint(lite, small.arch))
    assert (one.peak_memory_low_mb, one.peak_memory_mb, one.peak_memory_high_mb) == (
        told.low_mb,
        told.peak_mb,
        told.high_mb,
    )


def test_a_measured_peak_and_the_size_of_a_file_come_before_predicted_ones(
    lite: SearchSpace, subnet: Make, artifact: MakeFile, result: MakeResult, predictor: MakePredictor
) -> None:
    small = subnet(lite.smallest())
    file = artifact(small)
    known = [replace(predictor(), memory=fitted())]
    [one] = candidates([small], [file], [result(file, 2.0)], known, device=DEVICE)
    assert (one.peak_memory_mb, one.memory_source, one.peak_memory_high_mb) == (40.0, "measured", None)
    assert (one.size_bytes, one.size_source) == (40_000, "measured")
    [other] = candidates([small], [file], [], known, device=DEVICE)
    assert (other.size_source, other.memory_source) == ("measured", "predicted")


def test_what_another_predictor_weighed_in_the_runtime_will_do(
    lite: SearchSpace, subnet: Make, predictor: MakePredictor
) -> None:
    of_blocks = replace(predictor(), id="blocks", unit="block", space="", memory=fitted(base=90.0))
    own = replace(predictor(), id="own", memory=fitted(base=70.0))
    small = subnet(lite.smallest())
    [one] = candidates([small], [], [], [predictor(), of_blocks], device=DEVICE)
    [other] = candidates([small], [], [], [own, of_blocks], device=DEVICE)
    assert one.peak_memory_mb and other.peak_memory_mb
    assert one.peak_memory_mb - other.peak_memory_mb == pytest.approx(20)


def test_limits_hold_for_what_is_predicted(
    lite: SearchSpace, subnet: Make, predictor: MakePredictor
) -> None:
    found = candidates(
        [subnet(lite.largest(), accuracy=0.95), subnet(lite.smallest(), accuracy=0.8)],
        [],
        [],
        [replace(predictor(), memory=fitted(weights=200.0))],
        device=DEVICE,
    )
    large, small = found
    assert large.size_bytes and small.size_bytes and large.peak_memory_mb and small.peak_memory_mb
    for budget in (
        Budget(max_size_mb=(large.size_bytes + small.size_bytes) / 2e6),
        Budget(max_peak_memory_mb=(large.peak_memory_mb + small.peak_memory_mb) / 2),
    ):
        picked = pick(found, budget)
        assert picked.recommended is small
        assert any("is predicted" in reason and "MB" in reason for reason in picked.reasons)
    with pytest.raises(NoCandidate, match="size .* MB against at most"):
        pick(found, Budget(max_size_mb=1e-6))


def test_a_peak_that_nobody_knows_is_said_not_to_count(
    lite: SearchSpace, subnet: Make, predictor: MakePredictor
) -> None:
    found = candidates([subnet(lite.smallest())], [], [], [predictor()], device=DEVICE)
    assert any(
        "not known, so that limit is not held against it" in reason
        for reason in pick(found, Budget(max_peak_memory_mb=1.0)).reasons
    )
