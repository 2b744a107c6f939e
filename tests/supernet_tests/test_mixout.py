"""Fine-tuning near the weights a run begins with: Mixout, decay toward them, and dropout beside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from interruption import stopped
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edge_bench.documents import from_document
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from supernet.models.encoder import Encoder
from supernet.models.pretrained import _Network
from supernet.run import CHECKPOINT_FILE, RunConfig, checked, load_run
from supernet.techniques import Technique
from supernet.techniques.decay_to_start import DecayToStart
from supernet.techniques.dropout import Dropout
from supernet.techniques.layer_drop import LayerDrop
from supernet.techniques.mixout import Mixed, Mixout
from supernet.trained import TrainedRun
from supernet.trainer import train

Tables = Callable[..., dict[str, Any]]
MLP = {"kind": "mlp", "resolution": 8, "hidden": [12]}
TRAINING = {
    "epochs": 1,
    "epoch_steps": 12,
    "batch_size": 32,
    "learning_rate": 0.01,
    "checkpoint_steps": 5,
    "threads": 1,
    "device": "cpu",
}
# In a checkpoint: what a layer has learned, and what it began with.
KEPT = {
    "mixout": ("weights.1.parametrizations.weight.original", "weights.1.parametrizations.weight.0.start"),
    "decay_to_start": ("weights.1.weight", "weights.1.weight_at_start"),
    "dropout": ("weights.1.weight", ""),
}


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def step(technique: Technique, network: nn.Module, number: int = 0) -> None:
    technique.before_step(network, np.random.default_rng(number), number, 10)


def mixed(weight: Tensor, start: Tensor, kept: Tensor, rate: float, groups: int = 1) -> Tensor:
    one = Mixed(start, rate, groups)
    one.draw(kept)
    result: Tensor = one(weight)
    return result


@pytest.mark.parametrize(
    ("shape", "groups"), [((4, 6), 1), ((4, 3, 3, 3), 1), ((8, 3, 1, 1), 2), ((6, 1, 3, 3), 6)]
)
def test_each_input_is_mixed_as_a_whole_with_what_it_began_with(shape: Any, groups: int) -> None:
    torch.manual_seed(0)
    weight, start = torch.randn(shape), torch.randn(shape)
    inputs = shape[1] * groups
    kept = torch.arange(inputs) % 2 == 0
    found = mixed(weight, start, kept, 0.75, groups)
    per_group, outputs = shape[1], shape[0] // groups
    for out in range(shape[0]):
        for place in range(per_group):
            # What the layer computes: output `out` reads the inputs of its own group.
            stands = kept[out // outputs * per_group + place]
            apart = 4 * (weight[out, place] - start[out, place]) if stands else 0
            torch.testing.assert_close(found[out, place], start[out, place] + apart)


def test_the_gradient_is_that_of_the_formula_and_not_1_minus_rate_of_it() -> None:
    torch.manual_seed(0)
    weight = torch.randn(3, 4, dtype=torch.double, requires_grad=True)
    one = Mixed(torch.randn(3, 4, dtype=torch.double), 0.9)
    one.draw(torch.tensor([True, False, True, False]))
    assert torch.autograd.gradcheck(one, (weight,))
    one(weight).sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, torch.tensor([10.0, 0, 10, 0]).double().expand(3, 4))


@settings(max_examples=25, deadline=None)
@given(rate=st.floats(0, 0.95), seed=st.integers(0, 2**31), columns=st.integers(1, 3))
def test_the_mean_over_masks_is_the_weight(rate: float, seed: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight, start = (torch.randn(2, columns, generator=generator).double() for _ in range(2))
    mean = torch.zeros_like(weight)
    # Over all masks, each as often as it is drawn.
    for number in range(2**columns):
        kept = torch.tensor([bool(number >> place & 1) for place in range(columns)])
        chance = (1 - rate) ** int(kept.sum()) * rate ** int((~kept).sum())
        mean += chance * mixed(weight, start, kept, rate)
    torch.testing.assert_close(mean, weight)


def test_masks_are_drawn_by_the_step_at_the_rate_and_shared_where_a_weight_is() -> None:
    technique, network = (
        Mixout(rate=0.7),
        nn.Sequential(nn.Linear(4000, 3), nn.Linear(3, 3), nn.Linear(3, 3)),
    )
    network[2].weight = network[1].weight
    technique.begin(network)
    masks = [one for one in network.modules() if isinstance(one, Mixed)]
    for number in range(8):
        step(technique, network, number)
        stands = masks[0].scale > 0
        assert abs(float(stands.float().mean()) - 0.3) < 0.04
        assert torch.equal(masks[1].scale, masks[2].scale)
    drawn = masks[0].scale.clone()
    step(technique, network, 3)
    assert not torch.equal(masks[0].scale, drawn)
    step(technique, network, 7)
    assert torch.equal(masks[0].scale, drawn)


def test_rate_0_is_the_network_itself_and_so_is_any_rate_in_evaluation_and_in_the_end() -> None:
    inputs = torch.randn(5, 6)
    expected = small()(inputs)
    for rate, training in ((0.0, True), (0.9, False)):
        network, technique = small(), Mixout(rate=rate)
        technique.begin(network)
        step(technique, network)
        assert torch.equal(network.train(training)(inputs), expected)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1
    moved = network(inputs)
    technique.finish(network)
    assert torch.equal(network.train()(inputs), moved)
    assert network.state_dict().keys() == small().state_dict().keys()


def test_what_a_run_began_with_stands_in_the_state_dict_until_the_end() -> None:
    for technique in (Mixout(), DecayToStart()):
        network, other = small(), small()
        technique.begin(network)
        with torch.no_grad():
            for weight in other.parameters():
                weight += 1
        technique.begin(other)
        expected = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        other.load_state_dict(expected)
        assert technique.facts(other)["distance_from_start"] == 0
        with torch.no_grad():
            other.get_parameter("0.bias").zero_()
        technique.finish(other)
        assert other.state_dict().keys() == small().state_dict().keys()


def test_decay_to_start_is_the_gradient_of_half_its_strength_times_the_squared_distance() -> None:
    network, technique = small(), DecayToStart(strength=0.5)
    technique.begin(network)
    start = [weight.detach().clone() for weight in network.parameters()]
    with torch.no_grad():
        for weight in network.parameters():
            weight += torch.randn(weight.shape)
    inputs = torch.randn(5, 6)
    distance = sum(((w - u) ** 2).sum() for w, u in zip(network.parameters(), start, strict=True))
    loss = F.cross_entropy(network(inputs), torch.tensor([0, 1, 2, 0, 1]))
    expected = torch.autograd.grad(loss + 0.25 * distance, list(network.parameters()))
    F.cross_entropy(network(inputs), torch.tensor([0, 1, 2, 0, 1])).backward()
    technique.before_update(network, 0, 1)
    for weight, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient)


@pytest.mark.parametrize("order", [(Mixout(), DecayToStart()), (DecayToStart(), Mixout())])
def test_mixout_and_decay_to_start_are_used_together(order: tuple[Technique, ...]) -> None:
    network = small()
    for technique in order:
        technique.begin(network)
    moves = torch.optim.SGD(network.parameters(), lr=0.1)
    before = [weight.detach().clone() for weight in network.parameters()]
    for number in range(3):
        moves.zero_grad()
        step(order[0], network, number), step(order[1], network, number)
        network(torch.randn(4, 6)).square().sum().backward()
        for technique in order:
            technique.before_update(network, number, 3)
        moves.step()
    assert not any(map(torch.equal, before, network.parameters()))
    for technique in order:
        assert technique.facts(network)["distance_from_start"] > 0
    for technique in reversed(order):
        technique.finish(network)
    assert network.state_dict().keys() == small().state_dict().keys()
    assert not any(parametrize.is_parametrized(module) for module in network.modules())


@pytest.mark.parametrize("inputs", [False, True])
def test_dropout_drops_what_linear_layers_read_in_training_alone(inputs: bool) -> None:
    network, technique = small(), Dropout(rate=0.5, inputs=inputs)
    technique.check(network)
    technique.begin(network)
    seen: list[Tensor] = []
    network[2].register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    x = torch.ones(400, 6)
    expected = small()(x)
    step(technique, network)
    first, second = network(x), network(x)
    assert not torch.equal(first, second)
    whole = F.relu(F.linear(x, network[0].weight, network[0].bias))
    stands = (seen[0] != 0)[:, whole[0] > 0]
    if not inputs:
        assert 0.45 < float(stands.float().mean()) < 0.55
        torch.testing.assert_close(seen[0], torch.where(seen[0] != 0, 2 * whole, 0.0))
    step(technique, network)
    assert torch.equal(network(x), first)
    assert torch.equal(network.eval()(x), expected)
    technique.finish(network.train())
    assert torch.equal(network(x), expected)


def test_a_new_classifier_is_left_as_it_is_and_attention_is_mixed(text_space: Any) -> None:
    space = text_space("text_classification")
    network = _Network(space, pad=0, dropout=0.0, structure={"activation": "gelu", "epsilon": 1e-12})
    for technique in (Mixout(), DecayToStart()):
        technique.begin(network)
        held = {name for name in network.state_dict() if name.endswith((".start", "_at_start"))}
        assert held and not any(name.startswith("classifier") for name in held)
        assert any(".attention.key_value." in name for name in held)
        technique.finish(network)
    network.fresh = ()
    Mixout().begin(network)
    assert parametrize.is_parametrized(network.classifier)


def test_mixout_works_beside_layer_drop() -> None:
    model = Encoder(layers=3, width=16, heads=2, length=8)
    network = model.build(model.space(vocabulary=12, outputs=2), pad=0)
    techniques = (LayerDrop(rate=0.5), Mixout(rate=0.5))
    for technique in techniques:
        technique.check(network)
        technique.begin(network)
    moves = torch.optim.AdamW(network.parameters(), lr=0.01)
    tokens = torch.tensor([[1, 5, 9, 2], [1, 7, 2, 0]])
    for number in range(6):
        moves.zero_grad()
        for technique in techniques:
            step(technique, network.train(), number)
        F.cross_entropy(network(tokens), torch.tensor([0, 1])).backward()
        moves.step()
    expected = network.eval()(tokens)
    for technique in reversed(techniques):
        technique.finish(network)
    assert torch.equal(network.train(False)(tokens), expected)
    torch.testing.assert_close(network.cut(network.space.largest())(tokens), expected)


def run(home: Home, **tables: Any) -> Path:
    document = {"name": "tuned", "data": {"kind": "digits"}, "training": TRAINING, **tables}
    config = checked(from_document(RunConfig, document))
    return train(config, home=home, say=lambda line: None, interactive=False)


@pytest.mark.parametrize("technique", KEPT)
def test_a_resumed_run_equals_an_undisturbed_one(technique: str, tmp_path: Path) -> None:
    pytest.importorskip("edge_bench.data.digits")
    home, ends = Home(tmp_path), []
    began = run(home, name="plain", model=MLP)
    tables = {"start": {"run": began.name}, "techniques": {technique: {}}}
    for name in ("undisturbed", "disturbed"):
        # A run's name is no part of what it learns.
        if name == "disturbed":
            stopped(lambda: run(home, name="disturbed", **tables))
        ends.append(run(home, name=name, **tables))
    one, two = (load_file(folder / CHECKPOINT_FILE) for folder in ends)
    assert one.keys() == two.keys()
    assert [name for name in one if name != "random.torch" and not torch.equal(one[name], two[name])] == []
    learned, start = KEPT[technique]
    if start:
        assert torch.equal(two[start], load_file(began / CHECKPOINT_FILE)["weights.1.weight"])
    trained = TrainedRun.open(ends[1])
    assert trained.network.state_dict().keys() == TrainedRun.open(began).network.state_dict().keys()
    assert torch.equal(trained.network.state_dict()["1.weight"], two[learned])
    if start:
        assert trained.task.notes[technique]["distance_from_start"] > 0


@pytest.mark.parametrize("technique", ["mixout", "decay_to_start"])
def test_random_weights_are_refused_before_anything_is_read(technique: str, run_file: Path) -> None:
    with pytest.raises(
        ConfigError, match=rf"\[techniques.{technique}\].*elastic network of a \[space\]"
    ) as told:
        load_run(run_file, (f"techniques.{technique}={{}}",))
    assert "[start]" in str(told.value.hint)
    document = {"name": "tuned", "data": {"kind": "digits"}, "model": MLP, "techniques": {technique: {}}}
    with pytest.raises(ConfigError, match=r"\[model\] kind 'mlp' begins with random ones"):
        checked(from_document(RunConfig, document))


@pytest.mark.parametrize(
    ("technique", "other", "reason"),
    [
        *(("mixout", name, "not zero") for name in ("dpf", "gradual_pruning", "one_shot_pruning")),
        ("mixout", "lottery_ticket", "its own ladder"),
        ("decay_to_start", "lottery_ticket", "its own ladder"),
    ],
)
def test_what_cannot_be_used_together_is_told_with_the_reason(
    technique: str, other: str, reason: str
) -> None:
    document = {
        "name": "both",
        "data": {"kind": "digits"},
        "start": {"run": "other"},
        "techniques": {technique: {}, other: {}},
    }
    with pytest.raises(ConfigError, match=f"{technique}.*{other}.*cannot be used together.*{reason}"):
        checked(from_document(RunConfig, document))


@pytest.mark.parametrize(
    ("technique", "told"),
    [
        (Mixout(rate=1.0), "rate is 1; it must be at least 0 and below 1"),
        (DecayToStart(strength=-1.0), "strength is -1; it must be at least 0"),
        (Dropout(rate=-0.1), "rate is -0.1"),
    ],
)
def test_options_that_cannot_be_used_are_told(technique: Technique, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        technique.check(small())
    with pytest.raises(ConfigError, match="finds no fully connected layer"):
        Dropout().check(nn.Sequential(nn.Linear(3, 3)))
