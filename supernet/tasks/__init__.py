"""What a run learns and how that is judged and cut, one file for each task that data may have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from torch import nn

from edge_bench import variants
from edge_bench.files import Home
from edge_bench.records import AnySpace, ArchConfig, Metric, ObservationInput, Preprocessing, TextInput
from edge_bench.records.subnet import Split
from supernet.draws import drawing, weights_seed
from supernet.phases import Place
from supernet.ranks import Ranks
from supernet.run import RunConfig, RunRecord
from supernet.step import StepResult
from supernet.techniques import Technique

TASKS = "supernet.tasks"

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a run's record says of its data: how examples become inputs, classes, how many and left out;
    and of a network that its space does not tell in full, the `structure`, and the `[model]` table where it
    is not the run's own. `arch` is the one network of a run that trains no others.
    """

    preprocessing: Preprocessing | None = None
    text: TextInput | None = None
    observation: ObservationInput | None = None
    class_names: tuple[str, ...] = ()
    examples: int
    skipped: int = 0
    structure: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    arch: ArchConfig | None = None


class Task(ABC):
    """A variant's file has the name of the task. It opens to train (`begun`) or to judge (`of_run`).

    Draws of a step depend on the step alone, so that an interrupted run ends as an undisturbed one.
    `learned` is what a log calls the mean of a step's answers. `techniques` are those of the run by name;
    `notes` is what they told of the network that is judged.
    """

    unit: ClassVar[str]
    learned: ClassVar[str] = "training_accuracy"
    technique: str
    techniques: Mapping[str, Technique]
    notes: Mapping[str, Any] = MappingProxyType({})
    config: RunConfig
    space: AnySpace

    @classmethod
    @abstractmethod
    def begun(cls, config: RunConfig, home: Home, folder: Path) -> Self:
        """Read the training split of a run.

        Args:
            config: the run.
            home: where other runs lie that it may begin from.
            folder: the run's own folder, which may not exist yet.

        Raises:
            ConfigError, DataError: the run cannot be made of it.
        """

    @classmethod
    @abstractmethod
    def of_run(cls, record: RunRecord, home: Home, folder: Path) -> Self:
        """Open what a run was trained on, to judge and to cut."""

    @property
    @abstractmethod
    def facts(self) -> Facts:
        """What the run's record keeps; the training split is known."""

    @abstractmethod
    def network(self, seed: int) -> nn.Module:
        """Return the network as training begins with it; torch's own random state stays as it was."""

    @abstractmethod
    def judged_network(self) -> nn.Module:
        """Return a network of this task's structure, to load trained weights into."""

    def drawn(self, seed: int) -> nn.Module:
        """Return a network of this task's structure with weights drawn from another run's `seed`, even
        where this one went on from trained ones.
        """
        with drawing(weights_seed(seed)):
            return self.judged_network()

    def begin(self, network: nn.Module) -> None:
        """Put into a new network what its techniques train with.

        Raises:
            ConfigError: a technique does not fit the network.
        """
        for technique in self.techniques.values():
            technique.check(network)
            technique.begin(network)

    def start(self, network: nn.Module, home: Home) -> int:
        """Let the techniques change what a new run begins with; return the step it is trained from."""
        return max((one.start(network, self, home) for one in self.techniques.values()), default=0)

    def end(self, network: nn.Module) -> None:
        """Take from the network what only training needs."""
        for technique in reversed(list(self.techniques.values())):
            technique.finish(network)

    def judged(self, load: Callable[[nn.Module], object]) -> nn.Module:
        """Return the network that is judged and cut: plain, with the weights that `load` gives it."""
        network = self.judged_network()
        self.begin(network)
        load(network)
        told = {name: dict(technique.facts(network)) for name, technique in self.techniques.items()}
        self.notes = {name: facts for name, facts in told.items() if facts}
        self.end(network)
        return network

    def order(self, generator: np.random.Generator, batch: int) -> Rows:
        """Return the rows of an epoch in the order they are trained on, for batches of `batch`."""
        return generator.permutation(self.facts.examples)

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write into a new run's folder what else belongs to it."""

    @abstractmethod
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
        """Add to each parameter's gradient this process' part of a step's.

        Args:
            network: what is trained, on its device.
            rows: of the whole batch.
            share: which of them are this process'.
            place: the phase and the step in it.
            generator: of the step; alike in all processes.
            ranks: the processes, over which gradients are averaged afterwards.
            frozen: the teacher, in a phase that has a frozen one.
        """

    @abstractmethod
    def judge(self, network: nn.Module, arch: ArchConfig, split: Split) -> Metric:
        """Return the quality of `arch`, as it would be cut from the trained `network`."""

    @abstractmethod
    def load(self, archs: list[ArchConfig]) -> None:
        """Read what judging `archs` needs, which is no part of the time it takes."""

    @abstractmethod
    def cut(self, network: nn.Module, arch: ArchConfig, *, folder: Path, home: Home) -> dict[str, Any]:
        """Save `arch` as programs in `folder` and return those fields of its `Subnet` that tell of them."""

    @property
    def extremes(self) -> dict[str, ArchConfig]:
        """The networks whose quality a summary tells, by what they are called there."""
        return {"largest": self.space.largest(), "smallest": self.space.smallest()}

    def reached(self, network: nn.Module) -> dict[str, float]:
        """Return what a summary tells of quality."""
        told = {}
        for name, arch in self.extremes.items():
            metric = self.judge(network, arch, "selection")
            told[f"{name}_{metric.name}"] = metric.value
        return told


def task_of(name: str) -> type[Task]:
    """Return the task of a name; `UnknownVariant` where there is none."""
    return variants.load(Task, TASKS, name)
