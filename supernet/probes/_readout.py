"""Readouts: one small convolution each, from frozen feature maps to a map that is the same for all images.

The readout of Islam et al. (2020), PosENet: maps resized to 28 × 28 pixels and concatenated, a 3×3
convolution without padding (it must not find the border by itself) to one channel, batch norm, a sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_bench.records.position import SIDE, Maps
from supernet.draws import drawing

BATCH = 32
_KERNEL = 3
_LEARNING_RATE, _MOMENTUM, _WEIGHT_DECAY = 0.1, 0.9, 1e-4
# Ten of the paper's fifteen epochs.
_LATE, _LATE_FACTOR = 2 / 3, 0.1


class Readouts(nn.Module):
    """A readout from each source to each target: from the image, each stage, and all stages together.

    They are trained in one pass and are independent all the same: each weight, and each channel of the
    batch norm, is in one readout alone, and what is minimised is the sum of their losses.
    """

    def __init__(self, channels: Sequence[int], targets: int, *, seed: int) -> None:
        """Draw the weights.

        Args:
            channels: of the image and of each stage.
            targets: how many maps are to be read out.
            seed: of the weights (Xavier).
        """
        super().__init__()
        self.targets = targets
        with drawing(seed):
            own = [_drawn(width, targets) for width in channels]
            joint = _drawn(sum(channels[1:]), targets)
        self.own = nn.ParameterList(own)
        self.joint = nn.ParameterList(torch.split(joint, list(channels[1:]), dim=1))
        self.norm = nn.BatchNorm2d(targets * (len(channels) + 1))

    def forward(self, image: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Return what is read out, [n, sources, targets, 28, 28], between 0 and 1.

        The sources are the image, each stage, and all stages together.
        """
        read, together = [F.conv2d(_resized(image), self.own[0])], None
        for one, own, joint in zip(maps, list(self.own)[1:], self.joint, strict=True):
            # The convolution of concatenated maps is the sum of those of each.
            both = F.conv2d(_resized(one), torch.cat((own, joint)))
            read.append(both[:, : self.targets])
            part = both[:, self.targets :]
            together = part if together is None else together + part
        assert together is not None
        answered = torch.sigmoid(self.norm(torch.cat((*read, together), dim=1)))
        return torch.unflatten(_resized(answered), 1, (-1, self.targets))


def trained_readouts(
    features: Callable[[Tensor], Sequence[Tensor]],
    channels: Sequence[int],
    targets: Mapping[str, Maps],
    images: Tensor,
    *,
    steps: int,
    seed: int,
    step_done: Callable[[], None],
) -> Readouts:
    """Train readouts of frozen maps; return them in evaluation mode.

    Args:
        features: gives the stages' maps of images.
        channels: of the image and of each stage.
        targets: the maps [28, 28] to read out.
        images: [n, channels, size, size], at least 2.
        steps: of SGD, each of 32 images; for the last third the learning rate is a tenth.
        seed: of the weights, and of the order of the images.
        step_done: is called behind each step.
    """
    readouts = Readouts(channels, len(targets), seed=seed)
    wanted = torch.from_numpy(np.stack(list(targets.values())))
    optimizer = torch.optim.SGD(
        readouts.parameters(), lr=_LEARNING_RATE, momentum=_MOMENTUM, weight_decay=_WEIGHT_DECAY
    )
    generator = np.random.default_rng([seed, len(images)])
    order = np.empty(0, np.int64)
    batch = min(BATCH, len(images))
    for step in range(steps):
        if len(order) < batch:
            order = generator.permutation(len(images))
        rows, order = torch.from_numpy(order[:batch]), order[batch:]
        for group in optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * (_LATE_FACTOR if step >= _LATE * steps else 1)
        given = images[rows]
        answered = readouts(given, features(given))
        losses = (answered - wanted).square().mean(dim=(0, 3, 4))
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
        step_done()
    return readouts.eval()


@torch.no_grad()
def read(readouts: Readouts, features: Callable[[Tensor], Sequence[Tensor]], images: Tensor) -> Maps:
    """Return what trained readouts answer to images: [n, sources, targets, 28, 28]."""
    parts = [readouts(part, features(part)).numpy() for part in torch.split(images, BATCH)]
    answered: Maps = np.concatenate(parts)
    return answered


def _drawn(channels: int, targets: int) -> Tensor:
    """Return weights [targets, channels, 3, 3], each of a readout with one output."""
    weights = [torch.empty(1, channels, _KERNEL, _KERNEL) for _ in range(targets)]
    return torch.cat([nn.init.xavier_uniform_(one) for one in weights])


def _resized(x: Tensor) -> Tensor:
    return F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
