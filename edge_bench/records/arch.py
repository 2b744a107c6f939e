"""Search spaces and the architectures in them.

A block is listed or absent, so an architecture's depth is the number of its blocks and equal
networks have equal keys. Each block names its `source`, the place it takes in the largest network
of the space: a once-for-all prefix lists sources 0, 1, 2 of a stage, a LayerDrop network 0, 2, 4.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edge_bench.documents import digest
from edge_bench.errors import InvalidArch

Activation = Literal["relu", "relu6", "h_swish"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One inverted-residual block: depthwise kernel side and expand ratio; a transformer's layer has 0."""

    source: int
    kernel: int = 0
    expand: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchConfig:
    """One choice from a search space; `resolution` is the side of its square input in pixels, of text the
    longest sequence in tokens.
    """

    space: str
    resolution: int
    blocks: tuple[Block, ...]

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits, equal for equal architectures."""
        return digest(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A run of blocks of one width; only the first has a stride, and skips where shapes agree.

    `depths`, `kernels` and `expands` are the choices, in ascending order.
    """

    width: int
    stride: int
    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    expands: tuple[int, ...]
    activation: Activation = "relu6"
    squeeze_excite: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """What may be chosen: a stem, stages of inverted-residual blocks, a head, input resolutions.

    The network is: a 3×3 stem convolution of `stem_stride`; where `stem_block` a depthwise 3×3 and
    a linear 1×1 convolution at stem width with a residual; the stages; a 1×1 convolution to
    `head_width`; global mean pooling; where `feature_width` > 0 a fully connected layer of that
    width; a fully connected layer to `classes`. All convolutions have batch norm and no bias,
    symmetric padding (kernel // 2), and the fully connected layers have biases.
    """

    name: str
    input_channels: int
    classes: int
    resolutions: tuple[int, ...]
    stem_width: int
    stem_stride: int
    stages: tuple[Stage, ...]
    head_width: int
    feature_width: int = 0
    stem_block: bool = False
    activation: Activation = "relu6"
    divisor: int = 8

    @property
    def offsets(self) -> tuple[int, ...]:
        """The source number of each stage's first block."""
        depths = [max(stage.depths) for stage in self.stages]
        return tuple(itertools.accumulate(depths[:-1], initial=0))

    def stage_of(self, source: int) -> int:
        """Return the index of the stage that holds the block numbered `source`."""
        return bisect.bisect_right(self.offsets, source) - 1

    def mid_width(self, input_width: int, expand: int) -> int:
        """Return the expanded width of a block, a multiple of `divisor`."""
        return scaled_width(input_width, expand, self.divisor)

    def largest(self) -> ArchConfig:
        """Return the network with every maximum chosen."""
        return self._everywhere(max)

    def middle(self) -> ArchConfig:
        """Return the network with every choice the median of its choices, of two the larger."""
        return self._everywhere(lambda choices: choices[len(choices) // 2])

    def smallest(self) -> ArchConfig:
        """Return the network with every minimum chosen."""
        return self._everywhere(min)

    def sample(self, generator: np.random.Generator) -> ArchConfig:
        """Return an architecture with every choice drawn uniformly and independently."""
        blocks = []
        for offset, stage in zip(self.offsets, self.stages, strict=True):
            for place in range(int(generator.choice(stage.depths))):
                blocks.append(self._draw(stage, offset + place, generator))
        resolution = int(generator.choice(self.resolutions))
        return ArchConfig(space=self.name, resolution=resolution, blocks=tuple(blocks))

    def mutate(self, arch: ArchConfig, generator: np.random.Generator, *, probability: float) -> ArchConfig:
        """Return `arch` with each choice redrawn with `probability`; only listed blocks count."""
        blocks: list[Block] = []
        for offset, stage in zip(self.offsets, self.stages, strict=True):
            depth = sum(offset <= block.source < offset + max(stage.depths) for block in arch.blocks)
            if generator.random() < probability:
                depth = int(generator.choice(stage.depths))
            kept = {block.source: block for block in arch.blocks}
            for source in range(offset, offset + depth):
                redraw = source not in kept or generator.random() < probability
                blocks.append(self._draw(stage, source, generator) if redraw else kept[source])
        mutated = replace(arch, blocks=tuple(blocks))
        if generator.random() < probability:
            mutated = replace(mutated, resolution=int(generator.choice(self.resolutions)))
        return mutated

    def size(self) -> int:
        """Return how many architectures the space contains, resolutions counted."""
        stages = (
            sum((len(stage.kernels) * len(stage.expands)) ** depth for depth in stage.depths)
            for stage in self.stages
        )
        total: int = math.prod(stages) * len(self.resolutions)
        return total

    def contains(self, arch: ArchConfig) -> bool:
        """Say whether `arch` is one of this space's networks."""
        try:
            self.check(arch)
        except InvalidArch:
            return False
        return True

    def check(self, arch: ArchConfig) -> None:
        """Raise `InvalidArch`, naming the first block and choice that this space does not have."""
        if arch.space != self.name:
            raise InvalidArch(f"the architecture is of space '{arch.space}', not '{self.name}'")
        if arch.resolution not in self.resolutions:
            raise InvalidArch(
                f"resolution {arch.resolution} is not in space '{self.name}'; "
                f"it may be one of {_listed(self.resolutions)}"
            )
        sources = [block.source for block in arch.blocks]
        last = sum(max(stage.depths) for stage in self.stages) - 1
        for index, block in enumerate(arch.blocks):
            if not 0 <= block.source <= last:
                raise InvalidArch(
                    f"block {index} has source {block.source}; space '{self.name}' has 0 to {last}"
                )
            stage = self.stages[self.stage_of(block.source)]
            for choice, given, allowed in (
                ("kernel", block.kernel, stage.kernels),
                ("expand", block.expand, stage.expands),
            ):
                if given not in allowed:
                    raise InvalidArch(
                        f"block {index} (source {block.source}) has {choice} {given}; "
                        f"space '{self.name}' allows {_listed(allowed)} there"
                    )
        for number, (offset, stage) in enumerate(zip(self.offsets, self.stages, strict=True)):
            listed = [source for source in sources if self.stage_of(source) == number]
            if len(listed) not in stage.depths or listed != list(range(offset, offset + len(listed))):
                raise InvalidArch(
                    f"stage {number} lists blocks {listed}; space '{self.name}' allows the first "
                    f"{_listed(stage.depths)} of {offset}…{offset + max(stage.depths) - 1}"
                )
        if sources != sorted(sources):
            raise InvalidArch(f"blocks are listed as {sources}; they must stand in ascending order")

    def _draw(self, stage: Stage, source: int, generator: np.random.Generator) -> Block:
        return Block(
            source=source,
            kernel=int(generator.choice(stage.kernels)),
            expand=int(generator.choice(stage.expands)),
        )

    def _everywhere(self, choose: Callable[[tuple[int, ...]], int]) -> ArchConfig:
        blocks = tuple(
            Block(source=offset + place, kernel=choose(stage.kernels), expand=choose(stage.expands))
            for offset, stage in zip(self.offsets, self.stages, strict=True)
            for place in range(choose(stage.depths))
        )
        return ArchConfig(space=self.name, resolution=choose(self.resolutions), blocks=blocks)


def scaled_width(width: int, multiplier: float, divisor: int) -> int:
    """Return `width` × `multiplier` rounded to a multiple of `divisor`, at most 10 % below."""
    exact = width * multiplier
    rounded = max(divisor, int(exact + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * exact else rounded


def _listed(choices: tuple[int, ...]) -> str:
    return ", ".join(map(str, choices))
