"""Runs on text: they learn, go on where they stopped, begin from another run, and say what does not fit."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from edge_bench.documents import from_document
from edge_bench.errors import ConfigError, DataError, EdgeBenchError, TrainingError
from edge_bench.files import Home, sha256_of
from edge_bench.text.tokenizer import Tokenizer
from supernet import checkpoint
from supernet.extraction import extract_arch, extract_front
from supernet.run import (
    CHECKPOINT_FILE,
    LOG_FILE,
    SUMMARY_FILE,
    TOKENIZER_FILE,
    RunConfig,
    checked,
    load_run,
    read_record,
)
from supernet.trained import TrainedRun
from supernet.trainer import train

Tables = Callable[..., dict[str, Any]]
Finished = Callable[[str], tuple[Path, Home]]

TASKS = ("text_classification", "language_modelling", "translation")
UNITS = {"text_classification": "texts", "language_modelling": "windows", "translation": "pairs"}
METRICS = {"text_classification": "accuracy", "language_modelling": "perplexity", "translation": "bleu"}
EXAMPLES = Path(__file__).parents[2] / "examples"


def run(tables: dict[str, Any], home: Home) -> Path:
    config = from_document(RunConfig, tables)
    return train(config, home=home, say=lambda line: None, interactive=False)


def weights(folder: Path) -> dict[str, Tensor]:
    """Return weights, their average and what the optimizer remembers."""
    tensors = load_file(folder / CHECKPOINT_FILE)
    del tensors["random.torch"]
    return tensors


def alike(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("task", TASKS)
def test_training_learns_and_tells_in_the_units_of_its_task(task: str, text_run: Finished) -> None:
    folder, _ = text_run(task)
    first, last = lines(folder)
    unit, metric = UNITS[task], METRICS[task]
    assert last["loss"] < first["loss"] and last[f"{unit}_per_second"] > 0
    assert 0 <= first["training_accuracy"] <= 1
    summary = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    record = read_record(folder)
    assert (summary["unit"], summary["steps"], summary[unit]) == (unit, 60, 60 * 16)
    assert summary[f"training_{unit}"] == record.images > 0 and summary[f"skipped_{unit}"] == 0
    assert summary[f"{unit}_per_second"] > 0 and summary["architectures"] == record.search_space.size()
    assert {key for key in summary if key.endswith(metric)} == {f"largest_{metric}", f"smallest_{metric}"}
    assert [phase.epochs for phase in record.phases] == [2] and record.preprocessing is None


def test_a_language_model_soon_knows_more_than_how_frequent_characters_are(text_run: Finished) -> None:
    folder, _ = text_run("language_modelling")
    summary = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    space: Any = read_record(folder).search_space
    assert 1 < summary["largest_perplexity"] < 0.6 * space.vocabulary


@pytest.mark.parametrize("task", TASKS)
def test_resumed_run_equals_undisturbed_run(
    task: str, text_run: Finished, text_tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stops within the first epoch, at step 7, and within the second, at step 21.
    tables = text_tables(task, training={"epoch_steps": 15, "checkpoint_steps": 7, "average": 0.9})
    undisturbed = run(tables, Home(tmp_path / "undisturbed"))
    save = checkpoint.save
    for stop in (1,) if task != "translation" else (4,):
        disturbed, saved = Home(tmp_path / f"stopped-{stop}"), 0

        def save_or_stop(*arguments: Any, stop: int = stop) -> None:
            nonlocal saved
            save(*arguments)
            saved += 1
            if saved == stop:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(checkpoint, "save", save_or_stop)
            with pytest.raises(KeyboardInterrupt):
                run(tables, disturbed)
        # What was drawn in between, by anything else, has no part in it.
        torch.rand(5)
        resumed = run(tables, disturbed)
        assert alike(weights(resumed), weights(undisturbed))
        assert [line["step"] for line in lines(resumed)] == [15, 30]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    text_run: Finished, text_tables: Tables, home: Home
) -> None:
    before, _ = text_run("language_modelling")
    torch.rand(3)
    again = run(text_tables("language_modelling"), home)
    assert again.name == before.name and alike(weights(again), weights(before))
    other = run(text_tables("language_modelling", seed=1), home)
    assert not alike(weights(other), weights(before))


def test_layer_drop_changes_what_is_learned_and_is_told_of_what_is_cut(
    text_run: Finished, text_tables: Tables, home: Home
) -> None:
    folder, _ = text_run("text_classification")
    plain = run(text_tables("text_classification", techniques=None), home)
    assert not alike(weights(plain), weights(folder))
    # Rates of zero are no LayerDrop.
    none = run(text_tables("text_classification", techniques={"layer_drop": {"rate": 0}}), home)
    assert alike(weights(none), weights(plain))
    opened = {one.name: TrainedRun.open(one).task.technique for one in (folder, plain)}
    assert opened == {folder.name: "layer_drop", plain.name: "plain"}


@pytest.mark.parametrize("task", TASKS)
def test_the_tokenizer_lies_in_the_run_and_later_commands_read_it_there(
    task: str, text_run: Finished, home: Home
) -> None:
    original, _ = text_run(task)
    folder = home.runs / original.name
    shutil.copytree(original, folder)
    record = read_record(folder)
    tokenizer = Tokenizer.load(folder / TOKENIZER_FILE)
    assert record.text is not None
    assert record.text.tokenizer == TOKENIZER_FILE
    assert record.text.digest == sha256_of(folder / TOKENIZER_FILE)
    assert record.text.vocabulary == tokenizer.size
    subnet = extract_arch(folder, record.search_space.smallest(), home=home)
    assert subnet.text is not None
    kept = home.absolute(subnet.text.tokenizer)
    assert sha256_of(kept) == subnet.text.digest == record.text.digest
    assert subnet.task == task and subnet.technique == "layer_drop"
    assert {metric.name for metric in subnet.metrics} == {METRICS[task]}
    assert [metric.split for metric in subnet.metrics] == ["selection", "test"]
    (folder / TOKENIZER_FILE).unlink()
    with pytest.raises(DataError, match="there is no tokenizer file"):
        TrainedRun.open(folder)


@pytest.mark.parametrize("task", ["text_classification", "translation"])
def test_a_text_that_is_too_long_is_an_error_unless_it_is_to_be_cut_off(
    task: str, text_tables: Tables, home: Home
) -> None:
    short = {"model": {"length": 8}}
    with pytest.raises(DataError, match=r"has \d+ tokens.*takes at most 8") as raised:
        run(text_tables(task, **short), home)
    assert "--set training.truncate=true" in raised.value.hint and "\n" not in str(raised.value)
    cut = run(text_tables(task, **short, training={"truncate": True, "epoch_steps": 4}), home)
    record = read_record(cut)
    assert record.text is not None and record.text.truncate and record.text.length == 8
    subnet = extract_arch(cut, record.search_space.smallest(), home=home)
    assert subnet.text is not None and subnet.text.truncate


def test_a_text_too_short_for_a_window_is_told(text_tables: Tables, home: Home) -> None:
    with pytest.raises(DataError, match=r"the train text has \d+ tokens; a language model of 9000 tokens"):
        run(text_tables("language_modelling", model={"length": 9000}), home)


def test_data_that_changed_is_not_gone_on_with(
    text_tables: Tables, reviews: Path, tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "reviews"
    shutil.copytree(reviews, data)
    tables = text_tables("text_classification", data={"path": str(data)})
    save = checkpoint.save

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            run(tables, home)
    rows = (data / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    (data / "train.tsv").write_text("".join(rows[:-20]), encoding="utf-8")
    with pytest.raises(TrainingError, match="the data, its texts or the phases changed"):
        run(tables, home)


@pytest.mark.parametrize(
    ("task", "keep", "kept"),
    [
        ("text_classification", "0,2", {"encoder": (0, 2)}),
        ("language_modelling", "d2", {"decoder": (0, 2)}),
        ("translation", "0,2/1", {"encoder": (0, 2), "decoder": (1,)}),
    ],
)
def test_a_run_that_begins_from_anothers_layers_has_just_those(
    task: str,
    keep: str,
    kept: dict[str, tuple[int, ...]],
    text_run: Finished,
    text_tables: Tables,
    home: Home,
) -> None:
    original, _ = text_run(task)
    shutil.copytree(original, home.runs / original.name)
    begun = text_tables(
        task,
        name="begun",
        model=None,
        tokenizer=None,
        techniques=None,
        start={"run": task, "keep": keep},
        # So small a rate that the weights are those it began with.
        training={"epochs": 1, "epoch_steps": 2, "learning_rate": 1e-12, "weight_decay": 0.0},
    )
    folder = run(begun, home)
    space: Any = read_record(folder).search_space
    assert space.layers == {stack: len(places) for stack, places in kept.items()}
    # Its tokens are those of the run it began from.
    assert sha256_of(folder / TOKENIZER_FILE) == sha256_of(original / TOKENIZER_FILE)
    before = TrainedRun.open(home.runs / original.name)
    after = TrainedRun.open(folder)
    old: Any = before.space
    cut: Any = before.network
    expected = cut.cut(old.keeping(kept)).state_dict()
    found = after.network.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)
    # What is cut of it is cut of those layers, and all of it is what was kept.
    assert after.judge(space.largest()) == before.judge(old.keeping(kept))
    deepest = extract_front(folder, home=home, count=2, screened=0)[-1]
    assert deepest.space == space and len(deepest.arch.blocks) == sum(map(len, kept.values()))


def test_a_run_that_begins_from_another_learns_on_and_can_be_begun_from_again(
    text_run: Finished, text_tables: Tables, home: Home
) -> None:
    original, _ = text_run("language_modelling")
    shutil.copytree(original, home.runs / original.name)
    tables = text_tables("language_modelling", name="second", model=None, tokenizer=None)
    second = run({**tables, "start": {"run": original.name, "keep": "0,1,3"}}, home)
    shallow = {**tables, "name": "third", "start": {"run": second.name, "keep": "0,2"}}
    third = run(shallow, home)
    assert lines(second)[-1]["loss"] < lines(original)[-1]["loss"]
    space: Any = read_record(third).search_space
    assert space.decoder_layers == 2
    # Neither of the runs that it goes back to is needed any more.
    shutil.rmtree(second)
    shutil.rmtree(home.runs / original.name)
    assert TrainedRun.open(third).judge(space.largest()).value > 1


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ({"run": "language-modeling"}, "there is no run 'language-modeling'. Known: "),
        ({"run": "language_modelling", "keep": "7"}, "there is no decoder layer 7"),
        ({"run": "language_modelling", "keep": "d9"}, "9 decoder layers are asked for"),
        ({"run": "language_modelling", "keep": "d2/1"}, "has only its decoder"),
        ({"run": "language_modelling", "keep": "upper half"}, "keep is 'upper half'; it may be smallest"),
        ({"run": "translation"}, "is for translation, the data for language_modelling"),
        ({"run": "unfinished"}, "is not finished"),
        ({"ran": "language_modelling"}, "unknown key.*ran"),
    ],
)
def test_a_start_that_is_not_there_is_told_in_one_line(
    start: dict[str, str], said: str, text_run: Finished, text_tables: Tables, home: Home
) -> None:
    for task in ("language_modelling", "translation"):
        original, _ = text_run(task)
        shutil.copytree(original, home.runs / original.name)
    shutil.copytree(text_run("language_modelling")[0], home.runs / "unfinished-00000000")
    (home.runs / "unfinished-00000000" / CHECKPOINT_FILE).unlink()
    tables = text_tables("language_modelling", name="begun", model=None, tokenizer=None, start=start)
    with pytest.raises(EdgeBenchError, match=said) as raised:
        run(tables, home)
    assert "\n" not in str(raised.value)
    assert not list(home.runs.glob("begun-*"))


def test_classes_other_than_those_it_began_with_are_told(
    text_run: Finished, text_tables: Tables, home: Home
) -> None:
    original, _ = text_run("text_classification")
    shutil.copytree(original, home.runs / original.name)
    tables = text_tables(
        "text_classification",
        model=None,
        tokenizer=None,
        start={"run": original.name},
        data={"class_names": ["bad", "good"]},
    )
    with pytest.raises(ConfigError, match="has the classes bad, good; run '.*' was trained on 0, 1"):
        run(tables, home)


IMAGE_RUN: dict[str, Any] = {"name": "images", "data": {"kind": "digits"}}


@pytest.mark.parametrize(
    ("task", "changes", "said"),
    [
        ("translation", {"model": {"kind": "encoder"}}, "unknown key.*encoder_layers"),
        (
            "language_modelling",
            {"model": {"kind": "encoder"}},
            r"\[model\] kind is 'encoder', which is not for language modelling",
        ),
        ("language_modelling", {"model": {"kind": "decodr"}}, "decodr.*decoder"),
        ("language_modelling", {"model": {"layres": 3}}, "unknown key 'model.layres'.*layers"),
        ("language_modelling", {"model": {"layers": 0}}, r"\[model\] layers is 0; it must be 1 to 1000"),
        ("language_modelling", {"model": {"width": 15}}, "width is 15 and heads 2"),
        (
            "language_modelling",
            {"model": {"dropout": 1.0}},
            "dropout is 1; it must be at least 0 and below 1",
        ),
        ("language_modelling", {"model": None}, r"needs either a \[model\] to begin with or a \[start\]"),
        ("language_modelling", {"start": {"run": "x"}}, r"\[model\] and \[start\] are both given"),
        ("language_modelling", {"tokenizer": None}, r"\[tokenizer\] must name a kind"),
        ("language_modelling", {"tokenizer": {"kind": "charcters"}}, "charcters.*characters"),
        ("language_modelling", {"tokenizer": {"sise": 3}}, "unknown key 'tokenizer.sise'"),
        ("language_modelling", {"space": {"kind": "lite_32"}}, None),
        (
            "language_modelling",
            {"space": {"kind": "lite"}},
            r"\[space\] is given, but the data is for language",
        ),
        ("language_modelling", {"schedule": {"kind": "progressive_shrinking"}}, r"\[schedule\] is given"),
        ("language_modelling", {"phases": [{"name": "a", "epochs": 1}]}, r"\[phases\] is given"),
        ("language_modelling", {"techniques": {"layer_drp": {}}}, "layer_drp.*layer_drop"),
        (
            "language_modelling",
            {"techniques": {"layer_drop": {"rats": 0.1}}},
            "unknown key 'techniques.layer_drop.rats'",
        ),
        ("language_modelling", {"training": {"truncat": True}}, "unknown key 'training.truncat'.*truncate"),
        ("language_modelling", {"training": {"clip_norm": -1.0}}, "training.clip_norm is -1"),
        ("language_modelling", {"data": {"kind": "runing_text"}}, "runing_text.*running_text"),
        (
            "language_modelling",
            {"model": None, "start": {"run": "x"}},
            r"\[tokenizer\] is given, but \[start\] brings that",
        ),
    ],
)
def test_tables_that_do_not_fit_are_told_in_one_line(
    task: str, changes: dict[str, Any], said: str | None, text_tables: Tables
) -> None:
    tables = text_tables(task, **changes)
    if said is None:
        # The default of another task's table is no choice.
        assert checked(from_document(RunConfig, tables)).task == task
        return
    with pytest.raises(EdgeBenchError, match=said) as raised:
        checked(from_document(RunConfig, tables))
    assert "\n" not in str(raised.value)


def test_tables_of_text_are_not_for_images() -> None:
    pytest.importorskip("edge_bench.data.digits")
    with pytest.raises(ConfigError, match=r"\[tokenizer\] is given, but the data is for image"):
        checked(from_document(RunConfig, {**IMAGE_RUN, "tokenizer": {"kind": "bpe"}}))
    with pytest.raises(ConfigError, match="'encoder', which is not for image classification") as raised:
        checked(from_document(RunConfig, {**IMAGE_RUN, "model": {"kind": "encoder"}}))
    assert "resnet" in raised.value.hint


def test_a_technique_is_for_its_own_tasks() -> None:
    with pytest.raises(ConfigError, match=r"\[techniques\.layer_drop\] is not for image classification"):
        checked(from_document(RunConfig, {**IMAGE_RUN, "techniques": {"layer_drop": {}}}))


def test_a_value_that_is_the_default_renames_no_run(text_tables: Tables) -> None:
    def digest(**changes: Any) -> str:
        return from_document(RunConfig, text_tables("translation", **changes)).digest

    plain = digest()
    for same in (
        {"model": {"hidden": 0}},
        {"training": {"truncate": False, "clip_norm": 0.0}},
        {"techniques": {"layer_drop": {"rate": 0.1, "structure": "layer"}}},
        {"tokenizer": {"least_count": 2}},
        {"data": {"limit": 0}},
        {"seed": 0},
    ):
        assert digest(**same) == plain
    for other in (
        {"model": {"hidden": 8}},
        {"training": {"truncate": True}},
        {"techniques": {"layer_drop": {"rate": 0.3}}},
        {"techniques": None},
        {"tokenizer": {"size": 301}},
        {"data": {"limit": 9}},
        {"model": None, "tokenizer": None, "start": {"run": "other"}},
    ):
        assert digest(**other) != plain


@pytest.mark.parametrize(
    ("name", "digest"), [("digits", "88d55af1"), ("cifar10", "44703a8d"), ("folder", "06d687d1")]
)
def test_runs_on_images_keep_the_names_they_had_before_there_was_text(name: str, digest: str) -> None:
    pytest.importorskip(f"edge_bench.data.{name}")
    config = load_run(EXAMPLES / f"{name}.toml")
    if "path" in config.data:
        config = dataclasses.replace(config, data={**config.data, "path": "/data"})
    assert config.digest == digest
