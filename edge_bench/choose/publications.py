"""How each predictor that comes with a device is made from a published table, and a fit of all of them.

`benchmarks/published_devices.py --write` runs them. What they give is coefficients; no measurement is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edge_bench.choose.block_fitting import MeasuredOn, Networks, fit_blocks, fit_scaled, fit_sums
from edge_bench.choose.features import block_features, blocks
from edge_bench.choose.predictors import FeatureTable
from edge_bench.choose.published import MeasuredTable, read_published
from edge_bench.choose.published._help_spaces import OFA, OnceForAll
from edge_bench.choose.published.hw_nas_bench import ANCHORED, SUMS
from edge_bench.choose.shipped import UNTOLD
from edge_bench.documents import to_document
from edge_bench.records import FittedPredictor, operators

# Once-for-all's columns by our ids. The phones lend Note 10's prices; Jetson TX2 and GTX 1080 Ti those of
# Titan Xp, a GPU of the same architecture (Pascal).
PHONES = {
    "note8": "samsung-note-8",
    "pixel2": "google-pixel-2",
    "s7edge": "samsung-s7-edge",
    "LG-G8": "lg-g8",
}
PASCAL = {"tx2": "nvidia-jetson-tx2", "1080ti": "nvidia-gtx-1080-ti"}
# HELP's columns by our ids, less the batch.
HELP = {
    "1080ti": "nvidia-gtx-1080-ti",
    "2080ti": "nvidia-rtx-2080-ti",
    "titan_rtx": "nvidia-titan-rtx",
    "titan_xp": "nvidia-titan-xp",
    "titanx": "nvidia-titan-x",
    "titanxp": "nvidia-titan-xp",
    "v100": "nvidia-v100",
    "essential_ph_1": "essential-ph-1",
    "samsung_a50": "samsung-galaxy-a50",
    "samsung_s7": "samsung-galaxy-s7",
    "silver_4114": "intel-xeon-silver-4114",
    "silver_4210r": "intel-xeon-silver-4210r",
    "gold_6240": "intel-xeon-gold-6240",
    "raspi4": "raspberry-pi-4",
    "pixel3": "google-pixel-3",
}
WHOLE_MS = "the source tells whole milliseconds"
RECOVERED = (
    "The blocks' prices are recovered from 5,000 networks at 32 px; what a block costs where a skip there "
    "is a convolution, and what stem and head share, is anchored by prices of work"
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """The files that the recipes read.

    Attributes:
        once_for_all: the price lists of blocks (`latency_lut.csv`).
        specialized: the searched networks (`specialized_nets.csv`).
        help_fbnet: HELP's networks of the FBNet space.
        help_ofa: HELP's networks of once-for-all's space.
    """

    once_for_all: Path
    specialized: Path
    help_fbnet: Path
    help_ofa: Path

    @classmethod
    def under(cls, folder: Path) -> Published:
        """Return the files as they lie in the folder of real data that benchmarks use."""
        return cls(
            once_for_all=folder / "ofa_published" / "latency_lut.csv",
            specialized=folder / "ofa_published" / "specialized_nets.csv",
            help_fbnet=folder / "help_latency" / "fbnet.parquet",
            help_ofa=folder / "help_latency" / "ofa_mbv3.parquet",
        )


class Recipes:
    """All predictors that are shipped, each made when it is asked for."""

    def __init__(self, published: Published) -> None:
        self.published = published

    def all(self) -> Iterator[tuple[str, FittedPredictor]]:
        """Yield each predictor with its file's name, `DEVICE.WHAT`."""
        yield "samsung-note-10.blocks", self.note_10
        yield "google-pixel-1.blocks", self.pixel_1
        for column, device in PHONES.items():
            yield f"{device}.scaled", self._like_note_10(column, device)
        yield "intel-xeon-once-for-all.scaled", self._like_note_10("cpu", "intel-xeon-once-for-all")
        for column in self.ofa_networks.latencies_ms:
            yield self._named(column, "networks"), self._ofa(column)
        for column, device in PASCAL.items():
            yield f"{device}.scaled", self._like_titan_xp(column, device)
        for column in self.fbnet_blocks.latencies_ms:
            if column != "fpga" and _batch(column) == 1:
                yield self._named(column, "blocks"), self.fbnet(column)

    @cached_property
    def block_tables(self) -> dict[str, MeasuredTable]:
        """Once-for-all's price lists by its own names of devices."""
        tables = read_published(self.published.once_for_all, source="once_for_all")
        return {name: table for table in tables for name in table.latencies_ms}

    @cached_property
    def searched(self) -> MeasuredTable:
        """The networks that were searched with those lists, and measured."""
        (table,) = read_published(self.published.specialized, source="once_for_all")
        return table

    @cached_property
    def ofa_networks(self) -> MeasuredTable:
        """HELP's networks of once-for-all's space, their blocks told."""
        (table,) = read_published(self.published.help_ofa, source="help")
        space = OnceForAll()
        parts = tuple(
            FeatureTable.of([block_features(part) for part in blocks(operators(OFA, space.arch_of(key)))])
            for key in table.keys
        )
        return replace(table, blocks=parts)

    @cached_property
    def _fbnet(self) -> tuple[MeasuredTable, MeasuredTable]:
        networks, recovered = read_published(self.published.help_fbnet, source="hw_nas_bench")
        return networks, recovered

    @property
    def fbnet_networks(self) -> MeasuredTable:
        """Whole networks of the FBNet space that the recovery did not see."""
        return self._fbnet[0]

    @property
    def fbnet_blocks(self) -> MeasuredTable:
        """The blocks that were recovered."""
        return self._fbnet[1]

    @cached_property
    def note_10(self) -> FittedPredictor:
        """Prices of Samsung Note 10."""
        table = self.block_tables["note10"]
        features, latencies = table.measured_on("note10")
        on = MeasuredOn(device="samsung-note-10", runtime="litert", source=table.citation)
        return fit_blocks(on, features, latencies, networks=Networks.of(self.searched, "note10"))

    @cached_property
    def pixel_1(self) -> FittedPredictor:
        """Prices of Pixel 1: ProxylessNAS's, to which seven networks of another year give the scale."""
        table = self.block_tables["pixel1"]
        features, latencies = table.measured_on("pixel1")
        on = MeasuredOn(device="google-pixel-1", runtime="litert", source=table.citation)
        return fit_scaled(
            on,
            fit_blocks(on, features, latencies),
            features,
            Networks.of(self.searched, "pixel1"),
            note=f"{len(features)} blocks of ProxylessNAS, none with h-swish or squeeze-excite",
        )

    def fbnet(self, column: str) -> FittedPredictor:
        """Return the prices of a device that HELP measured networks of the FBNet space on."""
        table = self.fbnet_blocks
        features, latencies = table.measured_on(column)
        there = ~np.isnan(table.latencies_ms[column])
        of_sums = column in SUMS
        notes = [RECOVERED]
        if of_sums:
            notes.append("whole networks there are sums of blocks, so none of them is evidence")
        if "whole milliseconds" in self.fbnet_networks.facts[column].get("note", ""):
            notes.append(WHOLE_MS)
        return fit_blocks(
            MeasuredOn(
                device=_device(column),
                runtime="litert" if of_sums else UNTOLD,
                source=table.citation,
                what="fbnet",
            ),
            features,
            latencies,
            networks=None if of_sums else Networks.of(self.fbnet_networks, column),
            judged_on=~np.array([ANCHORED in key for key in np.array(table.keys)[there]]),
            note="; ".join(notes),
        )

    def _ofa(self, column: str) -> FittedPredictor:
        return fit_sums(
            MeasuredOn(
                device=_device(column),
                runtime=UNTOLD,
                source=self.ofa_networks.citation,
                batch=_batch(column),
                what="ofa_mbv3",
            ),
            Networks.of(self.ofa_networks, column),
            held_out=len(self.ofa_networks.keys) // 5,
        )

    def _like_note_10(self, column: str, device: str) -> FittedPredictor:
        features, _ = self.block_tables["note10"].measured_on("note10")
        runtime = UNTOLD if column == "cpu" else "litert"
        on = MeasuredOn(device=device, runtime=runtime, source=self.searched.citation, what="scaled")
        return fit_scaled(on, self.note_10, features, Networks.of(self.searched, column))

    def _like_titan_xp(self, column: str, device: str) -> FittedPredictor:
        every = np.unique(np.vstack([part.values for part in self.ofa_networks.blocks]), axis=0)
        on = MeasuredOn(
            device=device,
            runtime=UNTOLD,
            source=self.searched.citation,
            batch=int(self.searched.facts[column]["batch"]),
            what="scaled",
        )
        table = FeatureTable(names=self.ofa_networks.blocks[0].names, values=every)
        return fit_scaled(on, self._ofa("titan_xp_64"), table, Networks.of(self.searched, column))

    def _named(self, column: str, what: str) -> str:
        batch = f"-batch-{_batch(column)}" if _batch(column) > 1 else ""
        return f"{_device(column)}.{what}{batch}"


def shipped_document(fitted: FittedPredictor) -> dict[str, Any]:
    """Return a predictor as the document that is shipped, its numbers to seven digits."""
    document = _rounded(to_document(fitted))
    assert isinstance(document, dict)
    return document


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e9 else float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def _batch(column: str) -> int:
    name, _, batch = column.rpartition("_")
    return int(batch) if name in HELP and batch.isdigit() else 1


def _device(column: str) -> str:
    name, _, batch = column.rpartition("_")
    return HELP[name] if name in HELP and batch.isdigit() else HELP[column]
