"""One step's networks, and their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from edge_bench.records import ArchConfig, SearchSpace
from supernet.convolution import StridedFirst
from supernet.distillation import label_loss, student_loss
from supernet.network import ElasticNetwork
from supernet.phases import Phase
from supernet.run import SMOOTHING, Training


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Losses in the order of the step's networks, and how many of its answers the first one got right; of
    control what the episodes that were over returned in all, and how many those were.
    """

    losses: tuple[float, ...]
    right: float
    answers: int


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


def networks_of(
    space: SearchSpace, phase: Phase, training: Training, generator: np.random.Generator
) -> tuple[ArchConfig, ...]:
    """Return the networks that one step of `phase` trains; `space` is what the phase has open."""
    count = training.random_subnets if phase.random_subnets is None else phase.random_subnets
    if phase.teacher == "frozen":
        return tuple(space.sample(generator) for _ in range(count))
    return sandwich(space, count, generator)


def gather_label_gradients(
    network: nn.Module, inputs: Tensor, labels: Tensor, *, training: Training
) -> StepResult:
    """Add to each parameter's gradient that of what a network without choices learns: the labels.

    Arguments as in `gather_gradients`.
    """
    half = training.mixed_precision and inputs.device.type == "cuda"
    total, right = torch.zeros(2, device=inputs.device)
    for images, classes, share in _micro_batches(inputs, labels, training.micro_batch_size):
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=half), StridedFirst():
            logits = network(images)
            loss = share * label_loss(logits, classes, smoothing=_smoothing(training))
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
        right += (logits.detach().argmax(1) == classes).sum()
    return StepResult(losses=(total.item(),), right=int(right), answers=len(labels))


def gather_gradients(
    network: ElasticNetwork,
    archs: Sequence[ArchConfig],
    inputs: Tensor,
    labels: Tensor,
    *,
    phase: Phase,
    training: Training,
    frozen: ElasticNetwork | None = None,
) -> StepResult:
    """Add to each parameter's gradient the mean over `archs` of the gradient of what they learn.

    Args:
        network: the elastic network.
        archs: the step's networks; with a teacher "in_place" the first one is the largest.
        inputs: images [n, channels, r, r].
        labels: their classes [n].
        phase: who teaches, and how much the labels weigh.
        training: smoothing, the teacher's weight, and whether CUDA computes in bfloat16.
        frozen: the teacher, in a phase that has a frozen one.
    """
    teacher_weight = training.distillation if phase.distillation is None else phase.distillation
    label_weight = 1 - teacher_weight if phase.label_weight is None else phase.label_weight
    half = training.mixed_precision and inputs.device.type == "cuda"
    smoothing = _smoothing(training)
    losses = torch.zeros(len(archs), device=inputs.device)
    right = torch.zeros((), device=inputs.device)
    for images, classes, share in _micro_batches(inputs, labels, training.micro_batch_size):
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=half):
            teacher = None
            if frozen is not None:
                with torch.no_grad():
                    teacher = frozen(images)
            for number, arch in enumerate(archs):
                network.use(arch)
                logits = network(images)
                if teacher is None:
                    loss = label_loss(logits, classes, smoothing=smoothing)
                    teacher = logits.detach()
                else:
                    loss = student_loss(
                        logits,
                        classes,
                        teacher,
                        teacher_weight=teacher_weight,
                        label_weight=label_weight,
                        smoothing=smoothing,
                    )
                if number == 0:
                    right += (logits.detach().argmax(1) == classes).sum()
                # The mean over networks, so that the learning rate means the same for any number of them.
                (share * loss / len(archs)).backward()  # type: ignore[no-untyped-call]
                losses[number] += share * loss.detach()
    return StepResult(losses=tuple(losses.tolist()), right=int(right), answers=len(labels))


def _micro_batches(inputs: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Yield a batch in parts of nearly one length, at most `size` (0: all of it), each with its share."""
    count = -(-len(labels) // size) if size else 1
    for images, classes in zip(inputs.tensor_split(count), labels.tensor_split(count), strict=True):
        yield images, classes, len(classes) / len(labels)


def _smoothing(training: Training) -> float:
    return SMOOTHING if training.label_smoothing is None else training.label_smoothing
