"""What shuffles share: weights that change places within a group."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from supernet.perturbations import Perturbation, Point
from supernet.sparsity.masks import Mask

Groups = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Shuffle(Perturbation):
    """With `keep_signs` a weight changes places with those of its own sign alone, so that both the signs at
    each place and the values in each group stay as they were; a zero counts as positive.
    """

    usual: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"keep_signs": True})

    keep_signs: bool = False

    @abstractmethod
    def groups(self, mask: Mask) -> Groups:
        """Return the number of its group for each weight that stands [n], in the order of `changed`."""

    def changed(self, point: Point, stands: Tensor, generator: np.random.Generator) -> Tensor:
        groups = self.groups(point.mask)
        if self.keep_signs:
            groups = 2 * groups + (stands < 0).cpu().numpy()
        drawn = generator.random(len(groups))
        places = torch.from_numpy(np.argsort(groups, kind="stable")).to(stands.device)
        sources = torch.from_numpy(np.lexsort((drawn, groups))).to(stands.device)
        shuffled = torch.empty_like(stands)
        shuffled[places] = stands[sources]
        return shuffled
