"""Predictors fitted on published tables, and all of them side by side on the same networks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edge_bench import variants
from edge_bench.choose.fitting import BASELINE, PREDICTORS, block_validity, judge, validity
from edge_bench.choose.predictors import FeatureTable, LatencyPredictor, Matrix
from edge_bench.choose.published import MeasuredTable
from edge_bench.errors import ConfigError
from edge_bench.records import FittedPredictor, HeldOut
from edge_bench.store import now

LEAST_FITTED, LEAST_HELD_OUT, MOST_HELD_OUT = 8, 4, 1000
MANY = 100_000
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Parted:
    """Rows to fit on and rows to judge on, drawn at random; no row is in both."""

    seen: FeatureTable
    seen_ms: Matrix
    unseen: FeatureTable
    unseen_ms: Matrix


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How far one kind errs, and what it costs: seconds for the fit and for 100,000 predictions."""

    kind: str
    held_out: HeldOut
    fit_seconds: float
    many_seconds: float


def part(table: MeasuredTable, device: str, *, nets: int | None, held_out: int | None, seed: int) -> Parted:
    """Part the rows that `device` has: `nets` to fit on and `held_out` to judge on.

    Where no number is given, a fifth is held out, at most 1,000, and all others are fitted on.

    Raises:
        ConfigError: no such device, or too few rows for the parts.
    """
    features, latencies = table.measured_on(device)
    count = len(latencies)
    if held_out is None:
        held_out = min(max(count // 5, LEAST_HELD_OUT), MOST_HELD_OUT)
    if nets is None:
        nets = count - held_out
    if held_out < LEAST_HELD_OUT or nets < LEAST_FITTED or nets + held_out > count:
        raise ConfigError(
            f"'{device}' has {count} rows: {nets} to fit on and {held_out} to hold out cannot be; at least "
            f"{LEAST_FITTED} and {LEAST_HELD_OUT} must"
        )
    order = np.random.default_rng(seed).permutation(count)
    unseen, seen = order[:held_out], order[held_out : held_out + nets]
    return Parted(
        seen=features.taken(seen),
        seen_ms=latencies[seen],
        unseen=features.taken(unseen),
        unseen_ms=latencies[unseen],
    )


def fit_on_table(table: MeasuredTable, device: str, parted: Parted, *, kind: str) -> FittedPredictor:
    """Fit the predictor `kind` and the baseline on the same rows, and judge both on the others.

    What the table does not say: the runtime is "unknown", threads are 0, the precision counts as fp32.

    Raises:
        UnknownVariant: no predictor of that kind.
    """
    predictor, baseline = (_load(one)().fit(parted.seen, parted.seen_ms) for one in (kind, BASELINE))
    facts = table.facts.get(device, {})
    rows, held_out = len(parted.seen), len(parted.unseen)
    runtime = facts.get("runtime", UNKNOWN)
    return FittedPredictor(
        id="-".join(part for part in (device, runtime, table.space or table.unit, kind) if part != UNKNOWN),
        kind=kind,
        device=device,
        runtime=runtime,
        threads=int(facts.get("threads", "0")),
        precision=facts.get("precision", "fp32"),
        space=table.space,
        fitted_networks=rows,
        parameters=predictor.parameters(),
        validity=block_validity(parted.seen) if table.unit == "block" else validity(parted.seen),
        held_out=judge(predictor.predict(parted.unseen), parted.unseen_ms),
        baseline=judge(baseline.predict(parted.unseen), parted.unseen_ms),
        created=now(),
        source=table.citation,
        unit=table.unit,
        held_out_unit=table.unit,
        batch=int(facts.get("batch", "1")),
        method=f"{kind} on {rows} of {rows + held_out} published {table.unit}s, drawn at random; "
        f"{held_out} held out",
    )


def compare(parted: Parted) -> Iterator[Compared]:
    """Yield every kind of predictor, fitted and judged on the same rows, as soon as it is."""
    many = parted.unseen.taken(np.arange(MANY) % len(parted.unseen))
    for kind in kinds():
        started = time.perf_counter()
        predictor = _load(kind)().fit(parted.seen, parted.seen_ms)
        fitted = time.perf_counter()
        predictor.predict(many)
        yield Compared(
            kind=kind,
            held_out=judge(predictor.predict(parted.unseen), parted.unseen_ms),
            fit_seconds=fitted - started,
            many_seconds=time.perf_counter() - fitted,
        )


def kinds() -> tuple[str, ...]:
    """Return the names of all predictors."""
    return variants.names(PREDICTORS)


def _load(kind: str) -> type[LatencyPredictor]:
    return variants.load(LatencyPredictor, PREDICTORS, kind)
