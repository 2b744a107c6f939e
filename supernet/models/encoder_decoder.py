"""An encoder and a decoder that translates: one vocabulary, and one table of vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_bench.records import TransformerSpace
from edge_bench.records import transformer as records
from supernet.models import FreshModel, TransformerNetwork, check_layers
from supernet.transformer import Embedding, Layer, Stack, before, readable, shrink_branches


@dataclass(frozen=True, kw_only=True)
class EncoderDecoder(FreshModel):
    """The transformer of Vaswani et al. (2017), each stack of a depth of its own."""

    tasks: ClassVar[tuple[str, ...]] = ("translation",)

    encoder_layers: int = 6
    decoder_layers: int = 6

    def space(self, *, vocabulary: int, outputs: int) -> TransformerSpace:
        self.check()
        check_layers("encoder_layers", self.encoder_layers)
        check_layers("decoder_layers", self.decoder_layers)
        return self.sized(
            vocabulary=vocabulary, outputs=outputs, encoder=self.encoder_layers, decoder=self.decoder_layers
        )

    def build(self, space: TransformerSpace, *, pad: int) -> TransformerNetwork:
        return _Network(space, pad=pad, dropout=self.dropout)


class _Network(TransformerNetwork):
    def __init__(self, space: TransformerSpace, *, pad: int, dropout: float) -> None:
        super().__init__()
        self.space, self.pad = space, pad
        size = (space.width, space.heads, space.hidden)
        # Logits from the table are neither flat nor sharp, and its vectors weigh as much as what layers add
        # to them (Vaswani et al., 2017, section 3.4).
        self.embedding = Embedding(
            space.vocabulary, space.length, space.width, dropout, scale=space.width**0.5
        )
        nn.init.normal_(self.embedding.tokens.weight, std=space.width**-0.5)
        self.encoder = Stack(Layer(*size, dropout=dropout) for _ in range(space.encoder_layers))
        self.encoder_norm = nn.LayerNorm(space.width)
        self.decoder = Stack(Layer(*size, dropout=dropout, cross=True) for _ in range(space.decoder_layers))
        self.decoder_norm = nn.LayerNorm(space.width)
        for stack in (self.encoder, self.decoder):
            shrink_branches(stack)

    @property
    def stacks(self) -> Mapping[records.Stack, Stack[Any]]:
        return {"encoder": self.encoder, "decoder": self.decoder}

    def encoded(self, source: Tensor) -> Tensor:
        """Return [n, length, width] of source tokens [n, length]."""
        mask = readable(source, self.pad)
        x = self.embedding(source)
        for _, layer in self.encoder.running():
            x = layer(x, mask)
        normed: Tensor = self.encoder_norm(x)
        return normed

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return logits [n, target length, vocabulary] of the token behind each of target's."""
        encoded, mask = self.encoded(source), readable(source, self.pad)
        x = self.embedding(target)
        for _, layer in self.decoder.running():
            # A cross-attention that is dropped needs no keys.
            memory = layer.reads(encoded) if layer.runs("cross_attention") else None
            x = layer(x, in_order=True, memory=memory, memory_mask=mask)
        return self.logits(x)

    def logits(self, x: Tensor) -> Tensor:
        """Return logits [n, tokens, vocabulary] of what the decoder's last layer answers."""
        return F.linear(self.decoder_norm(x), self.embedding.tokens.weight)

    def reader(self) -> nn.Module:
        """Return the encoder, with the keys and values that each layer of the decoder reads from it."""
        return _Reader(self)

    def stepper(self) -> nn.Module:
        return _Step(self)


class _Reader(nn.Module):
    def __init__(self, network: _Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        encoded = self.network.encoded(tokens)
        read = [layer.reads(encoded) for layer in self.network.decoder]
        return {"memory": torch.stack(read)}


class _Step(nn.Module):
    def __init__(self, network: _Network) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, token: Tensor, position: Tensor, cache: Tensor, memory: Tensor, source: Tensor
    ) -> dict[str, Tensor]:
        network = self.network
        x = network.embedding(token, position)
        mask, memory_mask = before(position, cache.shape[4]), readable(source, network.pad)
        added = []
        for place, layer in enumerate(network.decoder):
            x, own = layer.step(x, cache[place], mask, memory=memory[place], memory_mask=memory_mask)
            added.append(own)
        return {"logits": network.logits(x)[:, 0], "new_cache": torch.stack(added)}
