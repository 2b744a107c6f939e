"""What every technique promises of a deployed network: its files are those of a network trained without it.

A technique's entry in `TRIALS` says which tiny run it is tried on; one without an entry fails by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
import torch

from converters import FORMATS
from converters.export import export_subnet
from edge_bench import variants
from edge_bench.documents import from_document
from edge_bench.files import Home
from edge_bench.measure import tflite_file
from edge_bench.records import Artifact, Subnet
from supernet import checkpoint
from supernet.ladder import climb
from supernet.run import CHECKPOINT_FILE, TECHNIQUES, RunConfig, checked
from supernet.trained import TrainedRun
from supernet.trainer import train

PERCEPTRON = {"kind": "mlp", "resolution": 8, "hidden": [24, 16]}
ROW = {"kind": "convnet", "resolution": 8, "widths": [4, 8, 8], "strides": [1, 2, 1]}
RESIDUAL = {"kind": "resnet", "resolution": 8, "depth": 8, "width": 4}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A technique's options and the tiny run it is tried in: a `[model]` on digits, or on made-up reviews
    where `task` says so. With `goes_on` it begins with the trained plain network (`[start]`). `differs` is
    how far the network as it trains and the deployed one may be apart.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=lambda: PERCEPTRON)
    task: str = "image_classification"
    goes_on: bool = False
    differs: float = 1e-5


TRIALS = {
    "decay_to_start": Trial(options={"strength": 0.1}, goes_on=True),
    "dpf": Trial(options={"sparsity": 0.5, "refresh_steps": 2}, model=RESIDUAL),
    "dropout": Trial(options={"rate": 0.3}, model=RESIDUAL),
    "gradual_pruning": Trial(options={"sparsity": 0.5, "refresh_steps": 2}),
    "layer_drop": Trial(options={"rate": 0.3}, task="text_classification"),
    "lottery_ticket": Trial(options={"rate": 0.5, "rewind": "2it"}),
    # Not a residual network: the biases of both branches get one gradient and stay equal where no mean is
    # taken away, and a file holds equal constants once.
    "mabn": Trial(options={"simulated_batch": 128, "warmup_steps": 3}, model=ROW),
    "mixout": Trial(options={"rate": 0.5}, goes_on=True),
    "network_deconvolution": Trial(model=RESIDUAL),
    "one_shot_pruning": Trial(options={"sparsity": 0.5, "at": 0.5}),
}
# What no deployed graph may hold: anything drawn, and what a mask or a switch would be made of.
RANDOM = ("random", "bernoulli", "multinomial", "dropout")


@pytest.fixture(scope="module")
def trials(
    text_tables: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Trained]:
    """A function that gives the runs of a technique's trial, both trained."""
    trained: dict[str, Trained] = {}
    home = Home(tmp_path_factory.mktemp("techniques"))

    def make(name: str) -> Trained:
        if name not in trained:
            trained[name] = _trained(name, TRIALS[name], text_tables, home)
        return trained[name]

    return make


@pytest.fixture(scope="module")
def files() -> Callable[[TrainedRun, Home, str], tuple[Artifact, Path]]:
    """A function that gives the exported file of a run's network, made once."""
    made: dict[tuple[str, str], tuple[Artifact, Path]] = {}
    cut: dict[str, Subnet] = {}

    def make(run: TrainedRun, home: Home, form: str) -> tuple[Artifact, Path]:
        if run.name not in cut:
            cut[run.name] = run.cut(run.space.largest(), home=home)
        if (run.name, form) not in made:
            artifact, *_ = export_subnet(cut[run.name], home=home, format=form)
            made[run.name, form] = artifact, home.absolute(artifact.file)
        return made[run.name, form]

    return make


def test_every_technique_has_a_trial() -> None:
    missing = set(variants.names(TECHNIQUES)) - set(TRIALS)
    assert not missing, (
        f"{', '.join(sorted(missing))}: add an entry to TRIALS in {Path(__file__).name}, with options that "
        "a tiny run trains with in seconds; its files are held against those of a plain network"
    )
    assert set(TRIALS) <= set(variants.names(TECHNIQUES)), "TRIALS names a technique that is gone"


# One format of each technique's is held to it at every change.
FORMS = [
    pytest.param(form, marks=() if form == "onnx" else pytest.mark.slow) for form in variants.names(FORMATS)
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TRIALS)
def test_files_hold_what_those_of_a_network_trained_without_it_do(
    name: str, form: str, trials: Callable[[str], Trained], files: Callable[..., tuple[Artifact, Path]]
) -> None:
    runs = trials(name)
    artifact, file = files(runs.technique, runs.home, form)
    _, plain = files(runs.plain, runs.home, form)
    found, expected = _told(file), _told(plain)
    assert found.operators == expected.operators
    assert found.constants == expected.constants
    assert not found.foreign
    for word in (*RANDOM, "mask") if runs.of_images else RANDOM:
        assert not [one for one in found.operators if word in one.lower()], word
    assert artifact.parity is not None and artifact.parity.max_abs_error <= 1e-4


@pytest.mark.parametrize("name", TRIALS)
def test_the_deployed_network_answers_as_the_one_that_was_trained(
    name: str, trials: Callable[[str], Trained]
) -> None:
    runs = trials(name)
    task = runs.technique.task
    trained = task.judged_network()
    task.begin(trained)
    checkpoint.restore(runs.technique.folder / CHECKPOINT_FILE, trained)
    plain = runs.plain.network.state_dict()
    learned = runs.technique.network.state_dict()
    assert not all(torch.equal(plain[one], learned[one]) for one in plain.keys() & learned.keys())
    inputs = _inputs(runs)
    with torch.inference_mode():
        expected = trained.eval()(inputs)
        torch.testing.assert_close(
            runs.technique.network.eval()(inputs), expected, rtol=0, atol=TRIALS[name].differs
        )


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The run with the technique and the one without it, under one home."""

    technique: TrainedRun
    plain: TrainedRun
    home: Home

    @property
    def of_images(self) -> bool:
        return self.plain.record.preprocessing is not None


def _trained(name: str, trial: Trial, text_tables: Callable[..., dict[str, Any]], home: Home) -> Trained:
    plain = _tables(trial, text_tables)
    begins: dict[str, Any] = plain
    run = _run(plain, home)
    if trial.goes_on:
        begins = {key: table for key, table in plain.items() if key not in ("model", "tokenizer")}
        begins["start"] = {"run": run.name}
    tables = {**begins, "name": name.replace("_", "-"), "techniques": {name: dict(trial.options)}}
    if name == "lottery_ticket":
        config = checked(from_document(RunConfig, tables))
        *_, last = climb(config, rounds=1, controls=(), home=home, say=_unheard, interactive=False)
        return Trained(technique=TrainedRun.open(last.folder), plain=run, home=home)
    return Trained(technique=_run(tables, home), plain=run, home=home)


def _tables(trial: Trial, text_tables: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    training = {"epochs": 1, "epoch_steps": 8, "threads": 1, "device": "cpu"}
    if trial.task != "image_classification":
        tables = text_tables(trial.task, techniques=None, training=training, model={"layers": 2})
        return {**tables, "name": "plain"}
    pytest.importorskip("edge_bench.data.digits")
    return {
        "name": "plain",
        "data": {"kind": "digits"},
        "model": dict(trial.model),
        "training": {**training, "batch_size": 64, "learning_rate": 0.01},
    }


def _run(tables: Mapping[str, Any], home: Home) -> TrainedRun:
    config = checked(from_document(RunConfig, dict(tables)))
    return TrainedRun.open(train(config, home=home, say=_unheard, interactive=False))


def _inputs(runs: Trained) -> torch.Tensor:
    task = cast(Any, runs.technique.task)
    if runs.of_images:
        return cast(torch.Tensor, task.images.split("selection", runs.plain.space.largest().resolution)[0])
    rows = task.encoded("selection")[0][:8]
    shortest = min(map(len, rows))
    return torch.from_numpy(np.array([row[:shortest] for row in rows]))


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What a file holds: how many operators of each kind and constants of each shape, and what is foreign
    to plain files (functions, operators of other domains, custom ones).
    """

    operators: Counter[str]
    constants: Counter[tuple[int, ...]]
    foreign: tuple[str, ...]


def _told(file: Path) -> _Told:
    if file.suffix == ".onnx":
        model = onnx.load(file)
        nodes = model.graph.node
        domains = {node.domain for node in nodes} | {one.domain for one in model.opset_import}
        return _Told(
            operators=Counter(node.op_type for node in nodes),
            constants=Counter(tuple(one.dims) for one in model.graph.initializer),
            foreign=(*(one.name for one in model.functions), *sorted(domains - {"", "ai.onnx"})),
        )
    seen = tflite_file.survey_file(file)
    return _Told(
        operators=Counter(step.operator for step in seen.graph.steps),
        constants=Counter(one.shape for one in seen.tensors if one.constant),
        foreign=tuple(sorted(seen.custom)),
    )


def _unheard(line: str) -> None:
    """Take a line of progress."""
