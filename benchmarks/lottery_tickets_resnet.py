"""Does a ticket of a residual network on CIFAR-10 keep its accuracy, and must it be rewound late?

A ResNet-20 of base width 8 on 10,000 images is pruned to 20 % of its weights in four rounds, rewound to the
second epoch, and beside that to the start; a random ticket of as many weights stands beside the last level.
Every run sees as many epochs. Accuracies are of the test split, means over seeds. Size gpu is the whole
network on all images.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import report
import training_runs

from edge_bench.documents import from_document
from edge_bench.files import Home
from supernet.ladder import climb
from supernet.run import RunConfig, read_record
from supernet.trained import TrainedRun


@dataclass(frozen=True, kw_only=True)
class Settings:
    seeds: tuple[int, ...]
    rounds: int = 4
    left: float = 0.2
    epochs: int = 20
    rewind: str = "2ep"
    width: int = 8
    images: int = 10_000
    test_images: int = 0
    processes: int = 2


SETTINGS = {
    "smoke": Settings(
        seeds=(0,), rounds=1, epochs=1, rewind="1it", width=4, images=600, test_images=200, processes=1
    ),
    "cpu": Settings(seeds=(0, 1, 2)),
    "gpu": Settings(
        seeds=(0, 1, 2), rounds=7, left=0.8**7, epochs=80, rewind="3ep", width=16, images=0, processes=3
    ),
}


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        with ProcessPoolExecutor(settings.processes) as pool:
            asked = [pool.submit(figures_of, home, settings, seed) for seed in settings.seeds]
            seeds = [one.result() for one in asked]
    names = [name for name in seeds[0] if name not in ("seed", "core_seconds")]
    means = {name: sum(one[name] for one in seeds) / len(seeds) for name in names}
    for name, value in means.items():
        print(f"{name:32}{100 * value:7.2f} %")
    ticket = 100 * means[f"ticket_{settings.rounds}"]
    left = f"{100 * settings.left:.0f} % left"
    bars = [
        report.Bar(
            name=f"dense less ticket, {left}",
            floor=1.0,
            figure=100 * means["ticket_0"] - ticket,
            unit="points",
            at_most=True,
        ),
        report.Bar(
            name=f"ticket less random ticket, {left}",
            floor=0.0,
            figure=ticket - 100 * means[f"random_ticket_{settings.rounds}"],
            unit="points",
        ),
        report.Bar(
            name=f"rewound late less rewound to the start, {left}",
            floor=0.0,
            figure=ticket - 100 * means[f"rewind_to_start_{settings.rounds}"],
            unit="points",
        ),
    ]
    return report.write(
        "lottery_tickets_resnet",
        options.size,
        {"test_accuracy": {"means": means, "seeds": seeds}},
        bars,
        data="CIFAR-10, a JPEG copy",
        settings=vars(settings),
        seconds=time.perf_counter() - begun,
    )


def figures_of(home: Home, settings: Settings, seed: int) -> dict[str, Any]:
    """Return the test accuracies of the levels, `ticket_0` of the dense run, and those of the controls."""
    config = from_document(RunConfig, tables(settings, seed))
    rungs = climb(
        config,
        rounds=settings.rounds,
        controls=("random_ticket", "rewind_to_start"),
        control_levels=(settings.rounds,),
        home=home,
        say=lambda line: print(f"  seed {seed}: {line}", flush=True),
        interactive=False,
    )
    told: dict[str, Any] = {"seed": seed}
    for rung in rungs:
        run = TrainedRun.open(rung.folder)
        arch = read_record(rung.folder).arch
        assert arch is not None
        told[f"{rung.control or 'ticket'}_{rung.level}"] = training_runs.on_test(run, arch)
    return told


def tables(settings: Settings, seed: int) -> dict[str, Any]:
    data = {
        "kind": "cifar10",
        "path": str(report.data_folder() / "cifar10"),
        "train_limit": settings.images,
        "test_limit": settings.test_images,
    }
    rate = 1 - settings.left ** (1 / settings.rounds)
    return {
        "name": f"tickets-resnet-{seed}",
        "seed": seed,
        "data": data,
        "model": {"kind": "resnet", "depth": 20, "width": settings.width},
        "techniques": {"lottery_ticket": {"rewind": settings.rewind, "rate": rate}},
        "training": {
            "epochs": settings.epochs,
            "batch_size": 64,
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "weight_decay": 5e-4,
            "warmup": 0.1,
            "label_smoothing": 0.0,
            "threads": 1,
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
