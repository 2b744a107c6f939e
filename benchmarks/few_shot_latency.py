"""A new device from ten or twenty measurements: how well its other latencies are predicted.

NAS-Bench-201 cells on HELP's devices (Lee et al., NeurIPS 2021), split by device as there: nine source
devices with all their measurements, four for validation, and a target of which only the chosen samples
are ever seen; all its other latencies judge. Settings were found on sources taken in turn as pretended
targets, without the devices of their family, and on the validation devices. A source's latencies are
learnt first (boosted trees on the cell's features), which takes its noise away; the trees' settings
were chosen by latencies of the sources alone. A draw is a random thousand of the cells, connected ones,
of which samples may be chosen. The baselines choose theirs from the same thousand:

- MACs: a line through them;
- plain ridge on logarithms of the sources' measured latencies, samples at random;
- the same, samples D-optimally (greedy, on the sources' principal components);
- ridge on those and the counts of operations, samples D-optimally on both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from report import Bar, arguments, data_folder, write
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV

from edge_bench.choose.features import MACS
from edge_bench.choose.predictors import DEVICE, FeatureTable, Matrix, Predictions
from edge_bench.choose.predictors.line import Line
from edge_bench.choose.predictors.transfer import Transfer
from edge_bench.choose.published import MeasuredTable, read_published
from edge_bench.choose.sampling import choose
from edge_bench.statistics import relative_errors, spearman

SOURCES = (
    *("1080ti_1", "1080ti_32", "1080ti_256", "silver_4114", "silver_4210r"),
    *("samsung_a50", "pixel3", "essential_ph_1", "samsung_s7"),
)
# By device: Spearman with 10 samples, and the share within ±10 % with 20.
FLOORS = {"titan_rtx_256": (0.992, 0.94), "raspi4": (0.965, 0.47), "fpga": (0.990, 0.98)}
AIMS = {"titan_rtx_256": (0.996, 0.96), "raspi4": (0.975, 0.60), "fpga": (0.996, 0.99), "worst": 0.9}
PUBLISHED = {"HELP": {"titan_rtx_256": 0.987, "raspi4": 0.890, "fpga": 0.985}}
SAMPLES = (10, 20)
CANDIDATES = 1000
# A source's latency counts no less than this share of its median: cells that hang on no input take none.
LEAST = 0.01
LEAST_OF_LOGARITHMS = 0.05
Rows = npt.NDArray[np.int64]


def main() -> int:
    options = arguments(__doc__)
    smoke = options.size == "smoke"
    started = time.monotonic()
    (table,) = read_published(data_folder() / "help_latency" / "nasbench201.parquet")
    trial = Trial.of(table, cells=1500 if smoke else None, trees=20 if smoke else 300)
    targets = [*FLOORS] if smoke else [name for name in table.latencies_ms if name not in SOURCES]
    draws = 2 if smoke else 8
    figures = {target: trial.judged(target, draws) for target in targets}
    for target, found in figures.items():
        print(target, *(f"{name} {one['10']['spearman']['mean']:.4f}" for name, one in found.items()))
    return write(
        Path(__file__).stem,
        options.size,
        {"devices": figures, "aims": AIMS, "published_spearman": PUBLISHED},
        bars_of(figures),
        draws=draws,
        cells=len(trial.own),
        sources=SOURCES,
        citation=table.citation,
        seconds=round(time.monotonic() - started, 1),
    )


def bars_of(figures: dict[str, Any]) -> list[Bar]:
    bars = []
    for device, (rank, within) in FLOORS.items():
        ours = figures[device]["transfer"]
        bars += [
            Bar(
                name=f"{device}, 10 samples: Spearman",
                floor=rank,
                figure=ours["10"]["spearman"]["mean"],
                unit="",
            ),
            Bar(
                name=f"{device}, 20 samples: within ±10 %",
                floor=within,
                figure=ours["20"]["within_10_percent"]["mean"],
                unit="of the networks",
            ),
        ]
    for device, found in figures.items():
        plain = [found[name]["10"]["spearman"]["mean"] for name in ("plain_ridge", "plain_ridge_chosen")]
        bars.append(
            Bar(
                name=f"{device}, 10 samples: Spearman against plain ridge on the sources",
                floor=max(plain),
                figure=found["transfer"]["10"]["spearman"]["mean"],
                unit="",
            )
        )
    return bars


@dataclass(frozen=True)
class Trial:
    """What may be known of every cell before a target is measured, and the latencies that judge.

    `own` and `learnt` are the cells' own features and, with them, what was learnt of the sources;
    `measured` holds the logarithms of what the sources measured.
    """

    latencies_ms: dict[str, Matrix]
    own: FeatureTable
    learnt: FeatureTable
    measured: Matrix
    connected: Rows

    @classmethod
    def of(cls, table: MeasuredTable, *, cells: int | None, trees: int) -> Trial:
        rows = np.random.default_rng(0).permutation(len(table.features))[:cells]
        own = table.features.taken(rows)
        latencies = {name: one[rows] for name, one in table.latencies_ms.items()}
        counts = [name for name in own.names if name.startswith(("count.", "used_count."))]
        learnt = [learnt_of(own, latencies[source], trees) for source in SOURCES]
        return cls(
            latencies_ms=latencies,
            own=own,
            learnt=FeatureTable(
                names=(*(DEVICE + source for source in SOURCES), *counts),
                values=np.column_stack([*learnt, own.columns(counts)]),
            ),
            measured=np.column_stack([logarithms(latencies[source]) for source in SOURCES]),
            connected=np.flatnonzero(own.columns(["connected"])[:, 0]),
        )

    def judged(self, target: str, draws: int) -> dict[str, Any]:
        """Return by method and number of samples the mean and spread of each figure over draws."""
        return {
            name: {str(count): self._over_draws(method, target, count, draws) for count in SAMPLES}
            for name, method in METHODS.items()
        }

    def _over_draws(self, method: Method, target: str, count: int, draws: int) -> dict[str, Any]:
        latencies = self.latencies_ms[target]
        found = []
        for draw in range(draws):
            generator = np.random.default_rng(draw)
            among = generator.choice(self.connected, min(CANDIDATES, len(self.connected)), replace=False)
            rows, predict = method(self, among, count, draw)
            unseen = np.setdiff1d(np.arange(len(latencies)), rows)
            found.append(judge(predict(latencies[rows], unseen), latencies[unseen]))
        return {
            name: {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1))}
            for name in found[0]
            for values in [[one[name] for one in found]]
        }


# Of a trial, candidates, a number of samples and a seed: samples, and what predicts from their latencies.
Predict = Callable[[Matrix, Rows], Predictions]
Method = Callable[[Trial, Rows, int, int], tuple[Rows, Predict]]


def transfer(trial: Trial, among: Rows, count: int, seed: int) -> tuple[Rows, Predict]:
    rows = np.array(choose(trial.learnt, count, among=among.tolist(), seed=seed).rows)

    def predict(latencies: Matrix, unseen: Rows) -> Predictions:
        fitted = Transfer().fit(trial.learnt.taken(rows), latencies)
        return fitted.predict(trial.learnt.taken(unseen))

    return rows, predict


def macs(trial: Trial, among: Rows, count: int, seed: int) -> tuple[Rows, Predict]:
    ordered = among[np.argsort(trial.own.columns([MACS])[among, 0])]
    rows = ordered[np.linspace(0, len(ordered) - 1, count).astype(int)]

    def predict(latencies: Matrix, unseen: Rows) -> Predictions:
        return Line().fit(trial.own.taken(rows), latencies).predict(trial.own.taken(unseen))

    return rows, predict


def plain_ridge(trial: Trial, among: Rows, count: int, seed: int) -> tuple[Rows, Predict]:
    rows = np.random.default_rng(seed).choice(among, count, replace=False)
    return rows, ridge(standardized(trial.measured), rows)


def plain_ridge_chosen(trial: Trial, among: Rows, count: int, seed: int) -> tuple[Rows, Predict]:
    rows = d_optimal(components(trial.measured), among, count)
    return rows, ridge(standardized(trial.measured), rows)


def ridge_with_counts(trial: Trial, among: Rows, count: int, seed: int) -> tuple[Rows, Predict]:
    counts = standardized(trial.learnt.values[:, len(SOURCES) :])
    rows = d_optimal(np.hstack([components(trial.measured), counts]), among, count)
    return rows, ridge(np.hstack([standardized(trial.measured), counts]), rows)


METHODS: dict[str, Method] = {
    one.__name__: one for one in (transfer, macs, plain_ridge, plain_ridge_chosen, ridge_with_counts)
}


def ridge(features: Matrix, rows: Rows) -> Predict:
    """Predict by ridge on logarithms, its penalty chosen by leave-one-out."""

    def predict(latencies: Matrix, unseen: Rows) -> Predictions:
        model = RidgeCV(alphas=np.logspace(-3, 2, 16)).fit(features[rows], logarithms(latencies))
        latency = np.exp(model.predict(features[unseen]))
        return Predictions(latency_ms=latency, low_ms=latency, high_ms=latency)

    return predict


def d_optimal(features: Matrix, among: Rows, count: int) -> Rows:
    """Choose greedily what makes the determinant of the regularized information matrix largest."""
    covariance = np.eye(features.shape[1])
    chosen: list[int] = []
    for _ in range(count):
        gains = np.einsum("ij,jk,ik->i", features[among], covariance, features[among])
        gains[np.isin(among, chosen)] = -np.inf
        place = int(among[gains.argmax()])
        step = covariance @ features[place]
        covariance = covariance - np.outer(step, step) / (1 + features[place] @ step)
        chosen.append(place)
    return np.array(chosen)


def components(logs: Matrix) -> Matrix:
    """Return the principal components that tell 99 % of the variance, each of variance 1."""
    left, strengths, _ = np.linalg.svd(standardized(logs), full_matrices=False)
    told = np.cumsum(strengths**2) / np.sum(strengths**2)
    return np.asarray(left[:, : int(np.searchsorted(told, 0.99)) + 1] * np.sqrt(len(logs)), np.float64)


def standardized(values: Matrix) -> Matrix:
    spread = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0), np.float64)


def logarithms(latencies: Matrix) -> Matrix:
    return np.asarray(np.log(np.maximum(latencies, LEAST_OF_LOGARITHMS * np.median(latencies))), np.float64)


def judge(predicted: Predictions, latencies: Matrix) -> dict[str, float]:
    """Return the errors on what was not measured; Kendall's tau of so many takes long and tells no more."""
    errors = relative_errors(predicted.latency_ms, latencies)
    covered = (predicted.low_ms <= latencies) & (latencies <= predicted.high_ms)
    return {
        "spearman": spearman(predicted.latency_ms, latencies),
        "within_10_percent": float((errors <= 0.10).mean()),
        "mape": float(errors.mean()),
        "coverage": float(covered.mean()),
    }


def learnt_of(own: FeatureTable, latencies: Matrix, trees: int) -> Matrix:
    """Return what trees make of a source's latencies, every cell's own measurement among them."""
    model = HistGradientBoostingRegressor(
        max_iter=trees, max_leaf_nodes=15, early_stopping=False, random_state=0
    ).fit(own.values, latencies)
    return np.maximum(model.predict(own.values), LEAST * np.median(latencies))


if __name__ == "__main__":
    raise SystemExit(main())
