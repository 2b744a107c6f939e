"""A network without choices, such as a ResNet-20 trained alone: a space with one member."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_bench.errors import InvalidArch
from edge_bench.records.arch import ArchConfig, SearchSpace
from edge_bench.records.operators import Operator
from edge_bench.records.transformer import TransformerSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainSpace:
    """The one network there is, by what it computes; `resolution` is the side of its input in pixels.

    Its architecture lists no blocks: there is nothing to choose.
    """

    name: str
    resolution: int
    operators: tuple[Operator, ...]

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


# Whatever a subnet may be one of.
AnySpace = SearchSpace | TransformerSpace | PlainSpace
