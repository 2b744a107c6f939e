"""LayerDrop: which layers a training step leaves out, what that changes, and what it never does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from edge_bench.documents import from_document
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from supernet import checkpoint
from supernet.models import TextModel, TransformerNetwork
from supernet.models.decoder import Decoder
from supernet.models.encoder import Encoder
from supernet.models.encoder_decoder import EncoderDecoder
from supernet.optimization import optimizer_of
from supernet.run import LOG_FILE, RunConfig, Training
from supernet.techniques.layer_drop import LayerDrop, advised_rate
from supernet.trainer import train

SIZES: Any = {"width": 16, "heads": 4, "hidden": 32, "length": 8, "dropout": 0.0}
VOCABULARY, OUTPUTS, PAD = 20, 3, 0
TOKENS = torch.tensor([[1, 7, 9, 4, 2], [1, 5, 2, 0, 0], [1, 12, 19, 2, 0]])
# As good as one: what is drawn lies below it.
ALWAYS = 1 - 1e-12


def built(kind: str, **options: Any) -> TransformerNetwork:
    """Return an untrained network of four layers a stack, always the same."""
    kinds: dict[str, type[TextModel]] = {
        "encoder": Encoder,
        "decoder": Decoder,
        "encoder_decoder": EncoderDecoder,
    }
    layers = ("encoder_layers", "decoder_layers") if kind == "encoder_decoder" else ("layers",)
    chosen = kinds[kind](**{**SIZES, **dict.fromkeys(layers, 4), **options})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return chosen.build(chosen.space(vocabulary=VOCABULARY, outputs=OUTPUTS), pad=PAD)


def answers(network: TransformerNetwork, tokens: Tensor = TOKENS) -> Tensor:
    """Return the logits of tokens, which are their own translation."""
    inputs = (tokens, tokens[:, :-1]) if isinstance(network, type(built("encoder_decoder"))) else (tokens,)
    logits: Tensor = network(*inputs)
    return logits


def running(network: TransformerNetwork) -> set[int]:
    """Return the layers of the one stack that run in training."""
    [stack] = network.stacks.values()
    return {place for place, _ in stack.running()}


@contextmanager
def counted(modules: Sequence[nn.Module]) -> Iterator[Counter[int]]:
    """Count the calls of each of `modules` by its place."""
    calls: Counter[int] = Counter()
    hooks = [
        module.register_forward_hook(lambda *_, place=place: calls.update([place]))
        for place, module in enumerate(modules)
    ]
    yield calls
    for hook in hooks:
        hook.remove()


def begin(technique: LayerDrop, network: TransformerNetwork, step: int) -> None:
    technique.before_step(network, np.random.default_rng([0, step]), step, 10)


@pytest.mark.parametrize("kind", ["encoder", "decoder", "encoder_decoder"])
def test_a_dropped_layer_is_not_called_and_the_others_answer_as_the_network_without_it(kind: str) -> None:
    network, technique = built(kind).train(), LayerDrop(rate=0.5)
    layers = [layer for stack in network.stacks.values() for layer in stack]
    depths = set()
    for step in range(12):
        begin(technique, network, step)
        with counted(layers) as calls:
            told = answers(network)
        # Once for the whole batch: what one example skips, all skip.
        assert set(calls.values()) <= {1}
        kept = {
            name: tuple(place for place, layer in enumerate(stack) if calls[layers.index(layer)])
            for name, stack in network.stacks.items()
        }
        depths.add(sum(calls.values()))
        if all(kept.values()):
            # Nothing is scaled to make up for what is left out.
            shallow = network.cut(network.space.keeping(kept))
            torch.testing.assert_close(told, answers(shallow), rtol=0, atol=1e-5)
    assert len(depths) > 2


@pytest.mark.parametrize("structure", ["layer", "sub_layer", "head", "feed_forward"])
@pytest.mark.parametrize("kind", ["encoder", "decoder", "encoder_decoder"])
def test_in_evaluation_everything_runs_and_nothing_is_drawn(kind: str, structure: Any) -> None:
    network, technique = built(kind), LayerDrop(rate=ALWAYS, structure=structure)
    expected = answers(network.eval())
    network.train()
    begin(technique, network, 0)
    dropped = answers(network)
    assert not torch.allclose(dropped, expected)
    network.eval()
    before = torch.get_rng_state()
    layers = [layer for stack in network.stacks.values() for layer in stack]
    with counted(layers) as calls:
        assert torch.equal(answers(network), expected) and torch.equal(answers(network), expected)
    assert calls == dict.fromkeys(range(len(layers)), 2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("structure", ["layer", "sub_layer", "head", "feed_forward"])
def test_what_a_step_left_in_a_network_is_taken_out_in_the_end(structure: Any) -> None:
    network, technique = built("encoder_decoder").train(), LayerDrop(rate=ALWAYS, structure=structure)
    expected = answers(network)
    begin(technique, network, 0)
    assert not torch.allclose(answers(network), expected)
    technique.finish(network)
    assert torch.equal(answers(network), expected)


def test_each_layer_is_dropped_at_its_own_rate() -> None:
    rates = (0.0, 0.1, 0.5, 0.9)
    network, technique, steps = built("encoder").train(), LayerDrop(rate=rates), 2000
    dropped: Counter[int] = Counter()
    for step in range(steps):
        begin(technique, network, step)
        dropped.update(set(range(4)) - running(network))
    for place, rate in enumerate(rates):
        # Four standard deviations of a binomial share; none where nothing may be dropped.
        assert abs(dropped[place] / steps - rate) <= 4 * (rate * (1 - rate) / steps) ** 0.5


def test_layers_are_dropped_independently_of_each_other() -> None:
    network, technique = built("encoder").train(), LayerDrop(rate=0.5)
    seen: Counter[tuple[bool, ...]] = Counter()
    for step in range(400):
        begin(technique, network, step)
        seen[tuple(place in running(network) for place in range(4))] += 1
    # All 16 ways, each some 25 times, "none at all" among them.
    assert len(seen) == 16 and min(seen.values()) > 5 and max(seen.values()) < 60


def test_encoder_and_decoder_may_have_rates_of_their_own() -> None:
    network = built("encoder_decoder").train()
    for technique, never, always in (
        (LayerDrop(encoder_rate=ALWAYS, decoder_rate=0.0), "decoder", "encoder"),
        (LayerDrop(rate=0.0, decoder_rate=ALWAYS), "encoder", "decoder"),
        (LayerDrop(rate=0.0, encoder_rate=(ALWAYS,) * 4), "decoder", "encoder"),
    ):
        technique.check(network)
        begin(technique, network, 0)
        stacks: Any = network.stacks
        with counted([*stacks[never], *stacks[always]]) as calls:
            answers(network)
        assert calls == dict.fromkeys(range(4), 1)


@given(st.integers(1, 60), st.data())
def test_the_rate_advised_for_a_cut_keeps_the_target_on_average(layers: int, data: st.DataObject) -> None:
    target = data.draw(st.integers(1, layers))
    rate = advised_rate(target, layers)
    assert 0 <= rate < 1 and layers * (1 - rate) == pytest.approx(target)
    assert LayerDrop(target_layers=target).rates("encoder", layers) == (rate,) * layers


def test_a_target_drops_at_one_less_its_share_of_the_layers() -> None:
    network, technique, steps = built("decoder").train(), LayerDrop(target_layers=1), 400
    technique.check(network)
    ran = 0
    for step in range(steps):
        begin(technique, network, step)
        ran += len(running(network))
    assert ran / steps == pytest.approx(1, abs=4 * (4 * 0.75 * 0.25 / steps) ** 0.5)


def test_parts_of_layers_are_dropped_each_by_itself() -> None:
    network, technique = built("encoder_decoder").train(), LayerDrop(rate=0.5, structure="sub_layer")
    decoder: Any = network.stacks["decoder"]
    parts = [decoder[0].attention, decoder[0].cross_attention, decoder[0].feed_forward]
    seen = set()
    for step in range(40):
        begin(technique, network, step)
        with counted(parts) as calls, counted(list(decoder)) as whole:
            answers(network)
        assert whole == dict.fromkeys(range(4), 1) and set(calls.values()) <= {1}
        seen.add(tuple(sorted(calls)))
    assert len(seen) == 8


def test_a_part_that_is_dropped_passes_its_input_on() -> None:
    network = built("encoder").train()
    begin(LayerDrop(rate=ALWAYS, structure="sub_layer"), network, 0)
    nothing = answers(network)
    begin(LayerDrop(rate=ALWAYS), network, 0)
    torch.testing.assert_close(nothing, answers(network), rtol=0, atol=0)


def test_feed_forward_networks_alone_are_dropped_where_that_is_asked_for() -> None:
    network = built("encoder_decoder").train()
    begin(LayerDrop(rate=ALWAYS, structure="feed_forward"), network, 0)
    layers = [layer for stack in network.stacks.values() for layer in stack]
    attentions = [attention for layer in layers for attention in layer.attentions]
    with counted(attentions) as read, counted([layer.feed_forward for layer in layers]) as fed:
        answers(network)
    assert read == dict.fromkeys(range(len(attentions)), 1) and not fed


def test_a_dropped_head_answers_nothing_and_the_others_as_before() -> None:
    network, without = built("encoder").train(), built("encoder").train()
    begin(LayerDrop(rate=0.5, structure="head"), network, 3)
    dropped = 0
    for layer, other in zip(network.stacks["encoder"], without.stacks["encoder"], strict=True):
        kept = layer.attention.kept_heads
        assert kept is not None and kept.shape == (4,)
        dropped += int((kept == 0).sum())
        with torch.no_grad():
            # A head of 4 of the 16 columns that the output reads.
            other.attention.output.weight *= kept.repeat_interleave(4)
    assert 0 < dropped < 16
    torch.testing.assert_close(answers(network), answers(without), rtol=0, atol=1e-6)


def test_what_is_dropped_depends_on_the_step_alone() -> None:
    def of_steps(network: TransformerNetwork, steps: Sequence[int]) -> list[Any]:
        drawn = []
        for step in steps:
            begin(LayerDrop(rate=0.5), network.train(), step)
            drawn.append({name: stack.skipped for name, stack in network.stacks.items()})
        return drawn

    before = torch.get_rng_state()
    first = of_steps(built("encoder_decoder"), range(10))
    # As another process of the run does, with other examples behind it, or one that goes on at step 5.
    other = built("encoder_decoder")
    answers(other.train(), TOKENS[1:])
    assert of_steps(other, range(10)) == first and of_steps(other, range(5, 10)) == first[5:]
    assert len({str(one) for one in first}) > 5
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_neither_momentum_nor_decay_moves_a_layer_in_a_step_that_drops_it(
    optimizer: Any, reviews: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[dict[str, Tensor]] = []
    skipped: list[frozenset[int]] = []
    save = checkpoint.save

    def spied(path: Path, network: TransformerNetwork, *rest: Any) -> None:
        states.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        skipped.append(network.stacks["encoder"].skipped)
        save(path, network, *rest)

    monkeypatch.setattr(checkpoint, "save", spied)
    config = run_on(
        reviews,
        techniques={"layer_drop": {"rate": 0.5}},
        training={"optimizer": optimizer, "weight_decay": 0.5, "checkpoint_steps": 1, "epoch_steps": 10},
    )
    train(config, home=home, say=lambda line: None, interactive=False)
    dropped: Counter[bool] = Counter()
    # Without the last step, whose learning rate is zero.
    for before, after, without in zip(states, states[1:-1], skipped[1:], strict=False):
        for place in range(4):
            same = [
                torch.equal(before[name], after[name])
                for name in before
                if name.startswith(f"encoder.{place}.")
            ]
            assert all(same) if place in without else not all(same)
            dropped[place in without] += 1
    # All were trained in the first step, so that the optimizer remembers where each went.
    assert skipped[0] == frozenset() and min(dropped[True], dropped[False]) > 5


def test_a_dropped_layer_has_no_gradient() -> None:
    network = built("decoder").train()
    begin(LayerDrop(rate=(0.0, ALWAYS, 0.0, ALWAYS)), network, 0)
    answers(network).sum().backward()  # type: ignore[no-untyped-call]
    for place, layer in enumerate(network.stacks["decoder"]):
        gone = [parameter.grad is None for parameter in layer.parameters()]
        assert all(gone) if place in (1, 3) else not any(gone)
    optimizer = optimizer_of(network, Training(weight_decay=0.5))
    dropped = [parameter.clone() for parameter in network.stacks["decoder"][1].parameters()]
    optimizer.step()
    kept = network.stacks["decoder"][1].parameters()
    assert all(torch.equal(*both) for both in zip(dropped, kept, strict=True))


def test_a_step_in_which_every_layer_is_dropped_still_trains_the_rest(reviews: Path, home: Home) -> None:
    config = run_on(reviews, techniques={"layer_drop": {"rate": ALWAYS}}, training={"epoch_steps": 3})
    folder = train(config, home=home, say=lambda line: None, interactive=False)
    [line] = (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["step"] == 3


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("encoder", {"rate": [0.1, 0.2]}, r"lists 2 rates, but the encoder has 4 layers"),
        ("encoder_decoder", {"decoder_rate": [0.1]}, r"lists 1 rates, but the decoder has 4 layers"),
        ("encoder", {"rate": 1.0}, r"a rate is 1; it must be at least 0 and below 1"),
        ("decoder", {"rate": [0.1, -0.1, 0, 0]}, r"a rate is -0\.1; it must be at least 0 and below 1"),
        ("encoder", {"rate": float("nan")}, r"a rate is nan"),
        ("encoder", {"rate": 0.5, "target_layers": 2}, r"has a rate and target_layers; give one"),
        ("encoder", {"encoder_rate": 0.5, "target_layers": 2}, r"has a rate and target_layers; give one"),
        ("encoder", {"target_layers": 0}, r"target_layers is 0; it must be 1 to 4"),
        ("encoder", {"target_layers": 5}, r"target_layers is 5; it must be 1 to 4"),
        ("encoder", {"decoder_rate": 0.5}, r"decoder_rate is given, but the network has no decoder"),
        ("decoder", {"encoder_rate": 0.5}, r"encoder_rate is given, but the network has no encoder"),
        ("encoder", {"rates": 0.5}, r"unknown key.*rates"),
        ("encoder", {"structure": "heads"}, r"structure"),
    ],
)
def test_options_that_fit_no_network_are_told(kind: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        from_document(LayerDrop, options, where="techniques.layer_drop").check(built(kind))


def test_a_run_says_what_is_wrong_with_its_rates_before_it_trains(reviews: Path, home: Home) -> None:
    config = run_on(reviews, techniques={"layer_drop": {"rate": [0.1, 0.2]}})
    with pytest.raises(ConfigError, match="lists 2 rates, but the encoder has 4 layers"):
        train(config, home=home, say=lambda line: None, interactive=False)
    assert not home.runs.exists()


def run_on(reviews: Path, **tables: Any) -> RunConfig:
    """Return a run of an encoder of four layers on made-up reviews, one epoch."""
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 0.003, "threads": 1, "device": "cpu"}
    document = {
        "name": "drops",
        "data": {"kind": "labelled_text", "path": str(reviews)},
        "model": {"kind": "encoder", "layers": 4, "width": 16, "heads": 2, "length": 40},
        "tokenizer": {"kind": "word_piece", "size": 200},
        **tables,
        "training": {**training, **tables.get("training", {})},
    }
    return from_document(RunConfig, document)
