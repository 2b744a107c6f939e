"""What happens to a network in the first steps of a run (Frankle, Schwab and Morcos, 2020, section 3).

The run is an ordinary one that keeps its weights at chosen steps (`training.keep`). All is read off those
afterwards, and gradients are those of the same examples at each step, so that they can be compared.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edge_bench.documents import from_document, to_document
from edge_bench.errors import ConfigError
from edge_bench.files import Home, write_text
from supernet import checkpoint
from supernet.ladder import dense_of, ticket_of
from supernet.phases import place_of
from supernet.ranks import Ranks
from supernet.run import CHECKPOINT_FILE, KEPT_FILE, RunConfig, checked
from supernet.tasks import Task, task_of
from supernet.trainer import train
from supernet.training_step import TrainingStep

TELEMETRY_FILE = "telemetry.json"
POINTS = 10
# Training examples that losses and gradients are of.
EXAMPLES = 512
# What this generator of a run is for; part of its seed (0 to 5 are taken).
_TELEMETRY = 6


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Weights of a layer, or of all, at a step; "start" is the first step, "end" the finished run.

    `gradient` is that of the training loss. A cosine is None where one of its weights are all zero.
    """

    weights: int
    mean_magnitude: float
    signs_changed: float
    gradient_norm: float
    gradient_mean_magnitude: float
    distance_from_start: float
    distance_from_end: float
    cosine_with_start: float | None
    cosine_with_end: float | None


@dataclass(frozen=True, kw_only=True)
class TelemetryPoint:
    """A step behind which weights were kept: readings, the loss on the training examples and the run's
    metric on the selection split.
    """

    step: int
    training_loss: float
    quality: float
    overall: Reading
    layers: Mapping[str, Reading]


@dataclass(frozen=True, kw_only=True)
class Telemetry:
    """A run, by its folder's name, and what was read off its weights; `examples` is how many training
    examples losses and gradients are of.
    """

    run: str
    seed: int
    metric: str
    steps: int
    steps_per_epoch: int
    examples: int
    points: tuple[TelemetryPoint, ...]


def telemetry(
    run: RunConfig,
    *,
    first: str = "",
    points: int = POINTS,
    home: Home,
    say: Callable[[str], None],
    interactive: bool,
) -> Telemetry:
    """Train the dense run, or go on with it, and read off what its first steps did.

    It lies in the run's folder, and is read off once.

    Args:
        run: what to train; a `[techniques.lottery_ticket]` in it plays no part.
        first: look at the steps up to this one: 200it, 2ep; a tenth of the run where it is empty.
        points: how many steps to look at, evenly spaced by their logarithms, beside the start and the end.
        home: where the run lies.
        say: is given lines of progress.
        interactive: draw a progress bar on stderr.

    Raises:
        ConfigError: no such step, or the run has several phases.
        EdgeBenchError: whatever `train` raises.
    """
    dense = dense_of(run, ticket_of(run))
    if len(dense.planned) > 1:
        raise ConfigError(
            "the run has several phases, between which channels are sorted and teachers change: no weight "
            "can be compared with what it was",
            hint='name a [model], e.g. kind = "resnet", or [schedule] kind = "sandwich"',
        )
    named = replace(dense, name=f"{run.name}-telemetry")
    task = task_of(named.task).begun(named, home, named.folder(home))
    config = checked(replace(named, training=replace(named.training, keep=_kept(task, first, points))))
    folder = train(config, home=home, say=say, interactive=interactive)
    path = folder / TELEMETRY_FILE
    if path.is_file():
        return from_document(Telemetry, json.loads(path.read_text(encoding="utf-8")))
    say(f"reading telemetry off {len(config.training.keep) + 2} steps")
    read = _read(config, home, folder)
    write_text(path, json.dumps(to_document(read), indent=1, allow_nan=False) + "\n")
    return read


def log_spaced(last: int, points: int) -> tuple[int, ...]:
    """Return up to `points` whole steps from 1 to `last`, evenly spaced by their logarithms."""
    spaced = np.geomspace(1, last, points) if points > 1 else np.array([last])
    return tuple(sorted({round(float(step)) for step in spaced}))


def _kept(task: Task, first: str, points: int) -> tuple[str, ...]:
    training, examples = task.config.training, task.facts.examples
    per_epoch = training.steps_per_epoch(examples)
    until = TrainingStep.parse(training.until or f"{training.epochs}ep", steps_per_epoch=per_epoch)
    if points < 1:
        raise ConfigError(f"points is {points}; it must be at least 1")
    last = max(1, until.count // 10)
    if first:
        asked = TrainingStep.parse(first, steps_per_epoch=per_epoch)
        if not 1 <= asked.count <= until.count:
            raise ConfigError(f"steps is {first}, step {asked.count}; it must be 1it to {until}, the end")
        last = asked.count
    return tuple(f"{step}it" for step in log_spaced(last, points))


def _read(config: RunConfig, home: Home, folder: Path) -> Telemetry:
    task = task_of(config.task).begun(config, home, folder)
    # A copy: a task may hand out the network that others are copied from.
    network = copy.deepcopy(task.network(config.seed))
    task.begin(network)
    task.start(network, home)
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    end = checkpoint.read_weights(folder / CHECKPOINT_FILE)
    per_epoch = config.training.steps_per_epoch(task.facts.examples)
    progress = checkpoint.read_progress(folder / CHECKPOINT_FILE, run=config.digest)
    assert progress is not None
    arch, metric = task.facts.arch or task.space.largest(), ""
    batches = _batches(task)
    read = []
    kept = {TrainingStep.parse(one, steps_per_epoch=per_epoch).count for one in config.training.keep}
    for step in sorted({0, *kept, progress.steps}):
        state = start if not step else end
        if 0 < step < progress.steps:
            state = checkpoint.read_weights(folder / KEPT_FILE.format(step=step))
        judged = task.judge(task.judged(partial(_load, state)), arch, "selection")
        metric = judged.name
        network.load_state_dict(state)
        loss = _gather(task, network, batches)
        sums = {
            name: _Sums.of(parameter, start[name], end[name])
            for name, parameter in network.named_parameters()
            if parameter.ndim > 1
        }
        read.append(
            TelemetryPoint(
                step=step,
                training_loss=loss,
                quality=judged.value,
                overall=_Sums.over(sums.values()).reading(),
                layers={name: one.reading() for name, one in sums.items()},
            )
        )
    return Telemetry(
        run=folder.name,
        seed=config.seed,
        metric=metric,
        steps=progress.steps,
        steps_per_epoch=per_epoch,
        examples=sum(map(len, batches)),
        points=tuple(read),
    )


def _load(state: Mapping[str, Tensor], network: nn.Module) -> None:
    network.load_state_dict(state)


def _batches(task: Task) -> Sequence[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    examples, size = task.facts.examples, task.config.training.batch_size
    size = min(size, examples)
    order = task.order(np.random.default_rng([task.config.seed, _TELEMETRY]), size)
    count = min(-(-EXAMPLES // size), examples // size)
    return [order[number * size : (number + 1) * size] for number in range(count)]


def _gather(
    task: Task, network: nn.Module, batches: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]
) -> float:
    """Leave the mean gradient of the batches in the network, and return their mean loss."""
    per_epoch = task.config.training.steps_per_epoch(task.facts.examples)
    steps = per_epoch * task.config.training.epochs
    network.zero_grad(set_to_none=True)
    network.train()
    losses = []
    for number, rows in enumerate(batches):
        generator = np.random.default_rng([task.config.seed, _TELEMETRY, number])
        # A short run has fewer steps than there are batches here.
        place = place_of(task.config.planned, number % steps, steps_per_epoch=per_epoch)
        result = task.gather(network, rows, slice(0, len(rows)), place, generator, Ranks(), None)
        losses.append(result.losses[0])
    for parameter in network.parameters():
        if parameter.grad is not None:
            parameter.grad /= len(batches)
    return sum(losses) / len(losses)


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """What readings are made of, so that those of layers add up to that of all."""

    weights: int
    magnitude: float
    changed: int
    gradient_magnitude: float
    gradient_square: float
    square: float
    start_square: float
    end_square: float
    start_product: float
    end_product: float
    start_distance: float
    end_distance: float

    @classmethod
    def of(cls, parameter: Tensor, start: Tensor, end: Tensor) -> _Sums:
        now, then, last = (one.detach().double().cpu() for one in (parameter, start, end))
        gradient = torch.zeros_like(now)
        if parameter.grad is not None:
            gradient = parameter.grad.double().cpu()
        return cls(
            weights=now.numel(),
            magnitude=float(now.abs().sum()),
            changed=int((now * then < 0).sum()),
            gradient_magnitude=float(gradient.abs().sum()),
            gradient_square=float(gradient.square().sum()),
            square=float(now.square().sum()),
            start_square=float(then.square().sum()),
            end_square=float(last.square().sum()),
            start_product=float((now * then).sum()),
            end_product=float((now * last).sum()),
            start_distance=float((now - then).square().sum()),
            end_distance=float((now - last).square().sum()),
        )

    @classmethod
    def over(cls, layers: Iterable[_Sums]) -> _Sums:
        rows = [vars(layer) for layer in layers]
        return cls(**{name: sum(row[name] for row in rows) for name in rows[0]})

    def reading(self) -> Reading:
        return Reading(
            weights=self.weights,
            mean_magnitude=self.magnitude / self.weights,
            signs_changed=self.changed / self.weights,
            gradient_norm=self.gradient_square**0.5,
            gradient_mean_magnitude=self.gradient_magnitude / self.weights,
            distance_from_start=self.start_distance**0.5,
            distance_from_end=self.end_distance**0.5,
            cosine_with_start=_cosine(self.start_product, self.square, self.start_square),
            cosine_with_end=_cosine(self.end_product, self.square, self.end_square),
        )


def _cosine(product: float, one: float, other: float) -> float | None:
    # Rounding alone may leave a weight at 1.0000000002 of itself.
    return max(-1.0, min(1.0, product / (one * other) ** 0.5)) if one and other else None
