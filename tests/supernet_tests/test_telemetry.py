"""Telemetry of the first steps: read off an ordinary run, which nothing of it changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from edge_bench.documents import from_document, to_document
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from supernet import checkpoint
from supernet.ladder import dense_of, ticket_of
from supernet.run import CHECKPOINT_FILE, RunConfig, checked, load_run, read_record
from supernet.tasks import task_of
from supernet.tasks.image_classification import ImageClassification
from supernet.telemetry import TELEMETRY_FILE, Telemetry, log_spaced, telemetry
from supernet.trainer import train

TRAINING = {
    "epochs": 2,
    "epoch_steps": 6,
    "checkpoint_steps": 4,
    "batch_size": 16,
    "learning_rate": 0.02,
    "threads": 1,
    "device": "cpu",
}


def on_digits(**changes: Any) -> RunConfig:
    tables = {
        "name": "small",
        "data": {"kind": "digits"},
        "model": {"kind": "mlp", "resolution": 8, "hidden": [12]},
        "training": TRAINING,
    }
    return checked(from_document(RunConfig, {**tables, **changes}))


def looked_at(run: RunConfig, home: Home, first: str = "8it", points: int = 4) -> Telemetry:
    return telemetry(run, first=first, points=points, home=home, say=lambda line: None, interactive=False)


@pytest.fixture
def run_of_task(
    request: pytest.FixtureRequest, text_tables: Callable[..., dict[str, Any]], run_file: Path
) -> RunConfig:
    """A run of each task, or of a network with batch norms."""
    if request.param == "resnet":
        return on_digits(model={"kind": "resnet", "depth": 8, "width": 4, "resolution": 8})
    if request.param == "space":
        return load_run(run_file, ["training.epoch_steps=6", "training.epochs=2"])
    if request.param == "control":
        pytest.importorskip("gymnasium")
        return on_digits(
            data={
                "kind": "gymnasium",
                "environment": "CartPole-v1",
                "environments": 4,
                "epoch_frames": 96,
                "episodes": 2,
            },
            model={"kind": "policy", "hidden": [8]},
            training={**TRAINING, "epoch_steps": 0},
        )
    tables = text_tables(request.param, training={"epoch_steps": 6, "checkpoint_steps": 4})
    return checked(from_document(RunConfig, tables))


TASKS = ["resnet", "space", "control", "text_classification", "language_modelling", "translation"]


@pytest.mark.parametrize("run_of_task", TASKS, indirect=True)
def test_each_task_is_looked_at_from_its_start_to_its_end(run_of_task: RunConfig, home: Home) -> None:
    found = looked_at(run_of_task, home)
    assert [point.step for point in found.points] == [0, 1, 2, 4, 8, 12]
    first, last = found.points[0], found.points[-1]
    assert first.overall.distance_from_start == 0 and first.overall.signs_changed == 0
    assert last.overall.distance_from_end == 0 and last.overall.cosine_with_end == pytest.approx(1)
    assert first.overall.distance_from_end == last.overall.distance_from_start > 0
    for point in found.points:
        assert point.overall.gradient_norm > 0 and point.overall.mean_magnitude > 0
        assert point.overall.weights == sum(one.weights for one in point.layers.values())
        assert set(point.layers) == set(first.layers)


def test_figures_are_those_of_the_weights_that_were_kept(home: Home) -> None:
    found = looked_at(on_digits(), home)
    folder = home.runs / found.run
    config = read_record(folder).config
    task = task_of(config.task).begun(config, home, folder)
    start = task.network(config.seed).state_dict()
    now = checkpoint.read_weights(folder / "kept-4.safetensors")
    end = checkpoint.read_weights(folder / CHECKPOINT_FILE)
    names = [name for name in now if now[name].ndim > 1]
    a, b, c = (torch.cat([one[name].flatten() for name in names]) for one in (start, now, end))
    told = found.points[3]
    assert told.step == 4 and list(told.layers) == names
    assert told.overall.mean_magnitude == pytest.approx(float(b.abs().mean()), rel=1e-5)
    assert told.overall.signs_changed == pytest.approx(float((a.sign() != b.sign()).float().mean()))
    assert told.overall.distance_from_start == pytest.approx(float((b - a).norm()), rel=1e-4)
    assert told.overall.distance_from_end == pytest.approx(float((b - c).norm()), rel=1e-4)
    assert told.overall.cosine_with_start == pytest.approx(
        float(F.cosine_similarity(a, b, dim=0)), rel=1e-5
    )
    assert told.overall.cosine_with_end == pytest.approx(float(F.cosine_similarity(b, c, dim=0)), rel=1e-5)
    # The metric is that of the network as it stood there.
    network = task.judged(lambda plain: plain.load_state_dict(now))
    assert told.quality == task.judge(network, task.space.largest(), "selection").value


def test_gradients_are_those_of_the_loss_on_the_same_examples(home: Home) -> None:
    training = {**TRAINING, "batch_size": 1199, "label_smoothing": 0.0}
    found = looked_at(on_digits(training=training), home, first="2it", points=2)
    folder = home.runs / found.run
    config = read_record(folder).config
    task = task_of(config.task).begun(config, home, folder)
    assert isinstance(task, ImageClassification) and task.training is not None
    assert found.examples == len(task.training) == 1199
    network = task.network(config.seed)
    network.load_state_dict(checkpoint.read_weights(folder / "kept-2.safetensors"))
    inputs, labels = task.training.batch(np.arange(1199), 8, np.random.default_rng(0))
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    point = found.points[2]
    squares = [float(one.grad.square().sum()) for one in network.parameters() if one.ndim > 1]  # type: ignore[union-attr]
    assert point.training_loss == pytest.approx(loss.item(), rel=1e-4)
    assert point.overall.gradient_norm == pytest.approx(sum(squares) ** 0.5, rel=1e-3)


def test_looking_changes_nothing_of_the_run(home: Home) -> None:
    run = on_digits()
    found = looked_at(run, home)
    plain = train(dense_of(run, ticket_of(run)), home=home, say=lambda line: None, interactive=False)
    weights = [
        checkpoint.read_weights(folder / CHECKPOINT_FILE) for folder in (plain, home.runs / found.run)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_it_is_read_off_once_and_the_same_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    found = looked_at(on_digits(), home)
    path = home.runs / found.run / TELEMETRY_FILE
    assert from_document(Telemetry, json.loads(path.read_text(encoding="utf-8"))) == found
    path.unlink()
    assert looked_at(on_digits(), home) == found
    with monkeypatch.context() as patched:
        patched.setattr("supernet.telemetry._read", None)
        assert looked_at(on_digits(), home) == found


def test_a_run_that_was_interrupted_tells_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes = Home(tmp_path / "undisturbed"), Home(tmp_path / "disturbed")
    undisturbed = looked_at(on_digits(), homes[0])
    save, saved = checkpoint.save, 0

    def save_or_stop(*arguments: Any) -> None:
        nonlocal saved
        save(*arguments)
        saved += 1
        if saved == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", save_or_stop)
    with pytest.raises(KeyboardInterrupt):
        looked_at(on_digits(), homes[1])
    assert to_document(looked_at(on_digits(), homes[1])) == to_document(undisturbed)


@given(last=st.integers(1, 10**6), points=st.integers(1, 30))
def test_points_lie_between_the_first_step_and_the_last(last: int, points: int) -> None:
    steps = log_spaced(last, points)
    assert steps[-1] == last and 1 <= steps[0] and 1 <= len(steps) <= points
    assert list(steps) == sorted(set(steps))
    if points > 1:
        assert steps[0] == 1


def test_a_tenth_of_the_run_is_looked_at_where_nothing_is_said(home: Home) -> None:
    training = {**TRAINING, "epochs": 5}
    assert [point.step for point in looked_at(on_digits(training=training), home, first="").points] == [
        0,
        1,
        2,
        3,
        30,
    ]


def test_what_cannot_be_looked_at_is_told(run_file: Path, home: Home) -> None:
    with pytest.raises(ConfigError, match="steps is 9ep, step 54; it must be 1it to 2ep"):
        looked_at(on_digits(), home, first="9ep")
    with pytest.raises(ConfigError, match="'soon' is no step"):
        looked_at(on_digits(), home, first="soon")
    with pytest.raises(ConfigError, match="points is 0"):
        looked_at(on_digits(), home, points=0)
    several = load_run(run_file, ["schedule.kind=progressive_shrinking", "training.epochs=12"])
    with pytest.raises(ConfigError, match="several phases"):
        looked_at(several, home)
    assert not list(home.runs.glob("*/telemetry.json"))
