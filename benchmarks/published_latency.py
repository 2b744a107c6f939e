"""Latency on devices that others measured, predicted for networks that were left out, against forests.

Two published tables, the protocol of each source, several random splits:
- HAT: transformers, 2,000 for each task and hardware; 1,600 to fit, 200 to judge; a Gaussian process;
- HELP's once-for-all MobileNetV3 networks on 11 devices; 4,000 to fit, 1,000 to judge; boosted trees.

Each is held against the better of two random forests, figure by figure: scikit-learn's own settings on the
choices as the table tells them, and one on all the features that our predictors see, a third of them at
each split and at least three networks a leaf. Nothing is fitted on the networks it is judged on. How the
predictors are built was settled on other draws of these series, so that no draw here was looked at before.

HAT's rows lie in the order they were measured in, and some series hold slow spells of the machine, which
no architecture tells. `within_10_if_spells_were_known` is what our predictions would reach, were each put
right by what the ten fitted rows measured nearest in time show: a bound on the noise, not a prediction.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from report import Bar, arguments, data_folder, write
from sklearn.ensemble import RandomForestRegressor

from edge_bench.choose.fitting import judge
from edge_bench.choose.predictors import FeatureTable, LatencyPredictor, Matrix
from edge_bench.choose.predictors.gaussian_process import GaussianProcess
from edge_bench.choose.predictors.gradient_boosting import GradientBoosting
from edge_bench.choose.published import MeasuredTable, read_published
from edge_bench.choose.published.hat import SHAPE
from edge_bench.records import HeldOut
from edge_bench.statistics import relative_errors, spearman

NEIGHBOURS = 10
AIM_WITHIN_10 = 0.9
FIRST_SEED = 100
FORESTS: dict[str, dict[str, Any]] = {
    "its own settings, choices": {"n_estimators": 100},
    "all features": {"n_estimators": 100, "max_features": 1 / 3, "min_samples_leaf": 3},
}


@dataclass(frozen=True)
class Protocol:
    """How a source is judged. `told` says which features are choices as the table tells them."""

    predictor: Callable[[], LatencyPredictor]
    fit: int
    held_out: int
    draws: int
    told: Callable[[str], bool]


HAT = Protocol(GaussianProcess, 1600, 200, 5, lambda name: name in SHAPE)
OFA = Protocol(
    GradientBoosting,
    4000,
    1000,
    2,
    lambda name: name == "resolution" or name.endswith(".depth") or name.startswith("place_"),
)
SMOKE = {"fit": 120, "held_out": 50, "draws": 1}


def main() -> int:
    options = arguments(__doc__)
    folder = data_folder()
    files = [folder / "hat_latency" / "latency.csv.gz", folder / "help_latency" / "ofa_mbv3.parquet"]
    if missing := [file for file in files if not file.is_file()]:
        print(f"no {missing[0]}; name the folder of data by EDGE_BENCH_DATA")
        return 1
    smoke = options.size == "smoke"
    figures: dict[str, Any] = {}
    bars: list[Bar] = []
    for file, protocol in zip(files, (HAT, OFA), strict=True):
        if smoke:
            protocol = Protocol(protocol.predictor, told=protocol.told, **SMOKE)
        for table in read_published(file):
            for device in sorted(table.latencies_ms)[: 1 if smoke else None]:
                name = f"{table.space} {device}"
                figures[name] = judged(table, device, protocol)
                bars += held_against_forests(name, figures[name], of_hat=table.space.startswith("hat_"))
                shown(name, figures[name])
    return write("published_latency", options.size, {"series": figures}, bars)


def judged(table: MeasuredTable, device: str, protocol: Protocol) -> dict[str, Any]:
    """Return the mean and deviation over splits of what each predictor reaches."""
    features, latencies = table.measured_on(device)
    told = np.array([protocol.told(name) for name in features.names])
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(FIRST_SEED, FIRST_SEED + protocol.draws):
        rows = np.random.default_rng(seed).permutation(len(latencies))
        fitted, unseen = rows[: protocol.fit], rows[protocol.fit : protocol.fit + protocol.held_out]
        predictor = protocol.predictor().fit(features.taken(fitted), latencies[fitted])
        ours = judge(predictor.predict(features.taken(unseen)), latencies[unseen])
        spells = spells_known(predictor, features, latencies, fitted, unseen)
        found.setdefault("ours", []).append({**of_interest(ours), "within_10_if_spells_were_known": spells})
        for name, settings in FORESTS.items():
            columns = told if "choices" in name else np.ones(len(told), bool)
            forest = RandomForestRegressor(random_state=seed, **settings)
            forest.fit(features.values[fitted][:, columns], latencies[fitted])
            predicted = forest.predict(features.values[unseen][:, columns])
            found.setdefault(f"forest: {name}", []).append(plainly(predicted, latencies[unseen]))
    return {name: over_draws(draws) for name, draws in found.items()}


def spells_known(
    predictor: LatencyPredictor, features: FeatureTable, latencies: Matrix, fitted: Any, unseen: Any
) -> float:
    """Return the share within ±10 % with each prediction put right by the fitted rows nearest in time."""
    ratios = latencies / predictor.predict(features).latency_ms
    in_time = np.sort(fitted)
    corrected = []
    for row in unseen:
        place = int(np.searchsorted(in_time, row))
        near = in_time[max(place - NEIGHBOURS // 2, 0) : place + NEIGHBOURS // 2]
        corrected.append(latencies[row] / ratios[row] * float(np.median(ratios[near])))
    return float((relative_errors(corrected, latencies[unseen]) <= 0.1).mean())


def of_interest(held_out: HeldOut) -> dict[str, float]:
    return {
        "within_10_percent": held_out.within_10_percent,
        "mape": held_out.mape,
        "spearman": held_out.spearman,
        "interval_coverage": float(held_out.coverage or 0.0),
    }


def plainly(predicted: Matrix, latencies: Matrix) -> dict[str, float]:
    errors = relative_errors(predicted, latencies)
    return {
        "within_10_percent": float((errors <= 0.1).mean()),
        "mape": float(errors.mean()),
        "spearman": spearman(predicted, latencies),
    }


def over_draws(draws: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "mean": float(np.mean([draw[name] for draw in draws])),
            "sd": float(np.std([draw[name] for draw in draws])),
        }
        for name in draws[0]
    }


def held_against_forests(name: str, figures: dict[str, Any], *, of_hat: bool) -> list[Bar]:
    forests = [one for kind, one in figures.items() if kind != "ours"]
    ours = figures["ours"]
    if not of_hat:
        best = max(one["spearman"]["mean"] for one in forests)
        return [Bar(name=f"{name}: rho", floor=best, figure=ours["spearman"]["mean"], unit="Spearman")]
    within = max(one["within_10_percent"]["mean"] for one in forests)
    mape = min(one["mape"]["mean"] for one in forests)
    return [
        Bar(
            name=f"{name}: within ±10 %",
            floor=within,
            figure=ours["within_10_percent"]["mean"],
            unit=f"share; the aim is {AIM_WITHIN_10}",
        ),
        Bar(name=f"{name}: MAPE", floor=mape, figure=ours["mape"]["mean"], unit="share", at_most=True),
    ]


def shown(name: str, figures: dict[str, Any]) -> None:
    for kind, found in figures.items():
        told = ", ".join(f"{what} {one['mean']:.4f} ± {one['sd']:.4f}" for what, one in found.items())
        print(f"{name} | {kind}: {told}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
