"""Is half of a classifier that was trained with LayerDrop as good as a network of that depth alone?

On SST-2: a network of 6 layers is trained with LayerDrop at the rate that the paper advises for a cut to
3 (1 - 3/6), and cut to 3 layers at even distances, and to those that are best on the selection split; a
network of 3 layers is trained alone, without LayerDrop, for as many updates.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import report
import training_runs

from edge_bench.files import Home
from edge_bench.records import TransformerSpace
from supernet.keep_lists import keep_list


@dataclass(frozen=True, kw_only=True)
class Settings:
    seeds: tuple[int, ...]
    width: int = 128
    epochs: int = 6
    epoch_steps: int = 0


SETTINGS = {
    "smoke": Settings(seeds=(0,), width=32, epochs=1, epoch_steps=15),
    "cpu": Settings(seeds=(0, 1, 2)),
    "gpu": Settings(seeds=(0, 1, 2, 3, 4), width=256, epochs=12),
}
DEEP, SHALLOW = 6, 3
# The rate advised for the cut (Fan et al., 2019, section 4.1); ordinary dropout is lowered beside it.
RATE = 1 - SHALLOW / DEEP
DROPOUT, DROPOUT_BESIDE_LAYER_DROP = 0.1, 0.0


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        seeds = [figures_of(home, settings, seed) for seed in settings.seeds]
    names = [name for name in seeds[0] if name != "seed"]
    means = {name: statistics.fmean(one[name] for one in seeds) for name in names}
    for name, value in means.items():
        print(f"{name:24}{100 * value:7.2f} %")
    bars = [
        report.Bar(
            name=f"{DEEP} layers cut to {SHALLOW} ({how}) less {SHALLOW} layers alone",
            floor=-0.5,
            figure=100 * (means[how] - means["shallow_alone"]),
            unit="points",
        )
        for how in ("every_other", "search")
    ]
    figures = {"test_accuracy": {"seeds": seeds, "means": means}}
    return report.write(
        "text_classification_depths",
        options.size,
        figures,
        bars,
        data="SST-2, sentences",
        settings=vars(settings),
        seconds=time.perf_counter() - begun,
    )


def figures_of(home: Home, settings: Settings, seed: int) -> dict[str, Any]:
    """Return accuracies on the test split."""
    dropped = {"techniques": {"layer_drop": {"rate": RATE}}}
    lowered = tables(settings, "layer-drop", DEEP, seed, DROPOUT_BESIDE_LAYER_DROP)
    trained = training_runs.trained(home, lowered | dropped)
    alone = training_runs.trained(home, tables(settings, "shallow", SHALLOW, seed, DROPOUT))
    assert isinstance(trained.space, TransformerSpace)
    told: dict[str, Any] = {"seed": seed}
    told["layer_drop_whole"] = training_runs.on_test(trained, trained.space.largest())
    for how in ("every_other", "search"):
        arch = keep_list(how).choose(trained, {"encoder": SHALLOW}, seed=seed, report=_unheard)
        told[how] = training_runs.on_test(trained, arch)
    told["shallow_alone"] = training_runs.on_test(alone, alone.space.largest())
    return told


def tables(settings: Settings, name: str, layers: int, seed: int, dropout: float) -> dict[str, Any]:
    return {
        "name": f"{name}-{seed}",
        "seed": seed,
        "data": {"kind": "labelled_text", "path": str(report.data_folder() / "text" / "sst2")},
        "model": {
            "kind": "encoder",
            "layers": layers,
            "width": settings.width,
            "length": 80,
            "dropout": dropout,
        },
        "tokenizer": {"kind": "word_piece", "size": 8000},
        "training": {
            "epochs": settings.epochs,
            "epoch_steps": settings.epoch_steps,
            "batch_size": 32,
            "learning_rate": 1e-3,
            "warmup": 0.1,
            "weight_decay": 0.05,
            "clip_norm": 1.0,
            "threads": 1,
        },
    }


def _unheard(what: str, done: int, total: int) -> None:
    """Take what is told of progress."""


if __name__ == "__main__":
    raise SystemExit(main())
