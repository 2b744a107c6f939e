"""The elastic network of a search space, and the plain networks cut out of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from edge_bench.records.arch import ArchConfig, SearchSpace, Stage
from supernet import plain
from supernet.layers import ElasticConv, ElasticDepthwise, ElasticSqueezeExcite
from supernet.plain import activation


class ElasticNetwork(nn.Module):
    """All networks of a space in one set of weights; `active` is the one that `forward` computes.

    It normalises by batch statistics in training and evaluation alike: to judge a subnet,
    `materialize` it and re-estimate its own statistics (`calibration.recalibrate`).
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space
        self.active = space.largest()
        width = space.stem_width
        self.stem = ElasticConv(
            space.input_channels, width, kernel=3, stride=space.stem_stride, act=space.activation
        )
        if space.stem_block:
            self.stem_depthwise = ElasticDepthwise(width, kernels=(3,), stride=1, act="relu")
            self.stem_project = ElasticConv(width, width, kernel=1, stride=1, act=None)
        blocks = []
        for stage in space.stages:
            for place in range(stage.depths[-1]):
                stride = stage.stride if place == 0 else 1
                mid = space.mid_width(width, stage.expands[-1])
                blocks.append(_ElasticBlock(width, mid, stage.width, stage=stage, stride=stride))
                width = stage.width
        self.blocks = nn.ModuleList(blocks)
        self.head = ElasticConv(width, space.head_width, kernel=1, stride=1, act=space.activation)
        width = space.head_width
        if space.feature_width:
            self.features = nn.Linear(width, space.feature_width)
            width = space.feature_width
        self.classifier = nn.Linear(width, space.classes)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def use(self, arch: ArchConfig) -> None:
        """Make `arch` the active network; `InvalidArch` where the space does not contain it."""
        self.space.check(arch)
        self.active = arch

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [n, classes] of the active network for x [n, channels, size, size]."""
        space = self.space
        x = self.stem(x, space.stem_width)
        if space.stem_block:
            x = x + self.stem_project(self.stem_depthwise(x, 3), space.stem_width)
        for block in self.active.blocks:
            mid = space.mid_width(x.shape[1], block.expand)
            x = self.blocks[block.source](x, mid, block.kernel)
        x = self.head(x, space.head_width)
        x = x.mean((2, 3), keepdim=True).flatten(1)
        if space.feature_width:
            x = activation(space.activation)(self.features(x))
        logits: Tensor = self.classifier(x)
        return logits

    @torch.no_grad()
    def materialize(self, arch: ArchConfig) -> nn.Module:
        """Return `arch` as a plain network with copies of the weights; it never sees this one again.

        It computes what this network computes with `arch` active. Its batch norms hold no statistics
        yet.

        Raises:
            InvalidArch: `arch` is not in the space.
        """
        space = self.space
        space.check(arch)
        width = space.stem_width
        layers: dict[str, nn.Module] = {"stem": self.stem.plain(space.input_channels, width)}
        if space.stem_block:
            block = {
                "depthwise": self.stem_depthwise.plain(width, 3),
                "project": self.stem_project.plain(width, width),
            }
            layers["stem_block"] = plain.sequence(block, residual=True)
        for chosen in arch.blocks:
            elastic = self.blocks[chosen.source]
            assert isinstance(elastic, _ElasticBlock)
            mid = space.mid_width(width, chosen.expand)
            layers[f"block{chosen.source}"] = elastic.plain(mid, chosen.kernel)
            width = elastic.outputs
        layers["head"] = self.head.plain(width, space.head_width)
        features = None
        if space.feature_width:
            features = nn.Sequential(
                plain.linear(self.features.weight, self.features.bias), activation(space.activation)
            )
        classifier = plain.linear(self.classifier.weight, self.classifier.bias)
        return PlainNetwork(plain.sequence(layers), features, classifier)


class PlainNetwork(nn.Module):
    """Convolutions, batch norms, activations; mean pooling; fully connected layers."""

    def __init__(self, layers: nn.Module, features: nn.Module | None, classifier: nn.Linear) -> None:
        super().__init__()
        self.layers = layers
        self.features = features
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [n, classes] of images [n, channels, size, size]."""
        # In this form a converter needs no transpose (a plain mean over (2, 3) leaves one).
        x = self.layers(x).mean((2, 3), keepdim=True).flatten(1)
        if self.features is not None:
            x = self.features(x)
        logits: Tensor = self.classifier(x)
        return logits


def folded(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode with every batch norm folded into its convolution."""
    folded = plain.skeleton(network).eval()
    for module in folded.modules():
        conv, norm = module._modules.get("conv"), module._modules.get("norm")
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None and norm.running_var is not None
            statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
            conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
            del module._modules["norm"]
    shared = set(network.parameters())
    for module in folded.modules():
        for name, parameter in module._parameters.items():
            if parameter in shared:
                module._parameters[name] = nn.Parameter(parameter.detach().clone(), requires_grad=False)
    return folded


def parameters_of(network: nn.Module) -> int:
    """Return how many parameters a network has.

    A plain network has one more for each output channel of a convolution than its operators have
    weights: batch norm's scale and shift, of which folding leaves a bias.
    """
    return sum(parameter.numel() for parameter in network.parameters())


class _ElasticBlock(nn.Module):
    def __init__(self, inputs: int, mid: int, outputs: int, *, stage: Stage, stride: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.residual = stride == 1 and inputs == outputs
        self.expand = ElasticConv(inputs, mid, kernel=1, stride=1, act=stage.activation)
        self.depthwise = ElasticDepthwise(mid, kernels=stage.kernels, stride=stride, act=stage.activation)
        self.squeeze = ElasticSqueezeExcite(mid) if stage.squeeze_excite else None
        self.project = ElasticConv(mid, outputs, kernel=1, stride=1, act=None)

    def forward(self, x: Tensor, mid: int, kernel: int) -> Tensor:
        y = self.depthwise(self.expand(x, mid), kernel)
        if self.squeeze is not None:
            y = self.squeeze(y)
        y = self.project(y, self.outputs)
        result: Tensor = x + y if self.residual else y
        return result

    def plain(self, mid: int, kernel: int) -> nn.Module:
        layers: dict[str, nn.Module] = {
            "expand": self.expand.plain(self.inputs, mid),
            "depthwise": self.depthwise.plain(mid, kernel),
        }
        if self.squeeze is not None:
            layers["squeeze"] = self.squeeze.plain(mid)
        layers["project"] = self.project.plain(mid, self.outputs)
        return plain.sequence(layers, residual=self.residual)
