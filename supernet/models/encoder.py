"""A transformer encoder that classifies: its tokens' mean goes through one fully connected layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from edge_bench.records import TransformerSpace
from edge_bench.records import transformer as records
from supernet.models import FreshModel, TransformerNetwork, check_layers, masked_mean
from supernet.transformer import Embedding, Layer, Stack, readable


@dataclass(frozen=True, kw_only=True)
class Encoder(FreshModel):
    """`layers` layers that read the whole text in both directions (Vaswani et al., 2017)."""

    tasks: ClassVar[tuple[str, ...]] = ("text_classification",)

    layers: int = 6

    def space(self, *, vocabulary: int, outputs: int) -> TransformerSpace:
        self.check()
        check_layers("layers", self.layers)
        return self.sized(vocabulary=vocabulary, outputs=outputs, encoder=self.layers)

    def build(self, space: TransformerSpace, *, pad: int) -> TransformerNetwork:
        return _Network(space, pad=pad, dropout=self.dropout)


class _Network(TransformerNetwork):
    def __init__(self, space: TransformerSpace, *, pad: int, dropout: float) -> None:
        super().__init__()
        self.space, self.pad = space, pad
        self.embedding = Embedding(space.vocabulary, space.length, space.width, dropout)
        self.encoder = Stack(
            Layer(space.width, space.heads, space.hidden, dropout=dropout)
            for _ in range(space.encoder_layers)
        )
        self.norm = nn.LayerNorm(space.width)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(space.width, space.outputs)

    @property
    def stacks(self) -> Mapping[records.Stack, Stack[Any]]:
        return {"encoder": self.encoder}

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits [n, classes] of tokens [n, length]."""
        mask = readable(tokens, self.pad)
        x = self.embedding(tokens)
        for _, layer in self.encoder.running():
            x = layer(x, mask)
        logits: Tensor = self.classifier(self.dropout(masked_mean(self.norm(x), mask)))
        return logits
