"""What does a network trained sparse in one run lose, and what does the run cost?

A small residual network on 10,000 images of CIFAR-10, trained for 32 epochs dense, by DPF and by gradual
pruning to 90 and 95 % zeros, and the dense one pruned behind its end. The classifier stays dense.
Accuracies are of the test split, means over seeds, each network with batch norms' statistics of its own; of
the one pruned at the end also those with the statistics it was trained to.
"""

from __future__ import annotations

import copy
import json
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import report
import torch
import training_runs

from edge_bench.files import Home
from supernet.evaluation import accuracy
from supernet.network import folded
from supernet.run import SUMMARY_FILE
from supernet.sparsity import masks
from supernet.tasks.image_classification import ImageClassification
from supernet.trained import TrainedRun


@dataclass(frozen=True, kw_only=True)
class Settings:
    seeds: tuple[int, ...]
    epochs: int = 32
    depth: int = 8
    width: int = 16
    images: int = 10_000
    test_images: int = 0
    processes: int = 2


SETTINGS = {
    "smoke": Settings(seeds=(0,), epochs=1, width=4, images=600, test_images=200, processes=1),
    "cpu": Settings(seeds=(0, 1, 2)),
    "gpu": Settings(seeds=(0, 1, 2), epochs=160, depth=20, images=0, processes=3),
}
# The second is that of the first seed alone.
SPARSITIES = (0.90, 0.95)
EXCLUDED = ("classifier.*",)


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        with ProcessPoolExecutor(settings.processes) as pool:
            asked = [
                pool.submit(figures_of, home, settings, seed, SPARSITIES if place == 0 else SPARSITIES[:1])
                for place, seed in enumerate(settings.seeds)
            ]
            seeds = [one.result() for one in asked]
    means = {}
    for name in seeds[0].keys() - {"seed"}:
        values = [one[name] for one in seeds if name in one]
        means[name] = sum(values) / len(values)
    for name, value in sorted(means.items()):
        print(f"{name:32}{value:10.4f}")
    bars = [
        report.Bar(
            name="DPF less one-shot pruning, 90 % zeros",
            floor=30.0,
            figure=100 * (means["dpf_90"] - means["one_shot_90"]),
            unit="points",
        ),
        report.Bar(
            name="dense less DPF, 90 % zeros",
            floor=3.0,
            figure=100 * (means["dense"] - means["dpf_90"]),
            unit="points",
            at_most=True,
        ),
        report.Bar(
            name="DPF less gradual pruning, 90 % zeros",
            floor=-0.5,
            figure=100 * (means["dpf_90"] - means["gradual_pruning_90"]),
            unit="points",
        ),
        report.Bar(
            name="sparsity asked less found, the worst",
            floor=0.001,
            figure=max(
                abs(one[f"dpf_{percent(share)}_sparsity"] - share)
                for place, one in enumerate(seeds)
                for share in (SPARSITIES if place == 0 else SPARSITIES[:1])
            ),
            unit="",
            at_most=True,
        ),
        report.Bar(
            name="processor time of a run with DPF to a dense one's",
            floor=1.3,
            figure=means["dpf_90_core_seconds"] / means["dense_core_seconds"],
            unit="x",
            at_most=True,
        ),
    ]
    return report.write(
        "dpf",
        options.size,
        {"means": means, "seeds": seeds},
        bars,
        data="CIFAR-10, a JPEG copy",
        settings=vars(settings),
        seconds=time.perf_counter() - begun,
    )


def figures_of(home: Home, settings: Settings, seed: int, shares: tuple[float, ...]) -> dict[str, Any]:
    """Return test accuracies, the shares of zeros, processor times, and how many weights came back."""
    told: dict[str, Any] = {"seed": seed}
    dense = training_runs.trained(home, tables(settings, "dense", seed, {}))
    told["dense"] = training_runs.on_test(dense, dense.space.largest())
    told["dense_core_seconds"] = summary_of(dense)["core_seconds"]
    for share in shares:
        told |= {f"one_shot_{percent(share)}{how}": value for how, value in one_shot(dense, share).items()}
        for technique in ("gradual_pruning", "dpf"):
            options = {technique: {"sparsity": share, "exclude": list(EXCLUDED)}}
            run = training_runs.trained(
                home, tables(settings, f"{technique}-{percent(share)}", seed, options)
            )
            summary, what = summary_of(run), f"{technique}_{percent(share)}"
            told[what] = training_runs.on_test(run, run.space.largest())
            told[f"{what}_sparsity"] = zeros(run)
            told[f"{what}_core_seconds"] = summary["core_seconds"]
            if technique == "dpf":
                told[f"{what}_reactivated"] = summary["techniques"]["dpf"]["reactivated"]
    return told


def one_shot(dense: TrainedRun, share: float) -> dict[str, float]:
    """Return the accuracies of the dense network pruned behind its end, nothing trained behind that.

    The first is with statistics of its own, the second with those of the dense network.
    """
    network, task, arch = copy.deepcopy(dense.network).eval(), dense.task, dense.space.largest()
    assert isinstance(task, ImageClassification)
    names = masks.prunable(network, exclude=EXCLUDED)
    weights = {one: network.get_parameter(one) for one in names}
    keep = masks.kept_count(sum(weight.numel() for weight in weights.values()), share)
    with torch.no_grad():
        for one, mask in masks.largest(weights, keep).items():
            weights[one].mul_(mask)
    inputs, labels = task.images.split("test", arch.resolution)
    stale = accuracy(folded(network), inputs, labels, split="test").value
    return {"": task.judge(network, arch, "test").value, "_stale_statistics": stale}


def zeros(run: TrainedRun) -> float:
    """Return the share of zeros among the weights that were to be pruned."""
    names = masks.prunable(run.network, exclude=EXCLUDED)
    weights = [run.network.get_parameter(one) for one in names]
    return 1 - sum(int(one.count_nonzero()) for one in weights) / sum(one.numel() for one in weights)


def summary_of(run: TrainedRun) -> dict[str, Any]:
    """Return what the run told in its end."""
    told: dict[str, Any] = json.loads((run.folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    return told


def percent(share: float) -> str:
    return f"{100 * share:.0f}"


def tables(settings: Settings, kind: str, seed: int, techniques: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": f"{kind}-{seed}",
        "seed": seed,
        "data": {
            "kind": "cifar10",
            "path": str(report.data_folder() / "cifar10"),
            "train_limit": settings.images,
            "test_limit": settings.test_images,
        },
        "model": {"kind": "resnet", "depth": settings.depth, "width": settings.width},
        "techniques": techniques,
        "training": {
            "epochs": settings.epochs,
            "batch_size": 64,
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "weight_decay": 1e-4,
            "warmup": 0.1,
            "label_smoothing": 0.0,
            "threads": 1,
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
