"""Does Mixout keep a perceptron that is fine-tuned on 30 images nearer to what it knew than dropout does?

A perceptron of 64-256-256-10 learns scikit-learn's digits, and goes on with three digits of each class that
are blurred and noisy. Beside nothing and dropout stand Mixout and decay toward the weights it began with,
all of them at the same rate of learning and for as many steps. Accuracies are of the test split, blurred
and noisy, and as it was.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import report
import torch
import training_runs
from PIL import Image
from scipy.ndimage import gaussian_filter

from edge_bench.data import open_images, prepare
from edge_bench.files import Home
from supernet.evaluation import accuracy
from supernet.trained import TrainedRun


@dataclass(frozen=True, kw_only=True)
class Settings:
    seeds: tuple[int, ...]
    epochs: int = 30
    steps: int = 250
    learning_rate: float = 3e-4
    blur: float = 0.6
    noise: float = 48.0
    processes: int = 1


SETTINGS = {
    "smoke": Settings(seeds=(0,), epochs=3, steps=40),
    "cpu": Settings(seeds=tuple(range(30))),
    "gpu": Settings(seeds=tuple(range(30))),
}
ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    # Where Mixout mixes: at what every fully connected layer reads.
    "dropout .1": {"dropout": {"rate": 0.1, "inputs": True}},
    "dropout .1, hidden alone": {"dropout": {"rate": 0.1}},
    "mixout .7": {"mixout": {"rate": 0.7}},
    "mixout .9": {"mixout": {"rate": 0.9}},
    "decay to start .01": {"decay_to_start": {"strength": 0.01}},
}
# At ten times the rate of learning, where the noise of masks is said to be more than the pull.
HIGH = 10
SHOTS = 3


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        start = training_runs.trained(home, pretraining(settings))
        with ProcessPoolExecutor(settings.processes) as pool:
            asked = [pool.submit(figures_of, home, settings, seed) for seed in settings.seeds]
            seeds = [one.result() for one in asked]
        before = {
            "clean": quality(start, "clean", 0, settings),
            "target": quality(start, "target", 0, settings),
        }
    arms = {arm: summary([one[arm] for one in seeds]) for arm in seeds[0]}
    for arm, one in arms.items():
        print(
            f"{arm:36} target {100 * one['target']:5.1f} sd {100 * one['target_sd']:3.1f} "
            f"worst {100 * one['target_worst']:5.1f}  clean {100 * one['clean']:5.1f}  "
            f"distance {one['distance']:.2f}"
        )
    return report.write(
        "mixout_digits",
        options.size,
        {"before": before, "arms": arms, "seeds": seeds},
        bars_of(arms),
        data="scikit-learn's digits, blurred and noisy",
        settings=vars(settings),
        seconds=time.perf_counter() - begun,
    )


def bars_of(arms: dict[str, dict[str, float]]) -> list[report.Bar]:
    mixed, plain, dropped = (arms[name] for name in ("mixout .9", "plain", "dropout .1"))
    return [
        report.Bar(
            name="mixout .9 less dropout .1, mean accuracy",
            floor=1.0,
            figure=100 * (mixed["target"] - dropped["target"]),
            unit="points",
        ),
        report.Bar(
            name="plain less mixout .9, distance from the start",
            floor=0.0,
            figure=plain["distance"] - mixed["distance"],
            unit="",
        ),
        report.Bar(
            name="dropout .1 less plain, distance from the start",
            floor=0.0,
            figure=dropped["distance"] - plain["distance"],
            unit="",
        ),
    ]


def figures_of(home: Home, settings: Settings, seed: int) -> dict[str, dict[str, float]]:
    """Return by arm the accuracies on the target and on clean digits, and how far the weights went."""
    torch.set_num_threads(1)
    folder = target_folder(home.root / f"target-{seed}", settings, seed)
    start = TrainedRun.open(next(home.runs.glob("pretrained-*"))).network
    told = {}
    for name, techniques in ARMS.items():
        for rate, label in (
            (settings.learning_rate, name),
            (HIGH * settings.learning_rate, f"{name}, high"),
        ):
            run = training_runs.trained(home, tuning(settings, folder, seed, label, techniques, rate))
            weights = run.network.state_dict()
            apart = [(weights[key] - value).square().sum() for key, value in start.state_dict().items()]
            told[label] = {
                "target": quality(run, "target", seed, settings),
                "clean": quality(run, "clean", seed, settings),
                "distance": math.sqrt(float(sum(apart))),
            }
    return told


def summary(seeds: list[dict[str, float]]) -> dict[str, float]:
    target = [one["target"] for one in seeds]
    return {
        **{name: statistics.fmean(one[name] for one in seeds) for name in seeds[0]},
        "target_sd": statistics.stdev(target) if len(target) > 1 else 0.0,
        "target_worst": min(target),
    }


def quality(run: TrainedRun, what: str, seed: int, settings: Settings) -> float:
    """Return the accuracy on the test split, as it was ("clean") or as what is fine-tuned on ("target")."""
    images = open_images({"kind": "digits"}).load("test")
    pixels = images.pixels if what == "clean" else spoilt(images.pixels, settings, seed)
    assert run.record.preprocessing is not None
    inputs = torch.from_numpy(prepare(pixels, run.record.preprocessing))
    network = run.network.eval()
    return accuracy(network, inputs, torch.from_numpy(images.labels), split="test").value


def target_folder(folder: Path, settings: Settings, seed: int) -> Path:
    """Write blurred, noisy digits as a user's folder: some to train on, and the rest of the selection split
    and the test split, which the first network has not seen either.
    """
    source, generator = open_images({"kind": "digits"}), np.random.default_rng([seed, 1])
    images = source.load("selection")
    order = generator.permutation(len(images.labels))
    few = np.concatenate([order[images.labels[order] == label][:SHOTS] for label in range(10)])
    test = source.load("test")
    rest = np.setdiff1d(order, few)
    spoilt_selection = spoilt(images.pixels, settings, seed + 1000)
    for name, pixels, labels in (
        ("train", spoilt_selection[few], images.labels[few]),
        ("selection", spoilt_selection[rest], images.labels[rest]),
        ("test", spoilt(test.pixels, settings, seed), test.labels),
    ):
        for number, (one, label) in enumerate(zip(pixels, labels, strict=True)):
            file = folder / name / str(label) / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(one[..., 0]).save(file)
    return folder


def spoilt(pixels: npt.NDArray[np.uint8], settings: Settings, seed: int) -> npt.NDArray[np.uint8]:
    """Return images [n, 8, 8, 1] blurred and with noise."""
    blurred = gaussian_filter(pixels.astype(np.float64), (0, settings.blur, settings.blur, 0))
    noise = np.random.default_rng([seed, 2]).normal(0, settings.noise, pixels.shape)
    return np.clip(np.round(blurred + noise), 0, 255).astype(np.uint8)


def pretraining(settings: Settings) -> dict[str, Any]:
    return {
        "name": "pretrained",
        "data": {"kind": "digits"},
        "model": {"kind": "mlp", "resolution": 8, "hidden": [256, 256]},
        "training": {**training(1e-3), "epochs": settings.epochs, "batch_size": 64},
    }


def tuning(
    settings: Settings, folder: Path, seed: int, name: str, techniques: dict[str, Any], rate: float
) -> dict[str, Any]:
    return {
        "name": f"{name.replace(' ', '-').replace(',', '')}-{seed}",
        "seed": seed,
        "start": {"run": "pretrained"},
        "data": {"kind": "folder", "path": str(folder), "grey": True, "image_size": 8},
        "techniques": techniques,
        "training": {**training(rate), "epochs": 1, "epoch_steps": settings.steps, "batch_size": 10},
    }


def training(rate: float) -> dict[str, Any]:
    return {
        "learning_rate": rate,
        "decay": "none",
        "warmup": 0.0,
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
        "augmentation": "none",
        "threads": 1,
        "device": "cpu",
    }


if __name__ == "__main__":
    raise SystemExit(main())
