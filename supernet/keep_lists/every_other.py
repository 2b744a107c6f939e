"""Layers at even distances: 0, 2, 4 of six. The default of LayerDrop (Fan et al., 2019, section 4.2)."""

from __future__ import annotations

from edge_bench.records import ArchConfig
from supernet.keep_lists import Depths, KeepList, Report, space_of
from supernet.trained import TrainedRun


class EveryOther(KeepList):
    """Needs no data: within a hair of the others, says the paper, and so it was measured here."""

    def choose(self, trained: TrainedRun, depths: Depths, *, seed: int, report: Report) -> ArchConfig:
        return space_of(trained).spread(dict(depths))
