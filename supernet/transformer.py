"""Transformer layers from torch's own parts, each one droppable as a whole or in part while it trains.

What is skipped passes its input on unchanged. Layers of our own normalise before each part (pre-norm:
Xiong et al., 2020), and the stack once at its end; those of a pretrained network behind each part, as the
first transformers did.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Parts of a layer that may be dropped while the rest of it runs.
PARTS = ("attention", "cross_attention", "feed_forward")
HIDDEN = -1e9


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al., 2017) whose keys and values may be kept for later calls.

    `kept_heads` [heads] holds 0 for a head that does not run in training; None runs all.
    """

    kept_heads: Tensor | None = None

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def keys_values(self, x: Tensor) -> Tensor:
        """Return keys and values [2, n, heads, tokens, head width] of x [n, tokens, width]."""
        both = self.key_value(x).unflatten(-1, (2, self.heads, -1))
        return both.permute(2, 0, 3, 1, 4)  # type: ignore[no-any-return]

    def forward(
        self, x: Tensor, keys_values: Tensor, mask: Tensor | None = None, *, in_order: bool = False
    ) -> Tensor:
        """Return [n, tokens, width]: what each token of `x` reads from `keys_values`.

        `mask` is added to the scores, broadcast to [n, heads, tokens, tokens read].
        """
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        read = F.scaled_dot_product_attention(
            query,
            keys_values[0],
            keys_values[1],
            attn_mask=None if mask is None else mask.to(query.dtype),
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=in_order,
        )
        if self.training and self.kept_heads is not None:
            read = read * self.kept_heads[:, None, None]
        result: Tensor = self.output(read.transpose(1, 2).flatten(2))
        return result


class Droppable(nn.Module, ABC):
    """A layer that takes tokens [n, tokens, width] and a mask, and answers with as many tokens.

    `dropped` names the parts that do not run in training; in evaluation all run.
    """

    dropped: frozenset[str] = frozenset()

    @property
    @abstractmethod
    def parts(self) -> tuple[str, ...]:
        """The parts this layer has, in the order they run."""

    @property
    @abstractmethod
    def attentions(self) -> tuple[Attention, ...]:
        """The attentions this layer has, in the order they run."""

    def runs(self, part: str) -> bool:
        """Say whether a part runs; in evaluation each does."""
        return not (self.training and part in self.dropped)


class Layer(Droppable):
    """Attention to the sequence itself, to a source where `cross`, and a feed-forward network."""

    def __init__(self, width: int, heads: int, hidden: int, *, dropout: float, cross: bool = False) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.cross_attention_norm = nn.LayerNorm(width) if cross else None
        self.cross_attention = Attention(width, heads, dropout) if cross else None
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width)
        )
        self.dropout = nn.Dropout(dropout)

    @property
    def parts(self) -> tuple[str, ...]:
        return PARTS if self.cross_attention else (PARTS[0], PARTS[2])

    @property
    def attentions(self) -> tuple[Attention, ...]:
        return (self.attention, self.cross_attention) if self.cross_attention else (self.attention,)

    @property
    def outputs(self) -> tuple[nn.Linear, ...]:
        """The last operator of each part, whose answer is added to what passes the part by."""
        last = self.feed_forward[-1]
        assert isinstance(last, nn.Linear)
        return (*(one.output for one in self.attentions), last)

    def reads(self, source: Tensor) -> Tensor:
        """Return keys and values [2, n, heads, tokens, head width] of an encoded source, for `memory`."""
        assert self.cross_attention is not None
        return self.cross_attention.keys_values(source)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        in_order: bool = False,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """Return [n, tokens, width].

        Args:
            x: the tokens [n, tokens, width].
            mask: which of them each one reads; None and not `in_order`, all.
            in_order: each reads those before it; quicker than the mask that says so.
            memory: the source's keys and values for this layer.
            memory_mask: which of those are read.
        """
        if self.runs("attention"):
            normed = self.attention_norm(x)
            read = self.attention(normed, self.attention.keys_values(normed), mask, in_order=in_order)
            x = x + self.dropout(read)
        return self._rest(x, memory, memory_mask)

    def step(
        self,
        x: Tensor,
        cache: Tensor,
        mask: Tensor,
        *,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return what `forward` does for one token x [n, 1, width], and its own keys and values.

        Args:
            x: the token.
            cache: keys and values [2, n, heads, room, head width] of the tokens before it.
            mask: which of those there are, and the token itself: [1, 1, 1, room + 1].
            memory, memory_mask: as in `forward`.
        """
        normed = self.attention_norm(x)
        own = self.attention.keys_values(normed)
        x = x + self.attention(normed, torch.cat((cache, own), dim=3), mask)
        return self._rest(x, memory, memory_mask), own

    def _rest(self, x: Tensor, memory: Tensor | None, memory_mask: Tensor | None) -> Tensor:
        if self.cross_attention is not None and memory is not None and self.runs("cross_attention"):
            assert self.cross_attention_norm is not None
            read = self.cross_attention(self.cross_attention_norm(x), memory, memory_mask)
            x = x + self.dropout(read)
        if self.runs("feed_forward"):
            x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return x


class PostNormLayer(Droppable):
    """Attention to the sequence and a feed-forward network, each normalised behind what passes it by.

    Vaswani et al., 2017; BERT's layer (Devlin et al., 2019). `epsilon` is that of the norms.
    """

    def __init__(
        self, width: int, heads: int, hidden: int, *, dropout: float, activation: nn.Module, epsilon: float
    ) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.attention_norm = nn.LayerNorm(width, eps=epsilon)
        self.feed_forward = nn.Sequential(nn.Linear(width, hidden), activation, nn.Linear(hidden, width))
        self.feed_forward_norm = nn.LayerNorm(width, eps=epsilon)
        self.dropout = nn.Dropout(dropout)

    @property
    def parts(self) -> tuple[str, ...]:
        return (PARTS[0], PARTS[2])

    @property
    def attentions(self) -> tuple[Attention, ...]:
        return (self.attention,)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return [n, tokens, width] of x alike; `mask` tells which tokens each one reads, None all."""
        if self.runs("attention"):
            read = self.attention(x, self.attention.keys_values(x), mask)
            x = self.attention_norm(x + self.dropout(read))
        if self.runs("feed_forward"):
            x = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        return x


L = TypeVar("L", bound=Droppable)


class Stack(nn.ModuleList, Generic[L]):
    """Layers in a row. `skipped` are those that do not run in training; in evaluation all run.

    A whole layer that is dropped costs nothing: it is not called.
    """

    skipped: frozenset[int] = frozenset()

    def __init__(self, layers: Iterable[L] = ()) -> None:
        super().__init__(layers)

    def __iter__(self) -> Iterator[L]:
        return super().__iter__()  # type: ignore[return-value]

    def running(self) -> Iterator[tuple[int, L]]:
        """Yield each layer that runs, with its place in the stack."""
        for place, layer in enumerate(self):
            if not (self.training and place in self.skipped):
                yield place, layer

    def run_all(self) -> None:
        """Let every layer, and each part of it, run in training too."""
        self.skipped = frozenset()
        for layer in self:
            layer.dropped = frozenset()
            for attention in layer.attentions:
                attention.kept_heads = None


def shrink_branches(stack: Stack[Layer]) -> None:
    """Divide the weights of what each part of a layer adds by the root of the number of parts.

    So a deep stack begins as near to passing its input on as a shallow one (Radford et al., 2019, section
    2.3), and a layer that is dropped is missed less.
    """
    outputs = [linear for layer in stack for linear in layer.outputs]
    for linear in outputs:
        with torch.no_grad():
            linear.weight.div_(math.sqrt(len(outputs)))
        nn.init.zeros_(linear.bias)


class Embedding(nn.Module):
    """Tokens and their places as vectors, both learned, and multiplied by `scale`."""

    def __init__(
        self, vocabulary: int, length: int, width: int, dropout: float, *, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.scale = scale
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)

    def forward(self, tokens: Tensor, first: Tensor | None = None) -> Tensor:
        """Return [n, tokens, width] of tokens [n, tokens], the first of which stands at `first` [1]."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        if first is not None:
            places = places + first
        vectors = self.tokens(tokens) + self.positions(places)
        # A graph holds no multiplication by 1.
        embedded: Tensor = self.dropout(vectors if self.scale == 1 else vectors * self.scale)
        return embedded


def readable(tokens: Tensor, pad: int) -> Tensor:
    """Return a mask [n, 1, 1, tokens] that leaves out padding among tokens [n, tokens].

    Masks are numbers to add: a true-or-false one becomes three operators a layer in an exported graph.
    """
    return _mask(tokens != pad)[:, None, None, :]


def before(position: Tensor, room: int) -> Tensor:
    """Return a mask [1, 1, 1, room + 1]: of a cache the tokens before `position` [1], and the new one."""
    places = torch.arange(room + 1, device=position.device)
    return _mask((places < position) | (places == room))[None, None, None]


def causal(tokens: Tensor) -> Tensor:
    """Return a mask [1, 1, tokens, tokens] under which each token of [n, tokens] reads none behind it."""
    places = torch.arange(tokens.shape[1], device=tokens.device)
    return _mask(places[:, None] >= places)[None, None]


def _mask(seen: Tensor) -> Tensor:
    # Not minus infinity: a row that sees nothing would be no number.
    return torch.where(seen, 0.0, HIDDEN)
