"""Is one supernet as good as networks trained for themselves, and as the paper's schedule?

For each seed a supernet is trained by the default schedule, and beside it, by the same trainer on the
same images: its smallest, middle and largest network alone for as many epochs; a supernet by
progressive shrinking for as many core-seconds; and five networks, spread over log MACs, for the same
total of core-seconds. One process a core, one thread each; what is finished is kept in `--work`.

Every choice (settings, which networks make a front) was made on the selection split; figures are those
of the test split.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import report

from edge_bench.records import macs_of

Document = dict[str, Any]
RANDOM_SUBNETS, SCREENED, COST_ROUNDS = 50, 60, 9


@dataclass(frozen=True)
class Settings:
    """What a size trains. `tuned` are the training values of each arm, found on the selection split."""

    data: Mapping[str, Any]
    space: Mapping[str, Any]
    seeds: tuple[int, ...]
    epochs: int
    training: Mapping[str, Any]
    progressive_shrinking: Mapping[str, Any] = field(default_factory=dict)
    shrinking_schedule: Mapping[str, Any] = field(default_factory=dict)
    alone: Mapping[str, Any] = field(default_factory=dict)


def sizes() -> dict[str, Settings]:
    cifar = {"kind": "cifar10", "path": str(report.data_folder() / "cifar10")}
    lite = {
        "kind": "lite",
        "stem_width": 16,
        "stem_stride": 2,
        "widths": [24, 48],
        "strides": [2, 2],
        "depths": [1, 2, 3],
        "kernels": [3, 5],
        "expands": [2, 3, 4],
        "head_width": 128,
        "resolutions": [32],
    }
    training = {"batch_size": 32, "learning_rate": 0.01}
    return {
        "smoke": Settings(
            data={"kind": "digits"},
            space={**lite, "stem_width": 8, "widths": [8, 16], "strides": [1, 2], "resolutions": [16]},
            seeds=(0,),
            epochs=6,
            training=training,
        ),
        "cpu": Settings(
            data={**cifar, "train_limit": 4000, "selection_fraction": 0.5, "test_limit": 5000},
            space=lite,
            seeds=(0, 1, 2),
            epochs=60,
            training=training,
            shrinking_schedule={"rates": [1.0, 0.5, 0.25, 0.5, 0.25, 0.5]},
        ),
        "gpu": Settings(
            data=cifar,
            space={**lite, "stem_stride": 1, "widths": [32, 64], "head_width": 256},
            seeds=(0, 1, 2),
            epochs=120,
            training={"batch_size": 128, "learning_rate": 0.01},
            shrinking_schedule={"rates": [1.0, 0.5, 0.25, 0.5, 0.25, 0.5]},
        ),
    }


def main() -> int:
    options = report.arguments(
        __doc__, work={"type": Path, "help": "keeps the runs, so that an interrupted benchmark goes on"}
    )
    settings = sizes()[options.size]
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        figures = measure(settings, work)
    print_table(figures)
    return report.write(
        "once_for_all_quality",
        options.size,
        figures,
        bars_of(figures),
        aims={"schedule_points": 1.0, "front_ratio": 1.05, "alone": "at least 0 on 2 of 3"},
        settings={
            name: getattr(settings, name) if name != "data" else {**settings.data, "path": "cifar10"}
            for name in Settings.__dataclass_fields__
        },
    )


def measure(settings: Settings, work: Path) -> Document:
    """Train and judge everything; return all figures by seed and their means."""
    costs = epoch_costs(settings)
    shrinking_epochs = math.ceil(settings.epochs * costs["sandwich"] / costs["progressive_shrinking"])
    shared_epochs = max(1, round(settings.epochs * costs["sandwich"] / sum(costs["independent"])))
    jobs: list[tuple[Callable[..., Document], tuple[Any, ...]]] = []
    for seed in settings.seeds:
        jobs.append((judge_supernet, (settings, work, seed, "sandwich", settings.epochs)))
        jobs.append((judge_supernet, (settings, work, seed, "progressive_shrinking", shrinking_epochs)))
        for place in range(3):
            jobs.append((judge_alone, (settings, work, seed, "alone", place, settings.epochs)))
        for place in range(5):
            jobs.append((judge_alone, (settings, work, seed, "independent", place, shared_epochs)))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=context) as pool:
        futures = [pool.submit(job, *arguments) for job, arguments in jobs]
        done = [future.result() for future in futures]
    seeds = []
    for seed in settings.seeds:
        of_seed = [one for one in done if one["seed"] == seed]
        by_arm = {arm: [one for one in of_seed if one["arm"] == arm] for arm in ("alone", "independent")}
        sandwich = next(one for one in of_seed if one["arm"] == "sandwich")
        shrinking = next(one for one in of_seed if one["arm"] == "progressive_shrinking")
        seeds.append(
            {
                "seed": seed,
                "sandwich": sandwich,
                "progressive_shrinking": shrinking,
                "alone": by_arm["alone"],
                "independent": by_arm["independent"],
                "points_over_alone": [
                    own - alone["accuracy"]
                    for own, alone in zip(sandwich["named"], by_arm["alone"], strict=True)
                ],
                "points_over_shrinking": sandwich["random_mean"] - shrinking["random_mean"],
                "front_ratio": hypervolume(sandwich["front"], settings)
                / hypervolume(selected_front(by_arm["independent"]), settings),
                "core_seconds": {
                    "sandwich": sandwich["core_seconds"],
                    "sandwich_and_screening": sandwich["core_seconds"] + sandwich["screening_core_seconds"],
                    "progressive_shrinking": shrinking["core_seconds"],
                    "independent": sum(one["core_seconds"] for one in by_arm["independent"]),
                },
            }
        )
    return {
        "epochs": {
            "sandwich": settings.epochs,
            "alone": settings.epochs,
            "progressive_shrinking": shrinking_epochs,
            "independent": shared_epochs,
        },
        "core_seconds_per_epoch": costs,
        "seeds": seeds,
        "mean_points_over_alone": [
            statistics.mean(one["points_over_alone"][place] for one in seeds) for place in range(3)
        ],
        "mean_points_over_shrinking": statistics.mean(one["points_over_shrinking"] for one in seeds),
        "mean_front_ratio": statistics.mean(one["front_ratio"] for one in seeds),
    }


def bars_of(figures: Document) -> list[report.Bar]:
    points = figures["mean_points_over_alone"]
    names = ("smallest", "middle", "largest")
    return [
        *(
            report.Bar(
                name=f"{name} subnet against the same network alone", floor=floor, figure=one, unit="points"
            )
            for name, floor, one in zip(names, (-1.0, -1.0, -0.5), points, strict=True)
        ),
        report.Bar(
            name=f"default schedule against progressive shrinking, mean of {RANDOM_SUBNETS} random subnets",
            floor=0.3,
            figure=figures["mean_points_over_shrinking"],
            unit="points",
        ),
        report.Bar(
            name="front hypervolume against 5 networks trained independently",
            floor=1.0,
            figure=figures["mean_front_ratio"],
            unit="ratio",
        ),
    ]


def judge_supernet(settings: Settings, work: Path, seed: int, schedule: str, epochs: int) -> Document:
    """Train a supernet and return test accuracies in percent, and the front chosen on selection."""
    own = {} if schedule == "sandwich" else settings.progressive_shrinking
    options = {} if schedule == "sandwich" else settings.shrinking_schedule
    training = {**settings.training, **own, "epochs": epochs}
    summary = trained(
        settings, work, f"{schedule}", seed, settings.space, training, {"kind": schedule, **options}
    )
    run = opened(summary)
    generator = np.random.default_rng([seed, RANDOM_SUBNETS])
    random = [run.space.sample(generator) for _ in range(RANDOM_SUBNETS)]
    document = {
        "arm": schedule,
        "seed": seed,
        "core_seconds": summary["core_seconds"],
        "named": [tested(run, arch) for arch in named_archs(run.space)],
        "random_mean": statistics.mean(tested(run, arch) for arch in random),
        "screening_core_seconds": 0.0,
        "front": [],
    }
    if schedule == "sandwich":
        from supernet.extraction import spread_archs

        began = time.process_time()
        archs = spread_archs(run.space, SCREENED, np.random.default_rng([seed, SCREENED]))
        judged = [
            {"macs": macs_of(run.space, arch), "selection": 100 * run.judge(arch).value, "arch": arch}
            for arch in archs
        ]
        document["screening_core_seconds"] = time.process_time() - began
        document["front"] = [
            {"macs": one["macs"], "selection": one["selection"], "accuracy": tested(run, one["arch"])}
            for one in selected_front(judged)
        ]
    return document


def judge_alone(settings: Settings, work: Path, seed: int, arm: str, place: int, epochs: int) -> Document:
    """Train one network alone and return its accuracies on selection and test, in percent."""
    space = space_of(settings.space, settings)
    arch = (named_archs(space) if arm == "alone" else independent_archs(space))[place]
    table = single(settings.space, space, arch)
    training = {**settings.training, **settings.alone, "epochs": epochs}
    summary = trained(settings, work, f"{arm}{place}", seed, table, training, {"kind": "sandwich"})
    run = opened(summary)
    return {
        "arm": arm,
        "seed": seed,
        "macs": macs_of(run.space, run.space.largest()),
        "core_seconds": summary["core_seconds"],
        "selection": 100 * run.judge(run.space.largest()).value,
        "accuracy": tested(run, run.space.largest()),
    }


def trained(
    settings: Settings,
    work: Path,
    name: str,
    seed: int,
    space: Mapping[str, Any],
    training: Mapping[str, Any],
    schedule: Mapping[str, Any],
) -> Document:
    """Train by the command line on one thread, unless it was done before; return the summary."""
    tables = {
        "space": space,
        "data": settings.data,
        "training": {**training, "threads": 1},
        "schedule": schedule,
    }
    lines = [f"name = {json.dumps(name)}", f"seed = {seed}"]
    for table, values in tables.items():
        # JSON's numbers, texts and flat lists are TOML's.
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    path = work / f"{name}-{seed}.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["train", str(path), "--home", str(work / "home"), "--json", "--quiet"]
    ended = subprocess.run(
        [sys.executable, "-m", "edge_bench", *command],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    summary: Document = json.loads(ended.stdout)
    accuracies = f"{100 * summary['largest_accuracy']:.1f} / {100 * summary['smallest_accuracy']:.1f} %"
    print(
        f"{name} seed {seed}: {summary['core_seconds']:.0f} core-seconds, selection {accuracies}",
        flush=True,
    )
    return summary


def opened(summary: Document) -> Any:
    import torch

    from supernet.trained import TrainedRun

    torch.set_num_threads(1)
    return TrainedRun.open(Path(summary["folder"]))


def tested(run: Any, arch: Any) -> float:
    """Return the accuracy of a network on the test split, in percent."""
    from supernet.evaluation import accuracy, calibrated

    inputs, labels = run.task.images.split("test", arch.resolution)
    plain = calibrated(run.network, arch, run.task.images)
    return 100 * accuracy(plain, inputs, labels, split="test").value


def space_of(table: Mapping[str, Any], settings: Settings) -> Any:
    from edge_bench.data import open_images
    from supernet.run import open_space

    channels = open_images(settings.data).channels()
    return open_space(table).build(input_channels=channels, classes=10)


def named_archs(space: Any) -> list[Any]:
    return [space.smallest(), space.middle(), space.largest()]


def independent_archs(space: Any) -> list[Any]:
    """Return five networks of one kernel, depth and expand ratio each, evenly spread over log MACs."""
    from edge_bench.records import ArchConfig, Block

    stage = space.stages[0]
    uniform = [
        ArchConfig(
            space=space.name,
            resolution=resolution,
            blocks=tuple(
                Block(source=offset + place, kernel=kernel, expand=expand)
                for offset in space.offsets
                for place in range(depth)
            ),
        )
        for depth in stage.depths
        for kernel in stage.kernels
        for expand in stage.expands
        for resolution in space.resolutions
    ]
    logs = np.log([macs_of(space, arch) for arch in uniform])
    goals = np.linspace(logs.min(), logs.max(), 5)
    return [uniform[int(np.abs(logs - goal).argmin())] for goal in goals]


def single(table: Mapping[str, Any], space: Any, arch: Any) -> Document:
    """Return the `[space]` table that holds one uniform network alone."""
    block = arch.blocks[0]
    return {
        **table,
        "depths": [len(arch.blocks) // len(space.stages)],
        "kernels": [block.kernel],
        "expands": [block.expand],
        "resolutions": [arch.resolution],
    }


def selected_front(networks: Sequence[Document]) -> list[Document]:
    """Return the networks that none of fewer MACs reaches on the selection split."""
    front: list[Document] = []
    for one in sorted(networks, key=lambda one: (one["macs"], -one["selection"])):
        if not front or one["selection"] > front[-1]["selection"]:
            front.append(one)
    return front


def hypervolume(front: Sequence[Document], settings: Settings) -> float:
    """Return the area under test accuracy over chance (10 %), along log MACs up to the largest network.

    A network counts from its own MACs on; where a later one is worse on test, the later one is used,
    since it was chosen on selection.
    """
    space = space_of(settings.space, settings)
    low, high = (math.log2(macs_of(space, arch)) for arch in (space.smallest(), space.largest()))
    ends = [math.log2(one["macs"]) for one in front[1:]] + [high]
    area = 0.0
    for one, end in zip(front, ends, strict=True):
        area += (end - math.log2(one["macs"])) * max(one["accuracy"] - 10, 0.0)
    return area / (high - low)


def epoch_costs(settings: Settings) -> Document:
    """Return core-seconds an epoch of each arm: steps of every phase, measured in turns, their medians.

    Measured on one thread, so that the arms get equal budgets by what their steps cost.
    """
    import torch

    from edge_bench.documents import from_document
    from supernet.phases import narrowed
    from supernet.run import Training
    from supernet.schedules.progressive_shrinking import ProgressiveShrinking
    from supernet.schedules.sandwich import Sandwich
    from supernet.tasks._trainees import initialised

    torch.set_num_threads(1)
    training = from_document(Training, {**settings.training})
    space = space_of(settings.space, settings)
    plans = {
        "sandwich": Sandwich().phases(epochs=settings.epochs, learning_rate=0.1),
        "progressive_shrinking": ProgressiveShrinking().phases(epochs=605, learning_rate=0.1),
    }
    steps = {
        (arm, phase.name): _Timed(initialised(space, 0), narrowed(space, phase), phase, training)
        for arm, phases in plans.items()
        for phase in phases
    }
    largest = plans["sandwich"][0]
    for place, arch in enumerate(independent_archs(space)):
        table = single(settings.space, space, arch)
        alone = space_of(table, settings)
        steps["independent", str(place)] = _Timed(initialised(alone, 0), alone, largest, training)
    for _ in range(COST_ROUNDS):
        for step in steps.values():
            step.run()
    images = settings_images(settings)
    epoch = {key: step.median() * images / training.batch_size for key, step in steps.items()}
    costs: Document = {
        arm: sum(epoch[arm, phase.name] * phase.epochs for phase in phases)
        / sum(phase.epochs for phase in phases)
        for arm, phases in plans.items()
    }
    costs["independent"] = [epoch["independent", str(place)] for place in range(5)]
    return costs


class _Timed:
    """Steps of one phase, each timed by the processor time of this process."""

    def __init__(self, network: Any, space: Any, phase: Any, training: Any) -> None:
        import torch

        from supernet.optimization import optimizer_of

        self.network, self.space, self.phase, self.training = network, space, phase, training
        self.optimizer = optimizer_of(network, training)
        self.generator = np.random.default_rng(0)
        self.labels = torch.from_numpy(self.generator.integers(0, 10, training.batch_size))
        self.seconds: list[float] = []

    def run(self) -> None:
        import torch

        from supernet.step import gather_gradients, networks_of

        resolution = int(self.generator.choice(self.space.resolutions))
        shape = (self.training.batch_size, self.space.input_channels, resolution, resolution)
        x = torch.randn(*shape)
        x = x.contiguous(memory_format=torch.channels_last)
        archs = networks_of(self.space, self.phase, self.training, self.generator)
        frozen = self.network if self.phase.teacher == "frozen" else None
        began = time.process_time()
        self.optimizer.zero_grad(set_to_none=True)
        gather_gradients(
            self.network, archs, x, self.labels, phase=self.phase, training=self.training, frozen=frozen
        )
        self.optimizer.step()
        self.seconds.append(time.process_time() - began)

    def median(self) -> float:
        # The first step makes what later ones find ready.
        return statistics.median(self.seconds[1:])


def settings_images(settings: Settings) -> int:
    from edge_bench.data import open_images

    return len(open_images(settings.data).load("train").labels)


def print_table(figures: Document) -> None:
    print(f"{'seed':>4} {'smallest':>17} {'middle':>17} {'largest':>17} {'50 random':>17} {'front':>7}")
    for one in figures["seeds"]:
        named = [
            f"{own:6.2f} ({own - alone['accuracy']:+.2f})"
            for own, alone in zip(one["sandwich"]["named"], one["alone"], strict=True)
        ]
        random = f"{one['sandwich']['random_mean']:6.2f} ({one['points_over_shrinking']:+.2f})"
        print(f"{one['seed']:>4} " + " ".join(f"{x:>17}" for x in (*named, random)), end="")
        print(f" {one['front_ratio']:7.3f}")


if __name__ == "__main__":
    raise SystemExit(main())
