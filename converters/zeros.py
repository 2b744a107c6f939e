"""The check that a pruned network's zeros have reached its file."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from torch.export import ExportedProgram

from converters.programs import weights_of
from edge_bench.errors import ConversionError

# The share of the zeros that may be missing in a file: of weights that a converter folded into each other.
MISSING = 0.001
Counts = tuple[int, int]


def summed(tensors: Iterable[tuple[int, npt.NDArray[np.generic]]]) -> Counts:
    """Return how many weights there are, and how many are zero.

    Args:
        tensors: of each how many entries it has, and those that are written.
    """
    weights = zeros = 0
    for size, values in tensors:
        weights += size
        zeros += size - int(np.count_nonzero(values))
    return weights, zeros


def check(zeros: int, program: ExportedProgram, sparsity: float) -> None:
    """Check the zeros that a file in fp32 holds.

    Args:
        zeros: how many were counted in it.
        program: what it was made of.
        sparsity: the share of zeros that the network's record tells.

    Raises:
        ConversionError: there are fewer: a mask was not written into the weights.
    """
    expected = sparsity * weights_of(program, least_sides=2)
    if zeros < (1 - MISSING) * expected - 1:
        raise ConversionError(
            f"the file holds {zeros:,} zeros among its weights, and the network's record tells of "
            f"{expected:,.0f}",
            hint="cut the network again: edge-bench extract writes its mask into the weights",
        )
