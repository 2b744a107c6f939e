"""How well is the latency of unseen networks predicted on this machine, and how quickly?

Untrained networks of two spaces are surveyed in both runtimes on one thread, as `edge-bench fit` and
`edge-bench devices profile` do. Then predictors are fitted on some and judged on the others, over many
random splits, since the coverage of an interval is no figure of one split. What was surveyed is kept
under `--home`: with it the fits are done again without measuring. Baselines see the same networks. Run
it on a machine that is left alone: what other work does to memory and caches is in the figures too.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import report

from edge_bench import variants
from edge_bench.choose.costs import latency_table
from edge_bench.choose.encoding import Encoding
from edge_bench.choose.features import features
from edge_bench.choose.fitting import BASELINE, DEFAULT, PREDICTORS, fit_predictor, judge, predict
from edge_bench.choose.predictors import FeatureTable, LatencyPredictor
from edge_bench.commands import Context
from edge_bench.commands._surveying import Sketch, Surveyor, draw
from edge_bench.documents import to_document
from edge_bench.files import Home
from edge_bench.records import THIS_MACHINE, ArchConfig, SearchSpace
from supernet.spaces.lite_32 import LiteAt32
from supernet.spaces.mobilenet_v3 import MobilenetV3

SEED = 20261124
RUNTIMES = ("onnxruntime", "litert")
KINDS = (DEFAULT, "non_negative", "ridge", "gradient_boosting", "gaussian_process", BASELINE)
SPACES = {
    "lite_32": LiteAt32().build(input_channels=3, classes=10),
    "mobilenet_v3": MobilenetV3().build(input_channels=3, classes=1000),
}


@dataclass(frozen=True)
class Size:
    """How many networks are fitted on and judged on, by space; how often each is visited."""

    nets: dict[str, tuple[int, int]]
    visits: int
    splits: int
    predictions: int


_FULL = Size({"lite_32": (100, 150), "mobilenet_v3": (100, 120)}, visits=3, splits=20, predictions=100_000)
SIZES = {
    "smoke": Size({"lite_32": (16, 16)}, visits=1, splits=2, predictions=10_000),
    "cpu": _FULL,
    "gpu": _FULL,
}


def main() -> int:
    home_option = {"help": "keep the surveys in this folder, and measure only what it does not hold yet"}
    options = report.arguments(__doc__, home=home_option)
    size = SIZES[options.size]
    figures: dict[str, Any] = {}
    bars: list[report.Bar] = []
    with nullcontext(options.home) if options.home else tempfile.TemporaryDirectory() as folder:
        context = Context(home=Home(Path(folder)))
        for name, (nets, held_out) in size.nets.items():
            space = SPACES[name]
            drawn = draw(space, nets, held_out, seed=SEED)
            archs = [*drawn.fitted, *drawn.held_out]
            for runtime in RUNTIMES:
                measured = surveyed(space, archs, runtime, size.visits, context)
                told = judged(space, archs, measured["latencies_ms"], nets, size.splits)
                quick = timed(space, archs, measured["latencies_ms"], runtime, nets, size.predictions)
                shown = {key: value for key, value in measured.items() if key != "latencies_ms"}
                figures[f"{name} {runtime}"] = {**shown, "predictors": told, **quick}
                bars += held_to(f"{name}, {runtime}", told[DEFAULT], quick, options.size)
    print(json.dumps(figures, indent=1))
    facts = {"seed": SEED, "threads": 1, "networks": size.nets, "visits": size.visits}
    return report.write("this_machine_latency", options.size, figures, bars, **facts)


def surveyed(
    space: SearchSpace, archs: Sequence[ArchConfig], runtime: str, visits: int, context: Context
) -> dict[str, Any]:
    """Visit each network `visits` times, less what is kept; return the latencies and how visits differ."""
    sketches = [Sketch.of_network(space, arch) for arch in archs]
    names = [one.name for one in sketches]
    begun = time.perf_counter()
    with context.store() as store:
        surveyor = Surveyor(
            space, device=THIS_MACHINE, runtime=runtime, threads=1, context=context, store=store
        )
        surveyor.recall(within=timedelta(days=3650))
        for visit in range(visits):
            order = np.random.default_rng([SEED, visit]).permutation(len(sketches))
            lacking = [
                sketches[place]
                for place in order
                if len(surveyor.visits.get(sketches[place].name, ())) <= visit
            ]
            surveyor.visit(lacking, what=f"{len(lacking)} networks of {space.name}")
    latencies_ms = [surveyor.latency_ms(name) for name in names]
    disagreement = surveyor.disagreement(names)
    return {
        "latencies_ms": latencies_ms,
        "latency_range_ms": [min(latencies_ms), max(latencies_ms)],
        "disagreement": disagreement if np.isfinite(disagreement) else None,
        "seconds": time.perf_counter() - begun,
    }


def judged(
    space: SearchSpace, archs: Sequence[ArchConfig], latencies_ms: Sequence[float], nets: int, splits: int
) -> dict[str, Any]:
    """Return each predictor's errors on networks left out: mean and standard deviation over splits."""
    table = FeatureTable.of([features(space, arch) for arch in archs])
    latencies = np.array(latencies_ms)
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for split in range(splits):
        order = np.random.default_rng([SEED, split]).permutation(len(archs))
        seen, unseen = order[:nets], order[nets:]
        for kind in KINDS:
            predictor = variants.load(LatencyPredictor, PREDICTORS, kind)()
            predictor.fit(table.taken(seen), latencies[seen])
            errors = judge(predictor.predict(table.taken(unseen)), latencies[unseen])
            found[kind].append(to_document(errors))
    return {
        kind: {
            key: [float(np.mean([one[key] for one in each])), float(np.std([one[key] for one in each]))]
            for key in each[0]
        }
        for kind, each in found.items()
    }


def timed(
    space: SearchSpace,
    archs: Sequence[ArchConfig],
    latencies_ms: Sequence[float],
    runtime: str,
    nets: int,
    predictions: int,
) -> dict[str, Any]:
    """Time the default predictor from rows of indices, on one core, and compare with one by one."""
    fitted = fit_predictor(
        space,
        archs[:nets],
        latencies_ms[:nets],
        kind=DEFAULT,
        device=THIS_MACHINE,
        runtime=runtime,
        threads=1,
        held_out_archs=archs[nets:],
        held_out_latencies_ms=latencies_ms[nets:],
    )
    encoding = Encoding(space)
    begun = time.perf_counter()
    table = latency_table(encoding, fitted)
    prepared = time.perf_counter() - begun
    rows = encoding.sample(predictions, np.random.default_rng(SEED))
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        told = table(rows)
        seconds.append(time.perf_counter() - begun)
    some = encoding.decode(rows[:20])
    singly = [predict(fitted, space, arch).latency_ms for arch in some]
    return {
        "predictions": predictions,
        "table_seconds": prepared,
        "seconds": min(seconds),
        "differs_from_one_by_one": float(np.abs(told[:20] / singly - 1).max()),
    }


def held_to(
    name: str, errors: dict[str, list[float]], quick: dict[str, Any], size: str
) -> list[report.Bar]:
    coverage = 100 * errors["coverage"][0]
    found = [
        report.Bar(
            name=f"{name}: rows and networks are predicted alike",
            floor=1e-9,
            figure=quick["differs_from_one_by_one"],
            unit="relative",
            at_most=True,
        ),
        report.Bar(
            name=f"{name}: {quick['predictions']} predictions",
            floor=1.0,
            figure=quick["seconds"],
            unit="s",
            at_most=True,
        ),
    ]
    if size != "smoke":
        within = 100 * errors["within_10_percent"][0]
        mape = 100 * errors["mape"][0]
        found += [
            report.Bar(name=f"{name}: within ±10 %", floor=90, figure=within, unit="%"),
            report.Bar(name=f"{name}: MAPE", floor=5, figure=mape, unit="%", at_most=True),
            report.Bar(name=f"{name}: intervals hold", floor=85, figure=coverage, unit="%"),
            report.Bar(name=f"{name}: intervals hold", floor=95, figure=coverage, unit="%", at_most=True),
        ]
    return found


if __name__ == "__main__":
    raise SystemExit(main())
