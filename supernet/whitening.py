"""Layers whose weights decorrelate what they see, so that they compute as if it were white
(network deconvolution, Ye et al., 2020).

The rows of a layer's input are the patches that its kernel meets, in blocks of neighbouring channels. Of
rows with mean μ and covariance A, x → (x − μ) D with D ≈ A^(−1/2) is white. The layer never computes
that: it multiplies its weights by D and takes μ off its bias, and stays a single convolution or product.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from supernet.ranks import Synchronised, sum_over_ranks

# Of the mean variance, added where there are fewer rows than columns: the covariance alone has no inverse.
SCARCE_RIDGE = 1e-2

C = TypeVar("C", bound=nn.Conv2d)
N = TypeVar("N", bound=nn.Linear)
L = TypeVar("L", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Estimation:
    """How a layer's statistics are estimated.

    `block` is how many neighbouring channels a row has at most, `stride` at how many steps of the layer
    itself patches are taken, `iterations` those of Newton and Schulz. `eps` is added to each variance.
    `momentum` is the share of a batch in the running statistics; over the first batches those are means, so
    that a short run is not judged with what they began as.
    """

    block: int = 64
    stride: int = 3
    iterations: int = 5
    eps: float = 1e-5
    momentum: float = 0.1


def block_of(channels: int, block: int) -> int:
    """Return the width of the blocks that `channels` are cut into: all, or a divisor of both."""
    return channels if channels <= block else math.gcd(channels, block)


def inverse_square_root(matrices: Tensor, *, iterations: int) -> Tensor:
    """Return about A^(−1/2) of each positive definite A [n, f, f], by the coupled Newton–Schulz iteration
    (Higham, 2008, section 6.3).

    Five iterations are exact for condition numbers up to about 10 alone. Beyond that small eigenvalues are
    raised by 1.5 an iteration at most: directions that hold little but noise are not blown up.
    """
    identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    norm = torch.linalg.matrix_norm(matrices, keepdim=True)
    y = matrices / norm
    # The first iteration begins with z = identity.
    t = 1.5 * identity - 0.5 * y
    z = t
    for _ in range(iterations - 1):
        y = y @ t
        t = torch.baddbmm(identity.expand_as(y), z, y, beta=1.5, alpha=-0.5)
        # In this order: z @ t is the same on paper, and lets rounding errors grow.
        z = t @ z
    root: Tensor = z / norm.sqrt()
    return root


class Whitening(Synchronised, nn.Module):
    """Mean μ [groups, f] and matrix D [groups, f, f] of a layer's rows, of the batch and running.

    In training they are the batch's, and gradients flow through them; in evaluation, or where it does not
    estimate, the running ones. Before any step those are 0 and the identity.

    Where it is `synchronised`, the batch is that of all processes that train together, each of which must
    hold as many examples.
    """

    mean: Tensor
    matrix: Tensor
    batches: Tensor

    def __init__(self, groups: int, features: int, estimation: Estimation, device: torch.device) -> None:
        super().__init__()
        self.estimation = estimation
        self.estimates = True
        self.register_buffer("mean", torch.zeros(groups, features, device=device))
        identity = torch.eye(features, device=device)
        self.register_buffer("matrix", identity.repeat(groups, 1, 1))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long, device=device))

    def forward(self, rows: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """Return μ and D, where `rows` gives the batch's [groups, n, f] in float32."""
        if not (self.training and self.estimates):
            return self.mean, self.matrix
        mean, matrix = self.of_rows(rows())
        self._follow(mean, matrix)
        return mean, matrix

    @torch.no_grad()
    def _follow(self, mean: Tensor, matrix: Tensor) -> None:
        self.batches += 1
        share = (1 / self.batches).clamp(min=self.estimation.momentum)
        self.mean.lerp_(mean, share)
        self.matrix.lerp_(matrix, share)

    def take(self, mean: Tensor, matrix: Tensor) -> None:
        """Let the running statistics be these, as if they were of the first batch."""
        self.batches.zero_()
        self._follow(mean, matrix)

    def of_rows(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ and D of rows [groups, n, f]."""
        _, count, features = rows.shape
        mean, covariance = _Moments.apply(rows)  # type: ignore[no-untyped-call]
        if self.synchronised:
            processes = dist.get_world_size()
            count *= processes
            of_all = sum_over_ranks(mean) / processes
            apart = mean - of_all
            spread = covariance + apart[:, :, None] * apart[:, None, :]
            mean, covariance = of_all, sum_over_ranks(spread) / processes
        ridge = torch.full_like(mean[:, :1], self.estimation.eps)
        if count < features:
            ridge = ridge + SCARCE_RIDGE * covariance.diagonal(dim1=1, dim2=2).mean(1, keepdim=True)
        matrix = covariance + torch.diag_embed(ridge.expand_as(mean))
        return mean, inverse_square_root(matrix, iterations=self.estimation.iterations)


class Whitened(nn.Module):
    """A layer whose weights see white rows: [groups, n, f] once they are in the order of its rows."""

    whitening: Whitening
    weight: Tensor
    bias: Any

    @abstractmethod
    def rows(self, x: Tensor) -> Tensor:
        """Return the rows [groups, n, f] of an input, in float32."""

    @abstractmethod
    def as_rows(self, weight: Tensor) -> Tensor:
        """Return a weight of this layer in the order of rows, [groups, n, f]."""

    @abstractmethod
    def from_rows(self, rows: Tensor) -> Tensor:
        """Return what `as_rows` was given."""

    @abstractmethod
    def plain(self) -> nn.Module:
        """Return the plain layer that this one is in evaluation."""

    def seen(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the plain layer that this one is for x."""
        with torch.autocast(x.device.type, enabled=False):
            return self.folded(*self.whitening(lambda: self.rows(x)))

    def folded(self, mean: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the plain layer that this one is with μ and D: W D and b − W D μ."""
        rows = self.as_rows(self.weight).float() @ matrix
        shift = (rows @ mean[:, :, None]).reshape(len(self.weight), -1).sum(1)
        bias: Tensor = self.bias - shift
        return self.from_rows(rows), bias

    @torch.no_grad()
    def absorb(self, x: Tensor) -> None:
        """Take the running statistics from x and let the weights undo them: the layer answers as before."""
        weight, bias = self.folded(self.whitening.mean, self.whitening.matrix)
        mean, matrix = self.whitening.of_rows(self.rows(x))
        # D is its own transpose: D Wᵀ = Eᵀ where W D = E.
        rows = torch.linalg.solve(matrix.double(), self.as_rows(weight).double().mT).mT
        self.weight.copy_(self.from_rows(rows))
        self.bias.zero_()
        self.bias.copy_(bias - self.folded(mean, matrix)[1])
        self.whitening.take(mean, matrix)


class WhitenedConv2d(Whitened, nn.Conv2d):
    """A convolution, grouped or not, padded by zeros, that sees its patches white.

    The blocks of a group share μ and D. A row is ordered by kernel row, kernel column, channel.
    """

    @classmethod
    def of(cls, conv: nn.Conv2d, estimation: Estimation) -> WhitenedConv2d:
        """Return a layer that has the convolution's own parameters, and a bias of 0 if it had none."""
        layer = _conv(cls, conv, conv.weight, _bias_of(conv))
        block = block_of(conv.in_channels // conv.groups, estimation.block)
        features = math.prod(conv.kernel_size) * block
        layer.whitening = Whitening(conv.groups, features, estimation, conv.weight.device)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x [n, channels, h, w]."""
        convolved: Tensor = self._conv_forward(x, *self.seen(x))
        return convolved

    def rows(self, x: Tensor) -> Tensor:
        left, right, top, bottom = self._reversed_padding_repeated_twice
        places = _Places(
            groups=self.groups,
            blocks=self.in_channels // self.groups // self._block,
            kernel=_pair(self.kernel_size),
            stride=_pair(step * self.whitening.estimation.stride for step in self.stride),
            dilation=_pair(self.dilation),
            before=(top, left),
            behind=(bottom, right),
        )
        rows: Tensor = _Patches.apply(x, places)  # type: ignore[no-untyped-call]
        return rows

    def as_rows(self, weight: Tensor) -> Tensor:
        blocks = weight.reshape(self.groups, -1, self._block, *self.kernel_size)
        return blocks.permute(0, 1, 3, 4, 2).flatten(2)

    def from_rows(self, rows: Tensor) -> Tensor:
        blocks = rows.reshape(self.out_channels, -1, *self.kernel_size, self._block)
        return blocks.permute(0, 1, 4, 2, 3).reshape(self.weight.shape)

    def plain(self) -> nn.Conv2d:
        return _conv(nn.Conv2d, self, *self.folded(self.whitening.mean, self.whitening.matrix))

    @property
    def _block(self) -> int:
        return self.whitening.mean.shape[1] // math.prod(self.kernel_size)


class WhitenedLinear(Whitened, nn.Linear):
    """A fully connected layer that sees its inputs white, block by block."""

    @classmethod
    def of(cls, linear: nn.Linear, estimation: Estimation) -> WhitenedLinear:
        """Return a layer that has the linear one's own parameters, and a bias of 0 if it had none."""
        layer = _linear(cls, linear, linear.weight, _bias_of(linear))
        block = block_of(linear.in_features, estimation.block)
        layer.whitening = Whitening(1, block, estimation, linear.weight.device)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the product [..., outputs] of x [..., inputs]."""
        return F.linear(x, *self.seen(x))

    def rows(self, x: Tensor) -> Tensor:
        return x.float().reshape(1, -1, self.whitening.mean.shape[1])

    def as_rows(self, weight: Tensor) -> Tensor:
        return weight.reshape(1, -1, self.whitening.mean.shape[1])

    def from_rows(self, rows: Tensor) -> Tensor:
        return rows.reshape(self.weight.shape)

    def plain(self) -> nn.Linear:
        return _linear(nn.Linear, self, *self.folded(self.whitening.mean, self.whitening.matrix))


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Where patches are taken: (rows, columns) of kernel, stride and dilation, and the zeros above and left
    of, and below and right of an image.
    """

    groups: int
    blocks: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    behind: tuple[int, int]

    def shape(self, x: Tensor) -> tuple[int, ...]:
        """Return [groups, images, down, across, blocks, kernel rows, columns, channels of a block]."""
        images, channels, *sides = x.shape
        counts = [
            (
                side
                + self.before[axis]
                + self.behind[axis]
                - self.dilation[axis] * (self.kernel[axis] - 1)
                - 1
            )
            // self.stride[axis]
            + 1
            for axis, side in enumerate(sides)
        ]
        block = channels // self.groups // self.blocks
        return (self.groups, images, *counts, self.blocks, *self.kernel, block)

    def taps(self, x: Tensor, patches: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield for each tap of a kernel what it meets of x [images, h, w, channels], and where that is in
        patches: two views of one shape, each without overlap.
        """
        _, images, *_, block = patches.shape
        for row, column in product(*map(range, self.kernel)):
            (of_x, down), (of_y, across) = (
                self._met(axis, tap, x.shape[1 + axis], patches.shape[2 + axis])
                for axis, tap in enumerate((row, column))
            )
            met = x[:, of_x, of_y]
            inside = met.view(*met.shape[:3], self.groups, self.blocks, block)
            yield inside.permute(3, 0, 1, 2, 4, 5), patches[:, :, down, across, :, row, column]

    def _met(self, axis: int, tap: int, side: int, places: int) -> tuple[slice, slice]:
        """Return which pixels a tap meets along an axis, and at which places."""
        stride, offset = self.stride[axis], tap * self.dilation[axis] - self.before[axis]
        first = max(0, -(offset // stride))
        last = min(places - 1, (side - 1 - offset) // stride)
        start = first * stride + offset
        count = max(0, last - first + 1)
        return slice(start, start + count * stride, stride), slice(first, first + count)


class _Patches(torch.autograd.Function):
    """Rows [groups, images · places · blocks, kernel · channels of a block] of x [images, c, h, w]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: _Places) -> Tensor:
        patches = torch.zeros(places.shape(x), device=x.device)
        for pixels, taken in places.taps(x.permute(0, 2, 3, 1), patches):
            taken.copy_(pixels)
        ctx.places, ctx.patches, ctx.shape, ctx.dtype = places, patches.shape, x.shape, x.dtype
        return patches.flatten(5).flatten(1, 4)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None]:
        if not ctx.needs_input_grad[0]:
            return None, None
        images, channels, height, width = ctx.shape
        of_x = grad.new_zeros(images, height, width, channels)
        for pixels, taken in ctx.places.taps(of_x, grad.reshape(ctx.patches)):
            pixels += taken
        return of_x.permute(0, 3, 1, 2).to(ctx.dtype), None


class _Moments(torch.autograd.Function):
    """Mean [groups, f] and covariance [groups, f, f] of rows [groups, n, f].

    Autograd would take two products of the size of the forward one for the gradient, where the symmetry of
    the covariance needs one.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> tuple[Tensor, Tensor]:
        mean = rows.mean(1)
        centred = rows - mean[:, None]
        ctx.save_for_backward(centred)
        return mean, (centred.mT @ centred) / rows.shape[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_mean: Tensor, of_covariance: Tensor) -> Tensor:
        (centred,) = ctx.saved_tensors
        count = centred.shape[1]
        with torch.autocast(centred.device.type, enabled=False):
            both = (of_covariance + of_covariance.mT) / count
            return torch.baddbmm((of_mean / count)[:, None], centred, both)


def _pair(values: Iterable[int]) -> tuple[int, int]:
    rows, columns = values
    return rows, columns


def _bias_of(layer: nn.Conv2d | nn.Linear) -> Tensor:
    return layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias


def _conv(kind: type[C], like: nn.Conv2d, weight: Tensor, bias: Tensor) -> C:
    # On no device, so that nothing is drawn.
    made = kind(
        like.in_channels,
        like.out_channels,
        like.kernel_size,  # type: ignore[arg-type]
        stride=like.stride,  # type: ignore[arg-type]
        padding=like.padding,  # type: ignore[arg-type]
        dilation=like.dilation,  # type: ignore[arg-type]
        groups=like.groups,
        device="meta",
    )
    return _given(made, weight, bias)


def _linear(kind: type[N], like: nn.Linear, weight: Tensor, bias: Tensor) -> N:
    made = kind(like.in_features, like.out_features, device="meta")
    return _given(made, weight, bias)


def _given(layer: L, weight: Tensor, bias: Tensor) -> L:
    for name, value in (("weight", weight), ("bias", bias)):
        own = value if isinstance(value, nn.Parameter) else nn.Parameter(value.detach())
        setattr(layer, name, own)
    return layer
