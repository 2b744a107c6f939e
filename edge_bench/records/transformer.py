"""The networks that one transformer trained with LayerDrop holds: each a choice of its layers.

A layer is a `Block` without kernel and expand ratio; its `source` is its place in the whole network,
those of the encoder before those of the decoder. An architecture's `resolution` is the longest sequence.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge_bench.errors import InvalidArch
from edge_bench.records.arch import ArchConfig, Block

Stack = Literal["encoder", "decoder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerSpace:
    """A stack of encoder layers, of decoder layers, or both, of which each may keep any one or more.

    `length` is the longest sequence in tokens, `vocabulary` how many tokens there are, `outputs` the
    width of the last layer (classes, or the vocabulary); `hidden` is the inner width of a feed-forward
    network.
    """

    name: str
    vocabulary: int
    length: int
    width: int
    heads: int
    hidden: int
    outputs: int
    encoder_layers: int = 0
    decoder_layers: int = 0

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The one length, as a search space of images lists its sides in pixels."""
        return (self.length,)

    @property
    def layers(self) -> dict[Stack, int]:
        """How many layers each stack has, the encoder first; a stack without layers is left out."""
        both: dict[Stack, int] = {"encoder": self.encoder_layers, "decoder": self.decoder_layers}
        return {stack: count for stack, count in both.items() if count}

    def kept(self, arch: ArchConfig) -> dict[Stack, tuple[int, ...]]:
        """Return which layers of each stack `arch` keeps, each counted from 0 in its stack."""
        told: dict[Stack, tuple[int, ...]] = {}
        offset = 0
        for stack, count in self.layers.items():
            own = (
                block.source - offset for block in arch.blocks if offset <= block.source < offset + count
            )
            told[stack] = tuple(own)
            offset += count
        return told

    def keeping(self, kept: dict[Stack, tuple[int, ...]]) -> ArchConfig:
        """Return the architecture that keeps these layers; a stack that is not named keeps all.

        Raises:
            InvalidArch: a layer that is not there, or a stack that keeps none.
        """
        sources: list[int] = []
        offset = 0
        for stack, count in self.layers.items():
            for layer in kept.get(stack, tuple(range(count))):
                if not 0 <= layer < count:
                    raise InvalidArch(
                        f"there is no {stack} layer {layer}; network '{self.name}' has 0 to {count - 1}"
                    )
                sources.append(offset + layer)
            offset += count
        blocks = tuple(Block(source=source) for source in sorted(set(sources)))
        arch = ArchConfig(space=self.name, resolution=self.length, blocks=blocks)
        self.check(arch)
        return arch

    def spread(self, depths: dict[Stack, int]) -> ArchConfig:
        """Return the architecture that keeps so many layers of each stack, evenly spread (every other)."""
        for stack, depth in depths.items():
            if not 1 <= depth <= self.layers.get(stack, 0):
                raise InvalidArch(
                    f"{depth} {stack} layers are asked for; network '{self.name}' can keep 1 to "
                    f"{self.layers.get(stack, 0)}"
                )
        return self.keeping(
            {stack: every_other(self.layers[stack], depth) for stack, depth in depths.items()}
        )

    def largest(self) -> ArchConfig:
        """Return the network with every layer."""
        return self.keeping({})

    def middle(self) -> ArchConfig:
        """Return the network with every other layer."""
        return self.spread({stack: -(-count // 2) for stack, count in self.layers.items()})

    def smallest(self) -> ArchConfig:
        """Return the network with the first layer of each stack."""
        return self.spread(dict.fromkeys(self.layers, 1))

    def sample(self, generator: np.random.Generator) -> ArchConfig:
        """Return a network of a depth and of layers that are drawn uniformly in each stack."""
        kept: dict[Stack, tuple[int, ...]] = {}
        for stack, count in self.layers.items():
            depth = int(generator.integers(1, count + 1))
            kept[stack] = tuple(sorted(map(int, generator.choice(count, depth, replace=False))))
        return self.keeping(kept)

    def size(self) -> int:
        """Return how many networks there are."""
        return math.prod(2**count - 1 for count in self.layers.values())

    def contains(self, arch: ArchConfig) -> bool:
        """Say whether `arch` is one of this space's networks."""
        try:
            self.check(arch)
        except InvalidArch:
            return False
        return True

    def check(self, arch: ArchConfig) -> None:
        """Raise `InvalidArch`, naming the first layer that this space does not have."""
        if arch.space != self.name:
            raise InvalidArch(f"the architecture is of space '{arch.space}', not '{self.name}'")
        if arch.resolution != self.length:
            raise InvalidArch(
                f"the architecture takes {arch.resolution} tokens, network '{self.name}' {self.length}"
            )
        sources = [block.source for block in arch.blocks]
        last = sum(self.layers.values()) - 1
        for source in sources:
            if not 0 <= source <= last:
                raise InvalidArch(f"there is no layer {source}; network '{self.name}' has 0 to {last}")
        if any(before >= after for before, after in itertools.pairwise(sources)):
            raise InvalidArch(f"layers are listed as {sources}; each must stand once, in ascending order")
        if any(block.kernel or block.expand for block in arch.blocks):
            raise InvalidArch("a layer of a transformer has neither kernel nor expand ratio")
        for stack, kept in self.kept(arch).items():
            if not kept:
                raise InvalidArch(f"no {stack} layer is kept; at least one is needed")


def every_other(layers: int, kept: int) -> tuple[int, ...]:
    """Return `kept` of `layers` layers at even distances from the first: 0, 2, 4, 6 for 4 of 8.

    The rule of LayerDrop (Fan et al., 2019, section 4.2), written so that it gives any depth.
    """
    return tuple(-(-place * layers // kept) for place in range(kept))


def layer_macs(space: TransformerSpace, stack: Stack, tokens: int) -> int:
    """Return the multiply-accumulates of one layer on a sequence of `tokens`.

    Attention to the sequence itself, in a decoder of a translation to a source as long, and the
    feed-forward network.
    """
    attention = 4 * tokens * space.width**2 + 2 * tokens**2 * space.width
    attentions = 2 if stack == "decoder" and space.encoder_layers else 1
    return attentions * attention + 2 * tokens * space.width * space.hidden


def transformer_macs(space: TransformerSpace, arch: ArchConfig) -> int:
    """Return the multiply-accumulates of `arch` on its longest sequence; lookups count nothing.

    Raises:
        InvalidArch: `arch` is not in `space`.
    """
    space.check(arch)
    body = sum(
        len(kept) * layer_macs(space, stack, space.length) for stack, kept in space.kept(arch).items()
    )
    # A classifier answers once for a sequence, a language model and a translator once for each token.
    answers = space.length if space.decoder_layers else 1
    return body + answers * space.width * space.outputs
