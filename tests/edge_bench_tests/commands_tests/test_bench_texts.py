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
    (shorter,) = benched(capsys, "classifier", "--length", "4")["results"]
    assert (shorter["tokens"], shorter["length"], shorter["since_last"]) == (4, 4, None)
    (own,) = benched(capsys, "classifier", "--length", "8")["results"]
    assert (own["tokens"], own["length"]) == (8, None)
    first, *_ = results(home)
    assert own["since_last"]["id"] == first.id
    assert [one.plain for one in results(home)] == [True, False, True]
    assert benched(capsys, "--all")["results"] == []
    assert len(benched(capsys, "--all", "--length", "5")["results"]) == 1


def test_a_file_of_a_fixed_length_takes_no_other(
    store_texts: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    store_texts("text_classification", format="tflite")
    (result,) = benched(capsys, "classifier")["results"]
    assert result["tokens"] == 8
    assert "no sequences of 4" in refused(capsys, "bench", "classifier", "--length", "4")
    assert "up to 8 tokens, not of 32" in refused(capsys, "bench", "classifier", "--length", "32")
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


def pairs(folder: Path) -> Path:
    for split in ("train", "val", "test"):
        for language in ("en", "de"):
            (folder / f"{split}.{language}").write_text("a b c d\ng f e d c\n", encoding="utf-8")
    return folder


def test_the_quality_of_a_text_model_is_that_of_both_its_files(
    store_texts: Stored, capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Home
) -> None:
    store_texts("translation", length=16)
    data = tmp_path / "texts"
    data.mkdir()
    network, step = benched(capsys, "encoder", "--accuracy", str(pairs(data)))["results"]
    (metric,) = network["metrics"]
    assert (metric["name"], metric["split"], metric["examples"]) == ("bleu", "test", 2)
    assert metric["value"] == pytest.approx(100)
    assert network["notes"] == [
        "100.0 BLEU, of 2 test examples of parallel_text texts: texts of up to 16 tokens"
    ]
    assert step["metrics"] == []
    assert step["notes"] == ["its quality is that of 'encoder', which it belongs to"]
    assert main(["bench", "encoder", "--accuracy", str(data), "--max-seconds", "0.1", "--quiet"]) == 0
    assert "100.0 BLEU" in capsys.readouterr().out


def test_perplexity_is_told_of_a_text_file_and_by_its_tokens(
    store_texts: Stored, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store_texts("language_modelling")
    file = tmp_path / "some.txt"
    file.write_text("abc gag fed bad cab e " * 10, encoding="utf-8")
    result, _ = benched(capsys, "language_model", "--accuracy", str(file))["results"]
    (metric,) = result["metrics"]
    assert (metric["name"], metric["higher_is_better"]) == ("perplexity", False)
    assert f", of {metric['examples']} test tokens of running_text some.txt" in result["notes"][0]


def test_texts_are_read_as_those_that_the_model_learned_from(
    store_texts: Stored, capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Home
) -> None:
    (artifact,) = store_texts("text_classification")
    own = {"kind": "labelled_text", "path": "gone", "text_column": 1, "label_column": 0}
    with ResultStore(home.store_url) as store:
        store.add(replace(artifact, data=own))
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.tsv").write_text("bad\tabc\ngood\tgag\n", encoding="utf-8")
    (result,) = benched(capsys, "classifier", "--accuracy", str(tmp_path))["results"]
    assert result["metrics"][0]["examples"] == 2


def test_what_says_how_images_are_seen_says_nothing_to_texts(
    store_texts: Stored, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store_texts("text_classification")
    said = refused(capsys, "bench", "classifier", "--accuracy", str(tmp_path), "--mean", "0.5")
    assert "are for images; 'classifier' takes texts" in said


def test_the_quality_of_a_strangers_text_model_is_not_guessed_at(
    text_onnx: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("edge_bench.data.digits")
    for words in (["bench", "--accuracy", "digits"], ["import", "--data", "digits"]):
        assert main([words[0], str(text_onnx("classifier")), *words[1:], "--quiet"]) == 6
        assert (
            "how a text becomes them is known of models that edge-bench exported" in capsys.readouterr().err
        )
