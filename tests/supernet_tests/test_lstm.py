"""An LSTM language model: what it computes, that it learns, resumes, is pruned, and what is cut of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from interruption import stopped
from safetensors.torch import load_file
from torch import Tensor, nn

from edge_bench.documents import from_document, to_document
from edge_bench.errors import ConfigError, InvalidArch
from edge_bench.files import Home
from edge_bench.records import ArchConfig, Block, RecurrentSpace, RecurrentStep, Subnet, parse_arch
from supernet.extraction import extract_front
from supernet.models import TextNetwork
from supernet.models.lstm import Lstm
from supernet.run import CHECKPOINT_FILE, RunConfig, checked
from supernet.sparsity import masked, masks
from supernet.trained import TrainedRun
from supernet.trainer import train

Tables = Callable[..., dict[str, Any]]
MODEL = {"kind": "lstm", "width": 16, "layers": 2, "length": 24, "dropout": 0.1}


@pytest.fixture
def tables(text_tables: Tables) -> Tables:
    """A function that gives the tables of a tiny run of an LSTM."""

    def make(**changes: Any) -> dict[str, Any]:
        made = text_tables("language_modelling", techniques=None, **changes)
        return {**made, "model": {**MODEL, **changes.get("model", {})}}

    return make


def run(tables: dict[str, Any], home: Home) -> Path:
    config = checked(from_document(RunConfig, tables))
    return train(config, home=home, say=lambda line: None, interactive=False)


def network(**options: Any) -> TextNetwork:
    model = Lstm(**{"width": 8, "length": 6, **options})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model.build(model.space(vocabulary=11, outputs=11), pad=0).eval()


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / CHECKPOINT_FILE)


TOKENS = torch.tensor([[1, 5, 9, 2], [1, 7, 2, 10], [3, 3, 8, 4]])


def test_it_computes_what_torchs_own_lstm_does() -> None:
    made: Any = network()
    own = nn.LSTM(8, 8, num_layers=2, batch_first=True)
    state = {}
    for place, layer in enumerate(made.layers):
        state[f"weight_ih_l{place}"] = layer.input.weight
        state[f"weight_hh_l{place}"] = layer.recurrent.weight
        state[f"bias_ih_l{place}"] = layer.input.bias
        state[f"bias_hh_l{place}"] = torch.zeros_like(layer.input.bias)
    own.load_state_dict(state)
    expected = made.classifier(own(made.embedding(TOKENS))[0])
    torch.testing.assert_close(made(TOKENS), expected, rtol=0, atol=1e-6)
    # What trains takes another kernel than what judges.
    torch.testing.assert_close(network(dropout=0.0).train()(TOKENS), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_steps_answer_as_the_network_does_to_the_whole_text(tied: bool) -> None:
    made = network(tied=tied)
    expected = made(TOKENS)
    stepper, state = made.stepper(), torch.zeros(3, 2, 2, 8)
    assert stepper is not None
    for place in range(TOKENS.shape[1]):
        told = stepper(TOKENS[:, place : place + 1], state)
        torch.testing.assert_close(told["logits"], expected[:, place], rtol=0, atol=1e-6)
        state = told["new_state"]


def test_tied_vectors_are_one_parameter_and_the_matrix_of_logits() -> None:
    tied, untied = ({name for name, _ in network(tied=one).named_parameters()} for one in (True, False))
    assert untied - tied == {"classifier.weight", "classifier.bias"} and tied < untied


def test_masks_reach_every_weight_in_training_and_judging() -> None:
    made = network(dropout=0.0)
    names = masks.prunable(made)
    assert {name.rpartition(".")[0] for name in names} == {
        "embedding", "classifier", *(f"layers.{n}.{one}" for n in (0, 1) for one in ("input", "recurrent"))
    }  # fmt: skip
    before = made(TOKENS)
    for name in names:
        masked.attach(made, [name], masked.Masked)
        masked.take(made, {name: torch.zeros_like(one) for name, one in masked.mask_of(made).items()})
        for mode in (True, False):
            assert not torch.allclose(made.train(mode)(TOKENS), before)
        masked.take(made, {name: torch.ones_like(one) for name, one in masked.mask_of(made).items()})
        masked.detach(made)
        torch.testing.assert_close(made.eval()(TOKENS), before, rtol=0, atol=1e-6)


def test_it_learns_and_its_one_network_is_cut_with_a_step(tables: Tables, home: Home) -> None:
    folder = run(tables(), home)
    trained = TrainedRun.open(folder)
    space = trained.space
    assert isinstance(space, RecurrentSpace) and space.size() == 1
    assert trained.judge(space.largest()).value < 0.6 * space.vocabulary
    [subnet] = extract_front(folder, home=home, count=5, screened=5)
    step = subnet.step
    assert step == RecurrentStep(
        program=step.program if step else "", digest=step.digest if step else "", layers=2, width=16,
        tokens=24.0,
    )  # fmt: skip
    assert from_document(Subnet, to_document(subnet)) == subnet
    assert subnet.macs == 24 * (2 * 2 * 4 * 16 * 16 + 16 * space.vocabulary) and subnet.technique == "plain"
    assert parse_arch("largest", space) == subnet.arch and parse_arch("d1", space) is None
    with pytest.raises(InvalidArch, match="no choices"):
        trained.cut(ArchConfig(space="lstm", resolution=24, blocks=(Block(source=0),)), home=home)
    # Batch and length of what is cut are free; a state is as long as the batch.
    program = torch.export.load(home.absolute(subnet.program)).module()
    steps = torch.export.load(home.absolute(step.program)).module() if step else None
    assert steps is not None
    with torch.inference_mode():
        for shape in ((1, 1), (5, 24), (2, 7)):
            assert program(torch.ones(shape, dtype=torch.long)).shape == (*shape, space.vocabulary)
            told = steps(torch.ones(shape[0], 1, dtype=torch.long), torch.zeros(shape[0], 2, 2, 16))
            assert told["new_state"].shape == (shape[0], 2, 2, 16)


def test_resumed_run_equals_undisturbed_run(tables: Tables, tmp_path: Path) -> None:
    short = tables(training={"epoch_steps": 12, "checkpoint_steps": 5})
    undisturbed, disturbed = run(short, Home(tmp_path / "undisturbed")), Home(tmp_path / "disturbed")
    stopped(lambda: run(short, disturbed))
    torch.rand(3)
    told, expected = weights(run(short, disturbed)), weights(undisturbed)
    assert all(torch.equal(told[name], expected[name]) for name in expected if name != "random.torch")


def test_sparse_training_leaves_an_exact_share_of_zeros_in_what_is_cut(tables: Tables, home: Home) -> None:
    changed = {**tables(), "techniques": {"dpf": {"sparsity": 0.8}}}
    [subnet] = extract_front(run(changed, home), home=home, count=2, screened=0)
    assert math.isclose(subnet.sparsity, 0.8, abs_tol=1e-3)
    metric = subnet.metric("selection")
    assert metric is not None and metric.value < 40


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"layers": 0}}, "layers is 0"),
        ({"model": {"width": 0}}, "width is 0"),
        ({"techniques": {"layer_drop": {}}}, "a transformer; the network is none"),
    ],
)
def test_what_makes_no_network_is_refused(
    changes: dict[str, Any], words: str, tables: Tables, home: Home
) -> None:
    made = tables(**{key: value for key, value in changes.items() if key == "model"})
    if "techniques" in changes:
        made["techniques"] = changes["techniques"]
    with pytest.raises(ConfigError, match=words):
        run(made, home)
