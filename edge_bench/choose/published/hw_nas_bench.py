"""HW-NAS-Bench's price lists of blocks, recovered from HELP's table of FBNet networks.

Only where asked for (`--source hw_nas_bench`), as the file is HELP's. HW-NAS-Bench measures blocks at
32 px and sums them, so for raspi4, pixel3 and fpga a regression finds the sums' parts again; for the other
devices, whose whole networks were measured, it finds what a block adds on the average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from edge_bench.choose.features import block_features
from edge_bench.choose.predictors import FeatureTable, Matrix
from edge_bench.choose.predictors.block_prices import work
from edge_bench.choose.published import Malformed, MeasuredTable, PublishedTable
from edge_bench.choose.published._help_spaces import FBNet
from edge_bench.choose.published.help import Help
from edge_bench.errors import DataError
from edge_bench.records import Operator

Mask = npt.NDArray[np.bool_]
SKIP = "skip"
# In the keys of rows whose price the sums do not tell.
ANCHORED = "anchored"
# Series that are sums of blocks; in the others a network is more than that, and noise is in the prices.
SUMS = ("raspi4", "pixel3", "fpga")
# Rounds of weighing each row by the price found in the round before.
ROUNDS = 4


class HwNasBench(PublishedTable):
    """What regression finds is how much more a block costs than the skip in its place.

    Where a skip computes nothing, at 16 of 22 places, that is the block's price. At the six others, first
    in their stages, a skip is a 1×1 convolution whose price no sum of networks tells; nor do they tell how
    stem and head share what no choice changes. Both are set by prices of work that fit all else
    (non-negative least squares): those rows are anchored, not measured, and their keys say so. Blocks with
    grouped convolutions, which our spaces have not, serve the regression and are left out of the table.
    The few networks without any take no part in the regression: they are a table of their own, to judge on.
    """

    citation = (
        "Li et al. HW-NAS-Bench: Hardware-Aware Neural Architecture Search Benchmark. ICLR 2021, blocks of "
        f"the FBNet space at 32 px; recovered from {Help.citation}"
    )

    def recognises(self, path: Path) -> bool:
        """Never: the file is HELP's, and told apart by nothing but the wish for its blocks."""
        return False

    def read(self, path: Path) -> list[MeasuredTable]:
        (networks,) = Help().read(path)
        if networks.space != FBNet.name:
            raise DataError(
                f"'{path}' holds networks of {networks.space}; blocks can be recovered from those of fbnet"
            )
        listed = places()
        rows = _rows(listed)
        parts = [network_blocks(key) for key in networks.keys]
        ours = np.array([part is not None for part in parts])
        found = {
            device: _recovered(networks, device, listed, rows, ~ours)
            for device in sorted(networks.latencies_ms)
        }
        return [
            replace(
                networks,
                keys=tuple(key for key, one in zip(networks.keys, ours, strict=True) if one),
                features=networks.features.taken(ours),
                latencies_ms={device: told[ours] for device, told in networks.latencies_ms.items()},
                malformed=(),
                blocks=tuple(part for part in parts if part is not None),
            ),
            MeasuredTable(
                space="",
                unit="block",
                keys=tuple(row.key for row in rows),
                features=FeatureTable.of([row.features for row in rows]),
                latencies_ms=found,
                facts={device: _facts(device, networks.facts.get(device, {})) for device in found},
                citation=self.citation,
                malformed=(*networks.malformed, *_costless(found, rows)),
            ),
        ]


@dataclass(frozen=True, kw_only=True)
class Place:
    """One of FBNet's 22 places: a map's side, channels before and after, stride."""

    side: int
    before: int
    after: int
    stride: int

    @property
    def skip_is_free(self) -> bool:
        return self.stride == 1 and self.before == self.after


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A row of the table: a choice at all `places` of one shape, or a part of stem and head (none)."""

    key: str
    choice: str
    places: tuple[int, ...]
    features: Mapping[str, float]


def places() -> list[Place]:
    """Return FBNet's places in running order, in HW-NAS-Bench's form for 32 px."""
    side, before, listed = FBNet.side, FBNet.stem_width, []
    for after, depth, stride in FBNet.stages:
        for number in range(depth):
            place = Place(side=side, before=before, after=after, stride=stride if number == 0 else 1)
            listed.append(place)
            side, before = side // place.stride, after
    return listed


def network_blocks(key: str) -> FeatureTable | None:
    """Return the blocks of a network by its operations; None where one is grouped, which none of ours is.

    A free skip is no block, any other a 1×1 convolution.
    """
    chosen = key.split()
    if any(choice.endswith("_g2") for choice in chosen):
        return None
    found = [_stem()]
    for number, (place, choice) in enumerate(zip(places(), chosen, strict=True)):
        if choice != SKIP:
            found.append(_block(place, choice, number))
        elif not place.skip_is_free:
            found.append(_skip(place))
    return FeatureTable.of([block_features(block) for block in [*found, *_head()]])


def _recovered(
    networks: MeasuredTable, device: str, listed: list[Place], rows: list[_Row], seen: Mask
) -> Matrix:
    """Return the prices [rows] in ms; NaN where the regression finds nothing above 0."""
    constant, above_skip = _regressed(networks, device, len(listed), seen)
    differences = np.array(
        [np.mean([above_skip[place, row.choice] for place in row.places]) for row in rows if row.places]
    )
    skips = [number for number, place in enumerate(listed) if not place.skip_is_free]
    anchored, fixed = _anchored(rows, differences, skips, constant)
    prices = np.concatenate([differences + anchored, fixed])
    return np.where(prices > 1e-4, prices, np.nan)


def _regressed(
    networks: MeasuredTable, device: str, count: int, seen: Mask
) -> tuple[float, dict[tuple[int, str], float]]:
    """Return what no choice changes, and by how much each choice costs more than the skip in its place."""
    seen = seen & ~np.isnan(networks.latencies_ms[device])
    table, latencies = networks.features.taken(seen), networks.latencies_ms[device][seen]
    choices = [choice for choice in FBNet.choices if choice != SKIP]
    names = [f"place_{place}.{choice}" for place in range(count) for choice in choices]
    matrix = np.hstack([np.ones((len(table), 1)), table.columns(names)])
    solved = np.linalg.lstsq(matrix, latencies, rcond=None)[0]
    pairs = [(place, choice) for place in range(count) for choice in choices]
    return float(solved[0]), dict(zip(pairs, solved[1:].tolist(), strict=True))


def _anchored(
    rows: list[_Row], differences: Matrix, skips: list[int], constant: float
) -> tuple[Matrix, Matrix]:
    """Return what to add to each block's difference [blocks], and the prices of stem and head [parts].

    One price for each kind of work and one for each skip that is not free must explain the differences,
    and stem, head and all skips together the constant.
    """
    works = np.column_stack(list(work(FeatureTable.of([row.features for row in rows])).values()))
    blocks_count = len(differences)
    of_skip = np.zeros((blocks_count, len(skips)))
    for number, row in enumerate(rows[:blocks_count]):
        if row.places[0] in skips:
            of_skip[number, skips.index(row.places[0])] = 1
    whole = np.concatenate([works[blocks_count:].sum(0), np.ones(len(skips))])
    matrix = np.vstack([np.hstack([works[:blocks_count], -of_skip]), whole])
    target = np.append(differences, constant)
    scale = matrix.max(0)
    scale[scale <= 0] = 1.0
    weights = 1 / np.maximum(np.abs(target), 0.02 * np.abs(target).max())
    for _ in range(ROUNDS):
        solved = nnls(matrix / scale * weights[:, None], target * weights, maxiter=20_000)[0] / scale
        added = of_skip @ solved[works.shape[1] :]
        weights[:-1] = 1 / np.maximum(differences + added, 0.02 * np.abs(target).max())
    parts = works[blocks_count:] @ solved[: works.shape[1]]
    left = max(constant - float(solved[works.shape[1] :].sum()), 0.0)
    shares = parts / parts.sum() if parts.sum() > 0 else np.zeros(len(parts))
    return added, shares * left


def _rows(listed: list[Place]) -> list[_Row]:
    alike: dict[Place, list[int]] = {}
    for number, place in enumerate(listed):
        alike.setdefault(place, []).append(number)
    rows = []
    for place, numbers in alike.items():
        for choice in FBNet.choices:
            if choice != SKIP and not choice.endswith("_g2"):
                anchored = "" if place.skip_is_free else f", {ANCHORED}"
                key = f"{choice} {place.before}-{place.after} at {place.side} px{anchored}"
                features = block_features(_block(place, choice, numbers[0]))
                rows.append(_Row(key=key, choice=choice, places=tuple(numbers), features=features))
    for name, part in zip(("stem", "head", "pool", "classifier"), [_stem(), *_head()], strict=True):
        rows.append(_Row(key=f"{name}, {ANCHORED}", choice="", places=(), features=block_features(part)))
    return rows


def _block(place: Place, choice: str, number: int) -> list[Operator]:
    kernel, expand = (int(part[1:]) for part in choice.split("_")[:2])
    smaller, mid = place.side // place.stride, place.before * expand
    listed = [
        _operator("pointwise", place.before, mid, place.side, place.side, number),
        Operator(
            kind="depthwise",
            block=number,
            input_channels=mid,
            output_channels=mid,
            input_size=place.side,
            output_size=smaller,
            kernel=kernel,
            stride=place.stride,
            activation="relu",
        ),
        _operator("pointwise", mid, place.after, smaller, smaller, number),
    ]
    if place.skip_is_free:
        listed.append(_operator("add", place.after, place.after, smaller, smaller, number))
    return listed


def _skip(place: Place) -> list[Operator]:
    return [_operator("pointwise", place.before, place.after, place.side, place.side // place.stride)]


def _stem() -> list[Operator]:
    return [
        Operator(
            kind="convolution",
            block=-1,
            input_channels=3,
            output_channels=FBNet.stem_width,
            input_size=FBNet.side,
            output_size=FBNet.side,
            kernel=3,
            activation="relu",
        )
    ]


def _head() -> list[list[Operator]]:
    last = places()[-1]
    width, head = last.after, FBNet.head_width
    return [
        [_operator("pointwise", width, head, last.side, last.side)],
        [_operator("global_pool", head, head, last.side, 1)],
        [_operator("linear", head, FBNet.classes, 1, 1)],
    ]


def _operator(kind: str, before: int, after: int, size: int, smaller: int, block: int = -1) -> Operator:
    return Operator(
        kind=kind,  # type: ignore[arg-type]
        block=block,
        input_channels=before,
        output_channels=after,
        input_size=size,
        output_size=smaller,
    )


def _facts(device: str, told: Mapping[str, str]) -> dict[str, str]:
    if device in SUMS:
        note = "sums of blocks: that a sum predicts them is no evidence"
    else:
        note = "whole networks were measured; what a block adds to one on the average"
    return {**told, "note": note}


def _costless(found: Mapping[str, Matrix], rows: list[_Row]) -> list[Malformed]:
    """Name what the regression found no price for, by device."""
    return [
        Malformed(where=f"{row.key} on {device}", why="no price above 0 is recovered")
        for device, prices in found.items()
        for row, price in zip(rows, prices, strict=True)
        if np.isnan(price)
    ]
