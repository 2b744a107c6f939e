"""What an architecture costs, for arrays of them: multiply-accumulates, size, peak memory, latency.

A block's operators depend on the resolution, its place, kernel and expand ratio, and on no other block.
So each cost is a table over those four: summed, or for peak memory the largest entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from edge_bench.choose.encoding import Encoding, Rows
from edge_bench.choose.features import block_features, blocks, part_features
from edge_bench.choose.fitting import fits, open_predictor, source_column, space_key
from edge_bench.choose.predictors import AdditivePredictor, FeatureTable, LatencyPredictor
from edge_bench.errors import ConfigError
from edge_bench.records import ArchConfig, Block, FittedPredictor, Operator, SearchSpace, operators

Scores = npt.NDArray[np.float64]
BYTES = 4


@dataclass(frozen=True, kw_only=True)
class BlockTable:
    """A cost that is a sum over blocks, or the largest of them.

    Attributes:
        name: of what is counted, with its unit: "latency_ms".
        base: [resolutions] what stem and head cost.
        blocks: [resolutions, places, kernels, expands] what a block costs. Where a stage has fewer kernels
            or expand ratios than another, the rest of its entries are 0.
        largest: whether the largest entry counts, rather than the sum.
    """

    encoding: Encoding
    name: str
    base: Scores
    blocks: Scores
    largest: bool = False

    def __call__(self, rows: Rows) -> Scores:
        """Return the cost [n] of canonical `rows` [n, columns]."""
        encoding = self.encoding
        resolution = rows[:, 0]
        there = encoding.present(rows)
        costs = self.base[resolution]
        for place in range(encoding.places):
            kernel, expand = (
                rows[:, encoding.kernel_columns[place]],
                rows[:, encoding.expand_columns[place]],
            )
            block = np.where(there[:, place], self.blocks[resolution, place, kernel, expand], 0.0)
            costs = np.maximum(costs, block) if self.largest else costs + block
        return costs

    def cheapest(self) -> Rows:
        """Return the row [1, columns] of least cost; of equals the shallowest with the first choices."""
        encoding, space = self.encoding, self.encoding.space
        rows = np.zeros((len(space.resolutions), encoding.columns), np.uint8)
        rows[:, 0] = np.arange(len(rows))
        least = np.empty((len(rows), encoding.places))
        for place, number in enumerate(encoding.stages):
            stage = space.stages[number]
            blocks = self.blocks[:, place, : len(stage.kernels), : len(stage.expands)].reshape(
                len(rows), -1
            )
            chosen = blocks.argmin(1)
            least[:, place] = blocks.min(1)
            kernel, expand = np.divmod(chosen, len(stage.expands))
            rows[:, encoding.kernel_columns[place]] = kernel
            rows[:, encoding.expand_columns[place]] = expand
        gather = np.maximum.accumulate if self.largest else np.add.accumulate
        for number, stage in enumerate(space.stages):
            by_depth = gather(least[:, encoding.stages == number], axis=1)
            depths = by_depth[:, np.array(stage.depths) - 1]
            rows[:, encoding.depth_columns[number]] = depths.argmin(1)
        rows = encoding.canonical(rows)
        best = int(self(rows).argmin())
        return rows[best : best + 1]


def macs_table(encoding: Encoding) -> BlockTable:
    """Return the multiply-accumulates for one image, exactly those of `operators`."""
    return _summed(encoding, "macs", lambda operator: operator.macs)


def size_table(encoding: Encoding) -> BlockTable:
    """Return the bytes of all weights in float32; a file adds its graph, some kilobytes."""
    return _summed(encoding, "size_bytes", lambda operator: BYTES * operator.weights)


def peak_memory_table(encoding: Encoding) -> BlockTable:
    """Return the bytes of activations (float32, one image) that must be held at once; see `live_bytes`.

    The weights and what a runtime itself needs are not in it.
    """
    table = _tabulated(encoding, "peak_memory_bytes", live_bytes, combine=max)
    return replace(table, largest=True)


@dataclass(frozen=True, kw_only=True)
class NetworkLatency:
    """A latency in ms that is no sum over blocks, from features that are.

    Attributes:
        columns: each feature that the predictor sees, by its name.
    """

    predictor: LatencyPredictor
    columns: Mapping[str, BlockTable | NetworkLatency]
    name: str = "latency_ms"

    def __call__(self, rows: Rows) -> Scores:
        """Return the latency [n] of canonical `rows` [n, columns]."""
        values = np.column_stack([column(rows) for column in self.columns.values()])
        return self.predictor.predict(FeatureTable(names=tuple(self.columns), values=values)).latency_ms


def latency_table(encoding: Encoding, fitted: FittedPredictor) -> BlockTable | NetworkLatency:
    """Return the latency in ms that a fitted predictor gives, exact but for the order of the sum.

    It is a table where the predictor sums over parts, which can be searched exactly.

    Raises:
        ConfigError: the predictor was fitted for another space, or from other features.
    """
    if not fits(fitted, encoding.space):
        raise ConfigError(
            f"predictor '{fitted.id}' was fitted for space '{fitted.space}', "
            f"not '{space_key(encoding.space)}'",
            hint="edge-bench fit --run RUN",
        )
    predictor = open_predictor(fitted)
    if fitted.unit == "block":
        return _tabulated(
            encoding, "latency_ms", lambda listed: _block_prices(predictor, listed), combine=sum
        )
    if not isinstance(predictor, AdditivePredictor):
        return _network_latency(encoding, fitted, predictor)
    prices_ms = predictor.prices_ms
    table = _tabulated(
        encoding,
        "latency_ms",
        lambda listed: _by_part(listed, [_price(prices_ms, part) for part in blocks(listed)]),
        combine=sum,
    )
    return replace(table, base=table.base + predictor.overhead_ms)


def _network_latency(
    encoding: Encoding, fitted: FittedPredictor, predictor: LatencyPredictor
) -> NetworkLatency:
    known: dict[str, BlockTable | NetworkLatency] = {
        source_column(source): latency_table(encoding, source) for source in fitted.sources
    }
    for name in fitted.parameters["names"]:
        if name not in known:
            known[name] = _tabulated(encoding, name, partial(_of_feature, name), combine=sum)
    return NetworkLatency(predictor=predictor, columns=known)


def _of_feature(name: str, listed: Sequence[Operator]) -> list[float]:
    return _by_part(listed, [part_features(part).get(name, 0.0) for part in blocks(listed)])


def _price(prices_ms: Mapping[str, float], part: Sequence[Operator]) -> float:
    return sum(prices_ms.get(name, 0.0) * value for name, value in part_features(part).items())


def _block_prices(predictor: LatencyPredictor, listed: Sequence[Operator]) -> list[float]:
    parts = blocks(listed)
    prices = predictor.predict(FeatureTable.of([block_features(part) for part in parts])).latency_ms
    return _by_part(listed, prices.tolist())


def _by_part(listed: Sequence[Operator], prices: Sequence[float]) -> list[float]:
    """Return for each operator in running order the price of the block that it begins, else 0."""
    parts = blocks(listed)
    told: list[float] = []
    for part, price in zip(parts, prices, strict=True):
        told += [float(price), *[0.0] * (len(part) - 1)]
    return told


def live_bytes(listed: Sequence[Operator]) -> list[int]:
    """Return for each operator in running order the bytes that must be held while it runs.

    Those are its input and output, and within a block that ends in an addition the block's input,
    which is still to be added. Float32, one image; each operator writes to memory of its own.
    """
    live = [operator.activations for operator in listed]
    for end, operator in enumerate(listed):
        if operator.kind != "add":
            continue
        first = next(
            index
            for index, one in enumerate(listed)
            # The stem's convolution lies before its block.
            if one.block == operator.block and (operator.block >= 0 or one.kind != "convolution")
        )
        for index in range(first + 1, end):
            live[index] += listed[first].input_channels * listed[first].input_size ** 2
    return [BYTES * one for one in live]


def peak_memory_bytes(space: SearchSpace, arch: ArchConfig) -> int:
    """Return the largest of `live_bytes` of one architecture."""
    return max(live_bytes(operators(space, arch)))


def _summed(encoding: Encoding, name: str, price: Callable[[Operator], float]) -> BlockTable:
    return _tabulated(encoding, name, lambda listed: [price(one) for one in listed], combine=sum)


def _tabulated(
    encoding: Encoding,
    name: str,
    price: Callable[[Sequence[Operator]], Sequence[float]],
    *,
    combine: Callable[[Sequence[float]], float],
) -> BlockTable:
    """Return the table of a price that each operator has, combined block by block.

    Since blocks do not touch each other, networks of equal blocks show the prices of all.
    """
    space = encoding.space
    kernels = max(len(stage.kernels) for stage in space.stages)
    expands = max(len(stage.expands) for stage in space.stages)
    base = np.zeros(len(space.resolutions))
    blocks = np.zeros((len(space.resolutions), encoding.places, kernels, expands))
    for number, resolution in enumerate(space.resolutions):
        for kernel in range(kernels):
            for expand in range(expands):
                listed = operators(space, _of_equal_blocks(encoding, resolution, kernel, expand))
                prices: dict[int, list[float]] = {}
                for operator, one in zip(listed, price(listed), strict=True):
                    prices.setdefault(operator.block, []).append(one)
                base[number] = combine(prices.pop(-1))
                for place, stage in enumerate(encoding.stages):
                    chosen = space.stages[stage]
                    if kernel < len(chosen.kernels) and expand < len(chosen.expands):
                        blocks[number, place, kernel, expand] = combine(prices[place])
    return BlockTable(encoding=encoding, name=name, base=base, blocks=blocks)


def _of_equal_blocks(encoding: Encoding, resolution: int, kernel: int, expand: int) -> ArchConfig:
    """Return the deepest network whose blocks all take one choice, or their last where they have fewer."""
    space = encoding.space
    blocks = []
    for source, number in enumerate(encoding.stages.tolist()):
        stage = space.stages[number]
        blocks.append(
            Block(
                source=source,
                kernel=stage.kernels[min(kernel, len(stage.kernels) - 1)],
                expand=stage.expands[min(expand, len(stage.expands) - 1)],
            )
        )
    return ArchConfig(space=space.name, resolution=resolution, blocks=tuple(blocks))
