"""A language model that reads with an LSTM: what it remembers of a text is of one size, however long."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from edge_bench.errors import ConfigError
from edge_bench.records import ArchConfig, RecurrentSpace, RecurrentStep
from supernet.models import StepInputs, TextModel, TextNetwork, check_layers


@dataclass(frozen=True, kw_only=True)
class Lstm(TextModel[RecurrentSpace]):
    """`layers` of `width` over vectors as wide, dropout behind each (Zaremba et al., 2014).

    Windows of `length` tokens are trained on and judged, each from an empty state, as those of a
    transformer. With `tied` the vectors are also the matrix of logits (Press and Wolf, 2017).
    """

    tasks: ClassVar[tuple[str, ...]] = ("language_modelling",)

    length: int = 50
    dropout: float = 0.5
    width: int = 256
    layers: int = 2
    tied: bool = False

    def check(self) -> None:
        super().check()
        check_layers("layers", self.layers)
        if self.width < 1:
            raise ConfigError(f"[model] width is {self.width}; it must be at least 1")

    def space(self, *, vocabulary: int, outputs: int) -> RecurrentSpace:
        self.check()
        return RecurrentSpace(
            name=type(self).__module__.rpartition(".")[2],
            vocabulary=vocabulary,
            length=self.length,
            width=self.width,
            layers=self.layers,
            outputs=outputs,
        )

    def build(self, space: RecurrentSpace, *, pad: int) -> TextNetwork:
        return _Network(space, pad=pad, dropout=self.dropout, tied=self.tied)


class _Layer(nn.Module):
    """An LSTM (Hochreiter and Schmidhuber, 1997) of input, forget, cell and output gates, in this order.

    Its weights are those of two linear layers, so that they are seen through whatever stands before
    a linear layer's. Torch's own layer holds them in a list beside, which masks do not reach.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input = nn.Linear(width, 4 * width)
        self.recurrent = nn.Linear(width, 4 * width, bias=False)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer gives out [n, tokens, width] for x, shaped alike, from an empty state."""
        empty = x.new_zeros(1, x.shape[0], x.shape[2])
        weights = [self.input.weight, self.recurrent.weight, self.input.bias]
        # Torch's kernel takes two biases; half the time of a loop over the cell in training on a CPU.
        weights.append(torch.zeros_like(self.input.bias))
        given: Tensor = torch.lstm(x, (empty, empty), weights, True, 1, 0.0, self.training, False, True)[0]
        return given

    def scanned(self, x: Tensor) -> Tensor:
        """Return what `forward` does, as one operator whatever the number of tokens."""
        empty = x.new_zeros(x.shape[0], x.shape[2])
        recurrent = self.recurrent.weight

        def step(state: tuple[Tensor, Tensor], gates: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
            out, cell = _gated(gates + F.linear(state[0], recurrent), state[1])
            # What is carried on and what is given out must not be one tensor.
            return (out, cell), out.clone()

        _, given = scan(step, (empty, empty.clone()), self.input(x).transpose(0, 1))
        return given.transpose(0, 1)  # type: ignore[no-any-return]

    def stepped(self, x: Tensor, out: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the layer gives out for one token, and its cell [n, width], after the last ones."""
        return _gated(self.input(x) + self.recurrent(out), cell)


def _gated(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Return what is given out and the new cell, both [n, width], of gates [n, 4 * width]."""
    let_in, kept, new, shown = gates.chunk(4, dim=-1)
    cell = kept.sigmoid() * cell + let_in.sigmoid() * new.tanh()
    return shown.sigmoid() * cell.tanh(), cell


class _Network(TextNetwork):
    space: RecurrentSpace

    def __init__(self, space: RecurrentSpace, *, pad: int, dropout: float, tied: bool) -> None:
        super().__init__()
        self.space, self.pad = space, pad
        self.embedding = nn.Embedding(space.vocabulary, space.width)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.layers = nn.ModuleList(_Layer(space.width) for _ in range(space.layers))
        self.dropout = nn.Dropout(dropout)
        self.classifier = None if tied else nn.Linear(space.width, space.outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits [n, length, vocabulary] of the token behind each of tokens [n, length]."""
        x = self.dropout(self.embedding(tokens))
        for layer in self.recurrent:
            x = self.dropout(layer(x))
        return self.logits(x)

    @property
    def recurrent(self) -> list[_Layer]:
        """The layers in the order they run."""
        return cast(list[_Layer], list(self.layers))

    def logits(self, x: Tensor) -> Tensor:
        """Return logits [..., vocabulary] of what the last layer gives out."""
        if self.classifier is None:
            return F.linear(x, self.embedding.weight)
        logits: Tensor = self.classifier(x)
        return logits

    def reader(self) -> nn.Module:
        return _Reader(self)

    def stepper(self) -> nn.Module:
        return _Step(self)

    def step(self, *, program: str = "", digest: str = "", tokens: float = 0.0) -> RecurrentStep:
        space = self.space
        return RecurrentStep(
            program=program, digest=digest, layers=space.layers, width=space.width, tokens=tokens
        )

    def step_inputs(self) -> StepInputs:
        # At batch 1 the batch would silently be fixed.
        batch, space = torch.export.Dim("batch"), self.space
        return StepInputs(
            examples={
                "token": torch.full((2, 1), self.pad),
                "state": torch.zeros(2, space.layers, 2, space.width),
            },
            free={"token": {0: batch}, "state": {0: batch}},
        )

    def cut(self, arch: ArchConfig) -> Self:
        self.space.check(arch)
        return copy.deepcopy(self).eval()


class _Reader(nn.Module):
    def __init__(self, network: _Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.network.embedding(tokens)
        for layer in self.network.recurrent:
            x = layer.scanned(x)
        return self.network.logits(x)


class _Step(nn.Module):
    def __init__(self, network: _Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, token: Tensor, state: Tensor) -> dict[str, Tensor]:
        x = self.network.embedding(token)[:, 0]
        states = []
        for place, layer in enumerate(self.network.recurrent):
            x, cell = layer.stepped(x, state[:, place, 0], state[:, place, 1])
            states.append(torch.stack((x, cell), 1))
        return {"logits": self.network.logits(x), "new_state": torch.stack(states, 1)}
