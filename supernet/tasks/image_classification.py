"""Images by class: an elastic network, its phases, and subnets with batch norms of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from edge_bench.data import open_images
from edge_bench.files import Home, sha256_of
from edge_bench.records import ArchConfig, Metric, SearchSpace
from edge_bench.records.subnet import Split
from supernet.evaluation import accuracy, calibrated
from supernet.images import JudgingImages, TrainingImages, training_images
from supernet.network import ElasticNetwork, folded, parameters_of
from supernet.phases import Place, narrowed
from supernet.programs import save_program, sparsity_of
from supernet.ranks import Ranks
from supernet.run import RunConfig, RunRecord
from supernet.step import StepResult, gather_gradients, networks_of
from supernet.tasks import Facts, Rows, Task

CALIBRATION_IMAGES = 512
# What this generator of a run is for; part of its seed.
_WEIGHTS = 2


class ImageClassification(Task):
    """`training` is None of a task that is opened to judge."""

    unit = "images"
    space: SearchSpace

    def __init__(
        self, config: RunConfig, space: SearchSpace, images: JudgingImages, training: TrainingImages | None
    ) -> None:
        self.config, self.space, self.images, self.training = config, space, images, training
        self.techniques = config.open_techniques()
        self.technique = "+".join(("once_for_all", *self.techniques))

    @classmethod
    def begun(cls, config: RunConfig, home: Home, folder: Path) -> Self:
        source = open_images(config.data)
        resolutions = config.open_space().build(input_channels=source.channels(), classes=2).resolutions
        training = training_images(source, resolutions, config.training.augmentation)
        classes = len(training.images.class_names)
        space = config.open_space().build(input_channels=source.channels(), classes=classes)
        images = JudgingImages(
            source=source,
            preprocessing=training.preprocessing,
            calibration_images=CALIBRATION_IMAGES,
            seed=config.seed,
        )
        return cls(config, space, images, training)

    @classmethod
    def of_run(cls, record: RunRecord, home: Home, folder: Path) -> Self:
        assert record.preprocessing is not None and isinstance(record.search_space, SearchSpace)
        images = JudgingImages(
            source=open_images(record.config.data),
            preprocessing=record.preprocessing,
            calibration_images=CALIBRATION_IMAGES,
            seed=record.config.seed,
        )
        return cls(record.config, record.search_space, images, None)

    @property
    def facts(self) -> Facts:
        training = self._training
        return Facts(
            preprocessing=training.preprocessing,
            class_names=training.images.class_names,
            examples=len(training),
            skipped=training.images.skipped,
        )

    def network(self, seed: int) -> ElasticNetwork:
        return initialised(self.space, seed)

    def judged_network(self) -> ElasticNetwork:
        return ElasticNetwork(self.space)

    def gather(
        self,
        network: nn.Module,
        rows: Rows,
        share: slice,
        place: Place,
        generator: np.random.Generator,
        ranks: Ranks,
        frozen: nn.Module | None,
    ) -> StepResult:
        assert isinstance(network, ElasticNetwork) and (
            frozen is None or isinstance(frozen, ElasticNetwork)
        )
        device = next(network.parameters()).device
        space = narrowed(self.space, place.phase)
        resolution = int(generator.choice(space.resolutions))
        inputs, labels = self._training.batch(rows, resolution, generator, share=share)
        archs = networks_of(space, place.phase, self.config.training, generator)
        return gather_gradients(
            network,
            archs,
            inputs.to(device),
            labels.to(device),
            phase=place.phase,
            training=self.config.training,
            frozen=frozen,
        )

    def save(self, folder: Path) -> None:
        """Nothing: the record says all of the data."""

    def judge(self, network: nn.Module, arch: ArchConfig, split: Split) -> Metric:
        inputs, labels = self.images.split(split, arch.resolution)
        return accuracy(folded(self._calibrated(network, arch)), inputs, labels, split=split)

    def load(self, archs: list[ArchConfig]) -> None:
        for resolution in {arch.resolution for arch in archs}:
            self.images.split("train", resolution)
            self.images.split("selection", resolution)

    def cut(self, network: nn.Module, arch: ArchConfig, *, folder: Path, home: Home) -> dict[str, Any]:
        plain = self._calibrated(network, arch)
        deployed = folded(plain)
        path = folder / "program.pt2"
        # Exported at batch 2: at 1, the batch dimension would silently be fixed.
        example = torch.zeros(2, self.space.input_channels, arch.resolution, arch.resolution)
        contiguous = deployed.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        save_program(contiguous, (example,), ({0: torch.export.Dim("batch")},), path)
        metrics = []
        splits: tuple[Split, Split] = ("selection", "test")
        for split in splits:
            inputs, labels = self.images.split(split, arch.resolution)
            metrics.append(accuracy(deployed, inputs, labels, split=split))
        return {
            "program": home.relative(path),
            "digest": sha256_of(path),
            "params": parameters_of(plain),
            "sparsity": sparsity_of(deployed),
            "metrics": tuple(metrics),
            "preprocessing": replace(self.images.preprocessing, size=arch.resolution),
            "notes": {"calibration_images": len(self.images.split("train", arch.resolution)[1])},
        }

    @property
    def _training(self) -> TrainingImages:
        assert self.training is not None, "the task was opened to judge"
        return self.training

    def _calibrated(self, network: nn.Module, arch: ArchConfig) -> nn.Module:
        assert isinstance(network, ElasticNetwork)
        return calibrated(network, arch, self.images)


def initialised(space: SearchSpace, seed: int) -> ElasticNetwork:
    """Return the untrained elastic network of a seed; torch's own random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.default_rng([seed, _WEIGHTS]).integers(2**63)))
        return ElasticNetwork(space).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
