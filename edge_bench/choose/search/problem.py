"""What a search is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_bench.choose.encoding import Encoding, Rows

Floats = npt.NDArray[np.float64]
Score = Callable[[Rows], Floats]
"""Takes canonical rows [n, columns] and returns one number [n] for each."""
Method = Literal["exact merge", "enumeration", "NSGA-II"]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A cost that must be at most `at_most` (in the cost's own unit, above 0)."""

    name: str
    cost: Score
    at_most: float

    def excess(self, rows: Rows) -> Floats:
        """Return by which part of the limit each row is above it; 0 where it is not."""
        return np.maximum(self.cost(rows) / self.at_most - 1, 0.0)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Which architectures give the most quality for their cost, within limits.

    Attributes:
        quality: more is better.
        cost: what it is traded against; a limit on it is one of `limits` like any other.
        limits: what an architecture may spend.
    """

    encoding: Encoding
    quality: Score
    cost: Score
    limits: tuple[Limit, ...] = ()

    def excess(self, rows: Rows) -> Floats:
        """Return the largest excess over a limit [n], as a part of that limit; 0 within all."""
        largest = np.zeros(len(rows))
        for limit in self.limits:
            np.maximum(largest, limit.excess(rows), out=largest)
        return largest


@dataclass(frozen=True, kw_only=True)
class Found:
    """The front within the limits, cheapest first, and how it was found.

    Attributes:
        rows: [points, columns] canonical.
        qualities, costs: [points] as the problem's `quality` and `cost` give them for the rows.
        method: "exact merge" and "enumeration" leave out no architecture that belongs to the front.
        considered: how many architectures were scored, or by exact pruning known not to matter.
    """

    rows: Rows
    qualities: Floats
    costs: Floats
    method: Method
    considered: int
