"""The quality of text models' files, by models whose answers can be told by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("sacrebleu")

from edge_bench import variants
from edge_bench.data import open_texts
from edge_bench.errors import ConfigError, DataError, InvalidModel
from edge_bench.files import Home
from edge_bench.measure.judges import JUDGES, Files, Judge, judge_of
from edge_bench.measure.judges.language_modelling import LanguageModelling
from edge_bench.measure.judges.text_classification import TextClassification
from edge_bench.measure.judges.translation import Translation
from edge_bench.measure.text_runs import generated
from edge_bench.records import Artifact, Metric, Step, TextInput
from edge_bench.text.encoding import encoded
from edge_bench.text.tokenizer import Tokenizer

Stored = Callable[..., list[Artifact]]
SENTENCES = ("a b c d", "d c b a e", "f g a b c")


def files_of(artifacts: Sequence[Artifact], home: Home, runtime: str = "onnxruntime") -> Files:
    network = artifacts[0]
    assert network.text is not None
    return Files(
        network=home.absolute(network.file),
        runtime=runtime,
        tokenizer=home.absolute(network.text.tokenizer),
        step=home.absolute(artifacts[1].file) if len(artifacts) > 1 else None,
        step_record=network.step,
        class_names=network.class_names,
    )


def judged(judge: Judge, files: Files, artifact: Artifact, table: dict[str, Any]) -> Metric:
    assert artifact.text is not None
    return judge.judge(files, text=artifact.text, data=open_texts(table), split="test")


def labelled(folder: Path, texts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    rows = "".join(f"{text}\t{label}\n" for text, label in zip(texts, labels, strict=True))
    for split in ("train", "dev", "test"):
        (folder / f"{split}.tsv").write_text(rows, encoding="utf-8")
    return {"kind": "labelled_text", "path": str(folder)}


def parallel(folder: Path, sources: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
    for split in ("train", "val", "test"):
        (folder / f"{split}.en").write_text("\n".join(sources) + "\n", encoding="utf-8")
        (folder / f"{split}.de").write_text("\n".join(targets) + "\n", encoding="utf-8")
    return {"kind": "parallel_text", "path": str(folder)}


def running(folder: Path, text: str) -> dict[str, Any]:
    for split in ("train", "valid", "test"):
        (folder / f"{split}.txt").write_text(text, encoding="utf-8")
    return {"kind": "running_text", "path": str(folder)}


def summed(row: Sequence[int], table: np.ndarray) -> int:
    return int(table[list(row), :2].sum(axis=0).argmax())


def test_each_task_has_a_judge_that_is_called_as_it() -> None:
    known = {"text_classification", "language_modelling", "translation"}
    assert known <= set(variants.names(JUDGES))
    for name in variants.names(JUDGES):
        assert issubclass(judge_of(name), Judge) and judge_of(name)()


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_accuracy_is_of_texts_run_alone_and_padded_only_where_the_file_wants_it(
    format: str, store_texts: Stored, home: Home, tmp_path: Path, text_table: np.ndarray
) -> None:
    artifacts = store_texts("text_classification", format=format)
    texts = ["a", "bad", "cab", "gag", "f", "dead b", "e", "fed", "abc", "g"]
    tokenizer = Tokenizer.load(files_of(artifacts, home).tokenizer)
    assert artifacts[0].text is not None
    rows = encoded(tokenizer, texts, artifacts[0].text)
    alone = [summed(row, text_table) for row in rows]
    padded = [summed([*row, *[0] * (8 - len(row))], text_table) for row in rows]
    # To this model a padding is a token as any other, so that one can be told from none.
    assert alone != padded
    expected = alone if format == "onnx" else padded
    data = labelled(tmp_path, texts, [("bad", "good")[label] for label in expected])
    runtime = "onnxruntime" if format == "onnx" else "litert"
    metric = judged(TextClassification(), files_of(artifacts, home, runtime), artifacts[0], data)
    assert (metric.name, metric.value, metric.higher_is_better) == ("accuracy", 1.0, True)
    assert (metric.split, metric.examples) == ("test", 10)


def test_a_text_that_is_too_long_is_told_or_cut(store_texts: Stored, home: Home, tmp_path: Path) -> None:
    artifacts = store_texts("text_classification", format="tflite")
    data = labelled(tmp_path, ["abc", "abcdefg"], ["bad", "good"])
    files = files_of(artifacts, home, "litert")
    with pytest.raises(DataError, match="text 2 has 9 tokens"):
        judged(TextClassification(), files, artifacts[0], data)
    assert artifacts[0].text is not None
    cutting = replace(artifacts[0], text=replace(artifacts[0].text, truncate=True))
    assert judged(TextClassification(), files, cutting, data).examples == 2


def test_other_classes_than_the_models_are_refused(store_texts: Stored, home: Home, tmp_path: Path) -> None:
    artifacts = store_texts("text_classification")
    data = labelled(tmp_path, ["a", "b"], ["no", "yes"])
    with pytest.raises(DataError, match="the data has the classes no, yes, the model bad, good"):
        judged(TextClassification(), files_of(artifacts, home), artifacts[0], data)


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_perplexity_is_that_of_every_token_but_the_first(
    format: str, store_texts: Stored, home: Home, tmp_path: Path, text_table: np.ndarray
) -> None:
    artifacts = store_texts("language_modelling", format=format)
    text = "abc gag fed bad cab e"
    runtime = "onnxruntime" if format == "onnx" else "litert"
    files = files_of(artifacts, home, runtime)
    metric = judged(LanguageModelling(), files, artifacts[0], running(tmp_path, text))
    tokens = Tokenizer.load(files.tokenizer).encode(text)
    rows = text_table.astype(np.float64)
    logs = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    nats = -sum(logs[before, after] for before, after in zip(tokens, tokens[1:], strict=False))
    assert (metric.name, metric.higher_is_better, metric.examples) == ("perplexity", False, 20)
    assert metric.value == pytest.approx(np.exp(nats / 20), rel=1e-6)


@pytest.mark.parametrize("width", [1, 3])
def test_bleu_is_of_what_both_files_write_together(
    width: int, store_texts: Stored, home: Home, tmp_path: Path
) -> None:
    artifacts = store_texts("translation", length=16)
    files = files_of(artifacts, home)
    same = judged(Translation(width=width), files, artifacts[0], parallel(tmp_path, SENTENCES, SENTENCES))
    assert (same.name, same.higher_is_better, same.examples) == ("bleu", True, 3)
    assert same.value == pytest.approx(100)
    other = judged(
        Translation(width=width),
        files,
        artifacts[0],
        parallel(tmp_path, SENTENCES, ["a b c d", "d c b a e", "g g g g g"]),
    )
    assert 0 < other.value < same.value


def test_what_is_written_comes_with_its_time_on_one_thread(store_texts: Stored, home: Home) -> None:
    artifacts = store_texts("translation", length=16)
    files, text, step = files_of(artifacts, home), artifacts[0].text, artifacts[0].step
    assert files.step is not None and text is not None and step is not None
    told = generated(
        files.network, files.step, [[1, 7, 8, 9, 2], [1, 2]], step=step, text=text, runtime="onnxruntime"
    )
    assert told.rows == [[7, 8, 9], []]
    assert told.read_ms is not None and 0 < told.token_ms < told.text_ms


def test_a_language_model_goes_on_with_a_prompt(
    store_texts: Stored, home: Home, text_table: np.ndarray
) -> None:
    artifacts = store_texts("language_modelling")
    files, text, step = files_of(artifacts, home), artifacts[0].text, artifacts[0].step
    assert files.step is not None and text is not None and step is not None
    told = generated(
        None, files.step, [[5, 6]], step=step, text=replace(text, end=99), runtime="onnxruntime", limit=4
    )
    expected, token = [], 6
    for _ in range(4):
        token = int(text_table[token].argmax())
        expected.append(token)
    assert told.rows == [expected] and told.read_ms is None


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_beam_runs_in_each_runtime_that_reads_the_files(
    runtime: str, store_texts: Stored, home: Home
) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    artifacts = store_texts("translation", length=16)
    files, text, step = files_of(artifacts, home), artifacts[0].text, artifacts[0].step
    assert files.step is not None and text is not None and step is not None
    told = generated(
        files.network, files.step, [[1, 7, 8, 2]], step=step, text=text, runtime=runtime, width=2
    )
    assert told.rows == [[7, 8]]


def test_a_translator_without_its_step_is_refused(store_texts: Stored, home: Home, tmp_path: Path) -> None:
    artifacts = store_texts("translation", length=16)
    files = replace(files_of(artifacts, home), step=None)
    with pytest.raises(ConfigError, match="only reads a sentence"):
        judged(Translation(), files, artifacts[0], parallel(tmp_path, SENTENCES, SENTENCES))


def test_data_of_another_task_is_refused(store_texts: Stored, home: Home, tmp_path: Path) -> None:
    artifacts = store_texts("text_classification")
    with pytest.raises(ConfigError, match="the data is for language_modelling"):
        judged(TextClassification(), files_of(artifacts, home), artifacts[0], running(tmp_path, "abc"))


def test_another_tokenizer_is_refused(store_texts: Stored, home: Home, tmp_path: Path) -> None:
    artifacts = store_texts("language_modelling")
    files = files_of(artifacts, home)
    files.tokenizer.write_text(files.tokenizer.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(DataError, match="is not the tokenizer that the model was made with"):
        judged(LanguageModelling(), files, artifacts[0], running(tmp_path, "abc"))


def test_a_file_of_another_task_is_refused(store_texts: Stored, home: Home, tmp_path: Path) -> None:
    (artifact,) = store_texts("text_classification")
    with pytest.raises(InvalidModel, match="logits of each token are expected"):
        judged(
            LanguageModelling(), files_of([artifact], home), artifact, running(tmp_path, "abc def gag bad")
        )


def test_a_step_that_is_none_is_refused(store_texts: Stored, home: Home, text_onnx: Any) -> None:
    step = Step(program="", digest="", layers=1, heads=1, head_width=1, tokens=1)
    text = TextInput(tokenizer="", digest="", vocabulary=12, length=8)
    with pytest.raises(InvalidModel, match="a step takes token, position, cache; the file takes tokens"):
        generated(
            text_onnx("encoder"),
            text_onnx("classifier"),
            [[1, 2]],
            step=step,
            text=text,
            runtime="onnxruntime",
        )
