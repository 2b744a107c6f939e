"""Keep lists: which layers of a trained transformer remain at a depth, one way of choosing a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import cast

from edge_bench import variants
from edge_bench.records import ArchConfig, TransformerSpace
from edge_bench.records.transformer import Stack
from supernet.trained import TrainedRun

KEEP_LISTS = "supernet.keep_lists"
Depths = Mapping[Stack, int]
# Told (what is being done, steps done, steps in all).
Report = Callable[[str, int, int], None]


class KeepList(ABC):
    """A way to choose layers. Choices look at the training and the selection split, never at test."""

    @abstractmethod
    def choose(self, trained: TrainedRun, depths: Depths, *, seed: int, report: Report) -> ArchConfig:
        """Return the architecture that keeps `depths` layers of each stack; a stack not named keeps all.

        Raises:
            InvalidArch: a stack has not so many layers, or the run is not of a transformer.
        """


def keep_list(name: str) -> KeepList:
    """Return the keep list of a name; `UnknownVariant` names the nearest."""
    return variants.load(KeepList, KEEP_LISTS, name)()


def space_of(trained: TrainedRun) -> TransformerSpace:
    """Return the layers of a run on text."""
    return cast(TransformerSpace, trained.space)
