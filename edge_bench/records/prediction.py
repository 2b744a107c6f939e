"""A fitted latency predictor as a record: coefficients, where they hold, and how far they err."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Errors on whole networks that were not used to fit. Shares and MAPE are fractions.

    `coverage` is the share of measured latencies inside the predicted interval.
    """

    networks: int
    mape: float
    within_5_percent: float
    within_10_percent: float
    spearman: float
    kendall: float
    coverage: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPredictor:
    """What `fit` leaves behind. `kind` names the file in `choose/predictors/` that reads `parameters`.

    `validity` gives the smallest and largest value of each feature among the fitted networks;
    outside it a prediction carries a warning. `baseline` is a line through MACs, fitted and
    held out on the same networks.
    """

    id: str
    kind: str
    device: str
    runtime: str
    threads: int
    precision: str
    space: str
    fitted_networks: int
    parameters: Mapping[str, Any]
    validity: Mapping[str, tuple[float, float]]
    held_out: HeldOut
    baseline: HeldOut
    created: str
    source: str = "measured here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A predicted latency with a 90 % interval; `warning` is not empty outside the validity range."""

    latency_ms: float
    low_ms: float
    high_ms: float
    warning: str = ""
