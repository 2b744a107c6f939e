"""One step's networks, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from edge_bench.records import ArchConfig, SearchSpace
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
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=half):
        logits = network(inputs)
        loss = label_loss(logits, labels, smoothing=_smoothing(training))
    loss.backward()  # type: ignore[no-untyped-call]
    right = (logits.detach().argmax(1) == labels).sum()
    return StepResult(losses=(loss.item(),), right=int(right), answers=len(labels))


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
    losses: list[Tensor] = []
    right = torch.zeros((), device=inputs.device)
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=half):
        teacher = None
        if frozen is not None:
            with torch.no_grad():
                teacher = frozen(inputs)
        for arch in archs:
            network.use(arch)
            logits = network(inputs)
            if teacher is None:
                loss = label_loss(logits, labels, smoothing=smoothing)
                teacher = logits.detach()
            else:
                loss = student_loss(
                    logits,
                    labels,
                    teacher,
                    teacher_weight=teacher_weight,
                    label_weight=label_weight,
                    smoothing=smoothing,
                )
            if not losses:
                right = (logits.detach().argmax(1) == labels).sum()
            # The mean over networks, so that the learning rate means the same for any number of them.
            (loss / len(archs)).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
    return StepResult(losses=tuple(torch.stack(losses).tolist()), right=int(right), answers=len(labels))


def _smoothing(training: Training) -> float:
    return SMOOTHING if training.label_smoothing is None else training.label_smoothing
