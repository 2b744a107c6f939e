"""Many networks of one search space at once: their features, weights and live memory.

A part of a network (a block, or what stands in stem and head) depends on the resolution and on its own
place, kernel and expand ratio, and on no other part. So networks share most of theirs, and what a part
costs is worked out once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edge_bench.choose.costs import live_bytes
from edge_bench.choose.features import blocks, features, part_features
from edge_bench.choose.predictors import FeatureTable
from edge_bench.records import ArchConfig, Operator, SearchSpace, operators

Indices = npt.NDArray[np.int64]
# Of a block: resolution, source, kernel, expand ratio. Of stem and head: the resolution.
_Key = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Operators that stand together, and the most bytes that must be held while one of them runs."""

    operators: tuple[Operator, ...]
    live_bytes: int


@dataclass(frozen=True)
class Networks:
    """Architectures of a search space by their parts.

    Attributes:
        parts: all different parts of all networks.
        members: [parts of all networks] numbers of `parts`, network by network.
        starts: [networks] where each one's members begin.
    """

    space: SearchSpace
    archs: Sequence[ArchConfig]
    parts: Sequence[Part]
    members: Indices
    starts: Indices

    @classmethod
    def of(cls, space: SearchSpace, archs: Sequence[ArchConfig]) -> Networks:
        """Take architectures apart, at least one.

        Raises:
            InvalidArch: one is not in `space`.
        """
        parts: list[Part] = []
        known: dict[_Key, list[int]] = {}
        members: list[int] = []
        starts: list[int] = []
        for arch in archs:
            space.check(arch)
            keys = [(arch.resolution,), *_keys(arch)]
            if not all(key in known for key in keys):
                for key, found in _taken_apart(space, arch):
                    if key not in known:
                        known[key] = list(range(len(parts), len(parts) + len(found)))
                        parts += found
            starts.append(len(members))
            for key in keys:
                members += known[key]
        return cls(space, archs, parts, np.array(members, np.int64), np.array(starts, np.int64))

    def __len__(self) -> int:
        return len(self.archs)

    @cached_property
    def features(self) -> FeatureTable:
        """What `features.features` says of each network, a row each."""
        names = tuple(features(self.space, self.archs[0]))
        places = {name: place for place, name in enumerate(names)}
        table = np.zeros((len(self.parts), len(names)))
        for row, part in zip(table, self.parts, strict=True):
            for name, value in part_features(part.operators).items():
                row[places[name]] = value
        return FeatureTable(names=names, values=self.summed(table))

    @cached_property
    def weights(self) -> Indices:
        """How many weights each network has [n]."""
        return self._counted([sum(one.weights for one in part.operators) for part in self.parts])

    @cached_property
    def operators(self) -> Indices:
        """How many operators each network has [n]."""
        return self._counted([len(part.operators) for part in self.parts])

    @cached_property
    def squeezes(self) -> Indices:
        """How many squeeze-excites each network has [n]."""
        kinds = [[one.kind for one in part.operators] for part in self.parts]
        return self._counted([each.count("squeeze_excite") for each in kinds])

    @cached_property
    def live_bytes(self) -> Indices:
        """The most bytes of activations that each network holds at once [n], float32, one image."""
        each = np.array([part.live_bytes for part in self.parts], np.int64)
        return np.asarray(np.maximum.reduceat(each[self.members], self.starts), np.int64)

    def summed(self, of_parts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return for each network the sum [n, …] of what its parts have [parts, …]."""
        # A group at a time: all rows of all parts would be some gigabytes of hundred thousands of networks.
        return np.concatenate(
            [np.add.reduceat(of_parts[mine], starts) for mine, starts in self._groups()], axis=0
        )

    def _counted(self, of_parts: Sequence[int]) -> Indices:
        each = np.array(of_parts, np.int64)
        return np.asarray(np.add.reduceat(each[self.members], self.starts), np.int64)

    def _groups(self, size: int = 4_096) -> Iterator[tuple[Indices, Indices]]:
        for first in range(0, len(self), size):
            begin = self.starts[first]
            end = self.starts[first + size] if first + size < len(self) else len(self.members)
            yield self.members[begin:end], self.starts[first : first + size] - begin


def _keys(arch: ArchConfig) -> list[_Key]:
    return [(arch.resolution, one.source, one.kernel, one.expand) for one in arch.blocks]


def _taken_apart(space: SearchSpace, arch: ArchConfig) -> Iterator[tuple[_Key, list[Part]]]:
    """Yield what stands in stem and head, and then each block."""
    listed = operators(space, arch)
    live = live_bytes(listed)
    by_block: dict[int, list[Part]] = {}
    place = 0
    for part in blocks(listed):
        held = max(live[place : place + len(part)])
        by_block.setdefault(part[0].block, []).append(Part(part, held))
        place += len(part)
    yield (arch.resolution,), by_block[-1]
    for index, key in enumerate(_keys(arch)):
        yield key, by_block[index]
