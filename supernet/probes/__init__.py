"""Probes, one file each: what can be read out of a trained network's feature maps, the network frozen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from edge_bench.data import open_images, prepare
from edge_bench.errors import ConfigError
from edge_bench.records import ArchConfig, Preprocessing
from edge_bench.records.subnet import Split
from supernet.progress import Advance
from supernet.tasks.image_classification import ImageClassification
from supernet.trained import TrainedRun

PROBES = "supernet.probes"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network to probe, as it is deployed, and the images it was trained and judged on.

    `name` is that of its subnet: `<run>-<key of the architecture>`. `program` takes images
    [n, channels, size, size] as `preprocessing` makes them of those of the `data` table.
    """

    name: str
    program: ExportedProgram
    preprocessing: Preprocessing
    data: Mapping[str, Any]

    @classmethod
    def of_run(cls, trained: TrainedRun, arch: ArchConfig, *, untrained: bool = False) -> Self:
        """Return a network of a finished run, just as it would be cut.

        Args:
            trained: the run.
            arch: which of its networks.
            untrained: take drawn weights in place of the trained ones; batch norms have statistics of
                their own all the same.

        Raises:
            ConfigError: the run is not on images.
            InvalidArch: the run has no such network.
        """
        task = trained.task
        if not isinstance(task, ImageClassification):
            told = trained.record.config.task.replace("_", " ")
            raise ConfigError(
                f"run '{trained.name}' is for {told}; only networks for images have feature maps to probe",
                hint="name a run, or a subnet, whose [data] are images",
            )
        trained.record.check(arch)
        network = task.drawn(trained.record.config.seed) if untrained else trained.network
        return cls(
            name=f"{trained.name}-{arch.key}{'-untrained' if untrained else ''}",
            program=task.program(network, arch),
            preprocessing=replace(task.images.preprocessing, size=arch.resolution),
            data=trained.record.config.data,
        )

    def images(self, split: Split, count: int, *, seed: int = 0) -> Tensor:
        """Return `count` inputs [n, channels, size, size] of a split, drawn by a seed; all where there are
        fewer.
        """
        pixels = open_images(self.data).load(split, size=self.preprocessing.size).pixels
        rows = np.random.default_rng([seed, len(pixels)]).permutation(len(pixels))[:count]
        return torch.from_numpy(prepare(pixels[np.sort(rows)], self.preprocessing))


class Probe(ABC):
    """Reads something out of a frozen network. A variant's fields are its options.

    What it finds is a frozen dataclass (`edge_bench.documents` writes it), and the same each time.
    """

    @abstractmethod
    def check(self) -> None:
        """Raise a `ConfigError` that names the first option that cannot be used."""

    @abstractmethod
    def measure(self, subject: Subject, *, report: Advance = lambda done, word: None) -> Any:
        """Return what is found in a network.

        Args:
            subject: the network and its images.
            report: is told how many steps are done, and a word on which.

        Raises:
            ConfigError: an option cannot be used, or the network has no feature maps.
            DataError: its images cannot be read.
        """
