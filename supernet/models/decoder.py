"""A decoder that continues a text: each token reads those before it and foretells the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from edge_bench.records import TransformerSpace
from edge_bench.records import transformer as records
from supernet.models import FreshModel, TransformerNetwork, check_layers
from supernet.transformer import Embedding, Layer, Stack, before, causal


@dataclass(frozen=True, kw_only=True)
class Decoder(FreshModel):
    """`layers` causal layers; the matrix of logits is one of its own."""

    tasks: ClassVar[tuple[str, ...]] = ("language_modelling",)

    layers: int = 6

    def space(self, *, vocabulary: int, outputs: int) -> TransformerSpace:
        self.check()
        check_layers("layers", self.layers)
        return self.sized(vocabulary=vocabulary, outputs=outputs, decoder=self.layers)

    def build(self, space: TransformerSpace, *, pad: int) -> TransformerNetwork:
        return _Network(space, pad=pad, dropout=self.dropout)


class _Network(TransformerNetwork):
    def __init__(self, space: TransformerSpace, *, pad: int, dropout: float) -> None:
        super().__init__()
        self.space, self.pad = space, pad
        self.embedding = Embedding(space.vocabulary, space.length, space.width, dropout)
        self.decoder = Stack(
            Layer(space.width, space.heads, space.hidden, dropout=dropout)
            for _ in range(space.decoder_layers)
        )
        self.norm = nn.LayerNorm(space.width)
        self.classifier = nn.Linear(space.width, space.outputs)

    @property
    def stacks(self) -> Mapping[records.Stack, Stack[Any]]:
        return {"decoder": self.decoder}

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits [n, length, vocabulary] of the token behind each of tokens [n, length]."""
        x = self.embedding(tokens)
        # One mask for all layers, where "in order" writes one for each into an exported graph.
        mask = None if self.training else causal(tokens)
        for _, layer in self.decoder.running():
            x = layer(x, mask, in_order=mask is None)
        logits: Tensor = self.classifier(self.norm(x))
        return logits

    def stepper(self) -> nn.Module:
        return _Step(self)


class _Step(nn.Module):
    def __init__(self, network: _Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, token: Tensor, position: Tensor, cache: Tensor) -> dict[str, Tensor]:
        network = self.network
        x = network.embedding(token, position)
        mask = before(position, cache.shape[4])
        added = []
        for place, layer in enumerate(network.decoder):
            x, own = layer.step(x, cache[place], mask)
            added.append(own)
        return {"logits": network.classifier(network.norm(x))[:, 0], "new_cache": torch.stack(added)}
