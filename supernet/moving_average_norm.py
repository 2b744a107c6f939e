"""Moving average batch normalisation, MABN (Yan, Wan, Zhang, Zhang, Wei and Sun, 2020), and the centred
weights that go with it.

Batch norm takes two moments of the batch forward (the mean and the variance of x) and two more backward
(the means of the gradient and of the gradient times the normalised x). Of a batch of 2 they are mostly
noise, those of the gradient most of all. MABN needs one of each: weights of convolutions are centred, so
that the mean of what they answer is small and need not be taken away (section 4.3), and the moment that is
left is averaged over as many of the latest batches as make up a larger one (section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from supernet.ranks import Synchronised, mean_over_ranks, rank_count


@dataclass(frozen=True, kw_only=True)
class Averaging:
    """How moments are averaged.

    Over the latest ceil(`simulated_batch` / batch) batches, from `warmup_steps` on; before that a batch
    has its own. The average that inference uses keeps `momentum` of itself at each batch (the reverse of
    PyTorch's). What was normalised is scaled by the ratio of the two averages, from `renorm_warmup_steps`
    on and by at most `clip_limit` either way, so that the network learns for inference's.
    """

    simulated_batch: int = 32
    momentum: float = 0.98
    warmup_steps: int = 100
    renorm_warmup_steps: int = 1000
    clip_limit: float = 5.0


class MovingAverageNorm(Synchronised, nn.Module):
    """Scale the first channels of x [n, c, h, w] by moving averages of their mean square.

    `weight` and `bias` [channels] are those of the batch norm whose place it takes. In training a batch
    is counted when its gradient comes back through the layer: one that nothing is learned from leaves no
    trace in the averages, and one that is computed twice (activation checkpointing) counts once. Each
    micro-batch whose gradients are gathered is a batch. In evaluation the layer is a fixed scale and shift.

    Channels count their own batches, so that a layer that is narrower at times averages each channel over
    the batches it was in. Where the layer is `synchronised`, the batch is that of all processes.
    """

    # The mean square that inference uses [channels]; of the latest batches, the last one first, the mean
    # squares and the mean gradients times normalised x [batches, channels]; how many there were [channels].
    mean_square: Tensor
    squares: Tensor
    gradients: Tensor
    batches: Tensor

    def __init__(
        self,
        weight: nn.Parameter,
        bias: nn.Parameter,
        *,
        eps: float,
        averaging: Averaging,
        synchronised: bool,
    ) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.eps, self.averaging, self.synchronised = eps, averaging, synchronised
        rows = weight.new_zeros(averaging.simulated_batch, len(weight)).detach()
        self.register_buffer("mean_square", torch.ones_like(weight).detach())
        self.register_buffer("squares", rows)
        self.register_buffer("gradients", rows.clone())
        self.register_buffer("batches", torch.zeros_like(weight, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        width = x.shape[1]
        weight, bias = self.weight[:width], self.bias[:width]
        if self.training:
            normalised: Tensor = _Normalise.apply(x, weight, bias, self)  # type: ignore[no-untyped-call]
            return normalised
        scale = weight * (self.mean_square[:width] + self.eps).rsqrt()
        return x * _spread(scale) + _spread(bias)

    @property
    def averages(self) -> tuple[Tensor, ...]:
        """What is averaged over batches, to be changed in place."""
        return self.mean_square, self.squares, self.gradients

    @torch.no_grad()
    def go_on(self, norm: nn.BatchNorm2d) -> None:
        """Take over a trained batch norm: in evaluation this layer computes what `norm` does.

        The mean that `norm` takes away goes into the bias. There is no warm-up: the averages begin with the
        running statistics, and with no gradient.
        """
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        deviation = (variance + self.eps).sqrt()
        self.mean_square.copy_(variance + mean.square())
        self.bias.sub_(self.weight * mean / deviation)
        self.weight.mul_((self.mean_square + self.eps).sqrt() / deviation)
        self.squares.copy_(self.mean_square.expand_as(self.squares))
        averaging = self.averaging
        self.batches.fill_(
            max(averaging.simulated_batch, averaging.warmup_steps, averaging.renorm_warmup_steps)
        )

    def averaged(self, latest: Tensor, rows: Tensor, examples: int) -> Tensor:
        """Return the average of a moment [c] of a batch of so many `examples` and of those before it.

        `rows` is `squares` or `gradients`. Channels in warm-up keep the batch's own.
        """
        before = -(-self.averaging.simulated_batch // (examples * rank_count())) - 1
        if before < 1:
            return latest
        mean = (rows[:before, : len(latest)].sum(0) + latest) / (before + 1)
        warm = self.batches[: len(latest)] >= max(before, self.averaging.warmup_steps)
        return torch.where(warm, mean, latest)

    def ratio(self, square: Tensor) -> Tensor:
        """Return by what a batch of averaged mean square [c] is scaled once more (renormalisation)."""
        batches, limit = self.batches[: len(square)], self.averaging.clip_limit
        ratio = ((square + self.eps) / (self.mean_square[: len(square)] + self.eps)).sqrt()
        clipped = ratio.clamp(1 / limit, limit)
        return torch.where(batches >= self.averaging.renorm_warmup_steps, clipped, 1.0)

    def count(self, square: Tensor, averaged: Tensor, gradient: Tensor) -> None:
        """Count a batch: its moments [c], and the averaged square that it was normalised by."""
        width = len(square)
        for rows, latest in ((self.squares, square), (self.gradients, gradient)):
            own = rows[:, :width]
            own[1:] = own[:-1].clone()
            own[0] = latest
        moving = self.mean_square[:width]
        moving.lerp_(averaged.to(moving.dtype), 1 - self.averaging.momentum)
        self.batches[:width] += 1


class _Normalise(torch.autograd.Function):
    """y = weight · r · z + bias with z = x / s, s the root of the averaged mean square.

    Backward, r is a constant and the mean of the gradient times z is averaged like the square (equations
    10 and 13): dx = (dy · weight · r − z · average(mean(dy · weight · r · z))) / s.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: MovingAverageNorm) -> Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        square = _mean(wide * wide)
        if norm.synchronised:
            square = mean_over_ranks(square)
        averaged = norm.averaged(square, norm.squares, len(x))
        ratio = norm.ratio(averaged)
        inverse = (averaged + norm.eps).rsqrt()
        ctx.norm = norm
        ctx.save_for_backward(x, weight, square, averaged, ratio, inverse)
        return (wide * _spread(weight * ratio * inverse) + _spread(bias)).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        norm: MovingAverageNorm = ctx.norm
        x, weight, square, averaged, ratio, inverse = ctx.saved_tensors
        wide, gradient = x.to(square.dtype), dy.to(square.dtype)
        places = x.numel() // x.shape[1]
        projected = _mean(gradient * wide) * inverse * ratio
        mean = projected * weight
        if norm.synchronised:
            mean = mean_over_ranks(mean)
        moving = norm.averaged(mean, norm.gradients, len(x))
        dx = gradient * _spread(weight * ratio * inverse) - wide * _spread(moving * inverse.square())
        norm.count(square, averaged, mean)
        return dx.to(x.dtype), projected * places, _mean(gradient) * places, None


class CentredConv2d(nn.Conv2d):
    """A convolution that computes with centred weights (`centred`), each filter's mean put to its `level`.

    A layer takes this class, and gives it back, in place; so parameters keep their names, and what others
    put before the weight, such as a mask, comes first.
    """

    level: Tensor

    @classmethod
    def take(cls, conv: nn.Conv2d, *, as_it_is: bool) -> None:
        """Make a plain convolution one of centred weights, of level 0; or, `as_it_is`, of the levels with
        which it computes what it did.
        """
        mean = conv.weight.detach().mean((1, 2, 3), keepdim=True)
        conv.__class__ = cls
        conv.register_buffer("level", mean if as_it_is else torch.zeros_like(mean))

    @torch.no_grad()
    def give_back(self) -> None:
        """Become a plain convolution, with the weights that this one computes with."""
        self.weight.copy_(centred(self.weight, self.level))
        del self._buffers["level"]
        self.__class__ = nn.Conv2d  # type: ignore[assignment]

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        answered: Tensor = super()._conv_forward(input, centred(weight, self.level), bias)
        return answered


def centred(weight: Tensor, level: Tensor | float = 0.0) -> Tensor:
    """Return filters [outputs, inputs, k, k], each less the mean of its weights, plus its `level`.

    A weight of exactly 0 is pruned: it stays 0, and the others are centred among themselves. Its gradient
    is that of a weight that stands, for those who train pruned weights on. Filters with fewer than two
    weights that stand have nothing to centre by and remain as they are.
    """
    shifted: Tensor = _Centre.apply(weight, level)  # type: ignore[no-untyped-call]
    return shifted


class _Centre(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, level: Tensor | float) -> Tensor:
        stands = weight != 0
        count = stands.sum((1, 2, 3), keepdim=True)
        ctx.save_for_backward(stands, count)
        mean = weight.sum((1, 2, 3), keepdim=True) / count.clamp(min=1)
        return torch.where(stands & (count > 1), weight - mean + level, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        stands, count = ctx.saved_tensors
        among = torch.where(stands, gradient, 0.0).sum((1, 2, 3), keepdim=True)
        return gradient - torch.where(count > 1, among / count.clamp(min=1), 0.0), None


def _mean(x: Tensor) -> Tensor:
    """Return the mean [c] of x [n, c, h, w]."""
    return x.mean((0, 2, 3))


def _spread(values: Tensor) -> Tensor:
    """Return values [c] as they lie beside [n, c, h, w]."""
    return values[:, None, None]
