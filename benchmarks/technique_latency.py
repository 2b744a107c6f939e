"""Does a network that was trained with a technique take as long as one trained without it?

A residual network learns scikit-learn's digits for a few steps, without and with each technique for images
that there is; both are exported, and their files take turns on this machine. What a technique leaves in a
file would be seen as a ratio of latencies away from 1.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
import training_runs

from converters.export import export_subnet
from edge_bench import variants
from edge_bench.documents import from_document
from edge_bench.files import Home
from edge_bench.measure.comparison import ComparisonPlan, Side, compare
from supernet.ladder import TECHNIQUE as LOTTERY_TICKET
from supernet.ladder import climb
from supernet.run import TECHNIQUES, RunConfig, checked
from supernet.techniques import Technique
from supernet.techniques._from_start import FromStart
from supernet.trained import TrainedRun

RUNTIMES = {"onnx": "onnxruntime", "tflite": "litert"}
# Where defaults will not do in so short a run.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "dpf": {"refresh_steps": 4},
    "gradual_pruning": {"refresh_steps": 4},
    LOTTERY_TICKET: {"rewind": "2it", "rate": 0.9},
    "mabn": {"simulated_batch": 128},
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`techniques` of 0 takes all; a difference within `margin` is none."""

    techniques: int = 0
    formats: tuple[str, ...] = tuple(RUNTIMES)
    width: int = 16
    steps: int = 16
    seconds: float = 45.0
    launches: int = 8
    margin: float = 0.01


SETTINGS = {
    "smoke": Settings(techniques=2, formats=("onnx",), width=8, seconds=4.0, launches=2),
    "cpu": Settings(),
    "gpu": Settings(),
}


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    plan = ComparisonPlan(
        max_seconds=settings.seconds,
        min_launches=settings.launches,
        margin=settings.margin,
        precision=0.005,
    )
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        plain = training_runs.trained(home, tables(settings, "plain"))
        files = exported(plain, home, settings)
        for name in list(of_images())[: settings.techniques or None]:
            own = exported(run_with(name, home, settings), home, settings)
            figures[name] = {form: compared(files[form], own[form], home, plan) for form in files}
    bars = [
        report.Bar(
            name=f"{name}: how far the interval of the ratio to plain lies from 1, worst format",
            floor=settings.margin,
            figure=max(one["away"] for one in by_format.values()),
            unit="",
            at_most=True,
        )
        for name, by_format in figures.items()
    ]
    return report.write(
        "technique_latency",
        options.size,
        figures,
        bars,
        data="scikit-learn's digits",
        settings=vars(settings),
        seconds=time.perf_counter() - begun,
    )


def of_images() -> Iterator[str]:
    """Yield the names of the techniques for images."""
    for name in variants.names(TECHNIQUES):
        if "image_classification" in variants.load(Technique, TECHNIQUES, name).tasks:
            yield name


def run_with(name: str, home: Home, settings: Settings) -> TrainedRun:
    """Return a run of the plain one's network that was trained with a technique."""
    table = tables(settings, name.replace("_", "-"))
    table["techniques"] = {name: dict(OPTIONS.get(name, {}))}
    if issubclass(variants.load(Technique, TECHNIQUES, name), FromStart):
        del table["model"]
        table["start"] = {"run": "plain"}
    if name == LOTTERY_TICKET:
        config = checked(from_document(RunConfig, table))
        *_, last = climb(config, rounds=1, controls=(), home=home, say=lambda line: None, interactive=False)
        return TrainedRun.open(last.folder)
    return training_runs.trained(home, table)


def exported(run: TrainedRun, home: Home, settings: Settings) -> dict[str, Path]:
    """Return the dense fp32 file of a run's network in each format."""
    subnet = run.cut(run.space.largest(), home=home)
    made = {form: export_subnet(subnet, home=home, format=form)[0] for form in settings.formats}
    return {form: home.absolute(one.file) for form, one in made.items()}


def compared(plain: Path, own: Path, home: Home, plan: ComparisonPlan) -> dict[str, Any]:
    runtime = RUNTIMES[plain.suffix[1:]]
    sides = (Side(model=plain, runtime=runtime), Side(model=own, runtime=runtime))
    found = compare(*sides, home=home, plan=plan)
    low, high = found.ratio.low or found.ratio.middle, found.ratio.high or found.ratio.middle
    row = {
        "ratio": found.ratio.middle,
        "low": low,
        "high": high,
        "away": max(low - 1, 1 - high, 0.0),
        "shown_within_margin": found.ratio.within(plan.margin),
        "ms": [found.p50_a_ms, found.p50_b_ms],
        "launches": len(found.launches),
        "verdict": found.verdict,
    }
    print(f"{own.name}: {low:.4f} to {high:.4f} of plain, {found.p50_a_ms:.4f} ms, {found.verdict}")
    return row


def tables(settings: Settings, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "data": {"kind": "digits"},
        "model": {"kind": "resnet", "resolution": 16, "depth": 8, "width": settings.width},
        "training": {
            "epochs": 1,
            "epoch_steps": settings.steps,
            "batch_size": 64,
            "learning_rate": 3e-3,
            "threads": 1,
            "device": "cpu",
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
