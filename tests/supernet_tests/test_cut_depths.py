"""Networks cut to some of their layers: what they hold and answer, whole, step by step and as programs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_bench.errors import ConfigError, InvalidArch, UnknownVariant
from edge_bench.files import Home
from edge_bench.records import ArchConfig, Block, TransformerSpace
from supernet.extraction import extract_arch, extract_depth
from supernet.keep_lists import keep_list, search
from supernet.models import TextModel, TransformerNetwork
from supernet.models.decoder import Decoder
from supernet.models.encoder import Encoder
from supernet.models.encoder_decoder import EncoderDecoder
from supernet.techniques.layer_drop import LayerDrop
from supernet.trained import TrainedRun

Finished = Callable[[str], tuple[Path, Home]]

KINDS: dict[str, type[TextModel]] = {
    "encoder": Encoder,
    "decoder": Decoder,
    "encoder_decoder": EncoderDecoder,
}
CUTS: list[tuple[str, Any]] = [
    ("encoder", {"encoder": (1, 3)}),
    ("decoder", {"decoder": (0, 2, 3)}),
    ("encoder_decoder", {"encoder": (0, 2), "decoder": (0, 1, 2, 3)}),
    ("encoder_decoder", {"encoder": (0, 1, 2, 3), "decoder": (2,)}),
]
LENGTH, PAD = 8, 0
SOURCE = torch.tensor([[1, 7, 9, 4, 11, 2], [1, 5, 2, 0, 0, 0], [1, 12, 19, 2, 0, 0]])
TARGET = torch.tensor([[1, 3, 8, 15, 6, 9, 2], [1, 14, 4, 4, 13, 2, 0], [1, 16, 17, 18, 10, 5, 2]])


def built(kind: str, **depths: int) -> TransformerNetwork:
    """Return an untrained network without dropout, of four layers a stack unless said."""
    model: Any = KINDS[kind]
    layers = {"layers": 4} if kind != "encoder_decoder" else {"encoder_layers": 4, "decoder_layers": 4}
    chosen = model(width=16, heads=4, hidden=32, length=LENGTH, dropout=0.0, **{**layers, **depths})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cast(TransformerNetwork, chosen.build(chosen.space(vocabulary=20, outputs=20), pad=PAD))


def answers(network: TransformerNetwork, source: Tensor = SOURCE, target: Tensor = TARGET) -> Tensor:
    """Return logits: of a translation of the target's next tokens, else of the source."""
    both = len(network.stacks) == 2
    logits: Tensor = network(source, target) if both else network(source)
    return logits


def stepped(network: TransformerNetwork, steps: Any, reader: Any, source: Tensor, target: Tensor) -> Tensor:
    """Return the logits behind each token of `target`, from a step and a cache that holds rubbish."""
    space, rows, room = network.space, len(target), target.shape[1]
    cache = 100 * torch.randn(space.decoder_layers, 2, rows, space.heads, room, space.width // space.heads)
    more = (reader(source)["memory"], source) if space.encoder_layers else ()
    told = []
    for place in range(room):
        answer = steps(target[:, place : place + 1], torch.tensor([place]), cache, *more)
        cache[:, :, :, :, place : place + 1] = answer["new_cache"]
        told.append(answer["logits"])
    return torch.stack(told, dim=1)


@pytest.mark.parametrize(("kind", "kept"), CUTS)
def test_a_cut_network_is_one_of_that_depth_and_answers_as_if_the_others_were_skipped(
    kind: str, kept: Any
) -> None:
    network = built(kind).train()
    cut = network.cut(network.space.keeping(kept))
    depths = (
        {f"{stack}_layers": len(places) for stack, places in kept.items()}
        if kind == "encoder_decoder"
        else {"layers": len(next(iter(kept.values())))}
    )
    fresh = built(kind, **depths)
    shapes = {name: tensor.shape for name, tensor in fresh.state_dict().items()}
    assert {name: tensor.shape for name, tensor in cut.state_dict().items()} == shapes
    assert cut.space == fresh.space and not cut.training
    assert cut.space.kept(cut.space.largest()) == {s: tuple(range(len(p))) for s, p in kept.items()}
    for stack, layers in network.stacks.items():
        layers.skipped = frozenset(range(4)) - frozenset(kept[stack])
    expected = answers(network)
    torch.testing.assert_close(answers(cut), expected, rtol=0, atol=1e-5)
    # Its weights are its own.
    for parameter in cut.parameters():
        parameter.data.zero_()
    assert torch.equal(answers(network), expected)


@pytest.mark.parametrize("structure", ["layer", "sub_layer", "head", "feed_forward"])
def test_nothing_of_what_was_dropped_is_left_in_a_cut_network(structure: Any) -> None:
    network = built("encoder_decoder").train()
    expected = answers(network.cut(network.space.largest()))
    LayerDrop(rate=0.999, structure=structure).before_step(network, np.random.default_rng(0), 0, 1)
    cut = network.cut(network.space.largest())
    assert torch.equal(answers(cut), expected)
    # Not even where it is trained on.
    torch.testing.assert_close(answers(cut.train()), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("kind", "kept"), CUTS[1:])
def test_token_by_token_a_network_answers_as_it_does_to_the_whole(kind: str, kept: Any) -> None:
    network = built(kind)
    cut = network.cut(network.space.keeping(kept))
    with torch.no_grad():
        told = stepped(cut, cut.stepper(), cut.reader(), SOURCE, TARGET)
        torch.testing.assert_close(told, answers(cut, SOURCE if kind == "encoder_decoder" else TARGET))


def test_a_deep_translator_begins_as_near_to_passing_its_input_on_as_a_shallow_one() -> None:
    def added(depth: int) -> float:
        network = cast(Any, built("encoder_decoder", encoder_layers=depth))
        with torch.no_grad():
            begun = x = network.embedding(SOURCE)
            for layer in network.encoder:
                x = layer(x)
            return float((x - begun).norm() / begun.norm())

    assert added(16) < 1.25 * added(1)
    assert added(16) < 0.5


def test_padding_changes_nothing() -> None:
    classifier, translator = built("encoder").eval(), built("encoder_decoder").eval()
    for row in (1, 2):
        length = int((SOURCE[row] != PAD).sum())
        own = SOURCE[row : row + 1, :length]
        torch.testing.assert_close(answers(classifier)[row : row + 1], answers(classifier, own))
        target = TARGET[row : row + 1]
        whole = answers(translator)[row : row + 1]
        torch.testing.assert_close(whole, answers(translator, own, target))
        # What stands where the padding does would change it.
        full = torch.cat((own, own[:, :1]), dim=1)
        assert not torch.allclose(answers(classifier, own), answers(classifier, full), atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["decoder", "encoder_decoder"])
def test_a_later_token_never_changes_what_stands_before_it(kind: str, training: bool) -> None:
    network = built(kind).train(training)
    whole = TARGET if kind == "encoder_decoder" else SOURCE
    for place in range(1, whole.shape[1]):
        other = whole.clone()
        other[:, place:] = (other[:, place:] + 5) % 15 + 3
        told, changed = (
            answers(network, SOURCE if kind == "encoder_decoder" else tokens, tokens)
            for tokens in (whole, other)
        )
        torch.testing.assert_close(told[:, :place], changed[:, :place])
        assert not torch.allclose(told[:, place], changed[:, place], atol=1e-4)


@pytest.fixture
def opened(text_run: Finished, home: Home) -> Callable[[str], TrainedRun]:
    """A function that opens a copy of a task's tiny run, in the test's own home."""

    def make(task: str) -> TrainedRun:
        original, _ = text_run(task)
        shutil.copytree(original, home.runs / original.name)
        return TrainedRun.open(home.runs / original.name)

    return make


@pytest.mark.parametrize(
    ("task", "kept"),
    [
        ("text_classification", {"encoder": (0, 3)}),
        ("language_modelling", {"decoder": (1, 2)}),
        ("translation", {"encoder": (2,), "decoder": (0, 1)}),
    ],
)
def test_exported_programs_answer_as_the_network_at_any_batch_and_length(
    task: str, kept: Any, opened: Callable[[str], TrainedRun], home: Home
) -> None:
    trained = opened(task)
    space = cast(TransformerSpace, trained.space)
    arch = space.keeping(kept)
    subnet = trained.cut(arch, home=home)
    network = cast(TransformerNetwork, trained.network).cut(arch)
    loaded = torch.export.load(home.absolute(subnet.program))
    program: Any = loaded.module()
    generator = torch.Generator().manual_seed(0)
    for batch, length in ((1, 5), (5, 7), (3, space.length)):
        source = torch.randint(4, space.vocabulary, (batch, length), generator=generator)
        source[0, 3:] = 0
        with torch.no_grad():
            told, expected = program(source), network.reader()(source)
        if task == "translation":
            told, expected = told["memory"], expected["memory"]
        torch.testing.assert_close(told, expected, rtol=0, atol=1e-5)
        if subnet.step is None:
            continue
        exported: Any = torch.export.load(home.absolute(subnet.step.program)).module()
        target = torch.randint(4, space.vocabulary, (batch, 6), generator=generator)
        with torch.no_grad():
            whole = network(source, target) if task == "translation" else network(target)
            steps = stepped(network, exported, program, source, target)
        torch.testing.assert_close(steps, whole, rtol=0, atol=1e-5)
    assert _plain_attentions(loaded) == len(kept.get("encoder", kept.get("decoder")))
    if subnet.step is not None:
        layers = len(kept["decoder"])
        assert subnet.step.layers == layers
        step = torch.export.load(home.absolute(subnet.step.program))
        assert _plain_attentions(step) == layers * (2 if task == "translation" else 1)


def _plain_attentions(program: Any) -> int:
    """Return how many attentions a program computes, in which nothing is drawn or decided."""
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    names = [str(node.target) for node in calls]
    assert names
    for word in ("rand", "bernoulli", "cond", "while"):
        assert not [name for name in names if word in name]
    # Dropout is there in name, told not to drop.
    assert not [
        node for node, name in zip(calls, names, strict=True) if ".dropout." in name and node.args[2]
    ]
    return sum("scaled_dot_product_attention" in name for name in names)


def destroy(trained: TrainedRun, stack: Any, place: int) -> None:
    """Let one layer answer noise."""
    layer = cast(TransformerNetwork, trained.network).stacks[stack][place]
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))


def chosen(trained: TrainedRun, how: str, depths: Any, seed: int = 0) -> ArchConfig:
    return keep_list(how).choose(trained, depths, seed=seed, report=lambda what, done, total: None)


def test_a_search_keeps_the_layers_that_are_best_on_selection(opened: Callable[[str], TrainedRun]) -> None:
    trained = opened("language_modelling")
    destroy(trained, "decoder", 2)
    space = cast(TransformerSpace, trained.space)
    assert 2 in space.kept(chosen(trained, "every_other", {"decoder": 3}))["decoder"]
    for depth in (2, 3):
        arch = chosen(trained, "search", {"decoder": depth})
        places = space.kept(arch)["decoder"]
        assert len(places) == depth and 2 not in places
        every = [
            space.keeping({"decoder": tuple(kept)})
            for kept in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
        ]
        if depth == 2:
            # Lower is better.
            assert trained.judge(arch).value == min(trained.judge(one).value for one in every)


def test_where_there_are_many_choices_a_search_swaps_layers_as_long_as_that_helps(
    opened: Callable[[str], TrainedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = opened("language_modelling")
    destroy(trained, "decoder", 0)
    space = cast(TransformerSpace, trained.space)
    monkeypatch.setattr(search, "MOST_JUDGED", 5)
    judged: list[ArchConfig] = []
    judge = TrainedRun.judge

    def counted(self: TrainedRun, arch: ArchConfig) -> Any:
        judged.append(arch)
        return judge(self, arch)

    monkeypatch.setattr(TrainedRun, "judge", counted)
    arch = chosen(trained, "search", {"decoder": 2})
    assert len(judged) <= 5 and judged[0] == space.spread({"decoder": 2})
    assert 0 not in space.kept(arch)["decoder"]
    assert judge(trained, arch).value == min(judge(trained, one).value for one in judged)


def test_learned_rates_keep_a_layer_out_that_does_harm(opened: Callable[[str], TrainedRun]) -> None:
    trained = opened("language_modelling")
    destroy(trained, "decoder", 2)
    space = cast(TransformerSpace, trained.space)
    before = {name: tensor.clone() for name, tensor in trained.network.state_dict().items()}
    arch = chosen(trained, "learned", {"decoder": 3})
    assert space.kept(arch) == {"decoder": (0, 1, 3)}
    assert chosen(trained, "learned", {"decoder": 3}) == arch
    after = trained.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_every_other_keeps_layers_at_even_distances(opened: Callable[[str], TrainedRun]) -> None:
    trained = opened("translation")
    space = cast(TransformerSpace, trained.space)
    assert space.kept(chosen(trained, "every_other", {"encoder": 2})) == {
        "encoder": (0, 2),
        "decoder": (0, 1),
    }
    assert space.kept(chosen(trained, "every_other", {"encoder": 1, "decoder": 1})) == {
        "encoder": (0,),
        "decoder": (0,),
    }


def test_layers_that_are_not_there_are_told(
    opened: Callable[[str], TrainedRun], trained: tuple[Path, Home], home: Home
) -> None:
    run = opened("translation").folder
    for depths, said in (
        ((4, 1), "4 encoder layers are asked for; network 'encoder_decoder' can keep 1 to 3"),
        ((3, 0), "0 decoder layers are asked for"),
    ):
        for how in ("every_other", "search", "learned"):
            with pytest.raises(InvalidArch, match=said):
                extract_depth(run, depths, chosen_by=how, home=home)
    with pytest.raises(ConfigError, match="names 1 stacks of layers; run '.*' has encoder and decoder"):
        extract_depth(run, (2,), chosen_by="every_other", home=home)
    with pytest.raises(UnknownVariant, match="serch.*search"):
        extract_depth(run, (2, 1), chosen_by="serch", home=home)
    with pytest.raises(ConfigError, match="has no layers to choose from"):
        extract_depth(trained[0], (2,), chosen_by="every_other", home=home)
    with pytest.raises(InvalidArch, match="there is no layer 7"):
        wrong = opened_space(run).largest()
        more = replace(wrong, blocks=(*wrong.blocks, Block(source=7)))
        extract_arch(run, more, home=home)
    with pytest.raises(InvalidArch, match="no decoder layer is kept"):
        opened_space(run).keeping({"decoder": ()})


def opened_space(run: Path) -> TransformerSpace:
    return cast(TransformerSpace, TrainedRun.open(run).space)
