"""Pre-training: what examples become, and that only what is trained on is changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_bench.data import Images, open_images
from edge_bench.documents import from_document
from edge_bench.errors import ConfigError, UnknownVariant
from edge_bench.files import Home
from edge_bench.text.examples import LabelledTexts
from supernet import checkpoint
from supernet.pretraining import drawing
from supernet.pretraining.blurred import Blurred
from supernet.pretraining.random_labels import RandomLabels
from supernet.pretraining.rotation import Rotation
from supernet.run import CHECKPOINT_FILE, RunConfig, checked, load_run
from supernet.tasks import task_of
from supernet.tasks.image_classification import ImageClassification
from supernet.tasks.text_classification import TextClassification
from supernet.trainer import train

TABLES: dict[str, Any] = {
    "name": "small",
    "data": {"kind": "digits"},
    "model": {"kind": "mlp", "resolution": 8, "hidden": [12]},
    "training": {
        "epochs": 2,
        "epoch_steps": 6,
        "checkpoint_steps": 4,
        "batch_size": 16,
        "threads": 1,
        "device": "cpu",
    },
}


def run_of(**changes: Any) -> RunConfig:
    return checked(from_document(RunConfig, {**TABLES, **changes}))


@pytest.fixture
def digits() -> Images:
    return open_images({"kind": "digits"}).load("train")


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_random_labels_tell_nothing_of_the_images(digits: Images) -> None:
    changed = RandomLabels().images(digits, generator())
    assert changed.pixels is digits.pixels and changed.labels.dtype == digits.labels.dtype
    counts = np.bincount(changed.labels, minlength=10)
    assert counts.min() > 0.6 * len(digits.labels) / 10
    assert np.mean(changed.labels == digits.labels) == pytest.approx(0.1, abs=0.03)


def test_random_labels_of_texts_leave_the_texts() -> None:
    texts = LabelledTexts(texts=("a", "b") * 50, labels=np.zeros(100, np.int64), class_names=("no", "yes"))
    changed = RandomLabels().texts(texts, generator())
    assert changed.texts == texts.texts and 0.3 < changed.labels.mean() < 0.7


def test_blurred_images_lose_detail_and_keep_what_they_are_of(digits: Images) -> None:
    changed = Blurred(factor=4).images(digits, generator())
    assert changed.pixels.shape == digits.pixels.shape and changed.pixels.dtype == np.uint8
    assert np.array_equal(changed.labels, digits.labels)
    means = [images.pixels.mean((1, 2, 3)) for images in (digits, changed)]
    assert np.corrcoef(*means)[0, 1] > 0.9
    steps = [np.abs(np.diff(images.pixels.astype(int), axis=2)).mean() for images in (digits, changed)]
    assert steps[1] < 0.35 * steps[0]
    flat = dataclasses.replace(digits, pixels=np.full_like(digits.pixels, 77))
    assert (Blurred(factor=4).images(flat, generator()).pixels == 77).all()


def test_turned_images_are_labelled_by_their_turns(digits: Images) -> None:
    changed = Rotation().images(digits, generator())
    assert set(changed.labels.tolist()) == {0, 1, 2, 3}
    for image, turned, turns in zip(digits.pixels, changed.pixels, changed.labels, strict=True):
        assert np.array_equal(np.rot90(turned, -int(turns)), image)


def test_kinds_are_done_in_the_order_of_their_names_and_drawn_by_the_seed(digits: Images) -> None:
    run = run_of(pretraining={"rotation": {}, "blurred": {"factor": 2}})
    assert list(run.open_pretraining()) == ["blurred", "rotation"]

    def labels(seed: int) -> list[int]:
        images = digits
        for kind, drawn in drawing(run.open_pretraining().values(), seed=seed):
            images = kind.images(images, drawn)
        return images.labels.tolist()

    assert labels(0) == labels(0) != labels(1)


def test_only_what_is_trained_on_is_changed(home: Home, tmp_path: Path) -> None:
    plain, changed = run_of(), run_of(pretraining={"random_labels": {}, "blurred": {}})
    tasks = [task_of(one.task).begun(one, home, tmp_path) for one in (plain, changed)]
    for one in tasks:
        assert isinstance(one, ImageClassification) and one.training is not None
    first, second = (one.training for one in tasks)  # type: ignore[attr-defined]
    assert (first.images.labels != second.images.labels).any()
    assert (first.images.pixels != second.images.pixels).any()
    # The network goes on with the scale it has learned.
    assert first.preprocessing == second.preprocessing
    for split in ("train", "selection", "test"):
        one, other = (task.images.split(split, 8) for task in tasks)  # type: ignore[attr-defined]
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_texts_are_relabelled_for_training_alone(
    text_tables: Callable[..., dict[str, Any]], home: Home, tmp_path: Path
) -> None:
    tables = text_tables("text_classification")
    configs = [
        checked(from_document(RunConfig, {**tables, "pretraining": one}))
        for one in ({}, {"random_labels": {}})
    ]
    one, other = (TextClassification.begun(config, home, tmp_path) for config in configs)
    assert (one.labels != other.labels).any() and one.rows == other.rows
    assert np.array_equal(one.encoded("selection")[1], other.encoded("selection")[1])


def test_a_run_that_ends_early_has_the_weights_of_the_whole_run_there(home: Home) -> None:
    training = {**TABLES["training"], "keep": ["7it"]}
    whole = run_of(name="whole", training=training)
    early = run_of(name="early", training={**training, "until": "1ep1it"})
    folders = [train(one, home=home, say=lambda line: None, interactive=False) for one in (whole, early)]
    kept, ended = (
        checkpoint.read_weights(path)
        for path in (folders[0] / "kept-7.safetensors", folders[1] / CHECKPOINT_FILE)
    )
    assert all(torch.equal(kept[name], ended[name]) for name in kept)
    said: list[str] = []
    train(early, home=home, say=said.append, interactive=False)
    assert "finished already" in said[0]


def test_an_end_that_is_none_is_told(home: Home) -> None:
    late = run_of(training={**TABLES["training"], "until": "3ep"})
    with pytest.raises(ConfigError, match="until is 3ep, step 18; it must be 1it to 2ep"):
        train(late, home=home, say=lambda line: None, interactive=False)
    with pytest.raises(ConfigError, match="'late' is no step of training"):
        run_of(training={**TABLES["training"], "until": "late"})


def test_a_default_renames_no_run() -> None:
    names = {
        run_of(pretraining={"blurred": {"factor": 4}}).digest,
        run_of(pretraining={"blurred": {}}).digest,
    }
    assert len(names) == 1 and run_of().digest not in names
    assert run_of(pretraining={}).digest == run_of().digest


@pytest.mark.parametrize(
    ("task", "kind", "told"),
    [
        ("text_classification", "blurred", r"\[pretraining.blurred\] is not for text classification"),
        ("text_classification", "rotation", "it is for image classification"),
        ("language_modelling", "random_labels", "is not for language modelling; it is for image classif"),
        ("translation", "random_labels", "is not for translation"),
    ],
)
def test_texts_that_it_cannot_change_are_refused_by_name(
    task: str, kind: str, told: str, text_tables: Callable[..., dict[str, Any]]
) -> None:
    with pytest.raises(ConfigError, match=told):
        checked(from_document(RunConfig, {**text_tables(task), "pretraining": {kind: {}}}))


def test_other_examples_that_it_cannot_change_are_refused(run_file: Path, digits: Images) -> None:
    with pytest.raises(ConfigError, match=r"a \[space\] is trained"):
        load_run(run_file, ["pretraining.random_labels={}"])
    with pytest.raises(UnknownVariant, match="Did you mean 'blurred'"):
        run_of(pretraining={"blured": {}})
    with pytest.raises(ConfigError, match="factor is 1; it must be at least 2"):
        run_of(pretraining={"blurred": {"factor": 1}})
    with pytest.raises(ConfigError, match="images of 8 pixels would have 1 left"):
        Blurred(factor=5).images(digits, generator())
    two = dataclasses.replace(digits, class_names=("0", "1"))
    with pytest.raises(ConfigError, match="needs 4 classes"):
        Rotation().images(two, generator())
