"""Images by class: an elastic network and its subnets, or one network without choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from edge_bench.data import open_images
from edge_bench.errors import ConfigError
from edge_bench.files import Home, sha256_of
from edge_bench.records import ArchConfig, Metric, PlainSpace, Preprocessing, SearchSpace
from edge_bench.records.subnet import Split
from supernet import draws
from supernet.evaluation import accuracy
from supernet.images import JudgingImages, TrainingImages, training_images
from supernet.models import ImageModel
from supernet.network import folded, parameters_of
from supernet.phases import Place
from supernet.pretraining import drawing
from supernet.programs import exported, save_program, sparsity_of
from supernet.ranks import Ranks
from supernet.run import RunConfig, RunRecord, open_model
from supernet.step import StepResult
from supernet.tasks import Facts, Rows, Task
from supernet.tasks._start import Started, started
from supernet.tasks._trainees import Elastic, Fixed, Trainee

CALIBRATION_IMAGES = 512


class ImageClassification(Task):
    """`training` is None of a task that is opened to judge; `model` is the `[model]` table of a network
    that began with that of another run.
    """

    unit = "images"
    space: SearchSpace | PlainSpace

    def __init__(
        self,
        config: RunConfig,
        trainee: Trainee,
        images: JudgingImages,
        training: TrainingImages | None,
        model: Mapping[str, Any],
    ) -> None:
        self.config, self.trainee, self.images, self.training = config, trainee, images, training
        self.space, self.model = trainee.space, model
        self.techniques = config.open_techniques()
        self.technique = "+".join((*trainee.family, *self.techniques)) or "plain"

    @classmethod
    def begun(cls, config: RunConfig, home: Home, folder: Path) -> Self:
        source = open_images(config.data)
        channels = source.channels()
        begun = started(config, home) if config.start else None

        def trainee(classes: int) -> Trainee:
            if begun:
                return _continued(begun)
            if config.model:
                return _of_model(config.model, channels=channels, classes=classes)
            return Elastic(config.open_space().build(input_channels=channels, classes=classes))

        training = training_images(source, trainee(2).resolutions, config.training.augmentation)
        for kind, generator in drawing(config.open_pretraining().values(), seed=config.seed):
            training = replace(training, images=kind.images(training.images, generator))
        class_names = training.images.class_names
        if begun:
            begun.check_classes(class_names)
            assert begun.record.preprocessing is not None
            # As the network has learned to see: of the images at the size of that run.
            size = training.preprocessing.size
            training = replace(training, preprocessing=replace(begun.record.preprocessing, size=size))
        images = _judging(config, training.preprocessing)
        model = (begun.record.model or begun.record.config.model) if begun else {}
        return cls(config, trainee(len(class_names)), images, training, model)

    @classmethod
    def of_run(cls, record: RunRecord, home: Home, folder: Path) -> Self:
        preprocessing, space = record.preprocessing, record.search_space
        assert preprocessing is not None and isinstance(space, SearchSpace | PlainSpace)
        if isinstance(space, PlainSpace):
            table = record.model or record.config.model
            classes = len(record.class_names)
            trainee: Trainee = _of_model(table, channels=preprocessing.channels, classes=classes)
        else:
            trainee = Fixed.of_subnet(space, record.arch) if record.arch else Elastic(space)
        return cls(record.config, trainee, _judging(record.config, preprocessing), None, record.model)

    @property
    def facts(self) -> Facts:
        training = self._training
        return Facts(
            preprocessing=training.preprocessing,
            class_names=training.images.class_names,
            examples=len(training),
            skipped=training.images.skipped,
            model=self.model,
            arch=self.trainee.arch,
        )

    @property
    def extremes(self) -> dict[str, ArchConfig]:
        return {"largest": self.trainee.arch} if self.trainee.arch else super().extremes

    def network(self, seed: int) -> nn.Module:
        return self.trainee.begun(seed)

    def judged_network(self) -> nn.Module:
        return self.trainee.empty()

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
        return self.trainee.gather(
            network, self._training, rows, share, place, generator, self.config.training, frozen
        )

    def save(self, folder: Path) -> None:
        """Nothing: the record says all of the data."""

    def judge(self, network: nn.Module, arch: ArchConfig, split: Split) -> Metric:
        inputs, labels = self.images.split(split, arch.resolution)
        return accuracy(folded(self.trainee.plain(network, arch, self.images)), inputs, labels, split=split)

    def load(self, archs: list[ArchConfig]) -> None:
        for resolution in {arch.resolution for arch in archs}:
            self.images.split("train", resolution)
            self.images.split("selection", resolution)

    def cut(self, network: nn.Module, arch: ArchConfig, *, folder: Path, home: Home) -> dict[str, Any]:
        plain = self.trainee.plain(network, arch, self.images)
        deployed = folded(plain)
        path = folder / "program.pt2"
        save_program(*self._to_export(deployed, arch), path)
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

    def program(self, network: nn.Module, arch: ArchConfig) -> ExportedProgram:
        """Return `arch` as the program that `cut` saves."""
        deployed = folded(self.trainee.plain(network, arch, self.images))
        return exported(*self._to_export(deployed, arch))

    def _to_export(self, deployed: nn.Module, arch: ArchConfig) -> tuple[nn.Module, tuple[Tensor], Any]:
        # Exported at batch 2: at 1, the batch dimension would silently be fixed.
        example = torch.zeros(2, self.images.preprocessing.channels, arch.resolution, arch.resolution)
        contiguous = deployed.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return contiguous, (example,), ({0: torch.export.Dim("batch")},)

    @property
    def _training(self) -> TrainingImages:
        assert self.training is not None, "the task was opened to judge"
        return self.training


def _of_model(table: Mapping[str, Any], *, channels: int, classes: int, **begun: Any) -> Fixed:
    model = open_model(table)
    assert isinstance(model, ImageModel)
    return Fixed.of_model(model, channels=channels, classes=classes, **begun)


def _continued(begun: Started) -> Fixed:
    """Return the network to keep of a finished run, to be trained on."""
    record, task = begun.record, begun.task
    assert isinstance(task, ImageClassification) and record.preprocessing is not None
    # With statistics of its own, which those of training may not be.
    weights = task.trainee.plain(begun.network, begun.arch, task.images).state_dict()
    space = task.space
    if isinstance(space, PlainSpace):
        table, channels = record.model or record.config.model, record.preprocessing.channels
        classes = len(record.class_names)
        trainee = _of_model(table, channels=channels, classes=classes, weights=weights)
    else:
        trainee = Fixed.of_subnet(space, begun.arch, weights=weights)
    with draws.drawing(0):
        missing = trainee.empty().state_dict().keys() - weights.keys()
    if missing:
        techniques = ", ".join(record.config.techniques)
        raise ConfigError(
            f"[start] run '{record.config.name}' was trained with {techniques}, which left its network "
            f"without '{min(missing)}': no other run can go on from it",
            hint="begin from the run that it began from, or train it for more epochs",
        )
    return trainee


def _judging(config: RunConfig, preprocessing: Preprocessing) -> JudgingImages:
    return JudgingImages(
        source=open_images(config.data),
        preprocessing=preprocessing,
        calibration_images=CALIBRATION_IMAGES,
        seed=config.seed,
    )
