"""The two convolutions of a mobile block, as torch computes them quickest on small maps, and 1×1
convolutions with a stride, as it computes them safely.

All return what `F.conv2d` does, to rounding; what was measured is 1 core of an AVX-512 server
processor, torch 2.13, batch 32, channels last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise, product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

# Up to this side of its map a 1×1 convolution is quicker as a matrix product (0.56 ms instead of
# 1.12 ms for 160 → 960 channels of one pixel, forward and back); from 8 pixels on it is slower.
_PRODUCT_SIDE = 4
# oneDNN has a quick gradient of depthwise kernels up to this many columns wide, of any height.
_COLUMNS = 3


class StridedFirst(TorchFunctionMode):
    """Within it, 1×1 convolutions with a stride are those of stride 1 over every `stride`-th pixel.

    oneDNN's gradient of their weights writes past its memory where the inputs are fewer than 8 channels
    (16 with AVX-512) that lie last, and the process ends or computes nonsense (oneDNN issue 6035; in
    torch 2.13).
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.conv2d:
            return _strided_first(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _strided_first(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    unpadded = padding in (0, "valid") if isinstance(padding, int | str) else not any(padding)
    down, right = (stride, stride) if isinstance(stride, int) else stride
    if weight.shape[2:].numel() == 1 and unpadded and (down, right) != (1, 1):
        input, stride = input[:, :, ::down, ::right], 1
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)


def pointwise(x: Tensor, weight: Tensor, *, stride: int = 1) -> Tensor:
    """Return the 1×1 convolution of every `stride`-th pixel of x [n, c, h, w] by weight [outputs, c, 1, 1].

    The stride is taken first for the reason that `StridedFirst` gives.
    """
    if stride > 1:
        x = x[:, :, ::stride, ::stride]
    images, _, height, width = x.shape
    if height > _PRODUCT_SIDE or width > _PRODUCT_SIDE:
        return F.conv2d(x, weight)
    rows = F.linear(x.permute(0, 2, 3, 1).flatten(0, 2), weight.flatten(1))
    return rows.view(images, height, width, -1).permute(0, 3, 1, 2)


def depthwise(x: Tensor, weight: Tensor, *, stride: int) -> Tensor:
    """Return the depthwise convolution of x [n, c, s, s] by weight [c, 1, k, k], padded by k // 2.

    On the CPU only that part of a kernel larger than its map is computed which some pixel meets.
    """
    size, kernel = x.shape[-1], weight.shape[-1]
    if x.device.type != "cpu":
        return F.conv2d(x, weight, stride=stride, padding=kernel // 2, groups=len(weight))
    unmet = max(0, kernel // 2 - (size - 1))
    if unmet:
        weight = weight[:, :, unmet : kernel - unmet, unmet : kernel - unmet]
    if size == 1:
        return x * weight.view(1, -1, 1, 1)
    convolved: Tensor = _Depthwise.apply(x, weight, stride)  # type: ignore[no-untyped-call]
    return convolved


class _Depthwise(torch.autograd.Function):
    """Depthwise convolution whose gradient of the weights is taken in parts that oneDNN is quick at.

    For kernels 5 and 7 oneDNN falls back on a grouped convolution that computes 16 × 16 channels to
    keep 16: 34 ms where the parts take 5 (kernel 7, 144 channels, 16 px).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight = ctx.needs_input_grad[:2]
        padding = (weight.shape[-1] // 2,) * 2
        return (
            _gradients(grad, x, weight, ctx.stride, padding, of_x=True)[0] if of_x else None,
            _weight_gradient(grad, x, weight, ctx.stride) if of_weight else None,
            None,
        )


def _weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return the gradient of a depthwise weight, a few columns of one phase of the stride at a time.

    Of a convolution of stride 2 each tap meets only the even or only the odd rows of x, and on those
    alone the convolution has stride 1 (likewise columns).
    """
    kernel, size, places = weight.shape[-1], x.shape[-1], grad.shape[-1]
    if kernel <= _COLUMNS <= size:
        return _gradients(grad, x, weight, stride, (kernel // 2, kernel // 2), of_x=False)[1]
    result = torch.empty_like(weight)
    for row, column in product(range(stride), repeat=2):
        met = x[:, :, row::stride, column::stride]
        rows = _taps(kernel, stride, row)
        above = -_offset(rows[0], kernel, stride)
        below = places + len(rows) - 1 - above - met.shape[2]
        for columns in _parts(_taps(kernel, stride, column)):
            left = -_offset(columns[0], kernel, stride)
            right = places + len(columns) - 1 - left - met.shape[3]
            part = result[:, :, rows[0] : rows[-1] + 1 : stride, columns[0] : columns[-1] + 1 : stride]
            # What zeros the convolution can add by itself need no copy of the map.
            height = above if above == below <= len(rows) // 2 and met.shape[2] >= len(rows) else 0
            width = left if left == right <= len(columns) // 2 and met.shape[3] >= len(columns) else 0
            edges = (left - width, right - width, above - height, below - height)
            padded = F.pad(met, edges) if any(edges) else met
            part.copy_(_gradients(grad, padded, part, 1, (height, width), of_x=False)[1])
    return result


def _taps(kernel: int, stride: int, phase: int) -> range:
    """Return the taps that meet the rows phase, phase + stride, phase + 2 stride … of a map."""
    return range((kernel // 2 + phase) % stride, kernel, stride)


def _offset(tap: int, kernel: int, stride: int) -> int:
    """Return how many rows of its phase, from the place it is added to, a tap lies ahead."""
    return (tap - kernel // 2) // stride


def _parts(taps: range) -> Iterator[range]:
    """Cut a row of taps into as few and as even parts as are quick: 7 into 2, 3, 2."""
    count = -(-len(taps) // _COLUMNS)
    bounds = [round(len(taps) * part / count) for part in range(count + 1)]
    return (taps[start:stop] for start, stop in pairwise(bounds))


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int], *, of_x: bool
) -> tuple[Tensor, Tensor]:
    """Return a depthwise convolution's gradient of x, or that of its weight; the other is undefined."""
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad,
        x,
        weight,
        None,
        (stride, stride),
        padding,
        (1, 1),
        False,
        (0, 0),
        len(weight),
        (of_x, not of_x, False),
    )
    return gradients[:2]
