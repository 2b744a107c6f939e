"""Layers by learned drop rates: the data-driven choice of LayerDrop (Fan et al., 2019, section 4.2).

The paper describes it and no code of it was released: a layer's rate is a non-linear function of its
activation, the rates of a stack compete in a softmax, and their mean is held at what the depth asks for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from edge_bench.records import ArchConfig
from edge_bench.records.transformer import Stack
from supernet.keep_lists import Depths, KeepList, Report, space_of
from supernet.models import TransformerNetwork
from supernet.tasks._text import TextTask
from supernet.trained import TrainedRun

STEPS = 200
BATCH = 32
LEARNING_RATE = 0.02
HIDDEN = 16


class Learned(KeepList):
    """The network stays as it is; for `STEPS` batches of training examples the scores of its layers learn.

    A layer's score is a small network's answer to the mean of what it is given, beside a number of its
    own. For each batch two choices of layers are drawn by the scores (Gumbel noise is added, and the
    highest are kept), and the choice of the lower loss becomes the likelier one, the other the less likely
    (REINFORCE: Williams, 1992). The gradient through the network would be no guide: it tells what a
    little more of a layer does, not what the whole of it does. In the end the layers of the highest mean
    score are kept, whatever the input.
    """

    def choose(self, trained: TrainedRun, depths: Depths, *, seed: int, report: Report) -> ArchConfig:
        space, task = space_of(trained), cast(TextTask, trained.task)
        counts = {stack: len(kept) for stack, kept in space.kept(space.spread(dict(depths))).items()}
        task.read()
        network = copy.deepcopy(cast(TransformerNetwork, trained.network)).eval().requires_grad_(False)
        generator = np.random.default_rng([seed, space.width])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(generator.integers(2**63)))
            gates = {
                stack: Gates(space.width, len(layers), counts[stack])
                for stack, layers in network.stacks.items()
            }
            optimizer = torch.optim.Adam(
                [parameter for gate in gates.values() for parameter in gate.parameters()], lr=LEARNING_RATE
            )
            usual_gap = 0.0
            with gated(network, gates):
                for step, rows in enumerate(_batches(task, generator), start=1):
                    (one, chance), (other, other_chance) = (
                        _tried(task, network, gates, rows) for _ in "12"
                    )
                    gap = one - other
                    usual_gap += (abs(gap) - usual_gap) / min(step, 10)
                    if gap:
                        optimizer.zero_grad()
                        (np.clip(gap / usual_gap, -2, 2) * (chance - other_chance)).backward()
                        optimizer.step()
                    report("learn", step, STEPS)
        return space.keeping({stack: gate.kept() for stack, gate in gates.items()})


class Gates(nn.Module):
    """Of the layers of a stack, which run: `kept_layers` of `layers`, by scores that learn."""

    def __init__(self, width: int, layers: int, kept_layers: int) -> None:
        super().__init__()
        self.kept_layers = kept_layers
        self.scores = nn.Parameter(torch.zeros(layers))
        self.of_activation = nn.Sequential(nn.Linear(width, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))
        self.register_buffer("means", torch.zeros(layers))
        self.register_buffer("activations", torch.zeros(layers, width))
        self.running: frozenset[int] = frozenset()

    def draw(self) -> Tensor:
        """Draw which layers run in the next batch, by what layers were given in the batches before.

        Returns:
            The logarithm of the chance of this choice, in the order in which layers were drawn.
        """
        # What a layer is given depends on the gates before it: the mean of earlier batches stands for it.
        # A copy, since the next batch adds to it before the gradient is asked for.
        told = self.of_activation(self.get_buffer("activations").clone()).squeeze(-1)
        scores = self.scores + told
        self.get_buffer("means").lerp_(scores.detach(), 0.1)
        noise = -torch.log(-torch.log(torch.rand_like(scores).clamp(1e-9, 1 - 1e-7)))
        order = (scores.detach() + noise).argsort(descending=True)
        self.running = frozenset(map(int, order[: self.kept_layers]))
        drawn = scores[order]
        # Each among those that were not drawn before it.
        left = drawn.flip(0).logcumsumexp(0).flip(0)
        chance: Tensor = (drawn - left)[: self.kept_layers].sum()
        return chance

    def see(self, place: int, x: Tensor) -> None:
        """Take in what a layer was given: x [n, tokens, width]."""
        self.get_buffer("activations")[place].lerp_(x.detach().mean((0, 1)), 0.1)

    def kept(self) -> tuple[int, ...]:
        """Return the layers of the highest mean scores, in their order."""
        highest = self.get_buffer("means").topk(self.kept_layers).indices
        return tuple(sorted(map(int, highest)))


@contextmanager
def gated(network: TransformerNetwork, gates: Mapping[Stack, Gates]) -> Iterator[None]:
    """Let only those layers of `network` add something that their gates have drawn."""
    hooks = [
        layer.register_forward_hook(_gate(gates[stack], place))
        for stack, layers in network.stacks.items()
        for place, layer in enumerate(layers)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _gate(gates: Gates, place: int) -> Any:
    def pass_through(_: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> Tensor:
        gates.see(place, given[0])
        return answer if place in gates.running else given[0]

    return pass_through


def _tried(
    task: TextTask, network: TransformerNetwork, gates: Mapping[Stack, Gates], rows: np.ndarray[Any, Any]
) -> tuple[float, Tensor]:
    """Draw a choice of layers; return its mean loss, and the logarithm of its chance."""
    chance = torch.stack([gate.draw() for gate in gates.values()]).sum()
    with torch.no_grad():
        total, answers, *_ = task.loss(network, rows, slice(0, len(rows)))
    return float(total) / answers, chance


def _batches(task: TextTask, generator: np.random.Generator) -> Iterator[np.ndarray[Any, Any]]:
    left = STEPS
    while left:
        order = task.order(generator, BATCH)
        for start in range(0, max(len(order) - BATCH, 0) + 1, BATCH):
            yield order[start : start + BATCH]
            left -= 1
            if not left:
                return
