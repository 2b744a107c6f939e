"""The one training loop: phases, the sandwich rule, in-place distillation, checkpoints.

Every draw (order of images, resolution, subnets, augmentation) comes from a numpy generator seeded
by the run's seed and the step, so what a step does depends on no step before it. With weights,
optimizer state and torch's random state in the checkpoint, a run that was killed ends on the CPU
with bitwise the weights of one that was not (at an equal number of threads).
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edge_bench import __version__
from edge_bench.errors import TrainingError
from edge_bench.files import Home, explained, write_text
from edge_bench.records import ArchConfig, SearchSpace
from edge_bench.store import now
from supernet import checkpoint
from supernet.checkpoint import Progress
from supernet.distillation import label_loss, student_loss
from supernet.evaluation import accuracy, calibrated
from supernet.images import JudgingImages, training_images
from supernet.memory import keep_freed_memory
from supernet.network import ElasticNetwork
from supernet.phases import Place, narrowed, place_of, rate_at
from supernet.progress import shown
from supernet.run import (
    CHECKPOINT_FILE,
    LOG_FILE,
    RUN_FILE,
    SUMMARY_FILE,
    RunConfig,
    RunRecord,
    checked,
    read_record,
    record_document,
)

CALIBRATION_IMAGES = 512
# What the generators of a run are for; part of their seed.
_ORDER, _STEP, _WEIGHTS = 0, 1, 2


def train(config: RunConfig, *, home: Home, say: Callable[[str], None], interactive: bool) -> Path:
    """Train a supernet, or go on where an earlier call of the same configuration stopped.

    Args:
        config: the run.
        home: where its folder is made.
        say: is given lines of progress.
        interactive: draw a progress bar on stderr.

    Returns:
        The run folder: `run.json`, `log.jsonl`, `checkpoint.safetensors`, `summary.json`. A run
        that is finished is left as it is.

    Raises:
        ConfigError: the configuration cannot be used.
        DataError: the data cannot be read.
        TrainingError: the loss is not finite, or the folder's checkpoint does not fit the run.
    """
    config = checked(config)
    folder = config.folder(home)
    progress = checkpoint.read_progress(folder / CHECKPOINT_FILE, run=config.digest)
    if progress and progress.finished and (folder / SUMMARY_FILE).is_file():
        say(f"run {folder.name} is finished already; nothing to train")
        return folder
    keep_freed_memory()
    with _threads(config.training.threads), _board(config, folder) as board:
        _Session(config, folder, say, progress, board).run(interactive)
    return folder


@dataclass
class _Epoch:
    """Sums over the steps of an epoch so far."""

    steps: int = 0
    loss: float = 0.0
    smallest_loss: float = 0.0
    right: int = 0
    images: int = 0
    seconds: float = 0.0


class _Session:
    """One call of `train`: from a checkpoint, or none, to the end."""

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        say: Callable[[str], None],
        progress: Progress | None,
        board: Callable[[dict[str, Any]], None],
    ) -> None:
        self.config, self.folder, self.say, self.board = config, folder, say, board
        source = config.open_data()
        space = config.open_space().build(input_channels=source.channels(), classes=2)
        self.images = training_images(source, space.resolutions, config.training.augmentation)
        classes = len(self.images.images.class_names)
        self.space = config.open_space().build(input_channels=source.channels(), classes=classes)
        self.device = torch.device(_device(config.training.device))
        self.network = initialised(self.space, config.seed).to(self.device)
        # New weights for a new run; those of the checkpoint replace them for one that goes on.
        self.optimizer = _optimizer(self.network, config)
        self.batch = min(config.training.batch_size, len(self.images))
        self.steps_per_epoch = len(self.images) // self.batch
        self.phases = config.schedule
        self.narrowed = [narrowed(self.space, phase) for phase in self.phases]
        steps = self.steps_per_epoch * sum(phase.epochs for phase in self.phases)
        self.progress = progress or Progress(run=config.digest, step=0, steps=steps, seconds=0.0)
        self._open_folder(resumes=progress is not None, steps=steps)

    def run(self, interactive: bool) -> None:
        training = self.config.training
        done, total = self.progress.step, self.progress.steps
        began = time.monotonic() - self.progress.seconds
        epoch = _Epoch()
        with shown(
            f"train {self.config.name}", done=done, total=total, say=self.say, interactive=interactive
        ) as advance:
            for step in range(done, total):
                place = place_of(self.phases, step, steps_per_epoch=self.steps_per_epoch)
                started = time.monotonic()
                self._step(step, place, epoch)
                epoch.seconds += time.monotonic() - started
                advance(step + 1, f"loss {epoch.loss / epoch.steps:.3f}")
                ends = (step + 1) % self.steps_per_epoch == 0
                if ends or (training.checkpoint_steps and (step + 1) % training.checkpoint_steps == 0):
                    # The log first: on resuming, lines behind the checkpoint are dropped again.
                    if ends:
                        self._log(step + 1, place, epoch)
                        epoch = _Epoch()
                    self._save(step + 1, time.monotonic() - began)
        self._summarise()

    def _step(self, step: int, place: Place, epoch: _Epoch) -> None:
        training = self.config.training
        generator = np.random.default_rng([self.config.seed, _STEP, step])
        space = self.narrowed[place.number]
        resolution = int(generator.choice(space.resolutions))
        inputs, labels = self.images.batch(self._rows(step), resolution, generator)
        inputs, labels = inputs.to(self.device), labels.to(self.device)
        archs = sandwich(space, training.random_subnets, generator)

        peak = place.phase.learning_rate or training.learning_rate
        rate = rate_at(place.step, place.steps, peak=peak, warmup=training.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        teacher = None
        losses = []
        for arch in archs:
            self.network.use(arch)
            logits = self.network(inputs)
            if teacher is None:
                teacher = logits.detach()
                loss = label_loss(logits, labels, smoothing=training.label_smoothing)
            else:
                loss = student_loss(
                    logits,
                    labels,
                    teacher,
                    weight=training.distillation,
                    smoothing=training.label_smoothing,
                )
            # The mean over subnets, so that the learning rate means the same for any number of them.
            (loss / len(archs)).backward()  # type: ignore[no-untyped-call]
            losses.append(float(loss.detach()))
        if not all(map(math.isfinite, losses)):
            raise TrainingError(
                f"the loss is not finite in phase '{place.phase.name}', step {place.step + 1} of "
                f"{place.steps} (learning rate {rate:g})",
                hint="lower it, e.g. --set training.learning_rate=0.001",
            )
        self.optimizer.step()

        assert teacher is not None
        epoch.steps += 1
        epoch.loss += losses[0]
        epoch.smallest_loss += losses[min(1, len(losses) - 1)]
        epoch.right += int((teacher.argmax(1) == labels).sum())
        epoch.images += len(labels)

    def _rows(self, step: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.config.seed, _ORDER, epoch]).permutation(len(self.images))
        return order[place * self.batch : (place + 1) * self.batch]

    def _open_folder(self, *, resumes: bool, steps: int) -> None:
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        record = RunRecord(
            config=self.config,
            digest=self.config.digest,
            search_space=self.space,
            preprocessing=self.images.preprocessing,
            class_names=self.images.images.class_names,
            images=len(self.images),
            skipped=self.images.images.skipped,
            versions={
                "edge_bench": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
        )
        if not resumes:
            write_text(self.folder / RUN_FILE, record_document(record))
            write_text(self.folder / LOG_FILE, "")
            return
        before = read_record(self.folder)
        same = ("class_names", "images", "preprocessing", "search_space")
        if self.progress.steps != steps or any(getattr(before, k) != getattr(record, k) for k in same):
            raise TrainingError(
                f"the data or its images changed since run '{self.folder.name}' was begun",
                hint="restore them, or remove the run folder to train from the start",
            )
        checkpoint.restore(self.folder / CHECKPOINT_FILE, self.network, self.optimizer)
        _keep_lines(self.folder / LOG_FILE, self.progress.step)
        self.say(f"goes on at step {self.progress.step} of {steps}")

    def _save(self, step: int, seconds: float) -> None:
        self.progress = Progress(
            run=self.config.digest, step=step, steps=self.progress.steps, seconds=round(seconds, 3)
        )
        path = self.folder / CHECKPOINT_FILE
        checkpoint.save(path, self.network, self.optimizer, self.progress)

    def _log(self, step: int, place: Place, epoch: _Epoch) -> None:
        line = {
            "time": now(),
            "phase": place.phase.name,
            "epoch": step // self.steps_per_epoch,
            "step": step,
            "loss": epoch.loss / epoch.steps,
            "loss_smallest": epoch.smallest_loss / epoch.steps,
            "training_accuracy": epoch.right / epoch.images,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "images_per_second": epoch.images / epoch.seconds,
        }
        path = self.folder / LOG_FILE
        with explained(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.board(line)

    def _summarise(self) -> None:
        network = self.network.cpu()
        judging = JudgingImages(
            source=self.images.source,
            preprocessing=self.images.preprocessing,
            calibration_images=CALIBRATION_IMAGES,
            seed=self.config.seed,
        )
        reached = {
            f"{name}_accuracy": _selection_accuracy(network, arch, judging)
            for name, arch in (("largest", self.space.largest()), ("smallest", self.space.smallest()))
        }
        images = self.progress.steps * self.batch
        summary = {
            "run": self.folder.name,
            "epochs": sum(phase.epochs for phase in self.phases),
            "steps": self.progress.steps,
            "images": images,
            "images_per_second": images / max(self.progress.seconds, 1e-9),
            "seconds": self.progress.seconds,
            "training_images": len(self.images),
            "skipped_images": self.images.images.skipped,
            "architectures": self.space.size(),
            **reached,
        }
        write_text(self.folder / SUMMARY_FILE, json.dumps(summary, indent=1) + "\n")


def sandwich(
    space: SearchSpace, random_subnets: int, generator: np.random.Generator
) -> tuple[ArchConfig, ...]:
    """Return the networks of one step: the largest, the smallest and random ones (Yu & Huang, 2019).

    A space whose networks differ by resolution alone has one network to train.
    """
    largest, smallest = space.largest(), space.smallest()
    if largest.blocks == smallest.blocks:
        return (largest,)
    return (largest, smallest, *(space.sample(generator) for _ in range(random_subnets)))


def initialised(space: SearchSpace, seed: int) -> ElasticNetwork:
    """Return the untrained elastic network of a seed; torch's own random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.default_rng([seed, _WEIGHTS]).integers(2**63)))
        return ElasticNetwork(space).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _selection_accuracy(network: ElasticNetwork, arch: ArchConfig, images: JudgingImages) -> float:
    inputs, labels = images.split("selection", arch.resolution)
    return accuracy(calibrated(network, arch, images), inputs, labels, split="selection").value


def _optimizer(network: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    training = config.training
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        # Biases, batch norms and the kernel transforms (whose rest is the identity, not zero).
        spare = parameter.ndim == 1 or ".transforms." in name
        (spared if spare else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": training.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    if training.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=training.learning_rate, fused=True)
    return torch.optim.SGD(
        groups, lr=training.learning_rate, momentum=training.momentum, nesterov=training.momentum > 0
    )


def _device(wanted: str) -> str:
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise TrainingError(
            "training.device is 'cuda', but torch finds no CUDA device", hint="--set training.device=cpu"
        )
    return "cuda" if available and wanted != "cpu" else "cpu"


@contextmanager
def _threads(wanted: int) -> Iterator[None]:
    before = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(wanted or cores)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _board(config: RunConfig, folder: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    if not config.training.tensorboard:
        yield lambda line: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard")) as writer:

        def write(line: dict[str, Any]) -> None:
            for name, value in line.items():
                if isinstance(value, float):
                    writer.add_scalar(name, value, line["step"])

        yield write


def _keep_lines(path: Path, step: int) -> None:
    """Drop log lines behind `step`, and one that was cut short when the process died."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (json.JSONDecodeError, KeyError):
            continue
    write_text(path, "".join(kept))
