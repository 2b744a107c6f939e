"""Candidates within a budget as arrays: which of them stand on the front, and which next to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_bench.records import Budget, Candidate

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """Candidates with what a choice among them rests on; fast at 10⁵ of them.

    Attributes:
        candidates: all of them, of one metric.
        limit_ms: the latency that may be spent; infinite where any will do.
        latencies_ms, lows_ms, qualities: of each candidate; of qualities more is better.
        room: the places of those that keep to every limit but that of the latency.
        first: of these the front (`Frontier`), fastest first.
        second: the front of what that leaves: what is on the front next, where one of the first goes.
    """

    candidates: Sequence[Candidate]
    limit_ms: float
    latencies_ms: Numbers
    lows_ms: Numbers
    qualities: Numbers
    room: Places
    first: Places
    second: Places

    @classmethod
    def of(cls, candidates: Sequence[Candidate], budget: Budget) -> Landscape:
        """Return the landscape of candidates for a budget."""
        latencies = np.array([one.latency_ms for one in candidates], np.float64)
        qualities = np.array([one.quality for one in candidates], np.float64)
        places = np.arange(len(candidates))
        other = replace(budget, max_latency_ms=None)
        if other != Budget():
            places = places[[other.admits(one) for one in candidates]]
        first, rest = _front(places, latencies, qualities)
        second, _ = _front(rest, latencies, qualities)
        return cls(
            candidates=candidates,
            limit_ms=math.inf if budget.max_latency_ms is None else budget.max_latency_ms,
            latencies_ms=latencies,
            lows_ms=np.array([one.latency_low_ms for one in candidates], np.float64),
            qualities=qualities,
            room=places,
            first=first,
            second=second,
        )

    @property
    def fitting(self) -> int:
        """How many keep to the budget."""
        return int((self.latencies_ms[self.room] <= self.limit_ms).sum())

    def front(self) -> list[Candidate]:
        """Return the front of those that keep to the budget, fastest first."""
        return self.at(self.first[: self.reached])

    def next_to_front(self) -> list[Candidate]:
        """Return the front of those that keep to the budget and are not on theirs."""
        places = self.second[self.latencies_ms[self.second] <= self.limit_ms]
        return self.at(places)

    @property
    def reached(self) -> int:
        """How many of the first front keep to the budget: what is left of a front that is cut off at a
        latency is the front of what is left.
        """
        return int(np.searchsorted(self.latencies_ms[self.first], self.limit_ms, side="right"))

    def at(self, places: Places) -> list[Candidate]:
        """Return the candidates at some places."""
        return [self.candidates[place] for place in places]


def _front(places: Places, latencies: Numbers, qualities: Numbers) -> tuple[Places, Places]:
    """Return the front, fastest first, and the rest; of equals the first given stays on the front."""
    if not len(places):
        return places, places
    ordered = places[np.lexsort((-qualities[places], latencies[places]))]
    before = np.concatenate([[-math.inf], np.maximum.accumulate(qualities[ordered])[:-1]])
    on_front = qualities[ordered] > before
    return ordered[on_front], np.sort(ordered[~on_front])
