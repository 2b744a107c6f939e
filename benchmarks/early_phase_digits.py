"""What do the first steps of training give a small network on digits, and what is lost without them?

A perceptron of 64-300-100-10 on scikit-learn's digits: telemetry of its first 20 of 190 steps; its tickets
with their weights at step 20 perturbed; and tickets that spent these steps on other examples, or had none.
It is trained as Frankle & Carbin (2019) chose for this perceptron: Adam at 1.2e-3, 60 examples a step.
Accuracies are of the test split, means over seeds, and nothing was chosen by them.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import report
import training_runs
from lottery_tickets_digits import PUBLISHED, Settings, tables

from edge_bench.documents import from_document, to_document
from edge_bench.files import Home
from supernet.early_phase import compare, perturbations_of, pretraining_of
from supernet.run import RunConfig
from supernet.telemetry import telemetry


@dataclass(frozen=True, kw_only=True)
class Size:
    """Levels leave 0.8 ** level of the weights: 21 % at the 7th, 4.4 % at the 14th."""

    seeds: tuple[int, ...]
    levels: tuple[int, ...]
    epochs: int = 10
    processes: int = 2


SIZES = {
    "smoke": Size(seeds=(0,), levels=(2,), epochs=3, processes=1),
    "cpu": Size(seeds=(0, 1, 2), levels=(0, 7, 14)),
    "gpu": Size(seeds=(0, 1, 2), levels=(0, 7, 14)),
}
PERTURBED = ("all",)
PRETRAINED = ("blurred", "blurred:factor=2", "random_labels", "rotation", "blurred:factor=2+rotation")
FIRST = "20it"


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    size, begun = SIZES[options.size], time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        with ProcessPoolExecutor(size.processes) as pool:
            asked = [pool.submit(looked_at, home, size, seed) for seed in size.seeds]
            seeds = [one.result() for one in asked]
    points = [one["telemetry"]["points"] for one in seeds]
    first_steps = [
        {
            "step": rows[0]["step"],
            "accuracy": fmean(row["quality"] for row in rows),
            "training_loss": fmean(row["training_loss"] for row in rows),
            **{
                name: fmean(row["overall"][name] for row in rows)
                for name in rows[0]["overall"]
                if name != "weights"
            },
        }
        for rows in zip(*points, strict=True)
    ]
    arms = {
        level: {
            name: {
                split: fmean(one["arms"][level][name][split] for one in seeds)
                for split in ("selection", "test")
            }
            for name in seeds[0]["arms"][level]
        }
        for level in seeds[0]["arms"]
    }
    for row in first_steps:
        print("".join(f"  {name} {value:.4g}" for name, value in row.items()))
    for level, found in arms.items():
        print(f"level {level}")
        for name, one in found.items():
            less = 100 * (one["test"] - found["ticket"]["test"])
            print(f"  {name:44} {100 * one['test']:6.2f} %  {less:+6.2f}")
    return report.write(
        "early_phase_digits",
        options.size,
        {"first_steps": first_steps, "accuracy": arms, "seeds": seeds},
        [],
        data="scikit-learn's digits",
        settings=vars(size),
        seconds=time.perf_counter() - begun,
    )


def looked_at(home: Home, size: Size, seed: int) -> dict[str, Any]:
    """Return the telemetry of a seed, and for each level the accuracies of its arms by name."""
    settings = Settings(seeds=(seed,), rounds=0, epochs=size.epochs)
    run = from_document(RunConfig, tables(settings, seed, PUBLISHED))
    shared: dict[str, Any] = {"home": home, "say": lambda line: None, "interactive": False}
    arms = {
        str(level): {
            ("pre-trained: " if arm.kind == "pretraining" else "") + arm.name: {
                "left": arm.left,
                "selection": arm.selection.value,
                "test": arm.test.value,
            }
            for arm in compare(
                run,
                level=level,
                perturbations=perturbations_of(PERTURBED),
                pretraining=pretraining_of(PRETRAINED, run),
                **shared,
            )
        }
        for level in size.levels
    }
    return {"seed": seed, "telemetry": to_document(telemetry(run, first=FIRST, **shared)), "arms": arms}


if __name__ == "__main__":
    raise SystemExit(main())
