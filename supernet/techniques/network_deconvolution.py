"""Network deconvolution (Ye et al., 2020): layers see decorrelated inputs in place of batch norm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from edge_bench.errors import ConfigError
from edge_bench.files import Home
from supernet.network import ElasticNetwork
from supernet.tasks.image_classification import ImageClassification
from supernet.techniques import Technique
from supernet.whitening import Estimation, Whitened, WhitenedConv2d, WhitenedLinear

if TYPE_CHECKING:
    from supernet.tasks import Task

TABLE = "[techniques.network_deconvolution]"
_DENSE = "deconvolution multiplies weights by a dense matrix, so that no zero of a mask would reach a file"


@dataclass(frozen=True, kw_only=True)
class NetworkDeconvolution(Technique):
    """Every convolution and fully connected layer whitens what it sees; batch norms are taken out.

    Patches of the input, in blocks of at most `block` neighbouring channels (`linear_block` inputs of a
    fully connected layer), have a mean μ and a covariance; D is about its inverse root, by `iterations`
    of Newton and Schulz. The layer computes with W D and b − W D μ, and gradients flow through both.
    Patches are taken at every `sampling_stride`-th step of a convolution. Most of what a step costs is
    set by `block` and `sampling_stride`: `benchmarks/network_deconvolution.py` measures these; the paper's
    are 64 and 3. `eps` is added to variances; a batch of fewer patches than a patch has values gets more.
    Evaluation uses running statistics, of `momentum` behind the first batches.

    From step `freeze_steps` on (0: never) they are estimated in every `refresh_steps`-th step only, and
    the others use the running ones: a cheaper step.
    """

    tasks: ClassVar[tuple[str, ...]] = ("image_classification",)
    replaces_layers: ClassVar[bool] = True
    excludes: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "mabn": "one changes batch norms, the other takes them out",
            "dpf": _DENSE,
            "gradual_pruning": _DENSE,
            "one_shot_pruning": _DENSE,
            "lottery_ticket": _DENSE,
        }
    )

    block: int = 16
    linear_block: int = 512
    sampling_stride: int = 4
    iterations: int = 5
    eps: float = 1e-5
    momentum: float = 0.1
    freeze_steps: int = 0
    refresh_steps: int = 10

    def check(self, network: nn.Module) -> None:
        for name, least in (
            ("block", 1),
            ("linear_block", 1),
            ("sampling_stride", 1),
            ("iterations", 1),
            ("freeze_steps", 0),
            ("refresh_steps", 1),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"{TABLE} {name} is {getattr(self, name)}; it must be at least {least}")
        if not self.eps > 0:
            raise ConfigError(f"{TABLE} eps is {self.eps:g}; it must be above 0")
        if not 0 < self.momentum <= 1:
            raise ConfigError(f"{TABLE} momentum is {self.momentum:g}; it must be above 0 and at most 1")
        if isinstance(network, ElasticNetwork):
            raise ConfigError(
                f"{TABLE} cannot train the elastic network of space '{network.space.name}': a whitening "
                "matrix belongs to one choice of channels and kernels, its subnets have many",
                hint="train one of its subnets ([start] with run and keep), or a [model]",
            )
        _check_layers(network)

    def begin(self, network: nn.Module) -> None:
        for parent, name, layer in list(_layers(network)):
            if isinstance(layer, nn.Linear):
                whitened: nn.Module = WhitenedLinear.of(layer, self._estimation(self.linear_block))
            else:
                norm = parent._modules.get("norm") if name == "conv" else None
                if isinstance(norm, nn.BatchNorm2d):
                    _fold(norm, layer)
                    del parent._modules["norm"]
                whitened = WhitenedConv2d.of(layer, self._estimation(self.block))
            setattr(parent, name, whitened)

    def start(self, network: nn.Module, task: Task, home: Home) -> int:
        if task.config.start is not None:
            assert isinstance(task, ImageClassification) and task.trainee.arch is not None
            inputs, _ = task.images.split("train", task.trainee.arch.resolution)
            _absorb(network, inputs[: task.config.training.batch_size])
        return 0

    def before_step(
        self, network: nn.Module, generator: np.random.Generator, step: int, steps: int
    ) -> None:
        behind = step - self.freeze_steps
        estimates = not self.freeze_steps or behind < 0 or behind % self.refresh_steps == 0
        for layer in _whitened(network):
            layer.whitening.estimates = estimates

    @torch.no_grad()
    def finish(self, network: nn.Module) -> None:
        for parent in list(network.modules()):
            for name, layer in list(parent.named_children()):
                if isinstance(layer, Whitened):
                    setattr(parent, name, layer.plain())

    def facts(self, network: nn.Module) -> Mapping[str, Any]:
        return {"layers": len(list(_whitened(network)))}

    def _estimation(self, block: int) -> Estimation:
        return Estimation(
            block=block,
            stride=self.sampling_stride,
            iterations=self.iterations,
            eps=self.eps,
            momentum=self.momentum,
        )


def _check_layers(network: nn.Module) -> None:
    if not any(True for _ in _layers(network)):
        raise ConfigError(f"{TABLE} whitens what convolutions and linear layers see; the network has none")
    for _, name, layer in _layers(network):
        if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
            raise ConfigError(
                f"{TABLE} knows convolutions padded by zeros; '{name}' pads by '{layer.padding_mode}'"
            )
    folded = {parent._modules.get("norm") for parent, name, _ in _layers(network) if name == "conv"}
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module not in folded:
            raise ConfigError(
                f"{TABLE} takes the place of batch norm, but '{name}' follows no convolution that it could "
                "be folded into"
            )


def _layers(network: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Conv2d | nn.Linear]]:
    """Yield each layer to be whitened with its parent and its name there."""
    for parent in network.modules():
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                yield parent, name, layer


def _whitened(network: nn.Module) -> Iterator[Whitened]:
    return (layer for layer in network.modules() if isinstance(layer, Whitened))


@torch.no_grad()
def _fold(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> None:
    """Let a convolution answer as it does before a batch norm in evaluation."""
    assert norm.running_mean is not None and norm.running_var is not None
    statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    weight, bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
    conv.weight.copy_(weight)
    conv.bias = nn.Parameter(bias.detach())


@torch.no_grad()
def _absorb(network: nn.Module, inputs: Tensor) -> None:
    """Whiten by the statistics of inputs without changing what the network answers.

    So what weights have learned that never met white inputs is still there when training begins.
    """
    hooks = [
        layer.register_forward_pre_hook(lambda layer, given: layer.absorb(*given))
        for layer in _whitened(network)
    ]
    network.eval()(inputs.to(next(network.parameters()).device))
    for hook in hooks:
        hook.remove()
