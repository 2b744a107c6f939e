"""What every model of text, task on text, technique for text and keep list must do."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_bench import variants
from edge_bench.data import DataSource
from edge_bench.documents import from_document
from edge_bench.files import Home
from edge_bench.records import TransformerSpace
from supernet.keep_lists import KEEP_LISTS, keep_list
from supernet.models import Model, TextModel, TextNetwork, TransformerNetwork
from supernet.run import MODELS, TECHNIQUES, RunConfig
from supernet.tasks import TASKS, task_of
from supernet.tasks._text import TextTask
from supernet.techniques import Technique
from supernet.trained import TrainedRun
from supernet.trainer import train

Tables = Callable[..., dict[str, Any]]

DATA = "edge_bench.data"
TEXT_MODELS = [
    name for name in variants.names(MODELS) if issubclass(variants.load(Model, MODELS, name), TextModel)
]
# What differs in its layers; the others have one network each.
TRANSFORMERS = [name for name in TEXT_MODELS if name != "lstm"]
TEXT_TASKS = [name for name in variants.names(TASKS) if issubclass(task_of(name), TextTask)]


def model_of(name: str) -> type[TextModel[Any]]:
    """Return a model; the test skips where its library is missing, or it is somebody else's network."""
    if name == "pretrained":
        pytest.skip("begins with weights that are made elsewhere: tests/supernet_tests/test_pretrained.py")
    return cast(type[TextModel[Any]], variants.load(Model, MODELS, name))


def small(name: str) -> tuple[TextModel[Any], TextNetwork]:
    """Return a model of few, narrow layers and its network."""
    given: Any = {"width": 16, "heads": 2, "length": 8, "dropout": 0.0}
    model = model_of(name)
    for field in dataclasses.fields(model):
        if field.name.endswith("layers"):
            given[field.name] = 3
    built = model(**_known(name, given))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return built, built.build(built.space(vocabulary=12, outputs=12), pad=0)


def answers(network: TextNetwork) -> Tensor:
    tokens = torch.tensor([[1, 5, 9, 2], [1, 7, 2, 0]])
    translates = isinstance(network, TransformerNetwork) and len(network.stacks) == 2
    logits: Tensor = network(tokens, tokens) if translates else network(tokens)
    return logits


def _known(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return those of some options that a model has."""
    return {key: value for key, value in options.items() if hasattr(model_of(name), key)}


def shapes(network: TextNetwork) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_model_is_cut_to_what_it_would_be_if_built_so(name: str) -> None:
    model, network = small(name)
    assert isinstance(network, TransformerNetwork)
    assert {stack: len(layers) for stack, layers in network.stacks.items()} == network.space.layers
    for arch in (network.space.smallest(), network.space.middle(), network.space.largest()):
        cut = network.cut(arch)
        assert shapes(cut) == shapes(model.build(cut.space, pad=0))
        assert sum(cut.space.layers.values()) == len(arch.blocks)


@pytest.mark.parametrize("task", TEXT_TASKS)
@pytest.mark.parametrize("name", TEXT_MODELS)
def test_a_model_trains_for_each_of_its_tasks_and_what_is_cut_is_a_program(
    name: str, task: str, text_tables: Tables, home: Home
) -> None:
    if task not in model_of(name).tasks:
        pytest.skip(f"'{name}' is not for {task}")
    more: dict[str, Any] = {} if name in TRANSFORMERS else {"techniques": None}
    tables = text_tables(task, training={"epochs": 1, "epoch_steps": 1}, **more)
    tables["model"] = {"kind": name, **_known(name, tables["model"])}
    config = from_document(RunConfig, tables)
    run = TrainedRun.open(train(config, home=home, say=lambda line: None, interactive=False))
    subnet = run.cut(run.space.smallest(), home=home)
    assert home.absolute(subnet.program).is_file() and subnet.text is not None
    assert (subnet.step is None) == (cast(TextNetwork, run.network).stepper() is None)
    metric = subnet.metrics[0]
    assert run.judge(run.space.smallest()) == metric


def test_every_task_has_data_and_a_model() -> None:
    kinds = {variants.load(DataSource, DATA, name).task for name in variants.names(DATA)}
    assert kinds == set(variants.names(TASKS))
    served = {task for name in variants.names(MODELS) for task in variants.load(Model, MODELS, name).tasks}
    assert served == set(variants.names(TASKS))
    assert len({task_of(name).unit for name in variants.names(TASKS)}) == len(variants.names(TASKS))


@pytest.mark.parametrize("model", TEXT_MODELS)
@pytest.mark.parametrize("name", variants.names(TECHNIQUES))
def test_a_technique_leaves_nothing_in_what_is_cut_nor_in_the_end(name: str, model: str) -> None:
    if name == "lottery_ticket":
        pytest.skip("begins with what other runs have trained: tests/supernet_tests/test_ladder.py")
    built, network = small(model)
    technique = variants.load(Technique, TECHNIQUES, name)()
    of_transformers = name == "layer_drop" and model not in TRANSFORMERS
    if of_transformers or not set(technique.tasks) & set(built.tasks):
        pytest.skip(f"'{name}' is not for what '{model}' does")
    tensors, arch = network.state_dict().keys(), network.space.middle()
    technique.check(network)
    technique.begin(network)
    network.train()
    for step in range(20):
        technique.before_step(network, np.random.default_rng(step), step, 20)
        technique.after_step(network, step, 20)
    network.eval()
    expected, cut = answers(network), answers(network.cut(arch))
    technique.finish(network)
    assert network.state_dict().keys() == tensors
    for mode in (True, False):
        network.train(mode)
        torch.testing.assert_close(answers(network), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(answers(network.cut(arch).train(mode)), cut, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", variants.names(KEEP_LISTS))
def test_a_keep_list_keeps_as_many_layers_of_each_stack_as_were_asked_for(
    name: str, text_run: Callable[[str], tuple[Path, Home]], home: Home
) -> None:
    original, _ = text_run("translation")
    folder = home.runs / original.name
    shutil.copytree(original, folder)
    run = TrainedRun.open(folder)
    space = cast(TransformerSpace, run.space)
    told: list[tuple[int, int]] = []

    def choose() -> Any:
        return keep_list(name).choose(
            run, {"encoder": 2}, seed=0, report=lambda what, done, total: told.append((done, total))
        )

    arch = choose()
    kept = space.kept(arch)
    # A stack that is not named keeps all.
    assert len(kept["encoder"]) == 2 and kept["decoder"] == (0, 1)
    assert choose() == arch
    assert all(0 < done <= total for done, total in told)
