"""In-place distillation: the largest net learns the labels and teaches the rest (Yu & Huang, 2019)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def label_loss(logits: Tensor, labels: Tensor, *, smoothing: float) -> Tensor:
    """Return the mean cross-entropy of logits [n, classes] against labels [n], smoothed."""
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def student_loss(
    logits: Tensor, labels: Tensor, teacher: Tensor, *, weight: float, smoothing: float
) -> Tensor:
    """Return what a smaller network learns from.

    Args:
        logits: its answer [n, classes].
        labels: the truth [n].
        teacher: the largest network's answer [n, classes] to the same images; no gradient flows
            into it. The temperature is 1.
        weight: share of the teacher; the labels have the rest.
        smoothing: label smoothing of the labels' part.
    """
    if weight == 0:
        return label_loss(logits, labels, smoothing=smoothing)
    taught = F.cross_entropy(logits, teacher.detach().softmax(1))
    if weight == 1:
        return taught
    return weight * taught + (1 - weight) * label_loss(logits, labels, smoothing=smoothing)
