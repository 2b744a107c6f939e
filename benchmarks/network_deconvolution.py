"""Does network deconvolution learn faster than batch norm, at which cost a step, and is its file plain?

Five convolutions on 6,000 images of CIFAR-10 are trained for four epochs with batch norm and with
deconvolution. The learning rate of either is the one of three that is best on the selection split, over
all seeds. Accuracies are of the test split, means over seeds. Steps of both are timed in turns, on one
thread; so are their files.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import report
import torch
import training_runs
from torch import Tensor, nn

from converters.export import export_subnet
from edge_bench.files import Home
from edge_bench.measure import onnx_file, tflite_file
from edge_bench.measure.comparison import ComparisonPlan, Side, compare
from supernet import checkpoint
from supernet.memory import keep_freed_memory
from supernet.models import ImageModel
from supernet.optimization import optimizer_of
from supernet.run import CHECKPOINT_FILE, KEPT_FILE, LOG_FILE, Training, open_model
from supernet.step import gather_label_gradients
from supernet.tasks.image_classification import ImageClassification
from supernet.techniques.network_deconvolution import NetworkDeconvolution
from supernet.trained import TrainedRun
from supernet.whitening import Whitened

TECHNIQUE = "network_deconvolution"
ARMS: dict[str, dict[str, Any]] = {
    "batch_norm": {},
    "deconvolution": {TECHNIQUE: {"block": 16, "sampling_stride": 4}},
}
# Of which only the time is told.
OTHERS: dict[str, dict[str, Any]] = {
    "deconvolution, sampling stride 3": {TECHNIQUE: {"block": 16, "sampling_stride": 3}},
    "deconvolution, block 64": {TECHNIQUE: {"block": 64, "sampling_stride": 4}},
    "deconvolution, a frozen step": {TECHNIQUE: {"block": 16, "sampling_stride": 4, "freeze_steps": 1}},
}
RATES = (0.03, 0.1, 0.3)
# After so many epochs accuracies are compared.
EARLY = 2


@dataclass(frozen=True, kw_only=True)
class Settings:
    seeds: tuple[int, ...]
    rates: tuple[float, ...] = RATES
    epochs: int = 4
    widths: tuple[int, ...] = (32, 32, 64, 64, 96)
    strides: tuple[int, ...] = (1, 2, 1, 2, 1)
    images: int = 6000
    test_images: int = 0
    batch: int = 128
    timed_steps: int = 60
    seconds: float = 30.0
    processes: int = 2


SETTINGS = {
    "smoke": Settings(
        seeds=(0,),
        rates=(0.1,),
        epochs=1,
        images=700,
        test_images=200,
        timed_steps=2,
        seconds=1.0,
        processes=1,
    ),
    "cpu": Settings(seeds=(0, 1, 2)),
    "gpu": Settings(seeds=(0, 1, 2), epochs=20, images=0),
}


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        asked = [(arm, rate, seed) for arm in ARMS for rate in settings.rates for seed in settings.seeds]
        with ProcessPoolExecutor(settings.processes) as pool:
            runs = list(pool.map(partial(curve, home, settings), *zip(*asked, strict=True)))
        chosen = {arm: best([one for one in runs if one["arm"] == arm]) for arm in ARMS}
        networks = {arm: opened(home, settings, arm, chosen[arm][0]) for arm in ARMS}
        white = whitened(networks["deconvolution"])
        files = exported(home, networks, ComparisonPlan(max_seconds=settings.seconds))
        steps = timed(settings, {**ARMS, **OTHERS})
    figures = {
        "chosen_rates": {arm: runs_of[0]["rate"] for arm, runs_of in chosen.items()},
        **{arm: means(runs_of) for arm, runs_of in chosen.items()},
        "whitening": white,
        "files": files,
        "steps": steps,
        "runs": runs,
    }
    for arm in ARMS:
        print(arm, {name: figures[arm][name] for name in ("test", "loss")})
    return report.write(
        TECHNIQUE,
        options.size,
        figures,
        bars_of(figures),
        data="CIFAR-10, a JPEG copy",
        settings=vars(settings),
        techniques=ARMS,
        seconds=time.perf_counter() - begun,
    )


def bars_of(figures: Mapping[str, Any]) -> list[report.Bar]:
    norm, white, steps = figures["batch_norm"], figures["deconvolution"], figures["steps"]
    early = min(EARLY, len(norm["test"])) - 1
    return [
        report.Bar(
            name=f"deconvolution less batch norm after epoch {early + 1}, test",
            floor=3.0,
            figure=100 * (white["test"][early] - norm["test"][early]),
            unit="points",
        ),
        report.Bar(
            name="final training loss, deconvolution less batch norm",
            floor=0.0,
            figure=white["loss"][-1] - norm["loss"][-1],
            unit="",
            at_most=True,
        ),
        report.Bar(
            name="largest difference of a logit, folded",
            floor=1e-5,
            figure=figures["whitening"]["folded_difference"],
            unit="",
            at_most=True,
        ),
        report.Bar(
            name="mean absolute correlation of what a layer sees, white / as it is",
            floor=0.5,
            figure=figures["whitening"]["correlation_ratio"],
            unit="×",
            at_most=True,
        ),
        report.Bar(
            name="time of a step, deconvolution / batch norm",
            floor=1.6,
            figure=steps["deconvolution"]["wall_ratio"],
            unit="×",
            at_most=True,
        ),
        *(
            report.Bar(
                name=f"time of the {form} file, deconvolution / batch norm",
                floor=1.03,
                figure=found["ratio"],
                unit="×",
                at_most=True,
            )
            for form, found in figures["files"].items()
        ),
        report.Bar(
            name="formats whose files hold the same operators",
            floor=len(figures["files"]),
            figure=sum(found["same_operators"] for found in figures["files"].values()),
            unit="",
        ),
    ]


def curve(home: Home, settings: Settings, arm: str, rate: float, seed: int) -> dict[str, Any]:
    """Return accuracies and losses behind each epoch of a run."""
    run = training_runs.trained(home, tables(settings, arm, rate, seed))
    arch, task = run.space.largest(), run.task
    networks = [
        task.judged(partial(checkpoint.restore, run.folder / KEPT_FILE.format(step=step)))
        for step in kept_steps(run, settings)
    ]
    log = [json.loads(line) for line in (run.folder / LOG_FILE).read_text(encoding="utf-8").splitlines()]
    return {
        "arm": arm,
        "rate": rate,
        "seed": seed,
        "selection": run.judge(arch).value,
        "test": [task.judge(network, arch, "test").value for network in (*networks, run.network)],
        "loss": [line["loss"] for line in log],
    }


def kept_steps(run: TrainedRun, settings: Settings) -> list[int]:
    steps = run.record.config.training.steps_per_epoch(run.record.images)
    return [steps * epoch for epoch in range(1, settings.epochs)]


def best(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the runs of the learning rate that is best on the selection split."""
    by_rate: dict[float, list[dict[str, Any]]] = {}
    for run in runs:
        by_rate.setdefault(run["rate"], []).append(run)
    return max(by_rate.values(), key=lambda of_rate: fmean(one["selection"] for one in of_rate))


def means(runs: list[dict[str, Any]]) -> dict[str, Any]:
    told: dict[str, Any] = {
        name: [fmean(values) for values in zip(*(one[name] for one in runs), strict=True)]
        for name in ("test", "loss")
    }
    return {"selection": fmean(one["selection"] for one in runs), **told}


def opened(home: Home, settings: Settings, arm: str, run: Mapping[str, Any]) -> TrainedRun:
    return training_runs.trained(home, tables(settings, arm, run["rate"], run["seed"]))


@torch.no_grad()
def whitened(run: TrainedRun) -> dict[str, Any]:
    """Return how correlated is what the layers of a trained network see, and what folding changes."""
    task = run.task
    assert isinstance(task, ImageClassification)
    arch = run.space.largest()
    network = task.judged_network()
    task.begin(network)
    checkpoint.restore(run.folder / CHECKPOINT_FILE, network)
    inputs, _ = task.images.split("selection", arch.resolution)
    layers: dict[str, dict[str, float]] = {}

    def look(name: str, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, Whitened)
        rows = layer.rows(given[0])
        white = (rows - layer.whitening.mean[:, None]) @ layer.whitening.matrix
        layers[name] = {"before": correlation(rows), "after": correlation(white)}

    for name, layer in network.named_modules():
        if isinstance(layer, Whitened):
            layer.register_forward_pre_hook(partial(look, name))
    expected = network.eval()(inputs[:256])
    task.end(network)
    before, after = (fmean(one[when] for one in layers.values()) for when in ("before", "after"))
    return {
        "folded_difference": float((network(inputs[:256]) - expected).abs().max()),
        "correlation_ratio": after / before,
        "layers": layers,
    }


def correlation(rows: Tensor) -> float:
    """Return the mean absolute correlation of two columns of rows [1, n, f]; columns of zeros left out."""
    centred = rows[0].double() - rows[0].double().mean(0)
    deviation = centred.square().mean(0).sqrt()
    scaled = centred[:, deviation > 1e-6] / deviation[deviation > 1e-6]
    found = (scaled.mT @ scaled / len(scaled)).abs()
    return float((found.sum() - found.diagonal().sum()) / (len(found) * (len(found) - 1)))


def exported(home: Home, networks: Mapping[str, TrainedRun], plan: ComparisonPlan) -> dict[str, Any]:
    """Export both networks, count the operators of their files, and time them in turns."""
    subnets = {arm: run.cut(run.space.largest(), home=home) for arm, run in networks.items()}
    told = {}
    for form, runtime, operators in (
        ("onnx", "onnxruntime", _onnx_operators),
        ("tflite", "litert", _tflite_operators),
    ):
        made = {arm: export_subnet(subnet, home=home, format=form)[0] for arm, subnet in subnets.items()}
        paths = {arm: home.absolute(one.file) for arm, one in made.items()}
        counts = {arm: dict(Counter(operators(path))) for arm, path in paths.items()}
        sides = (Side(model=paths[arm], runtime=runtime) for arm in ("batch_norm", "deconvolution"))
        found = compare(*sides, home=home, plan=plan)
        told[form] = {
            "same_operators": counts["deconvolution"] == counts["batch_norm"],
            "operators": counts["deconvolution"],
            "parity": {arm: one.parity.max_abs_error for arm, one in made.items() if one.parity},
            "ratio": found.ratio.middle,
            "interval": [found.ratio.low, found.ratio.high],
        }
    return told


def _onnx_operators(file: Path) -> list[str]:
    return [step.operator for step in onnx_file.survey_file(file).steps]


def _tflite_operators(file: Path) -> list[str]:
    return [step.operator for step in tflite_file.survey_file(file).graph.steps]


def timed(settings: Settings, arms: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what steps of each arm take against batch norm's, one of each in turn, on one thread."""
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs = torch.randn(settings.batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (settings.batch,))
    steps = {arm: step_of(settings, techniques, inputs, labels) for arm, techniques in arms.items()}
    taken: dict[str, list[tuple[float, float]]] = {arm: [] for arm in arms}
    for number in range(settings.timed_steps + 3):
        for arm, step in steps.items():
            wall, core = time.perf_counter(), time.process_time()
            step(number)
            if number >= 3:
                taken[arm].append((time.perf_counter() - wall, time.process_time() - core))
    told = {}
    for arm, own in taken.items():
        against = taken["batch_norm"]
        told[arm] = {
            "wall_ms": 1000 * median(wall for wall, _ in own),
            "core_ms": 1000 * median(core for _, core in own),
            "wall_ratio": median(one[0] / other[0] for one, other in zip(own, against, strict=True)),
            "core_ratio": median(one[1] / other[1] for one, other in zip(own, against, strict=True)),
        }
    return told


def step_of(
    settings: Settings, techniques: Mapping[str, Any], inputs: Tensor, labels: Tensor
) -> Callable[[int], None]:
    model = open_model(tables(settings, "batch_norm", 0.1, 0)["model"])
    assert isinstance(model, ImageModel)
    network = model.build(channels=3, classes=10).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    technique = NetworkDeconvolution(**techniques[TECHNIQUE]) if techniques else None
    if technique:
        technique.begin(network)
    training = Training(optimizer="sgd", learning_rate=0.01, weight_decay=1e-3)
    optimizer = optimizer_of(network, training)
    generator = np.random.default_rng(0)

    def step(number: int) -> None:
        network.train()
        if technique:
            technique.before_step(network, generator, number, settings.timed_steps)
        optimizer.zero_grad(set_to_none=True)
        gather_label_gradients(network, inputs, labels, training=training)
        optimizer.step()

    return step


def tables(settings: Settings, arm: str, rate: float, seed: int) -> dict[str, Any]:
    return {
        "name": f"{arm}-{rate:g}-{seed}",
        "seed": seed,
        "data": {
            "kind": "cifar10",
            "path": str(report.data_folder() / "cifar10"),
            "train_limit": settings.images,
            "test_limit": settings.test_images,
        },
        "model": {"kind": "convnet", "widths": list(settings.widths), "strides": list(settings.strides)},
        "techniques": ARMS[arm],
        "training": {
            "epochs": settings.epochs,
            "batch_size": settings.batch,
            "optimizer": "sgd",
            "learning_rate": rate,
            "weight_decay": 1e-3,
            "warmup": 0.0,
            "label_smoothing": 0.0,
            "threads": 1,
            "keep": [f"{epoch}ep" for epoch in range(1, settings.epochs)],
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
