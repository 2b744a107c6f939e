"""What commands tell of a fitted latency predictor. Nothing heavy, since the base install lists devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edge_bench.choose.fitting import BASELINE
from edge_bench.records import FittedPredictor, HeldOut


def predictor_row(fitted: FittedPredictor) -> dict[str, Any]:
    """Return what is told of a predictor; errors are those on networks that it was not fitted on."""
    return {
        "id": fitted.id,
        "device": fitted.device,
        "runtime": fitted.runtime,
        "threads": fitted.threads,
        "precision": fitted.precision,
        "batch": fitted.batch,
        "kind": fitted.kind,
        "unit": fitted.unit,
        "method": fitted.method,
        "source": fitted.source,
        "fitted": fitted.fitted_networks,
        "held_out": fitted.held_out.networks,
        "held_out_unit": fitted.held_out_unit,
        **_errors(fitted.held_out),
        "baseline": {"kind": BASELINE, **_errors(fitted.baseline)},
        "memory": asdict(fitted.memory) if fitted.memory else None,
    }


def errors_for_people(errors: HeldOut | Mapping[str, Any]) -> dict[str, str]:
    """Return the errors of a predictor as every table shows them; of a record or a `predictor_row`."""
    given = asdict(errors) if isinstance(errors, HeldOut) else errors
    coverage = given["coverage"]
    return {
        "MAPE": f"{100 * given['mape']:.1f} %",
        "within ±5 %": f"{100 * given['within_5_percent']:.0f} %",
        "within ±10 %": f"{100 * given['within_10_percent']:.0f} %",
        "Spearman": f"{given['spearman']:.3f}",
        "Kendall": f"{given['kendall']:.3f}",
        "interval holds": "–" if coverage is None else f"{100 * coverage:.0f} %",
    }


def _errors(held_out: HeldOut) -> dict[str, Any]:
    return {name: value for name, value in asdict(held_out).items() if name != "networks"}
