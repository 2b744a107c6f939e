"""Fitted predictors as records: coefficients, where they hold, and how far they err."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edge_bench.records.subnet import Split

Unit = Literal["network", "block", "step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Errors on whole networks, or on blocks, that were not used to fit. Shares and MAPE are fractions.

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
class FittedMemory:
    """Peak resident memory of a process that runs a network, by what the network's tensors take.

    Peak = `base_mb` (interpreter and runtime) + `per_weight` × weights + `per_activation` × live
    activations, in MB (10⁶ bytes). 90 % of measured peaks lie within ± `half_width_mb`; that, and `mape`
    as a fraction, are of networks predicted by a fit on the `networks` − 1 others. Beyond
    `largest_weights_mb` and `largest_activations_mb` nothing was measured.
    """

    base_mb: float
    per_weight: float
    per_activation: float
    half_width_mb: float
    networks: int
    mape: float
    largest_weights_mb: float
    largest_activations_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPredictor:
    """What `fit` leaves behind. `kind` names the file in `choose/predictors/` that reads `parameters`.

    `validity` gives the smallest and largest value of each feature among the fitted networks;
    outside it a prediction carries a warning. `baseline` is a line through MACs, fitted and
    held out on the same networks. With `unit` "block" the predictor prices the blocks of a network one
    by one, the network costs their sum, and it holds for any `space`, which is then empty. With
    "step" it is of the file that generates a text token by token.

    `method` says in words how it was fitted, `source` who measured, where and when: for published
    measurements their citation. `batch` is the number of images a latency is of. `threads` is 0 where the
    source does not tell them. `held_out_unit` says what `held_out` counts: a predictor of blocks may be
    judged on whole networks or, where none was measured, on blocks. `sources` are predictors of other
    devices, whose latencies are features of this one; it holds all it needs of them.
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
    unit: Unit = "network"
    batch: int = 1
    method: str = ""
    memory: FittedMemory | None = None
    held_out_unit: Literal["network", "block"] = "network"
    sources: tuple[FittedPredictor, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A predicted latency with a 90 % interval; `warning` is not empty outside the validity range."""

    latency_ms: float
    low_ms: float
    high_ms: float
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyErrors:
    """Errors of predicted accuracies on whole networks that were not used to fit.

    `rmse_points` is in points of accuracy, hundredths. The rank correlations are None where every
    network is predicted alike.
    """

    networks: int
    rmse_points: float
    kendall: float | None = None
    spearman: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedAccuracyPredictor:
    """What `fit accuracy` leaves behind: how good each subnet of a trained run is.

    `kind` names the file in `choose/accuracy/` that reads `parameters`; `metric` and `split` say what
    is predicted, measured on `examples`. `cross_validated` gives the errors of every kind on fitted
    networks left out in turn, by which `kind` was chosen; `baselines` those of the plainest kinds on
    the networks of `held_out`, which took part in neither fit nor choice.
    """

    id: str
    kind: str
    run: str
    space: str
    metric: str
    split: Split
    examples: int
    fitted_networks: int
    parameters: Mapping[str, Any]
    held_out: AccuracyErrors
    baselines: Mapping[str, AccuracyErrors]
    cross_validated: Mapping[str, AccuracyErrors]
    created: str
