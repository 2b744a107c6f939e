"""Networks without choices, such as a ResNet-20 trained alone: spaces with one member."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_bench.errors import InvalidArch
from edge_bench.records.arch import ArchConfig, SearchSpace
from edge_bench.records.operators import Operator
from edge_bench.records.transformer import TransformerSpace


class _OneNetwork:
    """A space of one network, whose architecture lists no blocks: there is nothing to choose."""

    __slots__ = ()

    name: str
    resolution: int

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The one resolution, as a search space lists its own."""
        return (self.resolution,)

    def largest(self) -> ArchConfig:
        """Return the one network."""
        return ArchConfig(space=self.name, resolution=self.resolution, blocks=())

    def middle(self) -> ArchConfig:
        """Return the one network."""
        return self.largest()

    def smallest(self) -> ArchConfig:
        """Return the one network."""
        return self.largest()

    def sample(self, generator: np.random.Generator) -> ArchConfig:
        """Return the one network; nothing is drawn."""
        return self.largest()

    def size(self) -> int:
        """Return how many networks there are: one."""
        return 1

    def contains(self, arch: ArchConfig) -> bool:
        """Say whether `arch` is the one network."""
        return arch == self.largest()

    def check(self, arch: ArchConfig) -> None:
        """Raise `InvalidArch` where `arch` is not the one network."""
        if arch.space != self.name:
            raise InvalidArch(f"the architecture is of space '{arch.space}', not '{self.name}'")
        if not self.contains(arch):
            raise InvalidArch(
                f"network '{self.name}' has no choices: its one architecture has resolution "
                f"{self.resolution} and no blocks"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainSpace(_OneNetwork):
    """The one network there is, by what it computes; `resolution` is the side of its input in pixels, of a
    vector 1.
    """

    name: str
    resolution: int
    operators: tuple[Operator, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input."""
        return sum(operator.macs for operator in self.operators)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentSpace(_OneNetwork):
    """A recurrent language model: layers of an LSTM over vectors of tokens, and a last one over all tokens.

    `length` is the longest sequence it is trained and judged on, `vocabulary` how many tokens there are,
    `width` that of a token's vector and of what each layer gives out, `outputs` that of the last layer.
    """

    name: str
    vocabulary: int
    length: int
    width: int
    layers: int
    outputs: int

    @property
    def resolution(self) -> int:  # type: ignore[override]
        """The length, as a transformer's space tells it."""
        return self.length

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the longest sequence: four gates a layer; lookups count nothing."""
        return self.length * (self.layers * 8 * self.width**2 + self.width * self.outputs)


# Whatever a subnet may be one of.
AnySpace = SearchSpace | TransformerSpace | PlainSpace | RecurrentSpace
