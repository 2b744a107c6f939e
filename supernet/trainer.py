"""The one training loop: phases, their networks and teachers, checkpoints, one process or many.

Every draw (order of images, resolution, subnets, augmentation) comes from a numpy generator seeded
by the run's seed and the step, so what a step does depends on no step before it. With weights, their
average, optimizer state and torch's random state in the checkpoint, a run that was killed ends on the
CPU with bitwise the weights of one that was not (at an equal number of threads and processes).
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edge_bench import __version__
from edge_bench.errors import ConfigError, TrainingError
from edge_bench.files import Home, explained, write_text
from edge_bench.store import now
from supernet import checkpoint
from supernet.averaging import WeightAverage
from supernet.channels import importance_orders, reorder
from supernet.checkpoint import Progress
from supernet.memory import keep_freed_memory
from supernet.network import ElasticNetwork
from supernet.optimization import optimizer_of, states_by_name
from supernet.phases import Place, narrowed, place_of, rate_at
from supernet.progress import shown
from supernet.ranks import GradientExchange, Ranks, Synchronised, joined, ranks_of_environment
from supernet.run import (
    CHECKPOINT_FILE,
    KEPT_FILE,
    LOG_FILE,
    RUN_FILE,
    SUMMARY_FILE,
    TEACHER_FILE,
    RunConfig,
    RunRecord,
    checked,
    read_record,
    record_document,
)
from supernet.step import StepResult
from supernet.tasks import Task, task_of
from supernet.training_step import TrainingStep

# What the generators of a run are for; part of their seed (2 is that of the weights).
_ORDER, _STEP = 0, 1


def train(config: RunConfig, *, home: Home, say: Callable[[str], None], interactive: bool) -> Path:
    """Train a supernet, or go on where an earlier call of the same configuration stopped.

    Started by `torchrun`, all processes call it alike; the first alone writes, and the home folder
    must be one that all of them see.

    Args:
        config: the run.
        home: where its folder is made.
        say: is given lines of progress (in the first process).
        interactive: draw a progress bar on stderr.

    Returns:
        The run folder: `run.json`, `log.jsonl`, `checkpoint.safetensors`, `summary.json`, and
        `teacher.safetensors` where a phase has a frozen teacher. A run that is finished is left as
        it is.

    Raises:
        ConfigError: the configuration cannot be used.
        DataError: the data cannot be read.
        TrainingError: the loss is not finite, the folder's checkpoint does not fit the run, or
            another process is gone.
    """
    config = checked(config)
    ranks = ranks_of_environment()
    folder = config.folder(home)
    progress = checkpoint.read_progress(folder / CHECKPOINT_FILE, run=config.digest)
    if progress and progress.finished and (folder / SUMMARY_FILE).is_file():
        say(f"run {folder.name} is finished already; nothing to train")
        return folder
    keep_freed_memory()
    device = _device(config.training.device, ranks)
    with (
        _threads(config.training.threads, ranks),
        joined(ranks, device),
        _board(config, folder, ranks) as board,
    ):
        task = task_of(config.open_data().task).begun(config, home, folder)
        session = _Session(
            task, folder, home, say if ranks.first else _unheard, progress, board, ranks, device
        )
        session.run(interactive and ranks.first)
    return folder


@dataclass
class _Epoch:
    """Sums over the steps of an epoch so far, of this process's share of the examples."""

    steps: int = 0
    loss: float = 0.0
    smallest_loss: float = 0.0
    right: float = 0
    answers: int = 0
    examples: int = 0
    seconds: float = 0.0

    def add(self, result: StepResult, *, examples: int) -> None:
        self.steps += 1
        self.loss += result.losses[0]
        self.smallest_loss += result.losses[min(1, len(result.losses) - 1)]
        self.right += result.right
        self.answers += result.answers
        self.examples += examples


class _Session:
    """One call of `train`: from a checkpoint, or none, to the end."""

    def __init__(
        self,
        task: Task,
        folder: Path,
        home: Home,
        say: Callable[[str], None],
        progress: Progress | None,
        board: Callable[[dict[str, Any]], None],
        ranks: Ranks,
        device: torch.device,
    ) -> None:
        self.task, self.folder, self.say, self.board = task, folder, say, board
        self.config = config = task.config
        self.ranks, self.device = ranks, device
        self.facts = task.facts
        self.batch = min(config.training.batch_size, self.facts.examples)
        self.share = ranks.share(self.batch)
        self.network = task.network(config.seed).to(device)
        task.begin(self.network)
        if ranks.count > 1 and config.training.synchronise_batch_norm:
            for module in self.network.modules():
                if isinstance(module, Synchronised):
                    module.synchronised = True
        first = 0 if progress else task.start(self.network, home)
        # New weights for a new run; those of the checkpoint replace them for one that goes on.
        self.optimizer = optimizer_of(self.network, config.training)
        decay = config.training.average
        self.average = WeightAverage(self.network, decay) if decay else None
        self.teacher: nn.Module | None = None
        self.steps_per_epoch = config.training.steps_per_epoch(self.facts.examples)
        self.phases = config.planned
        self.orders: dict[int, np.ndarray[Any, np.dtype[np.int64]]] = {}
        steps = self._end()
        self.kept = self._points(config.training.keep, steps)
        if first >= steps:
            raise ConfigError(f"training is to begin at step {first}, but the run has {steps} steps")
        self.progress = progress or Progress(run=config.digest, step=first, steps=steps, seconds=0.0)
        self._open_folder(resumes=progress is not None, steps=steps)
        self.exchange = GradientExchange(self.network, ranks)

    def run(self, interactive: bool) -> None:
        training = self.config.training
        done, total = self.progress.step, self.progress.steps
        began = time.monotonic() - self.progress.seconds
        began_core = time.process_time() - self.progress.core_seconds
        epoch = _Epoch()
        with shown(
            f"train {self.config.name}", done=done, total=total, say=self.say, interactive=interactive
        ) as advance:
            for step in range(done, total):
                place = place_of(self.phases, step, steps_per_epoch=self.steps_per_epoch)
                started = time.monotonic()
                self._begin_phase(place)
                self._step(step, place, epoch)
                epoch.seconds += time.monotonic() - started
                if step + 1 in self.kept and self.ranks.first:
                    checkpoint.save_weights(self.folder / KEPT_FILE.format(step=step + 1), self.network)
                advance(step + 1, f"{place.phase.name}: loss {epoch.loss / epoch.steps:.3f}")
                ends = (step + 1) % self.steps_per_epoch == 0
                saves = training.checkpoint_steps and (step + 1) % training.checkpoint_steps == 0
                if ends or saves or step + 1 == total:
                    # The log first: on resuming, lines behind the checkpoint are dropped again.
                    if ends:
                        self._log(step + 1, place, epoch)
                        epoch = _Epoch()
                    self._save(step + 1, time.monotonic() - began, time.process_time() - began_core)
        if self.ranks.first:
            self._summarise()

    def _end(self) -> int:
        """Return the step that the run ends at."""
        steps = self.steps_per_epoch * sum(phase.epochs for phase in self.phases)
        until = self.config.training.until
        if not until:
            return steps
        return self._point("training.until is", until, steps)

    def _points(self, named: tuple[str, ...], steps: int) -> set[int]:
        """Return the steps whose weights are kept."""
        return {self._point("training.keep holds", one, steps) for one in named}

    def _point(self, said: str, point: str, steps: int) -> int:
        """Return the number of the step that an option names; `ConfigError` where the run has none such."""
        step = TrainingStep.parse(point, steps_per_epoch=self.steps_per_epoch)
        if not 1 <= step.count <= steps:
            end = TrainingStep(steps, self.steps_per_epoch)
            raise ConfigError(f"{said} {step}, step {step.count}; it must be 1it to {end}, the end")
        return step.count

    def _begin_phase(self, place: Place) -> None:
        """Do what a phase begins with; a step before the checkpoint it was done already."""
        phase, number = place.phase, place.number
        if place.step == 0 and number:
            if phase.sort_channels:
                assert isinstance(self.network, ElasticNetwork)
                before = narrowed(self.network.space, self.phases[number - 1])
                orders = importance_orders(self.network, before)
                sorted_alike: list[Mapping[str, Tensor]] = [self.network.state_dict()]
                sorted_alike += states_by_name(self.network, self.optimizer)
                sorted_alike += [self.average.tensors] if self.average else []
                for tensors in sorted_alike:
                    reorder(orders, tensors)
            if phase.learning_rate is not None:
                self.optimizer = optimizer_of(self.network, self.config.training)
        if phase.teacher == "frozen" and self.teacher is None:
            self.teacher = self._frozen_teacher(place)

    def _frozen_teacher(self, place: Place) -> nn.Module:
        """Return the largest network as it stood when the first phase with a frozen teacher began."""
        path = self.folder / TEACHER_FILE
        first = next(n for n, phase in enumerate(self.phases) if phase.teacher == "frozen")
        if (place.number, place.step) == (first, 0):
            weights = self.network.state_dict()
            if self.ranks.first:
                checkpoint.save_weights(path, self.network)
            teacher = self.task.judged(lambda network: network.load_state_dict(weights))
        else:
            teacher = self.task.judged(partial(checkpoint.restore, path))
        return teacher.requires_grad_(False).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _step(self, step: int, place: Place, epoch: _Epoch) -> None:
        training, phase = self.config.training, place.phase
        generator = np.random.default_rng([self.config.seed, _STEP, step])
        warmup = training.warmup if place.curve.warmup is None else place.curve.warmup
        peak = place.curve.learning_rate or training.learning_rate
        rate = rate_at(place.curve_step, place.curve_steps, peak=peak, warmup=warmup, decay=training.decay)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        frozen = self.teacher if phase.teacher == "frozen" else None
        self.network.train()
        for technique in self.task.techniques.values():
            technique.before_step(self.network, generator, step, self.progress.steps)
        result = self.task.gather(
            self.network, self._rows(step), self.share, place, generator, self.ranks, frozen
        )
        if not all(map(math.isfinite, result.losses)):
            raise TrainingError(
                f"the loss is not finite in phase '{phase.name}', step {place.step + 1} of "
                f"{place.steps} (learning rate {rate:g})",
                hint="lower it, e.g. --set training.learning_rate=0.001",
            )
        self.exchange.average()
        for technique in self.task.techniques.values():
            technique.before_update(self.network, step, self.progress.steps)
        if training.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), training.clip_norm)
        self.optimizer.step()
        for technique in self.task.techniques.values():
            technique.after_step(self.network, step, self.progress.steps)
        if self.average:
            self.average.follow(self.network, step)
        epoch.add(result, examples=self.share.stop - self.share.start)

    def _rows(self, step: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        # An epoch of `epoch_steps` may go through the examples less than once, or more.
        passed = self.facts.examples // self.batch
        number, place = divmod(step, passed)
        if number not in self.orders:
            generator = np.random.default_rng([self.config.seed, _ORDER, number])
            self.orders = {number: self.task.order(generator, self.batch)}
        return self.orders[number][place * self.batch : (place + 1) * self.batch]

    def _open_folder(self, *, resumes: bool, steps: int) -> None:
        record = RunRecord(
            config=self.config,
            digest=self.config.digest,
            phases=self.phases,
            search_space=self.task.space,
            preprocessing=self.facts.preprocessing,
            text=self.facts.text,
            observation=self.facts.observation,
            structure=self.facts.structure,
            model=self.facts.model,
            arch=self.facts.arch,
            class_names=self.facts.class_names,
            images=self.facts.examples,
            skipped=self.facts.skipped,
            versions={
                "edge_bench": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
        )
        if not resumes:
            if not self.ranks.first:
                return
            with explained(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            self.task.save(self.folder)
            write_text(self.folder / RUN_FILE, record_document(record))
            write_text(self.folder / LOG_FILE, "")
            return
        before = read_record(self.folder)
        of_data = ("class_names", "images", "observation", "preprocessing", "text")
        same = (*of_data, "arch", "phases", "search_space", "structure")
        if self.progress.steps != steps or any(getattr(before, k) != getattr(record, k) for k in same):
            raise TrainingError(
                f"the data, its {self.task.unit} or the phases changed since run "
                f"'{self.folder.name}' was begun",
                hint="restore them, or remove the run folder to train from the start",
            )
        path = self.folder / CHECKPOINT_FILE
        checkpoint.restore(path, self.network, self.optimizer, self.average)
        if self.ranks.first:
            _keep_lines(self.folder / LOG_FILE, self.progress.step)
        self.say(f"goes on at step {self.progress.step} of {steps}")

    def _save(self, step: int, seconds: float, core_seconds: float) -> None:
        self.progress = Progress(
            run=self.config.digest,
            step=step,
            steps=self.progress.steps,
            seconds=round(seconds, 3),
            core_seconds=round(core_seconds, 3),
        )
        if self.ranks.first:
            path = self.folder / CHECKPOINT_FILE
            checkpoint.save(path, self.network, self.optimizer, self.progress, self.average)

    def _log(self, step: int, place: Place, epoch: _Epoch) -> None:
        if not self.ranks.first:
            return
        line = {
            "time": now(),
            "phase": place.phase.name,
            "epoch": step // self.steps_per_epoch,
            "step": step,
            "loss": epoch.loss / epoch.steps,
            "loss_smallest": epoch.smallest_loss / epoch.steps,
            **({self.task.learned: epoch.right / epoch.answers} if epoch.answers else {}),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            f"{self.task.unit}_per_second": epoch.examples / epoch.seconds,
        }
        path = self.folder / LOG_FILE
        with explained(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.board(line)

    def _summarise(self) -> None:
        self.task.end(self.network)
        network = self.task.judged(partial(checkpoint.restore, self.folder / CHECKPOINT_FILE))
        unit, examples = self.task.unit, self.progress.steps * self.batch
        summary = {
            "run": self.folder.name,
            "epochs": self.progress.steps // self.steps_per_epoch,
            "steps": self.progress.steps,
            "unit": unit,
            unit: examples,
            f"{unit}_per_second": examples / max(self.progress.seconds, 1e-9),
            "seconds": self.progress.seconds,
            "core_seconds": self.progress.core_seconds,
            "processes": self.ranks.count,
            f"training_{unit}": self.facts.examples,
            f"skipped_{unit}": self.facts.skipped,
            "architectures": 1 if self.facts.arch else self.task.space.size(),
            **self.task.reached(network),
            **({"techniques": dict(self.task.notes)} if self.task.notes else {}),
        }
        write_text(self.folder / SUMMARY_FILE, json.dumps(summary, indent=1) + "\n")


def _device(wanted: str, ranks: Ranks) -> torch.device:
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise TrainingError(
            "training.device is 'cuda', but torch finds no CUDA device", hint="--set training.device=cpu"
        )
    if not available or wanted == "cpu":
        return torch.device("cpu")
    device = torch.device("cuda", ranks.local_number)
    torch.cuda.set_device(device)
    return device


@contextmanager
def _threads(wanted: int, ranks: Ranks) -> Iterator[None]:
    before = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(wanted or max(1, cores // ranks.local_count))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _unheard(_: str) -> None:
    """Take a line of progress of a process that does not speak."""


@contextmanager
def _board(config: RunConfig, folder: Path, ranks: Ranks) -> Iterator[Callable[[dict[str, Any]], None]]:
    if not config.training.tensorboard or not ranks.first:
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
