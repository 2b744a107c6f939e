"""Techniques that prune while they train: exact sparsity, and what becomes of pruned weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from interruption import stopped
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edge_bench.documents import from_document
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from supernet.run import CHECKPOINT_FILE, RunConfig, checked, load_run
from supernet.sparsity import masked, masks
from supernet.techniques._sparse import SparseTechnique
from supernet.techniques.dpf import Dpf
from supernet.techniques.gradual_pruning import GradualPruning
from supernet.techniques.one_shot_pruning import OneShotPruning
from supernet.trained import TrainedRun
from supernet.trainer import train

Tables = Callable[..., dict[str, Any]]
STEPS = 40
Each = Callable[[nn.Module, int], None]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def trained(
    technique: SparseTechnique,
    *,
    each: Each = lambda network, step: None,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
) -> nn.Module:
    """Train as the trainer does, begun but not finished; `each` looks on before the optimizer moves."""
    net = network()
    technique.check(net)
    technique.begin(net)
    moves = optimizer(net.parameters(), lr=0.1, weight_decay=0.1)
    for step in range(STEPS):
        moves.zero_grad()
        technique.before_step(net, np.random.default_rng(step), step, STEPS)
        inputs = torch.randn(16, 8)
        F.cross_entropy(net(inputs), inputs[:, :4].argmax(1)).backward()
        each(net, step)
        moves.step()
        technique.after_step(net, step, STEPS)
    return net


def sparsity(net: nn.Module) -> float:
    return masks.Statistics.of(masked.mask_of(net)).sparsity


def test_dpf_moves_weights_that_are_pruned() -> None:
    moved: list[bool] = []

    def look(net: nn.Module, step: int) -> None:
        for name, weight in masked.dense_weights(net).items():
            pruned = ~masked.mask_of(net)[name]
            assert weight.grad is not None
            if pruned.any():
                moved.append(bool((weight.grad[pruned] != 0).any()))

    net = trained(Dpf(sparsity=0.8, refresh_steps=4), each=look)
    assert moved and all(moved)
    facts = Dpf().facts(net)
    assert facts["reactivated"] > 0 and facts["pruned"] == 0.8125 - 1 / 192 * 2  # 154 of 192


def test_gradual_pruning_leaves_pruned_weights_alone() -> None:
    fallen: list[dict[str, Tensor]] = []

    def look(net: nn.Module, step: int) -> None:
        for name, weight in masked.dense_weights(net).items():
            assert weight.grad is not None
            assert not weight.grad[~masked.mask_of(net)[name]].any()
        fallen.append({name: ~mask for name, mask in masked.mask_of(net).items()})

    net = trained(GradualPruning(sparsity=0.8, refresh_steps=4), each=look)
    for before, after in zip(fallen, fallen[1:], strict=False):
        assert all((before[name] <= after[name]).all() for name in before)
    assert not any(int(one.regrown) for one in masked.masks_in(net).values())


@pytest.mark.parametrize("kind", [Dpf, GradualPruning])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_sparsity_follows_the_ramp_and_the_mask_is_held_in_the_end(kind: Any, scope: Any) -> None:
    seen: list[float] = []
    held: list[list[Tensor]] = []

    def look(net: nn.Module, step: int) -> None:
        seen.append(sparsity(net))
        held.append([mask.clone() for mask in masked.mask_of(net).values()])

    technique = kind(sparsity=0.9, refresh_steps=4, ramp_end=0.5, freeze=0.75, scope=scope)
    net = trained(technique, each=look)
    for step, found in enumerate(seen):
        drawn = min(step // 4 * 4, 30) if step < 30 else 30
        asked = 0.9 * masks.cubic_ramp(drawn / 20)
        # To one weight.
        assert abs(found - asked) <= 0.5 / 192 + 1e-9, step
    assert sparsity(net) == seen[-1] == pytest.approx(0.9, abs=0.5 / 192)
    assert all(torch.equal(a, b) for a, b in zip(held[30], held[-1], strict=True))


@pytest.mark.parametrize("at", [0.5, 1.0])
def test_one_shot_pruning_prunes_once(at: float) -> None:
    seen: list[float] = []
    net = trained(OneShotPruning(sparsity=0.9, at=at), each=lambda net, step: seen.append(sparsity(net)))
    first = round(at * STEPS)
    assert not any(seen[:first])
    assert {*seen[first:], sparsity(net)} == {1 - 19 / 192}


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("technique", [Dpf(refresh_steps=4), GradualPruning(), OneShotPruning(at=0.5)])
def test_pruned_weights_are_zero_whatever_the_optimizer_does(
    technique: SparseTechnique, optimizer: Any
) -> None:
    net = trained(technique, optimizer=optimizer)
    mask = {name: one.clone() for name, one in masked.mask_of(net).items()}
    inputs = torch.randn(4, 8)
    expected = net(inputs)
    technique.finish(net)
    assert torch.equal(net(inputs), expected)
    assert not any(parametrize.is_parametrized(module) for module in net.modules())
    for name, stands in mask.items():
        assert torch.equal(net.get_parameter(name) != 0, stands)


def test_what_is_excluded_stays_dense() -> None:
    net = trained(Dpf(exclude=("2.*",), sparsity=0.5, biases=True))
    assert set(masked.masks_in(net)) == {"0.weight", "0.bias"}


@pytest.mark.parametrize(
    ("technique", "told"),
    [
        (Dpf(sparsity=1.0), r"\[techniques.dpf\] sparsity is 1; it must be at least 0 and below 1"),
        (GradualPruning(freeze=0.5), r"\[techniques.gradual_pruning\] freeze is 0.5; .* at least 0.75"),
        (Dpf(refresh_steps=0), "refresh_steps is 0"),
        (OneShotPruning(at=1.5), "at is 1.5"),
        (OneShotPruning(exclude=("9.*",)), r"\[techniques.one_shot_pruning\] exclude holds '9\.\*'"),
    ],
)
def test_options_that_do_not_fit_are_told(technique: SparseTechnique, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        technique.check(network())


def test_an_elastic_network_is_refused_with_the_reason(run_file: Path, home: Home) -> None:
    config = load_run(run_file, ("techniques.dpf={}",))
    with pytest.raises(ConfigError, match="elastic network of space 'lite_32'.*shared by subnets"):
        train(config, home=home, say=lambda line: None, interactive=False)


@pytest.mark.parametrize(
    "technique", [{"dpf": {"refresh_steps": 2}}, {"gradual_pruning": {}}, {"one_shot_pruning": {"at": 0.7}}]
)
def test_a_sparse_run_resumed_equals_an_undisturbed_one_and_its_cut_has_the_zeros(
    technique: dict[str, Any], text_tables: Tables, tmp_path: Path
) -> None:
    training = {"epochs": 1, "epoch_steps": 12, "checkpoint_steps": 5}
    tables = text_tables("text_classification", techniques=None, training=training)
    config = checked(from_document(RunConfig, {**tables, "techniques": technique}))
    homes = Home(tmp_path / "undisturbed"), Home(tmp_path / "disturbed")
    folder = train(config, home=homes[0], say=lambda line: None, interactive=False)
    stopped(lambda: train(config, home=homes[1], say=lambda line: None, interactive=False))
    resumed = train(config, home=homes[1], say=lambda line: None, interactive=False)
    one, two = (load_file(at / CHECKPOINT_FILE) for at in (folder, resumed))
    assert one.keys() == two.keys()
    assert [name for name in one if name != "random.torch" and not torch.equal(one[name], two[name])] == []
    run = TrainedRun.open(resumed)
    subnet = run.cut(run.space.largest(), home=homes[1])
    (name,) = technique
    assert subnet.technique == name
    notes = subnet.notes[name]
    assert subnet.sparsity == pytest.approx(0.9, abs=1e-3)
    assert subnet.sparsity == pytest.approx(notes["pruned"], abs=1e-9)
