"""Batch norms get the exact moments of all images, however these are cut into batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from supernet.calibration import recalibrate


def batches() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    # Batches of unlike size, mean and scale: their means vary, which an average of variances misses.
    return [
        shift + scale * torch.randn(count, 3, 5, 5, generator=generator)
        for count, shift, scale in ((32, 0.0, 1.0), (7, 3.0, 0.2), (50, -1.0, 4.0))
    ]


def test_statistics_are_the_pooled_moments_of_all_images() -> None:
    norm = nn.BatchNorm2d(3)
    recalibrate(norm, batches())
    everything = torch.cat(batches()).transpose(0, 1).reshape(3, -1).double()
    assert norm.running_mean is not None and norm.running_var is not None
    assert torch.allclose(norm.running_mean.double(), everything.mean(1), rtol=0, atol=1e-5)
    exact = everything.var(1, unbiased=False)
    assert torch.allclose(norm.running_var.double() / exact, torch.ones(3).double(), rtol=0, atol=1e-5)


def test_statistics_from_before_do_not_matter_and_weights_stay() -> None:
    fresh, used = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    for _ in range(3):
        used(torch.randn(4, 3, 2, 2))
    for norm in (fresh, used):
        recalibrate(norm, batches())
        assert not norm.training and norm.momentum == 0.1
        assert torch.equal(norm.weight, torch.ones(3))
    assert torch.equal(fresh.running_var, used.running_var)  # type: ignore[arg-type]


def test_each_layer_of_a_network_gets_the_moments_of_what_it_was_given() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4)
    )
    given: dict[nn.Module, list[Tensor]] = {}
    for module in network:
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda norm, x: given.setdefault(norm, []).append(x[0]))
    recalibrate(network, torch.cat(batches())[:64].split(32))
    for norm, inputs in given.items():
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None
        exact = torch.cat([x.transpose(0, 1).flatten(1) for x in inputs], 1).double()
        error = norm.running_var.double() / exact.var(1, unbiased=False) - 1
        assert error.abs().max() < 1e-4


def test_no_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one batch"):
        recalibrate(nn.BatchNorm2d(3), [])
