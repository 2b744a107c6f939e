"""The quick forms of a mobile block's convolutions compute what torch's own do."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.convolution import StridedFirst, depthwise, pointwise


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 11])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_depthwise_and_its_gradients_are_torchs_own(
    kernel: int, stride: int, size: int, dtype: torch.dtype
) -> None:
    x = random(5, 18, size, size, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    weight = random(18, 1, kernel, kernel, dtype=dtype).requires_grad_()
    ours = depthwise(x, weight, stride=stride)
    expected = F.conv2d(x, weight, stride=stride, padding=kernel // 2, groups=18)
    assert_same(ours, expected, (x, weight))


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_pointwise_and_its_gradients_are_torchs_own(size: int, layout: torch.memory_format) -> None:
    x = random(5, 6, size, size).to(memory_format=layout).requires_grad_()
    # As a prefix of a wider layer's channels, which is not contiguous.
    wide = random(12, 9, 1, 1).requires_grad_()
    assert_same(pointwise(x, wide[:8, :6]), F.conv2d(x, wide[:8, :6]), (x, wide))


@pytest.mark.parametrize(("width", "groups"), [(4, 1), (6, 2), (16, 1)])
@pytest.mark.parametrize("stride", [2, 3, (2, 1)])
def test_a_pointwise_stride_is_taken_before_the_convolution_and_changes_nothing(
    stride: int | tuple[int, int], width: int, groups: int
) -> None:
    """What torch would do with the stride ends the process, on some processors and with few channels."""
    x = random(8, width, 9, 9).to(memory_format=torch.channels_last).requires_grad_()
    layer = torch.nn.Conv2d(width, 8, 1, stride=stride, groups=groups)
    with StridedFirst():
        ours = layer(x)
    assert "Slice" in ours.grad_fn.next_functions[0][0].name()
    plain = x.contiguous().double(), layer.weight.double()
    assert layer.bias is not None
    expected = F.conv2d(*plain, layer.bias.double(), stride=stride, groups=groups).float()
    assert_same(ours, expected, (x, layer.weight, layer.bias))


def test_other_convolutions_are_left_as_they_are() -> None:
    x, layer = random(2, 4, 8, 8), torch.nn.Conv2d(4, 8, 3, stride=2, padding="valid")
    with StridedFirst():
        ours = layer(x)
    assert torch.equal(ours, layer(x))


@pytest.mark.parametrize("size", [4, 16])
def test_a_pointwise_convolution_takes_every_second_pixel(size: int) -> None:
    x = random(5, 6, size, size).to(memory_format=torch.channels_last).requires_grad_()
    weight = random(8, 6, 1, 1).requires_grad_()
    expected = F.conv2d(x.contiguous(), weight, stride=2)
    assert_same(pointwise(x, weight, stride=2), expected, (x, weight))


def test_an_input_that_needs_no_gradient_gets_none() -> None:
    weight = random(4, 1, 5, 5).requires_grad_()
    depthwise(random(2, 4, 8, 8), weight, stride=1).sum().backward()
    assert weight.grad is not None


def assert_same(ours: Tensor, expected: Tensor, inputs: tuple[Tensor, ...]) -> None:
    assert ours.shape == expected.shape
    upstream = random(*expected.shape, dtype=expected.dtype)
    pairs = zip(
        (ours, *torch.autograd.grad(ours, inputs, upstream)),
        (expected, *torch.autograd.grad(expected, inputs, upstream)),
        strict=True,
    )
    tolerance = 1e-5 if expected.dtype == torch.float32 else 1e-12
    for one, other in pairs:
        assert (one - other).abs().max() <= tolerance * other.abs().max()


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=dtype)
