"""Masks: exact counts, ties by position, and networks seen through them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edge_bench.errors import ConfigError
from supernet.sparsity import masked, masks
from supernet.sparsity.masked import Masked, StraightThrough
from supernet.sparsity.masks import Scope, Statistics

# Small whole numbers, so that there are ties everywhere.
ROWS = st.lists(
    st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12), min_size=1, max_size=4
).map(lambda rows: {f"layer{n}": torch.tensor(row) for n, row in enumerate(rows)})
SCOPES: st.SearchStrategy[Scope] = st.sampled_from(["global", "layer"])
SHARES = st.floats(0, 1)


class Net(nn.Module):
    """A layer of each kind that is pruned, and two that never are."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.conv = nn.Conv1d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm1d(4)
        self.lstm = nn.LSTM(4, 6, batch_first=True)
        self.last = nn.LayerNorm(6)
        self.classifier = nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.norm(self.conv(self.embedding(tokens).transpose(1, 2))).transpose(1, 2)
        logits: Tensor = self.classifier(self.last(self.lstm(x)[0]))
        return logits


WEIGHTS = ("embedding.weight", "conv.weight", "lstm.weight_ih_l0", "lstm.weight_hh_l0", "classifier.weight")
TOKENS = torch.tensor([[0, 1, 2], [3, 4, 1]])


def network() -> Net:
    torch.manual_seed(0)
    return Net()


def pruned(kind: type[Masked], keep: int) -> Net:
    net = network()
    masked.attach(net, masks.prunable(net), kind)
    masked.take(net, masks.largest(masked.dense_weights(net), keep))
    return net


def test_weights_are_pruned_and_neither_norms_nor_biases_unless_asked() -> None:
    net = network()
    assert masks.prunable(net) == WEIGHTS
    assert set(masks.prunable(net, biases=True)) - set(WEIGHTS) == {
        "conv.bias",
        "lstm.bias_ih_l0",
        "lstm.bias_hh_l0",
        "classifier.bias",
    }
    assert masks.prunable(net, exclude=("*embedding*", "classifier.*")) == WEIGHTS[1:4]


def test_a_pattern_that_names_no_weight_is_told() -> None:
    with pytest.raises(ConfigError, match=r"'clasifier.weight'.*Did you mean 'classifier.weight'"):
        masks.prunable(network(), exclude=("clasifier.weight",))
    with pytest.raises(ConfigError, match="no weight is left"):
        masks.prunable(network(), exclude=("*",))


@given(weights=ROWS, share=SHARES, scope=SCOPES)
def test_exactly_as_many_stand_as_were_asked_for(
    weights: dict[str, Tensor], share: float, scope: Scope
) -> None:
    total = sum(weight.numel() for weight in weights.values())
    keep = masks.kept_count(total, share)
    assert abs(keep - total * (1 - share)) <= 0.5 + 1e-9
    mask = masks.largest(weights, keep, scope=scope)
    assert masks.count(mask) == keep
    if scope == "layer":
        for name, weight in weights.items():
            assert abs(int(mask[name].sum()) - weight.numel() * keep / total) <= 1


@given(weights=ROWS, share=SHARES)
def test_the_largest_stand_and_of_equal_ones_the_first(weights: dict[str, Tensor], share: float) -> None:
    keep = masks.kept_count(sum(weight.numel() for weight in weights.values()), share)
    mask = torch.cat(list(masks.largest(weights, keep).values()))
    magnitudes = torch.cat(list(weights.values())).abs()
    # A stable sort is the definition.
    assert set(magnitudes.argsort(descending=True, stable=True)[:keep].tolist()) == set(
        mask.nonzero().flatten().tolist()
    )


@settings(max_examples=50)
@given(weights=ROWS, rate=st.floats(0.01, 0.9), rounds=st.integers(1, 8), scope=SCOPES)
def test_rounds_prune_a_share_of_what_remains_and_nothing_returns(
    weights: dict[str, Tensor], rate: float, rounds: int, scope: Scope
) -> None:
    total = sum(weight.numel() for weight in weights.values())
    mask = masks.ones(weights)
    for number in range(1, rounds + 1):
        keep = masks.kept_count(total, masks.sparsity_after(number, rate))
        # Weights that are trained anew, pruned ones among them.
        drawn = {name: torch.randn_like(weight).round() for name, weight in weights.items()}
        after = masks.largest(drawn, keep, scope=scope, among=mask)
        assert masks.count(after) == keep
        assert all((after[name] <= mask[name]).all() for name in mask)
        mask = after
    assert abs(masks.count(mask) - total * (1 - rate) ** rounds) <= 0.5 + 1e-6


@given(keep=st.integers(0, 50), sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_shares_are_even_and_add_up(keep: int, sizes: list[int]) -> None:
    keep = min(keep, sum(sizes))
    shares = masks.shared_out(keep, sizes)
    assert sum(shares) == keep
    for share, size in zip(shares, sizes, strict=True):
        assert 0 <= share <= size and abs(share - size * keep / sum(sizes)) <= 1


def test_more_than_may_stand_is_refused() -> None:
    weights = {"one": torch.ones(3)}
    with pytest.raises(ValueError, match="3 weights cannot stand of 2"):
        masks.largest(weights, 3, among={"one": torch.tensor([True, False, True])})


def test_the_ramp_rises_from_nothing_to_all() -> None:
    ramp = [masks.cubic_ramp(step / 10) for step in range(13)]
    assert ramp[0] == 0 and ramp[10:] == [1.0] * 3 and ramp == sorted(ramp)
    assert math.isclose(ramp[5], 1 - 0.5**3)


def test_statistics_tell_what_is_left_of_each_layer() -> None:
    told = Statistics.of({"a": torch.tensor([True, False]), "b": torch.tensor([True] * 6)})
    assert (told.kept, told.weights, told.sparsity) == (7, 8, 0.125)
    assert told.left_by_layer == {"a": 0.5, "b": 1.0}


def test_pruned_weights_have_no_gradient_and_through_the_mask_the_whole_one() -> None:
    gradients = {}
    for kind in (Masked, StraightThrough):
        net = pruned(kind, 60)
        net(TOKENS).square().sum().backward()
        gradients[kind] = {name: weight.grad for name, weight in masked.dense_weights(net).items()}
        mask = masked.mask_of(net)
    for name, stands in mask.items():
        only, whole = gradients[Masked][name], gradients[StraightThrough][name]
        assert only is not None and whole is not None
        assert torch.equal(only, torch.where(stands, whole, 0.0))
        assert name.startswith("embedding") or (whole[~stands] != 0).any()


@pytest.mark.parametrize("kind", [Masked, StraightThrough])
def test_the_masked_network_is_the_plain_one_with_zeros(kind: type[Masked]) -> None:
    net, plain = pruned(kind, 60).eval(), network().eval()
    expected, mask = net(TOKENS), masked.mask_of(net)
    masked.load_plain(plain, masked.plain_state(net.state_dict()))
    assert torch.equal(plain(TOKENS), expected)
    masked.detach(net)
    assert net.state_dict().keys() == network().state_dict().keys()
    assert torch.equal(net(TOKENS), expected)
    for name, stands in mask.items():
        weight = net.get_parameter(name)
        assert isinstance(weight, nn.Parameter) and torch.equal(weight != 0, stands)
        # No zero with a sign: its bytes would not compress.
        assert not torch.signbit(weight[~stands]).any()


def test_masks_are_in_the_state_dict_and_come_back() -> None:
    net, other = pruned(Masked, 60), network()
    masked.attach(other, masks.prunable(other), Masked)
    other.load_state_dict(net.state_dict())
    mask, found = masked.mask_of(other), masked.mask_in(net.state_dict())
    assert mask.keys() == found.keys() == set(WEIGHTS)
    assert all(torch.equal(mask[name], found[name]) for name in mask)
    fresh = network().state_dict()
    masked.load_plain(other, fresh)
    assert masks.count(masked.mask_of(other)) == 60
    assert all(torch.equal(masked.dense_weights(other)[name], fresh[name]) for name in mask)


def test_weights_that_stand_again_are_counted() -> None:
    net = nn.Linear(3, 1, bias=False)
    masked.attach(net, ["weight"], StraightThrough)
    for stands in ([1, 1, 0], [1, 0, 1], [0, 1, 1]):
        masked.take(net, {"weight": torch.tensor([stands]).bool()})
    assert int(masked.masks_in(net)["weight"].regrown) == 2
    with pytest.raises(ValueError, match="the mask is of"):
        masked.take(net, {"bias": torch.ones(1).bool()})


def test_masked_weights_keep_their_order_in_memory() -> None:
    conv = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    strides = conv.weight.stride()
    masked.attach(conv, ["weight"], StraightThrough)
    masked.take(conv, masks.largest(masked.dense_weights(conv), 10))
    assert conv.weight.stride() == strides
    masked.detach(conv)
    assert conv.weight.stride() == strides and int(conv.weight.count_nonzero()) == 10
