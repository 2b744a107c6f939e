"""Schedules: how a run's epochs become phases, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from supernet.phases import Phase


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """A way to train a supernet. A variant's fields are the options of the `[schedule]` table."""

    @abstractmethod
    def phases(self, *, epochs: int, learning_rate: float) -> tuple[Phase, ...]:
        """Return the phases of a run of `epochs` whose peak is `learning_rate`; the last opens all."""


def allotted(epochs: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Return `epochs` split in whole numbers by `shares`, by largest remainder; the last gets at least 1.

    The sum is always `epochs`; where there are fewer epochs than shares, some get none.
    """
    exact = [epochs * share / sum(shares) for share in shares]
    given = [int(value) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda n: (given[n] - exact[n], -n))
    for n in by_remainder[: epochs - sum(given)]:
        given[n] += 1
    if not given[-1]:
        given[given.index(max(given))] -= 1
        given[-1] = 1
    return tuple(given)
