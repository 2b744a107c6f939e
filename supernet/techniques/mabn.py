"""Moving average batch normalisation, MABN (Yan et al., 2020): batch norm's quality at a batch of 2."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from edge_bench.errors import ConfigError
from supernet.layers import ElasticConv, ElasticNorm
from supernet.moving_average_norm import Averaging, CentredConv2d, MovingAverageNorm
from supernet.plain import BATCH_NORM_EPS, BatchNorm
from supernet.ranks import Synchronised, average_over_ranks
from supernet.techniques import Technique

if TYPE_CHECKING:
    from supernet.run import RunConfig


@dataclass(frozen=True, kw_only=True)
class Mabn(Averaging, Technique):
    """Every batch norm is trained as a `MovingAverageNorm`, every convolution before one with centred
    weights. Depthwise ones are not centred, which would take from each channel all that is even.

    A finished network has plain batch norms of mean 0 and plain convolutions. Of an elastic network the
    averages mix those of its subnets, channel by channel; what is cut is centred over the inputs it has.

    Where a run goes on from another one, its norms begin with that run's statistics, and its filters keep
    the means they had, so that the network computes what it did.
    """

    # Networks on text and policies have no batch norms.
    tasks: ClassVar[tuple[str, ...]] = ("image_classification",)
    replaces_layers: ClassVar[bool] = True

    def check_run(self, run: RunConfig) -> None:
        for name, low, high in (
            ("simulated_batch", 2, 4096),
            ("momentum", 0, 1),
            ("warmup_steps", 0, float("inf")),
            ("renorm_warmup_steps", 0, float("inf")),
            ("clip_limit", 1, float("inf")),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                upto = "" if high == float("inf") else f" and at most {high:g}"
                raise ConfigError(f"[techniques.mabn] {name} is {value:g}; it must be at least {low}{upto}")

        batch = run.training.micro_batch_size or run.training.batch_size
        if batch > self.simulated_batch:
            raise ConfigError(
                f"[techniques.mabn] simulated_batch is {self.simulated_batch}, below the batch of {batch}: "
                "there is nothing to average",
                hint="remove the technique: such a batch is large enough for batch norm itself",
            )

    def check(self, network: nn.Module) -> None:
        if not any(isinstance(module, nn.BatchNorm2d | ElasticNorm) for module in network.modules()):
            raise ConfigError(
                "[techniques.mabn] takes the place of batch norms, and the network has none",
                hint="train a network that has them, or remove the technique",
            )

    @torch.no_grad()
    def begin(self, network: nn.Module) -> None:
        for layer in list(network.modules()):
            conv, norm = layer._modules.get("conv"), layer._modules.get("norm")
            if isinstance(norm, nn.BatchNorm2d | ElasticNorm):
                layer._modules["norm"] = moving = self._moving(norm)
                trained = isinstance(norm, nn.BatchNorm2d) and bool(norm.num_batches_tracked)
                if isinstance(norm, nn.BatchNorm2d) and trained:
                    moving.go_on(norm)
                if isinstance(conv, nn.Conv2d) and conv.groups == 1:
                    CentredConv2d.take(conv, as_it_is=trained)
                elif isinstance(layer, ElasticConv):
                    layer.centred = True

    def after_step(self, network: nn.Module, step: int, steps: int) -> None:
        apart = [
            norm
            for norm in network.modules()
            if isinstance(norm, MovingAverageNorm) and not norm.synchronised
        ]
        average_over_ranks([tensor for norm in apart for tensor in norm.averages])

    @torch.no_grad()
    def finish(self, network: nn.Module) -> None:
        for layer in list(network.modules()):
            conv, norm = layer._modules.get("conv"), layer._modules.get("norm")
            if isinstance(norm, MovingAverageNorm):
                layer._modules["norm"] = _plain(norm) if isinstance(conv, nn.Conv2d) else _elastic(norm)
            if isinstance(conv, CentredConv2d):
                conv.give_back()

    def _moving(self, norm: nn.BatchNorm2d | ElasticNorm) -> MovingAverageNorm:
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(Averaging)}
        return MovingAverageNorm(
            norm.weight,
            norm.bias,
            eps=norm.eps if isinstance(norm, nn.BatchNorm2d) else BATCH_NORM_EPS,
            averaging=Averaging(**own),
            synchronised=isinstance(norm, Synchronised) and norm.synchronised,
        )


def _plain(norm: MovingAverageNorm) -> BatchNorm:
    plain = BatchNorm(len(norm.weight), eps=norm.eps).to(norm.weight.device)
    plain.weight, plain.bias = norm.weight, norm.bias
    plain.about_zero, plain.synchronised = True, norm.synchronised
    plain.train(norm.training)
    assert plain.running_var is not None and plain.num_batches_tracked is not None
    plain.running_var.copy_(norm.mean_square)
    plain.num_batches_tracked.copy_(norm.batches.max())
    return plain


def _elastic(norm: MovingAverageNorm) -> ElasticNorm:
    elastic = ElasticNorm(len(norm.weight))
    elastic.weight, elastic.bias = norm.weight, norm.bias
    elastic.about_zero, elastic.synchronised = True, norm.synchronised
    return elastic
