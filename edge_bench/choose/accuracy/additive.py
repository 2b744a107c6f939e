"""Ridge regression on each block's choices and costs: what a block adds, whatever stands beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edge_bench.choose.accuracy import AccuracyPredictor, Values
from edge_bench.choose.costs import BlockTable, macs_table, size_table
from edge_bench.choose.encoding import Encoding, Rows
from edge_bench.choose.regression import ridge

# How far a cost may move a prediction before the penalty counts, against one choice of one block.
COST_SCALE = 0.5


class Additive(AccuracyPredictor):
    """A constant for each resolution, and for each place, kernel and expand ratio at each resolution.

    They are composed of few slopes, so that some dozen networks show them all: one for each kernel and
    for each expand ratio of a place, and one each for the multiply-accumulates and the weights, plain
    and as the sum of the blocks' square roots, since the more a network has, the less a further block
    helps. Blocks add up, so fronts can be merged exactly.
    """

    def solve(self, encoding: Encoding, rows: Rows, values: Values, generator: np.random.Generator) -> None:
        costs = _costs(encoding)
        sums = np.column_stack([cost(rows) for cost in costs])
        center, deviation = sums.mean(axis=0), np.maximum(sums.std(axis=0), 1e-12)
        scaled = COST_SCALE * (sums - center) / deviation
        slopes, constant = ridge(np.hstack([encoding.one_hot(rows), scaled]), values)

        choices, prices = np.split(slopes, [encoding.one_hot_width])
        prices = COST_SCALE * prices / deviation
        base, blocks = _of_choices(encoding, choices)
        base += constant - float(center @ prices)
        for cost, price in zip(costs, prices, strict=True):
            base += price * cost.base
            blocks += price * cost.blocks
        self._table = BlockTable(encoding=encoding, name="accuracy", base=base, blocks=blocks)

    def evaluate(self, encoding: Encoding, rows: Rows) -> Values:
        return self._table(rows)

    def contributions(self) -> BlockTable:
        """Return the table: `base` [resolutions], `blocks` [resolutions, places, kernels, expands].

        Raises:
            NotFittedError: nothing was fitted or loaded yet.
        """
        encoding = self.encoding
        return replace(self._table, encoding=encoding)

    def parameters(self) -> dict[str, Any]:
        return {"base": self._table.base.tolist(), "blocks": self._table.blocks.tolist()}

    def restore(self, parameters: Mapping[str, Any]) -> None:
        self._table = BlockTable(
            encoding=self.encoding,
            name="accuracy",
            base=np.asarray(parameters["base"], np.float64),
            blocks=np.asarray(parameters["blocks"], np.float64),
        )


def _costs(encoding: Encoding) -> list[BlockTable]:
    tables = [macs_table(encoding), size_table(encoding)]
    roots = [replace(one, base=np.sqrt(one.base), blocks=np.sqrt(one.blocks)) for one in tables]
    return [*tables, *roots]


def _of_choices(encoding: Encoding, slopes: Values) -> tuple[Values, Values]:
    """Return the base and blocks of a table that gives `slopes` times `Encoding.one_hot`."""
    space = encoding.space
    resolutions = len(space.resolutions)
    kernels = max(len(stage.kernels) for stage in space.stages)
    expands = max(len(stage.expands) for stage in space.stages)
    blocks = np.zeros((resolutions, encoding.places, kernels, expands))
    start = resolutions
    for place, number in enumerate(encoding.stages.tolist()):
        stage = space.stages[number]
        middle, end = start + len(stage.kernels), start + len(stage.kernels) + len(stage.expands)
        pairs = slopes[start:middle, None] + slopes[middle:end]
        blocks[:, place, : len(stage.kernels), : len(stage.expands)] = pairs
        start = end
    return slopes[:resolutions].copy(), blocks
