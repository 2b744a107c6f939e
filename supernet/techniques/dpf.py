"""Dynamic model pruning with feedback (Lin, Stich, Barba, Dmitriev and Jaggi, 2020): sparse in one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from supernet.sparsity import masked
from supernet.techniques._sparse import RampedTechnique


@dataclass(frozen=True, kw_only=True)
class Dpf(RampedTechnique):
    """The network answers with its masked weights, and the gradient moves all of them.

    So a weight pruned too early grows back: w ← w − rate · gradient(mask · w). Nothing is
    retrained behind the run. The paper leaves the last layer dense, here only what `exclude` names.
    """

    through: ClassVar[type[masked.Masked]] = masked.StraightThrough
    regrows: ClassVar[bool] = True

    def facts(self, network: nn.Module) -> Mapping[str, Any]:
        regrown = sum(int(one.regrown) for one in masked.masks_in(network).values())
        return {**super().facts(network), "reactivated": regrown}
