"""What techniques that prune share: which weights, the masks they are seen through, and what is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import nn

from edge_bench import variants
from edge_bench.errors import ConfigError
from supernet.network import ElasticNetwork
from supernet.sparsity import masked, masks
from supernet.sparsity.masks import Scope, Statistics
from supernet.techniques import Technique


@dataclass(frozen=True, kw_only=True)
class SparseTechnique(Technique):
    """`exclude` are patterns of the names of weights that stay dense ("classifier.*", "*embedding*");
    with `biases` biases are pruned too. `scope` "global" compares the weights of all layers with each
    other, "layer" prunes each layer to the same share.
    """

    # A mask knows nothing of what is learned.
    tasks: ClassVar[tuple[str, ...]] = variants.names("supernet.tasks")
    # What weights are seen through.
    through: ClassVar[type[masked.Masked]] = masked.Masked

    scope: Scope = "global"
    exclude: tuple[str, ...] = ()
    biases: bool = False

    @property
    def table(self) -> str:
        """The run file's table, for messages."""
        return f"[techniques.{type(self).__module__.rpartition('.')[2]}]"

    def check(self, network: nn.Module) -> None:
        if isinstance(network, ElasticNetwork):
            raise ConfigError(
                f"{self.table} cannot prune the elastic network of space '{network.space.name}': its "
                "weights are shared by subnets of many widths and kernels, and no one mask fits them all",
                hint="train it without, then go on from one of its subnets: [start] with run and keep",
            )
        if masked.masks_in(network):
            raise ConfigError(
                f"{self.table} is given beside another technique that prunes; give one of them"
            )
        try:
            self._prunable(network)
        except ConfigError as error:
            raise ConfigError(f"{self.table} {error.message}", hint=error.hint) from error

    def begin(self, network: nn.Module) -> None:
        masked.attach(network, self._prunable(network), self.through)

    def finish(self, network: nn.Module) -> None:
        masked.detach(network)

    def facts(self, network: nn.Module) -> Mapping[str, Any]:
        told = Statistics.of(masked.mask_of(network))
        return {"pruned": told.sparsity, "weights": told.weights, "left_by_layer": told.left_by_layer}

    def prune(self, network: nn.Module, sparsity: float, *, again: bool) -> None:
        """Let the largest weights stand; with `again` those may stand that were pruned before."""
        dense = masked.dense_weights(network)
        mask = None if again else masked.mask_of(network)
        keep = masks.kept_count(sum(weight.numel() for weight in dense.values()), sparsity)
        masked.take(network, masks.largest(dense, keep, scope=self.scope, among=mask))

    def check_share(self, name: str, *, least: float = 0.0, below: float | None = None) -> None:
        """Raise a `ConfigError` where an option is no share from `least` to 1, or not `below` that."""
        share = getattr(self, name)
        if not least <= share <= 1 or (below is not None and share >= below):
            upto = "at most 1" if below is None else f"below {below:g}"
            raise ConfigError(f"{self.table} {name} is {share:g}; it must be at least {least:g} and {upto}")

    def _prunable(self, network: nn.Module) -> tuple[str, ...]:
        return masks.prunable(network, biases=self.biases, exclude=self.exclude)


@dataclass(frozen=True, kw_only=True)
class RampedTechnique(SparseTechnique):
    """Sparsity rises to `sparsity` along a cubic ramp; the mask is drawn anew every `refresh_steps`.

    The ramp ends at `ramp_end` of the steps; from `freeze` of them on the mask stays, so that what is
    trained in the end is the network that is judged.
    """

    # Whether weights that were pruned may stand again.
    regrows: ClassVar[bool]

    sparsity: float = 0.9
    refresh_steps: int = 16
    ramp_end: float = 0.75
    freeze: float = 0.9

    def check(self, network: nn.Module) -> None:
        super().check(network)
        self.check_share("sparsity", below=1)
        self.check_share("ramp_end")
        self.check_share("freeze", least=self.ramp_end)
        if self.refresh_steps < 1:
            raise ConfigError(f"{self.table} refresh_steps is {self.refresh_steps}; it must be at least 1")

    def before_step(
        self, network: nn.Module, generator: np.random.Generator, step: int, steps: int
    ) -> None:
        last = min(int(self.freeze * steps), steps - 1)
        if step < last and step % self.refresh_steps == 0 or step == last:
            progress = step / max(min(int(self.ramp_end * steps), last), 1)
            reached = 1.0 if step == last else masks.cubic_ramp(progress)
            self.prune(network, self.sparsity * reached, again=self.regrows)
