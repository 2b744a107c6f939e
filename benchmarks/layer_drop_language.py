"""Does a language model trained with LayerDrop stay good at half its depth, and a plain one not?

Experiment: a decoder of 8 layers that reads characters, trained on WikiText-2's validation text and judged
on the first part of its test text, in three arms: plain; plain, then fine-tuned with LayerDrop; LayerDrop
from the start. The same ten draws of 4 of the 8 layers are judged in each arm. Fan et al. (2019) say that
fine-tuning alone does not make a network prunable.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report
import training_runs

from edge_bench.files import Home
from edge_bench.records import ArchConfig, TransformerSpace
from supernet.trained import TrainedRun

RATE = 0.2
DRAWS = 10


@dataclass(frozen=True, kw_only=True)
class Settings:
    seeds: tuple[int, ...]
    layers: int = 8
    width: int = 96
    steps: int = 800
    tuning_steps: int = 100
    test_characters: int = 131_072


SETTINGS = {
    "smoke": Settings(seeds=(0,), width=32, steps=30, tuning_steps=5, test_characters=4096),
    "cpu": Settings(seeds=(0, 1, 2)),
    "gpu": Settings(seeds=(0, 1, 2), width=256, steps=8000, tuning_steps=1000),
}


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        data = training_runs.wikitext_folder(
            Path(options.work or temporary) / "text", settings.test_characters
        )
        seeds = [figures_of(home, data, settings, seed) for seed in settings.seeds]
    figures = {"seeds": seeds, "means": means(seeds)}
    facts = {"seconds": time.perf_counter() - begun, "settings": vars(settings)}
    facts["data"] = training_runs.WIKITEXT
    print(table(figures["means"]))
    return report.write("layer_drop_language", options.size, figures, bars(seeds), **facts)


def figures_of(home: Home, data: Path, settings: Settings, seed: int) -> dict[str, Any]:
    """Return the perplexities of one character, by arm, of the networks that are compared."""
    plain = tables_of(data, settings, seed)
    dropped = {"techniques": {"layer_drop": {"rate": RATE}}}
    arms = {"plain": training_runs.trained(home, plain)}
    tuning = {**plain["training"], "epoch_steps": settings.tuning_steps, "learning_rate": 1e-3}
    again = {key: plain[key] for key in ("seed", "data")}
    start = {"start": {"run": arms["plain"].name}, "training": tuning, "name": f"tuned-{seed}"}
    arms["fine_tuned"] = training_runs.trained(home, {**again, **start, **dropped})
    arms["layer_drop"] = training_runs.trained(home, {**plain, **dropped, "name": f"layer-drop-{seed}"})
    return {arm: perplexities(run) for arm, run in arms.items()} | {"seed": seed}


def tables_of(data: Path, settings: Settings, seed: int) -> dict[str, Any]:
    """Return the run of the plain arm."""
    return {
        "name": f"plain-{seed}",
        "seed": seed,
        "data": {"kind": "running_text", "path": str(data), "selection_fraction": 0.02},
        "model": {
            "kind": "decoder",
            "layers": settings.layers,
            "width": settings.width,
            "length": 64,
            "dropout": 0.0,
        },
        "tokenizer": {"kind": "characters"},
        "training": {
            "epochs": 1,
            "epoch_steps": settings.steps,
            "batch_size": 24,
            "learning_rate": 2e-3,
            "warmup": 0.05,
            "weight_decay": 0.01,
            "threads": 1,
        },
    }


def perplexities(run: TrainedRun) -> dict[str, Any]:
    space = run.space
    assert isinstance(space, TransformerSpace)
    layers = space.decoder_layers
    named: dict[str, ArchConfig] = {
        "full": space.largest(),
        "even_half": space.keeping({"decoder": tuple(range(0, layers, 2))}),
        "odd_half": space.keeping({"decoder": tuple(range(1, layers, 2))}),
        "quarter": space.spread({"decoder": 2}),
    }
    generator = np.random.default_rng(0)
    drawn = [tuple(sorted(map(int, generator.permutation(layers)[: layers // 2]))) for _ in range(DRAWS)]
    told: dict[str, Any] = {name: training_runs.on_test(run, arch) for name, arch in named.items()}
    told["random_halves"] = {
        ",".join(map(str, kept)): training_runs.on_test(run, space.keeping({"decoder": kept}))
        for kept in drawn
    }
    halves = told["random_halves"].values()
    told["random_half_median"], told["random_half_worst"] = statistics.median(halves), max(halves)
    told["ratio"] = told["random_half_median"] / told["full"]
    told["odd_ratio"] = told["odd_half"] / told["full"]
    return told


def means(seeds: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the mean over seeds of each figure, by arm."""
    arms = ("plain", "fine_tuned", "layer_drop")
    names = [name for name, value in seeds[0]["plain"].items() if isinstance(value, float)]
    return {
        arm: {name: statistics.fmean(one[arm][name] for one in seeds) for name in names} for arm in arms
    }


def bars(seeds: list[dict[str, Any]]) -> list[report.Bar]:
    mean = means(seeds)
    shallow = min(one["plain"]["quarter"] / one["layer_drop"]["quarter"] for one in seeds)
    between = sum(
        one["layer_drop"]["odd_ratio"] < one["fine_tuned"]["odd_ratio"] < one["plain"]["odd_ratio"]
        for one in seeds
    )
    return [
        report.Bar(
            name="random half against all layers, LayerDrop",
            floor=1.8,
            figure=mean["layer_drop"]["ratio"],
            unit="times the perplexity",
            at_most=True,
        ),
        report.Bar(
            name="random half against all layers, plain",
            floor=2.5,
            figure=mean["plain"]["ratio"],
            unit="times the perplexity",
        ),
        report.Bar(
            name="2 of 8 layers, plain against LayerDrop, worst seed",
            floor=1.0,
            figure=shallow,
            unit="times the perplexity",
        ),
        report.Bar(
            name="seeds whose fine-tuned odd half lies between the other two",
            floor=len(seeds),
            figure=between,
            unit="seeds",
        ),
    ]


def table(mean: dict[str, dict[str, float]]) -> str:
    columns = ("full", "even_half", "odd_half", "quarter", "random_half_median", "random_half_worst")
    lines = [" ".join(["arm".ljust(12), *(name.rjust(18) for name in columns)])]
    for arm, values in mean.items():
        lines.append(" ".join([arm.ljust(12), *(f"{values[name]:18.2f}" for name in columns)]))
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
