"""How much does a network know of where in the image it is, and is it the padding that tells it?

A row of five convolutions with batch norm learns CIFAR-10 twice, once with its maps padded by zeros and
once not padded at all. Readouts of the frozen maps are trained for maps of position (Islam, Jia and
Bruce, 2020) and scored by Spearman's rank correlation on test images: of all stages together, of each
alone, of the image alone, and of the padded network with drawn weights. Figures are means over seeds,
each a training of its own and its readouts.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import report
import torch
import training_runs

from edge_bench.files import Home
from edge_bench.records.position import TARGETS, PositionFindings
from supernet.probes import Subject
from supernet.probes.position import Position


@dataclass(frozen=True, kw_only=True)
class Settings:
    seeds: tuple[int, ...]
    images: int
    test_images: int = 0
    epochs: int = 4
    targets: tuple[str, ...] = TARGETS
    steps: int = 150
    held_out: int = 128
    processes: int = 2


SETTINGS = {
    "smoke": Settings(
        seeds=(0,),
        images=600,
        test_images=200,
        epochs=1,
        steps=60,
        held_out=50,
        targets=("H", "HS"),
        processes=1,
    ),
    "cpu": Settings(seeds=(0, 1, 2), images=8_000),
    "gpu": Settings(seeds=(0, 1, 2), images=0, epochs=40, steps=1_000, held_out=1_000, processes=3),
}
PADDINGS = ("zeros", "none")
UNTRAINED = "zeros, untrained"


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        with ProcessPoolExecutor(
            settings.processes, initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            asked = [pool.submit(figures_of, home, settings, seed) for seed in settings.seeds]
            seeds = [one.result() for one in asked]
    means = {
        network: {
            source: {
                figure: {
                    target: mean(one["networks"][network][source][figure][target] for one in seeds)
                    for target in settings.targets
                }
                for figure in ("spearman", "mae")
            }
            for source in sources
        }
        for network, sources in seeds[0]["networks"].items()
    }
    for network, sources in means.items():
        for source, figures in sources.items():
            told = "  ".join(f"{target} {value:6.3f}" for target, value in figures["spearman"].items())
            print(f"{network:18}{source:10}{told}")
    spearman = {
        network: {source: figures["spearman"] for source, figures in sources.items()}
        for network, sources in means.items()
    }
    padded, bare = spearman["zeros"], spearman["none"]
    depths = [padded[source]["H"] for source in padded if source not in ("image", "all")]
    bars = [
        report.Bar(
            name="H of all stages, with zero padding less without",
            floor=0.3,
            figure=padded["all"]["H"] - bare["all"]["H"],
            unit="",
        ),
        report.Bar(
            name="H of the image alone", floor=0.15, figure=padded["image"]["H"], unit="", at_most=True
        ),
        report.Bar(
            name="H of the last stage less the first", floor=0.3, figure=depths[-1] - depths[0], unit=""
        ),
        report.Bar(
            name="largest fall of H from a stage to the next",
            floor=0.05,
            figure=max(before - after for before, after in pairwise(depths)),
            unit="",
            at_most=True,
        ),
        report.Bar(
            name="H less HS, of all stages",
            floor=0.0,
            figure=padded["all"]["H"] - padded["all"]["HS"],
            unit="",
        ),
    ]
    return report.write(
        "position_probe",
        options.size,
        {"means": means, "seeds": seeds},
        bars,
        data="CIFAR-10, a JPEG copy",
        settings=vars(settings),
        seconds=time.perf_counter() - begun,
    )


def figures_of(home: Home, settings: Settings, seed: int) -> dict[str, Any]:
    """Return accuracies, and scores by network, source, figure and target."""
    told: dict[str, Any] = {"seed": seed, "networks": {}}
    for padding in PADDINGS:
        run = training_runs.trained(home, tables(settings, padding, seed))
        arch = run.space.largest()
        told[f"accuracy_{padding}"] = training_runs.on_test(run, arch)
        began = time.process_time()
        told["networks"][padding] = scores(settings, Subject.of_run(run, arch))
        told[f"probe_core_seconds_{padding}"] = time.process_time() - began
        if padding == "zeros":
            told["networks"][UNTRAINED] = scores(settings, Subject.of_run(run, arch, untrained=True))
    return told


def scores(settings: Settings, subject: Subject) -> dict[str, dict[str, dict[str, float]]]:
    """Return Spearman's correlation and the mean absolute difference, by source and target."""
    probe = Position(targets=settings.targets, steps=settings.steps, held_out=settings.held_out, seeds=1)
    found: PositionFindings = probe.measure(subject)
    return {
        source: {
            "spearman": {one: found.score(source, one).mean_spearman for one in found.targets},
            "mae": {one: found.score(source, one).mean_mae for one in found.targets},
        }
        for source in found.sources
    }


def mean(values: Any) -> float:
    given = list(values)
    return float(sum(given) / len(given))


def tables(settings: Settings, padding: str, seed: int) -> dict[str, Any]:
    return {
        "name": f"padding-{padding}-{seed}",
        "seed": seed,
        "data": {
            "kind": "cifar10",
            "path": str(report.data_folder() / "cifar10"),
            "train_limit": settings.images,
            "test_limit": settings.test_images,
        },
        "model": {"kind": "convnet", "padding": padding},
        "training": {
            "epochs": settings.epochs,
            "batch_size": 128,
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "weight_decay": 1e-3,
            "warmup": 0.1,
            "label_smoothing": 0.0,
            "augmentation": "none",
            "threads": 1,
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
