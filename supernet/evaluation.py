"""The quality of a plain network on held-out images, after its batch norms got their own statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edge_bench.records import ArchConfig, Metric
from edge_bench.records.subnet import Split
from supernet.calibration import recalibrate
from supernet.images import JudgingImages
from supernet.network import ElasticNetwork

BATCH = 256


def calibrated(network: ElasticNetwork, arch: ArchConfig, images: JudgingImages) -> nn.Module:
    """Return `arch` as a plain network in evaluation mode, calibrated at its own resolution."""
    plain = network.materialize(arch).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return recalibrated(plain, arch.resolution, images)


def recalibrated(plain: nn.Module, resolution: int, images: JudgingImages) -> nn.Module:
    """Return `plain` itself in evaluation mode, its batch norms calibrated at a resolution."""
    inputs, _ = images.split("train", resolution)
    recalibrate(plain, _even_batches(inputs))
    return plain


@torch.inference_mode()
def accuracy(plain: nn.Module, inputs: Tensor, labels: Tensor, *, split: Split) -> Metric:
    """Return the share of inputs [n, channels, r, r] whose largest logit is their label's."""
    right = 0
    for start in range(0, len(labels), BATCH):
        logits = plain(inputs[start : start + BATCH])
        right += int((logits.argmax(1) == labels[start : start + BATCH]).sum())
    return Metric(
        name="accuracy",
        value=right / len(labels),
        higher_is_better=True,
        split=split,
        examples=len(labels),
    )


def _even_batches(inputs: Tensor) -> tuple[Tensor, ...]:
    # Batches of nearly one size: a last batch of one image would have no variance.
    return torch.tensor_split(inputs, -(-len(inputs) // BATCH))
