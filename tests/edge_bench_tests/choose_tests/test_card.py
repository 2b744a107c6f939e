"""The model card says what the file is and what was measured, and never more than that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge_bench.choose.candidates import candidates
from edge_bench.choose.card import model_card
from edge_bench.choose.pick import Pick, pick
from edge_bench.records import (
    Artifact,
    BenchmarkResult,
    Budget,
    FittedPredictor,
    Parity,
    SearchSpace,
    Subnet,
    TensorSpec,
)

Make = Callable[..., Subnet]
MakeFile = Callable[..., Artifact]
MakeResult = Callable[..., BenchmarkResult]
MakePredictor = Callable[..., FittedPredictor]


def picked(subnets: list[Subnet], files: list[Artifact], results: list[BenchmarkResult]) -> Pick:
    return pick(candidates(subnets, files, results, [], device="this-machine"), Budget())


def test_a_measured_pick_is_told_with_its_interval_and_verdict(
    lite: SearchSpace, subnet: Make, artifact: MakeFile, result: MakeResult
) -> None:
    small, large = subnet(lite.smallest()), subnet(lite.largest())
    files = [
        artifact(small, accuracy=0.8),
        artifact(
            large,
            accuracy=0.9,
            parity=Parity(
                max_abs_error=2e-6,
                tolerance=1e-4,
                batch_sizes=(1, 4),
                examples=16,
                border_max_abs_error=3e-6,
            ),
        ),
    ]
    results = [result(files[0], 1.0), result(files[1], 2.0)]
    choice = picked([small, large], files, results)
    card = model_card(choice, files[1], large, results[1])
    assert card.startswith(f"# {files[1].name}\n")
    assert "2 ms (1.96 to 2.06) on A Processor, onnxruntime 1.2.3, 1 thread" in card
    assert "Verdict: clean (nothing else ran)" in card
    assert "| accuracy | test | 0.8900 | 300 |" in card
    assert "2e-06, 0.0001 allowed (16 real samples, batch 1 and 4)" in card
    assert "at the borders: 3e-06, 0.0001 allowed" in card
    assert "predicted" not in card
    assert all(f"- {reason}\n" in card for reason in choice.reasons)
    assert f"| {files[0].name} | 80.00 % | 1 | measured |" in card
    assert "zero, one, two" in card and "16 × 16 pixels" in card


def test_a_predicted_pick_is_not_told_as_measured(
    lite: SearchSpace, subnet: Make, artifact: MakeFile, predictor: MakePredictor
) -> None:
    largest = subnet(lite.largest())
    narrow = predictor(resolutions=(8,))
    choice = pick(candidates([largest], [artifact(largest)], [], [narrow], device="this-machine"), Budget())
    card = model_card(choice, artifact(largest), largest, None)
    assert "**predicted**, not measured" in card
    assert "Mind: it lies outside what was measured: " in card
    assert "p99" not in card and "What else was near" not in card


def test_an_imported_latency_is_not_told_as_measured(
    lite: SearchSpace, subnet: Make, artifact: MakeFile, result: MakeResult
) -> None:
    small = subnet(lite.smallest())
    file = artifact(small)
    theirs = replace(result(file, 1.0), origin="loadgen", blocks=(), reported={"mean_ms": 1.0})
    card = model_card(picked([small], [file], [theirs]), file, small, theirs)
    assert "reported by loadgen, **not measured** by edge-bench" in card
    assert "95 % confidence" not in card


def test_a_quantized_input_is_told_with_its_scale_and_its_network_s_preprocessing(
    lite: SearchSpace, subnet: Make, artifact: MakeFile, result: MakeResult
) -> None:
    small = subnet(lite.smallest())
    quantized = TensorSpec(name="image", dtype="int8", shape=(1, 8, 8, 1), scale=0.0125, zero_point=-3)
    file = replace(
        artifact(small, format="tflite", precision="int8"), inputs=(quantized,), preprocessing=None
    )
    measured = result(file, 1.0)
    card = model_card(picked([small], [file], [measured]), file, small, measured)
    assert "input `image`: int8 [1, 8, 8, 1], real = 0.0125 × (raw − -3)" in card
    assert "TFLite file, int8, 40.0 kB" in card
    assert "8 × 8 pixels" in card, "a file without preprocessing of its own has its network's"
