"""Devices whose measurements were published: how far our prices of blocks err, and the files that ship.

`--write FOLDER` fits all predictors that come with edge-bench and writes them there
(`device_profiles/predictors`). FBNet's series of Raspberry Pi 4 and Pixel 3 are sums of blocks, so that
predicting the sums proves nothing: of those two only blocks left out of the fit count.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import report

from edge_bench.choose.features import block_features, blocks
from edge_bench.choose.fitting import judge, open_predictor, predict
from edge_bench.choose.predictors import FeatureTable, Predictions
from edge_bench.choose.predictors.block_prices import BlockPrices
from edge_bench.choose.predictors.lookup_table import LookupTable
from edge_bench.choose.publications import Published, Recipes, shipped_document
from edge_bench.choose.published.hw_nas_bench import ANCHORED
from edge_bench.records import ArchConfig, Block, SearchSpace, operators
from supernet.spaces.mobilenet_v3 import MobilenetV3

NAME = "published_devices"
# The network of once-for-all that was published as 30 ms, in our notation: stage by stage (kernel, expand).
NETWORK_30_MS = "note10_lat-30ms"
DRAWS = {"smoke": 1, "cpu": 5, "gpu": 5}


def main() -> int:
    options = report.arguments(
        __doc__, write={"type": Path, "metavar": "FOLDER", "help": "write the predictors that ship"}
    )
    began = time.perf_counter()
    recipes = Recipes(Published.under(report.data_folder()))
    draws = DRAWS[options.size]
    figures: dict[str, Any] = {"note_10": note_10(recipes, draws), "pixel_1": pixel_1(recipes, draws)}
    for column, name in (("raspi4", "raspberry_pi_4"), ("pixel3", "pixel_3")):
        figures[name] = recovered(recipes, column, draws)
    if options.size != "smoke" or options.write:
        figures["shipped"] = shipped(recipes, options.write)
    show(figures)
    note = figures["note_10"]
    bars = [
        bar("the network published as 30 ms: by table, error", 1, note["network_30_ms"]["table_error"]),
        bar("the same by the predictor that ships", 1, note["network_30_ms"]["shipped_error"]),
        bar("Note 10, entries left out (ten folds), MAPE", 5, note["left_out"]["ten_folds"]["mape"]),
        bar("Note 10, shapes left out whole, MAPE", 5, note["left_out"]["shapes"]["mape"]),
    ]
    facts = {"draws": draws, "aims": {"entries_mape_percent": 3}, "seconds": time.perf_counter() - began}
    return report.write(NAME, options.size, figures, bars, **facts)


def bar(name: str, at_most_percent: float, figure: float) -> report.Bar:
    return report.Bar(name=name, floor=at_most_percent, figure=100 * figure, unit="%", at_most=True)


def note_10(recipes: Recipes, draws: int) -> dict[str, Any]:
    """Return errors on entries left out, and on the network of 30 ms built in our own space."""
    table, latencies = recipes.block_tables["note10"].measured_on("note10")
    space, arch = network_30_ms(recipes)
    parts = FeatureTable.of([block_features(part) for part in blocks(operators(space, arch))])
    rows = set(map(tuple, table.values.tolist()))
    by_table = float(LookupTable().fit(table, latencies).predict(parts).latency_ms.sum())
    by_shipped = predict(recipes.note_10, space, arch)
    return {
        "network_30_ms": {
            "blocks": len(parts),
            "blocks_in_table": sum(tuple(row) in rows for row in parts.values.tolist()),
            "table_ms": by_table,
            "table_error": abs(by_table / 30 - 1),
            "shipped_ms": by_shipped.latency_ms,
            "shipped_interval_ms": [by_shipped.low_ms, by_shipped.high_ms],
            "shipped_error": abs(by_shipped.latency_ms / 30 - 1),
            "warning": by_shipped.warning,
        },
        "networks": errors_of(recipes.note_10),
        "left_out": {
            **left_out(table, latencies, draws),
            "resolutions": told(*folded(table, latencies, _resolutions(recipes, "note10"))),
        },
    }


def pixel_1(recipes: Recipes, draws: int) -> dict[str, Any]:
    table, latencies = recipes.block_tables["pixel1"].measured_on("pixel1")
    return {"networks": errors_of(recipes.pixel_1), "left_out": left_out(table, latencies, draws)}


def recovered(recipes: Recipes, column: str, draws: int) -> dict[str, Any]:
    """Return errors on recovered blocks left out; of anchored ones, whose price is not known, none."""
    table, latencies = recipes.fbnet_blocks.measured_on(column)
    there = ~np.isnan(recipes.fbnet_blocks.latencies_ms[column])
    known = np.array([ANCHORED not in key for key in np.array(recipes.fbnet_blocks.keys)[there]])
    choices = np.array([key.split()[0] for key in np.array(recipes.fbnet_blocks.keys)[there]])
    return {
        "blocks": len(table),
        "anchored": int((~known).sum()),
        "left_out": {
            **left_out(table, latencies, draws, counted=known),
            "choices": told(*folded(table, latencies, choices), counted=known),
        },
    }


def left_out(
    table: FeatureTable, latencies: np.ndarray, draws: int, counted: np.ndarray | None = None
) -> dict[str, Any]:
    """Return errors where tenths of the entries, and where whole shapes of all kernels, are left out."""
    tenths, shapes = [], []
    shape = _shapes(table)
    for draw in range(draws):
        generator = np.random.default_rng(draw)
        tenths.append(told(*folded(table, latencies, generator.permutation(len(table)) % 10), counted))
        groups = generator.permutation(shape.max() + 1) % 10
        shapes.append(told(*folded(table, latencies, groups[shape]), counted))
    return {"ten_folds": averaged(tenths), "shapes": averaged(shapes)}


def folded(
    table: FeatureTable, latencies: np.ndarray, folds: np.ndarray
) -> tuple[Predictions, np.ndarray, np.ndarray]:
    """Return what is predicted of each entry by a fit without its fold, the truth, and which are blocks."""
    filled = [np.empty(len(table)) for _ in range(3)]
    for fold in np.unique(folds):
        out = folds == fold
        made = BlockPrices().fit(table.taken(~out), latencies[~out]).predict(table.taken(out))
        for into, found in zip(filled, (made.latency_ms, made.low_ms, made.high_ms), strict=True):
            into[out] = found
    whole = table.columns(["is_inverted_residual"])[:, 0] > 0
    return Predictions(latency_ms=filled[0], low_ms=filled[1], high_ms=filled[2]), latencies, whole


def told(
    predicted: Predictions, latencies: np.ndarray, whole: np.ndarray, counted: np.ndarray | None = None
) -> dict[str, float]:
    """Return the errors of all entries that count, and of the inverted residuals among them."""
    counts = np.ones(len(latencies), bool) if counted is None else counted
    every = judge(_of(predicted, counts), latencies[counts])
    residuals = judge(_of(predicted, counts & whole), latencies[counts & whole])
    return {
        "entries": every.networks,
        "mape": every.mape,
        "mape_of_inverted_residuals": residuals.mape,
        "within_10_percent": every.within_10_percent,
        "interval_coverage": every.coverage or 0.0,
    }


def averaged(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    found = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return {**found, "mape_sd": float(np.std([row["mape"] for row in rows]))}


def shipped(recipes: Recipes, folder: Path | None) -> dict[str, Any]:
    """Fit every predictor that ships and return its errors; write the files where a folder is given."""
    found = {}
    for name, fitted in recipes.all():
        document = shipped_document(fitted)
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.json").write_text(text, encoding="utf-8")
        open_predictor(fitted)
        found[name] = {**errors_of(fitted), "kilobytes": len(text.encode()) / 1000}
    return found


def errors_of(fitted: Any) -> dict[str, Any]:
    held_out = fitted.held_out
    return {
        "unit": fitted.held_out_unit,
        "held_out": held_out.networks,
        "mape": held_out.mape,
        "within_10_percent": held_out.within_10_percent,
        "spearman": held_out.spearman,
        "interval_coverage": held_out.coverage,
        "baseline_mape": fitted.baseline.mape,
    }


def network_30_ms(recipes: Recipes) -> tuple[SearchSpace, ArchConfig]:
    """Return our own space at width 1.2, and in it the network that was published as 30 ms."""
    import csv

    space = MobilenetV3(width_multiplier=1.2).build(input_channels=3, classes=1000)
    with recipes.published.specialized.open(encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["name"].startswith(NETWORK_30_MS))
    # The first block is the stem's, which is in every network of the space.
    listed = json.loads(row["blocks_in_out_k_s_exp_mid_se_act_skip"])[1:]
    stage, place, found = -1, 0, []
    for before, after, kernel, stride, expand, *_ in listed:
        if before != after or stride > 1:
            stage, place = stage + 1, 0
        found.append(Block(source=space.offsets[stage] + place, kernel=kernel, expand=expand))
        place += 1
    return space, ArchConfig(space=space.name, resolution=int(row["resolution"]), blocks=tuple(found))


def show(figures: dict[str, Any]) -> None:
    for device in ("note_10", "pixel_1", "raspberry_pi_4", "pixel_3"):
        for how, row in figures[device]["left_out"].items():
            print(
                f"{device:15} {how:12} left out: MAPE {100 * row['mape']:5.2f} %, of inverted residuals "
                f"{100 * row['mape_of_inverted_residuals']:5.2f} %, interval holds "
                f"{100 * row['interval_coverage']:.0f} %"
            )
    for name, row in figures.get("shipped", {}).items():
        print(
            f"{name:40} {row['held_out']:5} {row['unit']}s held out: MAPE {100 * row['mape']:6.2f} % "
            f"(MACs {100 * row['baseline_mape']:6.2f} %), {row['kilobytes']:.1f} kB"
        )


def _shapes(table: FeatureTable) -> np.ndarray:
    """Return a number for each entry, the same for those that differ by their kernel only."""
    kept = [name for name in table.names if name not in ("kernel", "macs", "activations", "weights")]
    _, numbers = np.unique(table.columns(kept), axis=0, return_inverse=True)
    return np.asarray(numbers).reshape(-1)


def _resolutions(recipes: Recipes, device: str) -> np.ndarray:
    """Return the place of each entry's table, one a resolution, by the order in which tables are listed."""
    keys = recipes.block_tables[device].keys
    return np.cumsum([key.startswith("AvgPool2D") for key in keys])


def _of(predicted: Predictions, rows: np.ndarray) -> Predictions:
    return Predictions(
        latency_ms=predicted.latency_ms[rows],
        low_ms=predicted.low_ms[rows],
        high_ms=predicted.high_ms[rows],
    )


if __name__ == "__main__":
    raise SystemExit(main())
