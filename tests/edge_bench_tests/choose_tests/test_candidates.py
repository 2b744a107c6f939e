"""What could run on a device: measured where it was measured, else predicted, else left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from edge_bench.choose.candidates import candidates
from edge_bench.choose.features import features
from edge_bench.records import Artifact, BenchmarkResult, FittedPredictor, SearchSpace, Subnet
from supernet.spaces.lite_32 import LiteAt32

DEVICE = "this-machine"
Make = Callable[..., Subnet]
MakeFile = Callable[..., Artifact]
MakeResult = Callable[..., BenchmarkResult]
MakePredictor = Callable[..., FittedPredictor]


@pytest.fixture
def small(lite: SearchSpace, subnet: Make) -> Subnet:
    return subnet(lite.smallest())


def test_a_measurement_is_preferred_to_a_prediction(
    small: Subnet, artifact: MakeFile, result: MakeResult, predictor: MakePredictor
) -> None:
    file = artifact(small, accuracy=0.87)
    [one] = candidates([small], [file], [result(file, 2.0)], [predictor()], device=DEVICE)
    assert (one.source, one.latency_ms) == ("measured", 2.0)
    assert (one.latency_low_ms, one.latency_high_ms) == (1.96, 2.06)
    assert one.metric.value == 0.87, "a file's own accuracy counts, not its network's"
    assert (one.size_bytes, one.peak_memory_mb, one.verdict) == (40_000, 40.0, "clean")
    assert one.technique == small.technique


def test_a_file_that_was_not_measured_is_predicted(
    small: Subnet, artifact: MakeFile, predictor: MakePredictor
) -> None:
    [one] = candidates([small], [artifact(small)], [], [predictor()], device=DEVICE)
    expected = 0.1 + 1e-6 * features(small.space, small.arch)["macs"]
    assert (one.source, one.artifact) == ("predicted", artifact(small).id)
    assert one.latency_ms == pytest.approx(expected, rel=1e-3)
    assert one.peak_memory_mb is None


def test_a_network_without_a_file_is_predicted_in_each_format(
    small: Subnet, predictor: MakePredictor
) -> None:
    both = [predictor(), predictor(runtime="litert", price_ms=2e-6)]
    onnx, tflite = candidates([small], [], [], both, device=DEVICE)
    assert [one.format for one in (onnx, tflite)] == ["onnx", "tflite"]
    assert onnx.latency_ms < tflite.latency_ms
    assert onnx.artifact is tflite.artifact is None
    assert onnx.metric == small.metric("selection")


def test_a_format_that_is_exported_in_fp32_is_not_listed_again(
    small: Subnet, artifact: MakeFile, result: MakeResult, predictor: MakePredictor
) -> None:
    file, quantized = artifact(small), artifact(small, precision="int8")
    both = [predictor(), predictor(runtime="litert")]
    found = candidates([small], [file, quantized], [result(file, 2.0)], both, device=DEVICE)
    # The int8 file has no result, and the predictors are of fp32.
    assert [(one.format, one.precision, one.source) for one in found] == [
        ("onnx", "fp32", "measured"),
        ("tflite", "fp32", "predicted"),
    ]


def test_what_is_known_of_other_devices_spaces_and_thread_counts_prices_nothing(
    small: Subnet, artifact: MakeFile, result: MakeResult, predictor: MakePredictor
) -> None:
    file = artifact(small)
    elsewhere = result(file, 1.0, device="a-phone")
    threaded, batched = result(file, 1.0, threads=2), result(file, 1.0, batch=8)
    others = [predictor(device="a-phone"), predictor(threads=2)]
    assert candidates([small], [file], [elsewhere, threaded, batched], others, device=DEVICE) == []
    space = LiteAt32(stem_stride=2, widths=(8, 12), strides=(1, 2), stem_width=16).build(
        input_channels=1, classes=3
    )
    assert candidates([replace(small, space=space)], [], [], [predictor()], device=DEVICE) == []


def test_the_newest_result_counts_and_an_inconclusive_one_replaces_no_other(
    small: Subnet, artifact: MakeFile, result: MakeResult
) -> None:
    file = artifact(small)
    lost = result(file, 9.0, verdict="inconclusive")
    for results, expected in (
        ([result(file, 3.0), result(file, 2.0)], 2.0),
        ([result(file, 3.0), lost], 3.0),
        ([lost, result(file, 3.0)], 3.0),
        ([lost], 9.0),
    ):
        [one] = candidates([small], [file], results, [], device=DEVICE)
        assert one.latency_ms == expected


def test_a_prediction_outside_what_was_measured_says_so(
    lite: SearchSpace, subnet: Make, artifact: MakeFile, predictor: MakePredictor
) -> None:
    largest = subnet(lite.largest())
    narrow = predictor(resolutions=(8,))
    for files in ([], [artifact(largest)]):
        [one] = candidates([largest], files, [], [narrow], device=DEVICE)
        assert one.warning.startswith("outside what was measured: ")
    [known] = candidates([subnet(lite.smallest())], [], [], [predictor()], device=DEVICE)
    assert known.warning == ""


def test_what_others_measured_counts_only_where_nothing_was_measured_here(
    small: Subnet, artifact: MakeFile, result: MakeResult
) -> None:
    file = artifact(small)
    theirs = replace(
        result(file, 1.0, verdict="inconclusive"),
        origin="litert-benchmark",
        blocks=(),
        p50_low_ms=None,
        p50_high_ms=None,
        reported={"mean_ms": 1.5},
    )
    [one] = candidates([small], [file], [theirs], [], device=DEVICE)
    assert (one.source, one.origin, one.latency_ms, one.latency_is) == (
        "imported",
        "litert-benchmark",
        1.5,
        "mean",
    )
    ours = result(file, 3.0, verdict="inconclusive")
    for results in ([theirs, ours], [ours, theirs]):
        [one] = candidates([small], [file], results, [], device=DEVICE)
        assert (one.source, one.origin, one.latency_ms) == ("measured", "", 3.0)
    unknown = replace(theirs, threads=None)
    assert candidates([small], [file], [unknown], [], device=DEVICE) == []
