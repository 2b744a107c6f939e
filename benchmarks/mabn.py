"""What does MABN give a network that is trained at a batch of 2?

Five convolutions on CIFAR-10 at 16 pixels. First the same steps at batch 2: batch norm, group norm and
MABN. Then the same epochs: MABN at batch 2, batch norm at batch 32. Once all arms of the first part have
one learning rate; else each arm has the best of as many on the selection split, by a seed of its own, group
norm also the best number of groups. Last a supernet on scikit-learn's digits at batch 2: its largest and
its smallest network. Accuracies are of the test split, means over seeds.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import report
import training_runs

from edge_bench.files import Home
from supernet.run import SUMMARY_FILE

RATE = 0.00625
CHOOSING_SEED = 100
SPACE = {
    "kind": "lite_32",
    "stem_width": 8,
    "stem_stride": 2,
    "widths": [8, 16, 24],
    "strides": [1, 2, 2],
    "depths": [1, 2],
    "kernels": [3, 5],
    "expands": [2, 4],
    "head_width": 48,
    "resolutions": [16],
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    seeds: tuple[int, ...] = (0, 1, 2)
    images: int = 8_900
    test_images: int = 0
    steps: int = 6_000
    epochs: int = 6
    supernet_steps: int = 3_600
    widths: tuple[int, ...] = (16, 32, 32, 64, 64)
    strides: tuple[int, ...] = (1, 2, 1, 2, 1)
    factors: tuple[float, ...] = (0.5, 1.0, 2.0)
    processes: int = 2


SETTINGS = {
    "smoke": Settings(
        seeds=(0,),
        images=400,
        test_images=200,
        steps=60,
        epochs=1,
        supernet_steps=20,
        widths=(8, 16),
        strides=(1, 2),
        factors=(1.0,),
        processes=1,
    ),
    "cpu": Settings(),
    "gpu": Settings(images=0, steps=30_000, epochs=20, widths=(64, 128, 128, 256, 256), processes=3),
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to train, for so many `steps`, or `epochs` where there are none; a supernet where `elastic`."""

    norm: str = "batch"
    batch: int = 2
    mabn: bool = False
    groups: int = 8
    rate: float = RATE
    steps: int = 0
    epochs: int = 1
    elastic: bool = False

    @property
    def name(self) -> str:
        length = f"{self.steps}it" if self.steps else f"{self.epochs}ep"
        norm = "mabn" if self.mabn else f"{self.norm}{self.groups if self.norm == 'group' else ''}"
        return f"{'supernet-' * self.elastic}{norm}-b{self.batch}-{length}-{self.rate:g}"


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    same_steps = {
        "mabn": Arm(mabn=True, steps=settings.steps),
        "batch_norm": Arm(steps=settings.steps),
        "group_norm": Arm(norm="group", steps=settings.steps),
    }
    same_epochs = {
        "mabn_2": Arm(mabn=True, epochs=settings.epochs),
        # As many times the rate as the batch is larger, and twice that and half of it.
        "batch_norm_32": Arm(batch=32, epochs=settings.epochs, rate=16 * RATE),
    }
    elastic = Arm(elastic=True, steps=settings.supernet_steps, rate=0.01)
    supernets = {"mabn": replace(elastic, mabn=True), "batch_norm": elastic}
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        with ProcessPoolExecutor(settings.processes) as pool:
            runs = _Runs(home, settings, pool)
            equal = runs.on_test(same_steps)
            chosen = {name: runs.best(arm) for name, arm in {**same_steps, **same_epochs}.items()}
            tuned = runs.on_test(chosen)
            largest, smallest = (runs.on_test(supernets, one) for one in ("largest", "smallest"))
            core_seconds = {name: runs.core_seconds(arm) for name, arm in chosen.items()}
    equal_means, means, largest_means, smallest_means = (
        {name: sum(of) / len(of) for name, of in one.items()} for one in (equal, tuned, largest, smallest)
    )
    for name, value in means.items():
        print(f"{name:16}{value:10.4f}  rate {chosen[name].rate:g}")
    bars = [
        points("MABN less batch norm, batch 2, one rate", 1.5, equal_means, "mabn", "batch_norm"),
        points("MABN less group norm, batch 2, one rate", 3.0, equal_means, "mabn", "group_norm"),
        points("MABN less batch norm, batch 2, chosen rates", 1.5, means, "mabn", "batch_norm"),
        points("MABN less group norm, batch 2, chosen rates", 3.0, means, "mabn", "group_norm"),
        points(
            "MABN at batch 2 less batch norm at 32, same epochs", -1.0, means, "mabn_2", "batch_norm_32"
        ),
        points(
            "supernet at batch 2, largest network, MABN less batch norm", 0.0, largest_means, *supernets
        ),
        points(
            "supernet at batch 2, smallest network, MABN less batch norm", 0.0, smallest_means, *supernets
        ),
    ]
    return report.write(
        "mabn",
        options.size,
        {
            "one_rate": {"means": equal_means, "seeds": equal},
            "chosen_rates": {
                "means": means,
                "seeds": tuned,
                "arms": {name: arm.name for name, arm in chosen.items()},
                "selection": runs.judged,
            },
            "supernet": {"largest": largest, "smallest": smallest},
            "core_seconds": core_seconds,
        },
        bars,
        data="CIFAR-10, a JPEG copy, 16 pixels; scikit-learn's digits",
        settings=vars(settings),
        seconds=time.perf_counter() - begun,
    )


def points(name: str, floor: float, means: dict[str, float], one: str, other: str) -> report.Bar:
    return report.Bar(name=name, floor=floor, figure=100 * (means[one] - means[other]), unit="points")


class _Runs:
    def __init__(self, home: Home, settings: Settings, pool: ProcessPoolExecutor) -> None:
        self.home, self.settings, self.pool = home, settings, pool
        self.judged: dict[str, float] = {}

    def on_test(self, arms: dict[str, Arm], network: str = "largest") -> dict[str, list[float]]:
        """Return the test accuracies of each arm's largest or smallest network, by seed."""
        seeds = self.settings.seeds
        found = self._all([(arm, seed) for arm in arms.values() for seed in seeds])
        return {name: [found[arm, seed][network] for seed in seeds] for name, arm in arms.items()}

    def best(self, arm: Arm) -> Arm:
        """Return the arm with the settings of the best accuracy on the selection split."""
        asked = [replace(arm, rate=factor * arm.rate) for factor in self.settings.factors]
        if arm.norm == "group":
            asked += [replace(one, groups=4) for one in asked]
        found = self._all([(one, CHOOSING_SEED) for one in asked])
        self.judged |= {one.name: found[one, CHOOSING_SEED]["selection"] for one in asked}
        return max(asked, key=lambda one: self.judged[one.name])

    def core_seconds(self, arm: Arm) -> float:
        """Return the processor time of a run of an arm, the mean over seeds."""
        found = self._all([(arm, seed) for seed in self.settings.seeds])
        return sum(one["core_seconds"] for one in found.values()) / len(found)

    def _all(self, asked: Iterable[tuple[Arm, int]]) -> dict[tuple[Arm, int], dict[str, float]]:
        begun = {
            one: self.pool.submit(figures_of, self.home, self.settings, *one)
            for one in dict.fromkeys(asked)
        }
        return {one: future.result() for one, future in begun.items()}


def figures_of(home: Home, settings: Settings, arm: Arm, seed: int) -> dict[str, float]:
    """Train an arm, unless that is done; return its accuracies and its processor time."""
    run = training_runs.trained(home, tables(settings, arm, seed))
    summary = json.loads((run.folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    return {
        "largest": training_runs.on_test(run, run.space.largest()),
        "smallest": training_runs.on_test(run, run.space.smallest()),
        "selection": summary["largest_accuracy"],
        "core_seconds": summary["core_seconds"],
    }


def tables(settings: Settings, arm: Arm, seed: int) -> dict[str, Any]:
    images = {
        "kind": "cifar10",
        "path": str(report.data_folder() / "cifar10"),
        "train_limit": settings.images,
        "test_limit": settings.test_images,
    }
    convnet = {
        "kind": "convnet",
        "resolution": 16,
        "widths": list(settings.widths),
        "strides": list(settings.strides),
        "norm": arm.norm,
        "groups": arm.groups,
    }
    learned = (
        {"data": {"kind": "digits"}, "space": SPACE} if arm.elastic else {"data": images, "model": convnet}
    )
    return {
        "name": f"{arm.name}-{seed}",
        "seed": seed,
        **learned,
        "techniques": {"mabn": {}} if arm.mabn else {},
        "training": {
            "epochs": arm.epochs,
            "epoch_steps": arm.steps,
            "batch_size": arm.batch,
            "optimizer": "sgd",
            "learning_rate": arm.rate,
            "momentum": 0.9,
            "weight_decay": 0.0,
            "warmup": 0.0,
            "clip_norm": 5.0,
            "label_smoothing": 0.0,
            "augmentation": "none",
            "threads": 1,
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
