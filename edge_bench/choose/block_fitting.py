"""Fitting prices of blocks, which answer for networks of any space, and saying how far they err."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench import variants
from edge_bench.choose.features import MACS
from edge_bench.choose.fitting import BASELINE, PREDICTORS, block_validity, judge, summed
from edge_bench.choose.predictors import FeatureTable, LatencyPredictor, Matrix, Predictions
from edge_bench.choose.predictors.block_prices import BlockPrices
from edge_bench.choose.published import MeasuredTable
from edge_bench.records import FittedPredictor, HeldOut
from edge_bench.store import now

Mask = npt.NDArray[np.bool_]
FOLDS = 10
SEED = 20240521
KIND = "block_prices"


@dataclass(frozen=True, kw_only=True)
class MeasuredOn:
    """What all predictors of one device and one way of measuring say of themselves.

    `threads` is 0 where the source does not tell them. `what` names what was measured, and so tells
    predictors of one device apart.
    """

    device: str
    runtime: str
    source: str
    threads: int = 0
    precision: str = "fp32"
    batch: int = 1
    what: str = "blocks"

    def describe(self, kind: str) -> dict[str, Any]:
        """Return the fields of a `FittedPredictor` that do not depend on the fit."""
        batch = f"-batch-{self.batch}" if self.batch > 1 else ""
        return {
            "id": f"{self.device}-{self.runtime}-{self.what}{batch}-{kind}",
            "kind": kind,
            "device": self.device,
            "runtime": self.runtime,
            "threads": self.threads,
            "precision": self.precision,
            "batch": self.batch,
            "source": self.source,
            "space": "",
            "unit": "block",
            "created": now(),
        }


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Whole networks that were measured: the blocks of each, and latencies [networks] in ms."""

    blocks: Sequence[FeatureTable]
    latencies_ms: Matrix

    @classmethod
    def of(cls, table: MeasuredTable, column: str) -> Networks:
        """Return the networks that a table has on one of its devices; it must tell their blocks."""
        latencies = table.latencies_ms[column]
        there = np.flatnonzero(~np.isnan(latencies))
        return cls(blocks=[table.blocks[row] for row in there], latencies_ms=latencies[there])

    def __len__(self) -> int:
        return len(self.blocks)

    def taken(self, rows: Sequence[int]) -> Networks:
        """Return some networks by their numbers."""
        return Networks(
            blocks=[self.blocks[row] for row in rows], latencies_ms=self.latencies_ms[list(rows)]
        )


def fit_blocks(
    on: MeasuredOn,
    table: FeatureTable,
    latencies_ms: Matrix,
    *,
    networks: Networks | None = None,
    judged_on: Mask | None = None,
    kind: str = KIND,
    note: str = "",
) -> FittedPredictor:
    """Fit on a price list of blocks; judge on whole `networks`, else on blocks left out in turn.

    Args:
        table: of blocks, as `choose.features.block_features` describes them.
        latencies_ms: [rows]
        networks: whole networks of which none took part in the list.
        judged_on: [rows] which blocks have a price that is sure enough to judge by; None is all.
        note: what must be known of the list, for people.
    """
    predictor = _new(kind).fit(table, latencies_ms)
    fitted = _record(on, kind, predictor, table, len(table))
    if networks is None:
        judged_rows = np.ones(len(table), bool) if judged_on is None else judged_on
        held_out, baseline = _left_out_blocks(table, latencies_ms, judged_rows, kind)
        fitted = replace(fitted, held_out=held_out, baseline=baseline, held_out_unit="block")
        judged = f"judged on blocks left out in turn ({FOLDS} folds)"
    else:
        line = _new(BASELINE).fit(table, latencies_ms)
        by_line = np.array([line.predict(blocks).latency_ms.sum() for blocks in networks.blocks])
        fitted = _judged(fitted, predictor, by_line, networks)
        judged = f"judged on {len(networks)} whole networks"
    told = f"{kind} on {len(table)} blocks; {judged}"
    return replace(fitted, method=f"{told}. {note}" if note else told)


def fit_scaled(
    on: MeasuredOn, base: FittedPredictor, table: FeatureTable, networks: Networks, *, note: str = ""
) -> FittedPredictor:
    """Return another price list, times the factor that suits a few whole networks of this device.

    Each network is judged by the factor that the others give.

    Args:
        base: fitted prices of blocks, of kind "block_prices".
        table: the blocks that `base` was fitted on, for the range it holds in.
        networks: at least two.
    """
    predictor = BlockPrices.from_parameters(base.parameters)
    priced = np.array([predictor.predict(blocks).latency_ms.sum() for blocks in networks.blocks])
    ratios = np.log(networks.latencies_ms / priced)
    factor = float(np.exp(ratios.mean()))
    others = (ratios.sum() - ratios) / (len(ratios) - 1)
    fitted = _record(on, KIND, predictor.scaled(factor), table, len(networks))
    estimates = np.exp(others) * priced
    macs = np.array([blocks.columns([MACS]).sum() for blocks in networks.blocks])
    by_line = judge(_certain(_leave_one_out_line(macs, networks.latencies_ms)), networks.latencies_ms)
    fitted = replace(
        fitted,
        held_out=judge(_certain(estimates), networks.latencies_ms),
        baseline=replace(by_line, coverage=None),
    )
    reach = np.log(_reaches(predictor.scaled(factor), networks, fitted))
    covered = np.abs(np.log(networks.latencies_ms / estimates)) <= reach
    held_out = replace(fitted.held_out, coverage=float(covered.mean()))
    told = f"the prices of {base.id} times {factor:.4g}, which suits {len(networks)} whole networks"
    judged = "each judged by the factor of the others"
    method = f"{told}; {judged}. {note}" if note else f"{told}; {judged}"
    return replace(fitted, held_out=held_out, method=method)


def fit_sums(on: MeasuredOn, networks: Networks, *, held_out: int, note: str = "") -> FittedPredictor:
    """Fit prices of blocks on whole networks alone; `held_out` of them, drawn at random, judge."""
    order = np.random.default_rng(SEED).permutation(len(networks)).tolist()
    seen, unseen = networks.taken(order[held_out:]), networks.taken(order[:held_out])
    predictor = BlockPrices().fit_sums(seen.blocks, seen.latencies_ms)
    every = FeatureTable(
        names=seen.blocks[0].names,
        values=np.unique(np.vstack([blocks.values for blocks in seen.blocks]), axis=0),
    )
    fitted = _record(on, KIND, predictor, every, len(seen))
    macs = np.array([[blocks.columns([MACS]).sum()] for blocks in networks.blocks])
    line = _new(BASELINE).fit(FeatureTable(names=(MACS,), values=macs[order[held_out:]]), seen.latencies_ms)
    by_line = line.predict(FeatureTable(names=(MACS,), values=macs[order[:held_out]])).latency_ms
    fitted = _judged(fitted, predictor, by_line, unseen)
    told = f"prices of work on {len(seen)} whole networks; judged on {held_out} others, drawn at random"
    return replace(fitted, method=f"{told}. {note}" if note else told)


def _new(kind: str) -> LatencyPredictor:
    return variants.load(LatencyPredictor, PREDICTORS, kind)()


def _record(
    on: MeasuredOn, kind: str, predictor: LatencyPredictor, table: FeatureTable, count: int
) -> FittedPredictor:
    unknown = HeldOut(
        networks=0, mape=0.0, within_5_percent=0.0, within_10_percent=0.0, spearman=0.0, kendall=0.0
    )
    return FittedPredictor(
        **on.describe(kind),
        fitted_networks=count,
        parameters=predictor.parameters(),
        validity=block_validity(table),
        held_out=unknown,
        baseline=unknown,
    )


def _judged(
    fitted: FittedPredictor, predictor: LatencyPredictor, by_line: Matrix, networks: Networks
) -> FittedPredictor:
    """Return the predictor with its errors on networks; those set the width of its intervals too."""
    sums = np.array([predictor.predict(blocks).latency_ms.sum() for blocks in networks.blocks])
    held_out = judge(_certain(sums), networks.latencies_ms)
    baseline = replace(judge(_certain(by_line), networks.latencies_ms), coverage=None)
    fitted = replace(fitted, held_out=held_out, baseline=baseline, held_out_unit="network")
    reach = np.log(_reaches(predictor, networks, fitted))
    covered = np.abs(np.log(networks.latencies_ms / sums)) <= reach
    return replace(fitted, held_out=replace(held_out, coverage=float(covered.mean())))


def _reaches(predictor: LatencyPredictor, networks: Networks, fitted: FittedPredictor) -> Matrix:
    """Return how many times its latency the upper end of each network's interval is."""
    told = [summed(predictor.predict(blocks), fitted) for blocks in networks.blocks]
    return np.array([one.high_ms / one.latency_ms for one in told])


def _certain(latencies_ms: Matrix) -> Predictions:
    return Predictions(latency_ms=latencies_ms, low_ms=latencies_ms, high_ms=latencies_ms)


def _leave_one_out_line(macs: Matrix, latencies: Matrix) -> Matrix:
    """Return what a price of multiply-accumulates says of each network, from the others."""
    ratios = latencies / macs
    others = (ratios.sum() - ratios) / (len(ratios) - 1)
    return np.asarray(others * macs, np.float64)


def _left_out_blocks(
    table: FeatureTable, latencies: Matrix, judged_on: Mask, kind: str
) -> tuple[HeldOut, HeldOut]:
    folds = np.random.default_rng(SEED).permutation(len(table)) % FOLDS
    parts: list[tuple[Predictions, Predictions]] = []
    order = np.concatenate([np.flatnonzero((folds == fold) & judged_on) for fold in range(FOLDS)])
    for fold in range(FOLDS):
        out = folds == fold
        seen, unseen = table.taken(~out), table.taken(out & judged_on)
        made = [_new(name).fit(seen, latencies[~out]).predict(unseen) for name in (kind, BASELINE)]
        parts.append((made[0], made[1]))
    judged = [
        judge(
            Predictions(
                latency_ms=np.concatenate([part[number].latency_ms for part in parts]),
                low_ms=np.concatenate([part[number].low_ms for part in parts]),
                high_ms=np.concatenate([part[number].high_ms for part in parts]),
            ),
            latencies[order],
        )
        for number in (0, 1)
    ]
    return judged[0], judged[1]
