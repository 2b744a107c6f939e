"""What a network of a step learns: the labels, or a teacher's answers beside them.

The teacher is the largest network of the same step (in-place distillation, Yu & Huang, 2019) or a
frozen one (once-for-all, Cai et al., 2020).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def label_loss(logits: Tensor, labels: Tensor, *, smoothing: float) -> Tensor:
    """Return the mean cross-entropy of logits [n, classes] against labels [n], smoothed."""
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def student_loss(
    logits: Tensor,
    labels: Tensor,
    teacher: Tensor,
    *,
    teacher_weight: float,
    label_weight: float,
    smoothing: float,
) -> Tensor:
    """Return what a taught network learns from.

    Args:
        logits: its answer [n, classes].
        labels: the truth [n].
        teacher: the teacher's answer [n, classes] to the same images; no gradient flows into it.
            The temperature is 1.
        teacher_weight: factor of the cross-entropy against the teacher's probabilities.
        label_weight: factor of the cross-entropy against the labels.
        smoothing: label smoothing of the labels' part.
    """
    parts = []
    if teacher_weight:
        parts.append(teacher_weight * F.cross_entropy(logits, teacher.detach().softmax(1)))
    if label_weight or not parts:
        parts.append(label_weight * label_loss(logits, labels, smoothing=smoothing))
    return sum(parts[1:], parts[0])
