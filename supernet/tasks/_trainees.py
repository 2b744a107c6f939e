"""What a run on images trains: an elastic network, or one without choices."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from edge_bench.records import ArchConfig, PlainSpace, SearchSpace
from supernet.draws import drawing, weights_seed
from supernet.evaluation import calibrated, recalibrated
from supernet.images import JudgingImages, TrainingImages
from supernet.models import ImageModel
from supernet.network import ElasticNetwork
from supernet.phases import Place, narrowed
from supernet.run import Training
from supernet.step import StepResult, gather_gradients, gather_label_gradients, networks_of
from supernet.tasks import Rows


class Trainee(ABC):
    """`family` begins the name of the technique; `arch` is the one network of a trainee without choices."""

    family: ClassVar[tuple[str, ...]] = ()
    space: SearchSpace | PlainSpace
    arch: ArchConfig | None = None

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The sides in pixels that it takes."""
        return self.space.resolutions if self.arch is None else (self.arch.resolution,)

    @abstractmethod
    def begun(self, seed: int) -> nn.Module:
        """Return the network as training begins with it; torch's own random state stays as it was."""

    @abstractmethod
    def empty(self) -> nn.Module:
        """Return a network of this structure, to load trained weights into."""

    @abstractmethod
    def gather(
        self,
        network: nn.Module,
        images: TrainingImages,
        rows: Rows,
        share: slice,
        place: Place,
        generator: np.random.Generator,
        training: Training,
        frozen: nn.Module | None,
    ) -> StepResult:
        """Gather a step's gradients, as `Task.gather`."""

    @abstractmethod
    def plain(self, network: nn.Module, arch: ArchConfig, images: JudgingImages) -> nn.Module:
        """Return a copy of `arch` in evaluation mode, its batch norms' statistics estimated on images."""


class Elastic(Trainee):
    """The elastic network of a search space, and its subnets."""

    family = ("once_for_all",)
    space: SearchSpace

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def begun(self, seed: int) -> ElasticNetwork:
        return initialised(self.space, seed)

    def empty(self) -> ElasticNetwork:
        return ElasticNetwork(self.space)

    def gather(
        self,
        network: nn.Module,
        images: TrainingImages,
        rows: Rows,
        share: slice,
        place: Place,
        generator: np.random.Generator,
        training: Training,
        frozen: nn.Module | None,
    ) -> StepResult:
        assert isinstance(network, ElasticNetwork) and (
            frozen is None or isinstance(frozen, ElasticNetwork)
        )
        device = next(network.parameters()).device
        space = narrowed(self.space, place.phase)
        resolution = int(generator.choice(space.resolutions))
        inputs, labels = images.batch(rows, resolution, generator, share=share)
        archs = networks_of(space, place.phase, training, generator)
        return gather_gradients(
            network,
            archs,
            inputs.to(device),
            labels.to(device),
            phase=place.phase,
            training=training,
            frozen=frozen,
        )

    def plain(self, network: nn.Module, arch: ArchConfig, images: JudgingImages) -> nn.Module:
        assert isinstance(network, ElasticNetwork)
        return calibrated(network, arch, images)


class Fixed(Trainee):
    """One network without choices: of a `[model]`, or the cut of another run's.

    `weights` are those it begins with; where there are none, they are drawn.
    """

    arch: ArchConfig

    def __init__(
        self,
        space: SearchSpace | PlainSpace,
        arch: ArchConfig,
        build: Callable[[], nn.Module],
        *,
        weights: Mapping[str, Any] | None = None,
    ) -> None:
        self.space, self.arch = space, arch
        self._build, self._weights = build, weights

    @classmethod
    def of_model(
        cls, model: ImageModel, *, channels: int, classes: int, weights: Mapping[str, Any] | None = None
    ) -> Fixed:
        """Return the trainee of a `[model]`; `ConfigError` where its options make no network."""
        space = model.space(channels=channels, classes=classes)
        build = partial(model.build, channels=channels, classes=classes)
        return cls(space, space.largest(), build, weights=weights)

    @classmethod
    def of_subnet(
        cls, space: SearchSpace, arch: ArchConfig, *, weights: Mapping[str, Any] | None = None
    ) -> Fixed:
        """Return the trainee of a subnet of `space`, its batch norms trained like its other weights."""
        return cls(space, arch, partial(_trainable_subnet, space, arch), weights=weights)

    def begun(self, seed: int) -> nn.Module:
        with drawing(weights_seed(seed)):
            network = self.empty()
        if self._weights is not None:
            network.load_state_dict(self._weights)
        return network

    def empty(self) -> nn.Module:
        return _channels_last(self._build())

    def gather(
        self,
        network: nn.Module,
        images: TrainingImages,
        rows: Rows,
        share: slice,
        place: Place,
        generator: np.random.Generator,
        training: Training,
        frozen: nn.Module | None,
    ) -> StepResult:
        device = next(network.parameters()).device
        inputs, labels = images.batch(rows, self.arch.resolution, generator, share=share)
        return gather_label_gradients(network, inputs.to(device), labels.to(device), training=training)

    def plain(self, network: nn.Module, arch: ArchConfig, images: JudgingImages) -> nn.Module:
        return recalibrated(copy.deepcopy(network).requires_grad_(False), arch.resolution, images)


def initialised(space: SearchSpace, seed: int) -> ElasticNetwork:
    """Return the untrained elastic network of a seed; torch's own random state stays as it was."""
    with drawing(weights_seed(seed)):
        return _channels_last(ElasticNetwork(space))  # type: ignore[return-value]


def _trainable_subnet(space: SearchSpace, arch: ArchConfig) -> nn.Module:
    return ElasticNetwork(space).materialize(arch).requires_grad_(True)


def _channels_last(network: nn.Module) -> nn.Module:
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
