"""Candidates of text models: two files and one latency where a text is generated token by token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from edge_bench.choose.candidates import candidates
from edge_bench.choose.depths import MeasuredDepth, fit_depths
from edge_bench.choose.pick import pick
from edge_bench.choose.reasons import told_quality
from edge_bench.errors import ConfigError
from edge_bench.records import Artifact, BenchmarkResult, Budget, Candidate, FittedPredictor, Subnet
from edge_bench.records.prediction import Unit

DEVICE = "this-machine"
MakeSubnet = Callable[..., Subnet]
MakeFiles = Callable[..., list[Artifact]]
MakeResult = Callable[..., BenchmarkResult]


def test_a_translation_takes_its_source_once_and_a_step_for_each_token(
    text_subnet: MakeSubnet, text_files: MakeFiles, result: MakeResult
) -> None:
    subnet = text_subnet("translation", {"encoder": (0, 2, 4), "decoder": (0, 3)})
    network, step = text_files(subnet)
    [one] = candidates(
        [subnet], [network, step], [result(network, 2.0), result(step, 0.5)], [], device=DEVICE
    )
    assert (one.artifact, one.source, one.latency_ms) == (network.id, "measured", 2.0 + 10 * 0.5)
    assert one.latency_low_ms == pytest.approx(0.98 * 7.0)
    assert one.latency_high_ms == pytest.approx(1.03 * 7.0)
    assert (one.size_bytes, one.peak_memory_mb) == (70_000, 80.0)
    assert (one.layers, one.length) == ("0,2,4/0,3", 16)
    said = " ".join(pick([one], Budget()).reasons)
    assert "that of a whole text: 2 ms for the source and 10 tokens at 0.5 ms each" in said
    assert told_quality(one) == "33.4 BLEU"


def test_a_language_model_takes_steps_alone(
    text_subnet: MakeSubnet, text_files: MakeFiles, result: MakeResult
) -> None:
    subnet = text_subnet("language_modelling")
    files = text_files(subnet)
    [one] = candidates([subnet], files, [result(files[1], 0.5)], [], device=DEVICE)
    assert one.latency_ms == 5.0 and one.generation is not None
    assert one.generation.network_ms == 0
    said = " ".join(pick([one], Budget()).reasons)
    assert "10 tokens at 0.5 ms each" in said
    assert "the source" not in said and "both files" not in said


def test_a_file_alone_of_two_is_no_candidate(
    text_subnet: MakeSubnet, text_files: MakeFiles, result: MakeResult
) -> None:
    subnet = text_subnet("translation")
    network, step = text_files(subnet)
    both = [result(network, 2.0), result(step, 0.5)]
    assert candidates([subnet], [network], both, [], device=DEVICE) == []
    assert candidates([subnet], [network, step], both[:1], [], device=DEVICE) == []
    assert candidates([subnet], [network, step], both[1:], [], device=DEVICE) == []


def test_both_files_are_of_one_runtime_and_the_worse_verdict_counts(
    text_subnet: MakeSubnet, text_files: MakeFiles, result: MakeResult
) -> None:
    subnet = text_subnet("translation")
    network, step = text_files(subnet)
    elsewhere = [result(network, 1.0, runtime="openvino"), result(step, 0.1, runtime="openvino")]
    noisy = [result(network, 2.0), result(step, 0.5, verdict="noisy")]
    [one] = candidates([subnet], [network, step], [*noisy, elsewhere[0]], [], device=DEVICE)
    assert (one.runtime, one.latency_ms, one.verdict) == ("onnxruntime", 7.0, "noisy")
    [one] = candidates([subnet], [network, step], [noisy[0], *elsewhere], [], device=DEVICE)
    assert (one.runtime, one.latency_ms) == ("openvino", 2.0)


def test_a_classifier_is_one_file_with_a_latency_of_its_own(
    text_subnet: MakeSubnet, text_files: MakeFiles, result: MakeResult
) -> None:
    subnet = text_subnet("text_classification")
    [file] = text_files(subnet)
    [one] = candidates([subnet], [file], [result(file, 3.0)], [], device=DEVICE)
    assert (one.latency_ms, one.generation, told_quality(one)) == (3.0, None, "83.10 %")


@pytest.fixture
def fitted(text_subnet: MakeSubnet) -> list[FittedPredictor]:
    """Predictors of both files of a translation: 1 ms, 0.5 an encoder layer, 0.1 a decoder layer there."""
    space = text_subnet("translation").space
    depths = [(6, 4), (6, 2), (3, 4), (3, 1), (1, 1)]
    found = []
    units: tuple[tuple[Unit, float, float], ...] = (("network", 0.5, 0.1), ("step", 0.0, 0.2))
    for unit, encoder, decoder in units:
        measured = [
            MeasuredDepth(
                arch=space.spread({"encoder": e, "decoder": d}),
                latency_ms=1.0 + encoder * e + decoder * d,
                size_bytes=10_000 + 1_000 * e * bool(encoder) + 2_000 * d,
            )
            for e, d in depths
        ]
        found.append(
            fit_depths(space, measured, unit=unit, device=DEVICE, runtime="onnxruntime", precision="fp32")
        )
    return found


def test_a_depth_without_a_file_is_predicted_from_other_depths(
    text_subnet: MakeSubnet, fitted: list[FittedPredictor]
) -> None:
    subnet = text_subnet("translation", {"encoder": (0, 3), "decoder": (0, 1, 3)})
    [one] = candidates([subnet], [], [], fitted, device=DEVICE)
    network, step = 1.0 + 2 * 0.5 + 3 * 0.1, 1.0 + 3 * 0.2
    assert (one.source, one.artifact, one.warning) == ("predicted", None, "")
    assert one.latency_ms == pytest.approx(network + 10 * step, rel=1e-3)
    assert one.latency_low_ms <= one.latency_ms <= one.latency_high_ms
    assert one.size_bytes == pytest.approx(2 * 10_000 + 2 * 1_000 + 3 * 4_000, abs=5)
    assert one.size_source == "predicted"
    assert candidates([subnet], [], [], fitted[:1], device=DEVICE) == []


def test_a_file_that_is_not_measured_is_predicted_beside_one_that_is(
    text_subnet: MakeSubnet, text_files: MakeFiles, result: MakeResult, fitted: list[FittedPredictor]
) -> None:
    subnet = text_subnet("translation")
    network, step = text_files(subnet)
    [one] = candidates([subnet], [network, step], [result(network, 2.0)], fitted, device=DEVICE)
    assert (one.source, one.artifact) == ("predicted", network.id)
    assert one.latency_ms == pytest.approx(2.0 + 10 * 1.8, rel=1e-3)


@pytest.fixture
def by_perplexity(text_subnet: MakeSubnet, text_files: MakeFiles, result: MakeResult) -> list[Candidate]:
    """Language models: the deeper the slower and the better, that is of lower perplexity."""
    found = []
    for kept, perplexity, ms in (((0,), 9.0, 0.1), ((0, 2), 6.03, 0.2), ((0, 1, 2, 3), 6.0, 0.4)):
        subnet = text_subnet("language_modelling", {"decoder": kept}, quality=perplexity)
        files = text_files(subnet)
        found += candidates([subnet], files, [result(one, ms) for one in files], [], device=DEVICE)
    return found


def test_of_perplexities_the_lowest_is_the_best_and_a_hundredth_more_is_near_it(
    by_perplexity: list[Candidate],
) -> None:
    best = pick(by_perplexity, Budget())
    assert best.recommended.metric.value == 6.0
    assert best.reasons[0].endswith("it has the best perplexity on the selection split: perplexity 6.00.")
    balanced = pick(by_perplexity, Budget(), preset="balanced")
    assert balanced.recommended.metric.value == 6.03
    assert "the fastest within 1 % of the best perplexity" in balanced.reasons[0]
    assert any("costs 2.97 of perplexity" in one for one in balanced.reasons)
    assert pick(by_perplexity, Budget(), preset="speed").recommended.metric.value == 9.0


def test_candidates_of_different_metrics_or_data_are_not_compared(by_perplexity: list[Candidate]) -> None:
    other = replace(by_perplexity[0], data="other texts")
    with pytest.raises(ConfigError, match="perplexity of 50 tokens and other texts, perplexity"):
        pick([*by_perplexity, other], Budget())
    letters = replace(by_perplexity[0], vocabulary=30)
    with pytest.raises(ConfigError, match="perplexity of 30 tokens and"):
        pick([*by_perplexity, letters], Budget())
    accuracy = replace(by_perplexity[0], metric=replace(other.metric, name="accuracy"))
    with pytest.raises(ConfigError, match="cannot be compared"):
        pick([*by_perplexity, accuracy], Budget())
