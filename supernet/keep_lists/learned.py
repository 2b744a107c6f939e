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
from supernet.models import TextNetwork
from supernet.tasks._text import TextTask
from supernet.trained import TrainedRun

STEPS = 200
BATCH = 32
LEARNING_RATE = 0.02
HIDDEN = 16


class Learned(KeepList):
    """The network stays as it is; for `STEPS` batches of training examples the scores of its layers learn.

    A layer's score is a small network's answer to the mean of what it is given, beside a number of its
    own. In each batch the layers of the highest scores, disturbed by Gumbel noise, run; the gradient
    takes the way through the softmax of the scores, scaled so that shares sum to the depth. In the end
    the layers of the highest mean score are kept, whatever the input.
    """

    def choose(self, trained: TrainedRun, depths: Depths, *, seed: int, report: Report) -> ArchConfig:
        space, task = space_of(trained), cast(TextTask, trained.task)
        counts = {stack: len(kept) for stack, kept in space.kept(space.spread(dict(depths))).items()}
        task.read()
        network = copy.deepcopy(cast(TextNetwork, trained.network)).eval().requires_grad_(False)
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
            with gated(network, gates):
                for step, rows in enumerate(_batches(task, generator), start=1):
                    optimizer.zero_grad()
                    total, answers, *_ = task.loss(network, rows, slice(0, len(rows)))
                    (total / answers).backward()  # type: ignore[no-untyped-call]
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
        self.drawn: Tensor | None = None

    def draw(self) -> None:
        """Draw which layers run in the next batch, by what layers were given in the batches before."""
        # What a layer is given depends on the gates before it: the mean of earlier batches stands for it.
        # A copy, since the pass that is drawn for takes in new ones before its gradient is asked for.
        told = self.of_activation(self.get_buffer("activations").clone()).squeeze(-1)
        scores = self.scores + told
        self.get_buffer("means").lerp_(scores.detach(), 0.1)
        noise = -torch.log(-torch.log(torch.rand_like(scores).clamp(1e-9, 1 - 1e-7)))
        disturbed = scores + noise
        shares = (disturbed.softmax(0) * self.kept_layers).clamp(max=1.0)
        run = torch.zeros_like(shares)
        run[disturbed.topk(self.kept_layers).indices] = 1.0
        # Straight through: runs or not, with the gradient of the shares.
        self.drawn = run + shares - shares.detach()

    def see(self, place: int, x: Tensor) -> None:
        """Take in what a layer was given: x [n, tokens, width]."""
        self.get_buffer("activations")[place].lerp_(x.detach().mean((0, 1)), 0.1)

    def kept(self) -> tuple[int, ...]:
        """Return the layers of the highest mean scores, in their order."""
        highest = self.get_buffer("means").topk(self.kept_layers).indices
        return tuple(sorted(map(int, highest)))


@contextmanager
def gated(network: TextNetwork, gates: Mapping[Stack, Gates]) -> Iterator[None]:
    """Let the layers of `network` add what their gate lets through, drawn anew for each call of it."""

    def begin(*_: Any) -> None:
        for gate in gates.values():
            gate.draw()

    hooks = [network.register_forward_pre_hook(begin)]
    for stack, layers in network.stacks.items():
        for place, layer in enumerate(layers):
            hooks.append(layer.register_forward_hook(_gate(gates[stack], place)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _gate(gates: Gates, place: int) -> Any:
    def pass_through(_: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> Tensor:
        gates.see(place, given[0])
        assert gates.drawn is not None
        return given[0] + gates.drawn[place] * (answer - given[0])

    return pass_through


def _batches(task: TextTask, generator: np.random.Generator) -> Iterator[np.ndarray[Any, Any]]:
    left = STEPS
    while left:
        order = task.order(generator, BATCH)
        for start in range(0, max(len(order) - BATCH, 0) + 1, BATCH):
            yield order[start : start + BATCH]
            left -= 1
            if not left:
                return
