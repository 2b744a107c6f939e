"""`bench`, `compare` and `check` of text models: how long the texts are that they are run on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_bench.cli import main
from edge_bench.files import Home
from edge_bench.records import Artifact, BenchmarkResult
from edge_bench.store import ResultStore

Stored = Callable[..., list[Artifact]]
QUICK = ["--max-seconds", "0.1", "--json", "--quiet"]


def benched(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["bench", *words, *QUICK]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words, "--quiet"]) == 2
    return capsys.readouterr().err


def results(home: Home) -> list[BenchmarkResult]:
    with ResultStore(home.store_url) as store:
        return store.results()


def test_a_text_model_is_measured_at_its_length_and_its_step_behind_it(
    store_texts: Stored, capsys: pytest.CaptureFixture[str], home: Home
) -> None:
    store_texts("translation")
    document = benched(capsys, "encoder")
    assert [(one["model"], one["tokens"], one["length"]) for one in document["results"]] == [
        ("encoder", 8, None),
        ("translation_step", 8, None),
    ]
    network, step = results(home)
    assert network.environment["input_shapes"] == {"tokens": [1, 8]}
    assert step.environment["input_shapes"]["cache"] == [1, 2, 1, 1, 8, 1]
    (text,) = document["texts"]
    assert (text["task"], text["tokens"], text["generated_tokens"]) == ("translation", 8, 4.0)
    assert text["whole_ms"] == network.p50_ms and text["token_ms"] == step.p50_ms
    assert text["text_ms"] == pytest.approx(network.p50_ms + 4 * step.p50_ms)


def test_what_a_language_model_takes_for_a_text_is_its_steps_alone(
    store_texts: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    store_texts("language_modelling")
    (text,) = benched(capsys, "language_model")["texts"]
    assert text["text_ms"] == pytest.approx(4 * text["token_ms"])


def test_a_table_tells_milliseconds_for_a_text_and_for_a_token(
    store_texts: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    store_texts("translation")
    assert main(["bench", "encoder", "--max-seconds", "0.1", "--quiet"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "ms for 8 tokens at once" in said and "ms a token that it generates" in said


def test_another_length_is_another_measurement(
    store_texts: Stored, capsys: pytest.CaptureFixture[str], home: Home
) -> None:
    store_texts("text_classification")
    benched(capsys, "classifier")
    (longer,) = benched(capsys, "classifier", "--length", "32")["results"]
    assert (longer["tokens"], longer["length"], longer["since_last"]) == (32, 32, None)
    (own,) = benched(capsys, "classifier", "--length", "8")["results"]
    assert (own["tokens"], own["length"]) == (8, None)
    first, *_ = results(home)
    assert own["since_last"]["id"] == first.id
    assert [one.plain for one in results(home)] == [True, False, True]
    assert benched(capsys, "--all")["results"] == []
    assert len(benched(capsys, "--all", "--length", "16")["results"]) == 1


def test_a_file_of_a_fixed_length_takes_no_other(
    store_texts: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    store_texts("text_classification", format="tflite")
    (result,) = benched(capsys, "classifier")["results"]
    assert result["tokens"] == 8
    assert "no sequences of 32" in refused(capsys, "bench", "classifier", "--length", "32")
    assert "--length must be from 1" in refused(capsys, "bench", "classifier", "--length", "0")


def test_a_strangers_text_model_is_measured_at_the_length_that_is_asked_for(
    text_onnx: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("classifier", "encoder", "translation_step", "language_model_step"):
        (result,) = benched(capsys, str(text_onnx(kind)), "--length", "24", "--profile")["results"]
        assert (result["tokens"], result["length"]) == (24, 24)


def test_the_activations_of_a_text_model_are_those_of_its_length(
    store_texts: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    store_texts("language_modelling")
    (result, _) = benched(capsys, "language_model", "--profile")["results"]
    # Eight tokens of 8 bytes and, of each, twelve logits of 4.
    assert result["footprint"]["activations_bytes"] == 8 * 8 + 8 * 12 * 4


def test_models_of_different_lengths_are_compared_at_one(
    store_texts: Stored, capsys: pytest.CaptureFixture[str], home: Home
) -> None:
    store_texts("text_classification")
    (other, _) = store_texts("language_modelling")
    assert other.text is not None
    with ResultStore(home.store_url) as store:
        store.add(replace(other, text=replace(other.text, length=16)))
    said = refused(capsys, "compare", "classifier", "language_model")
    assert "'classifier.onnx' would be run on 8 tokens and 'language_model.onnx' on 16" in said
    assert "--length 8" in said
    # Too few seconds for an answer, but no other objection.
    assert main(["compare", "classifier", "language_model", "--max-seconds", "1", "--length", "8"]) == 4


def test_a_stored_baseline_of_another_length_is_refused(
    store_texts: Stored, capsys: pytest.CaptureFixture[str], home: Home
) -> None:
    (artifact,) = store_texts("text_classification")
    (result,) = benched(capsys, "classifier")["results"]
    assert artifact.text is not None
    with ResultStore(home.store_url) as store:
        store.add(replace(artifact, text=replace(artifact.text, length=16)))
    said = refused(
        capsys,
        "check",
        str(home.absolute(artifact.file)),
        "--baseline",
        result["id"],
        "--max-seconds",
        "0.1",
    )
    assert "was run on tokens of [1, 8], not of [1, 16]" in said
