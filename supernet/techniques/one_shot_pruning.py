"""Magnitude pruning in one go: behind the last step, or before it with the rest of the run to mend."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from supernet.techniques._sparse import SparseTechnique


@dataclass(frozen=True, kw_only=True)
class OneShotPruning(SparseTechnique):
    """At the share `at` of the steps the smallest weights are pruned; what then remains is fine-tuned.

    With `at` of 1 nothing is trained behind it.
    """

    sparsity: float = 0.9
    at: float = 1.0

    def check(self, network: nn.Module) -> None:
        super().check(network)
        self.check_share("sparsity", below=1)
        self.check_share("at")

    def after_step(self, network: nn.Module, step: int, steps: int) -> None:
        if step + 1 == max(round(self.at * steps), 1):
            self.prune(network, self.sparsity, again=False)
