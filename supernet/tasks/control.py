"""Acting in environments: a policy is learned by advantage actor-critic and judged by its return."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edge_bench.data import ControlSource, open_control
from edge_bench.episodes import Episodes, Observations
from edge_bench.errors import ConfigError
from edge_bench.files import Home, sha256_of
from edge_bench.records import ArchConfig, Metric, ObservationInput, PlainSpace
from edge_bench.records.subnet import Split
from supernet.actor_critic import Going, block_loss
from supernet.draws import drawing, weights_seed
from supernet.models.policy import ActorCritic, Policy
from supernet.phases import Place
from supernet.programs import save_program, sparsity_of
from supernet.ranks import Ranks
from supernet.run import RunConfig, RunRecord, open_model
from supernet.step import StepResult
from supernet.tasks import Facts, Rows, Task
from supernet.tasks._start import started

# Above these are the seeds of episodes that a policy is judged on.
_SEEDS = 2**30


class Control(Task):
    """A step is a block of `batch_size` frames: as many steps in each of the environments.

    All episodes begin anew, by seeds that follow from the step, where a run may go on from a checkpoint:
    with each epoch, and every `checkpoint_steps`. So the environments' own state is in no checkpoint, and a
    run that was interrupted ends as an undisturbed one. What is cut off there is bootstrapped like any end
    of a block. Training draws seeds that no policy is judged on.
    """

    unit = "frames"
    learned: ClassVar[str] = "training_return"
    space: PlainSpace

    def __init__(self, config: RunConfig, source: ControlSource, model: Mapping[str, Any]) -> None:
        self.config, self.source, self._model = config, source, model
        self.techniques = config.open_techniques()
        self.technique = "+".join(self.techniques) or "plain"
        opened = open_model(model)
        assert isinstance(opened, Policy)
        self.policy = opened
        self._shown = source.open(1)
        sizes = {"observed": self._shown.size, "actions": self._shown.actions}
        self.space = self.policy.space(**sizes)
        with drawing(weights_seed(config.seed)):
            self._network = self.policy.build(**sizes)
        self._going: Going | None = None
        self._episodes: dict[Split, Episodes] = {}

    @classmethod
    def begun(cls, config: RunConfig, home: Home, folder: Path) -> Self:
        source = open_control(config.data)
        frames = config.training.batch_size
        if frames % source.environments or frames > source.epoch_frames:
            raise ConfigError(
                f"training.batch_size is {frames}; it must be a multiple of data.environments "
                f"({source.environments}), and no epoch ({source.epoch_frames} frames) is shorter",
                hint=f"for blocks of 4 steps: --set training.batch_size={4 * source.environments}",
            )
        if not config.start:
            return cls(config, source, config.model)
        begun = started(config, home)
        task = cls(config, source, begun.record.model or begun.record.config.model)
        if task.space != begun.task.space:
            raise ConfigError(
                f"[start] run '{config.start.run}' has learned another environment, of other sizes"
            )
        assert isinstance(begun.network, ActorCritic)
        task._network = begun.network
        return task

    @classmethod
    def of_run(cls, record: RunRecord, home: Home, folder: Path) -> Self:
        return cls(record.config, open_control(record.config.data), record.model or record.config.model)

    @property
    def facts(self) -> Facts:
        return Facts(
            observation=self._observation,
            examples=self.source.epoch_frames,
            model=self._model if self.config.start else {},
            arch=self.space.largest(),
        )

    def network(self, seed: int) -> ActorCritic:
        return self._network

    def judged_network(self) -> ActorCritic:
        return copy.deepcopy(self._network)

    def drawn(self, seed: int) -> ActorCritic:
        with drawing(weights_seed(seed)):
            return self.policy.build(observed=self._shown.size, actions=self._shown.actions)

    def order(self, generator: np.random.Generator, batch: int) -> Rows:
        """Return the frames as they come: there are none to choose from."""
        return np.arange(self.facts.examples)

    def save(self, folder: Path) -> None:
        """Nothing: the record says all of the environments."""

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
        assert isinstance(network, ActorCritic)
        if ranks.count > 1:
            raise ConfigError("a policy is trained in one process; torchrun started several")
        if self._going is None or self._begins_anew(place.step):
            self._going = self._begun(int(generator.integers(_SEEDS)))
        loss, returns = block_loss(network, self._going, self.policy, len(rows), generator)
        loss.backward()  # type: ignore[no-untyped-call]
        return StepResult(losses=(loss.item(),), right=sum(returns), answers=len(returns))

    def judge(self, network: nn.Module, arch: ArchConfig, split: Split) -> Metric:
        assert isinstance(network, ActorCritic)
        self.space.check(arch)
        return self._metric(network.policy(), split)

    def load(self, archs: list[ArchConfig]) -> None:
        self._loaded("selection")

    def cut(self, network: nn.Module, arch: ArchConfig, *, folder: Path, home: Home) -> dict[str, Any]:
        assert isinstance(network, ActorCritic)
        self.space.check(arch)
        policy, path = network.policy().cpu(), folder / "program.pt2"
        # Exported at batch 2: at 1, the batch dimension would silently be fixed.
        example = torch.zeros(2, self._shown.size)
        save_program(policy, (example,), {"observation": {0: torch.export.Dim("batch")}}, path)
        splits: tuple[Split, Split] = ("selection", "test")
        return {
            "program": home.relative(path),
            "digest": sha256_of(path),
            "params": sum(parameter.numel() for parameter in policy.parameters()),
            "sparsity": sparsity_of(policy),
            "metrics": tuple(self._metric(policy, split) for split in splits),
            "observation": self._observation,
        }

    @property
    def _observation(self) -> ObservationInput:
        return ObservationInput(environment=self.source.environment, size=self._shown.size)

    def _begins_anew(self, step: int) -> bool:
        training = self.config.training
        epoch = step % training.steps_per_epoch(self.facts.examples) == 0
        return epoch or bool(training.checkpoint_steps and step % training.checkpoint_steps == 0)

    def _begun(self, seed: int) -> Going:
        environments = (
            self._going.environments if self._going else self.source.open(self.source.environments)
        )
        return Going.begun(environments, seed)

    def _loaded(self, split: Split) -> Episodes:
        if split not in self._episodes:
            self._episodes[split] = self.source.load(split)
        return self._episodes[split]

    def _metric(self, policy: nn.Module, split: Split) -> Metric:
        def logits(observed: Observations) -> npt.NDArray[Any]:
            with torch.inference_mode():
                told: npt.NDArray[Any] = policy(torch.from_numpy(observed)).numpy()
            return told

        return self._loaded(split).metric(logits, split)
