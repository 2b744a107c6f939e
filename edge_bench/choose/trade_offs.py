"""What a choice rests on, as data: what it dominates, what its neighbours cost, what would change it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_bench.choose.landscape import Landscape
from edge_bench.choose.presets import PRESETS, Preset, chosen_by
from edge_bench.records import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Dominance:
    """How many of `others` a candidate dominates, and the one of them that comes nearest; None of none."""

    count: int
    others: int
    nearest: Candidate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Two neighbours on a front: what the `better` gives over the `faster`, and what it costs."""

    faster: Candidate
    better: Candidate

    @property
    def extra_ms(self) -> float:
        return self.better.latency_ms - self.faster.latency_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A latency budget in ms at which the answer becomes another one: `then`, None where nothing fits."""

    limit_ms: float
    then: Candidate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """What a measurement could change: were `candidate` to take `at_ms`, an end of its interval, the answer
    would be `then`, None where nothing fits any more.
    """

    candidate: Candidate
    at_ms: float
    then: Candidate | None


def dominance(chosen: Candidate, land: Landscape) -> Dominance:
    """Return which of all candidates `chosen`, one of them, dominates.

    Near is what lies near on the chart: latencies on a logarithmic scale and qualities count alike, each
    as a share of what the candidates span.
    """
    slower = land.latencies_ms - chosen.latency_ms
    worse = chosen.quality - land.qualities
    (beaten,) = np.nonzero((slower >= 0) & (worse >= 0) & ((slower > 0) | (worse > 0)))
    nearest = None
    if len(beaten):
        logs = np.log(np.maximum(land.latencies_ms, 1e-12))
        wide, tall = (float(np.ptp(values)) or 1.0 for values in (logs, land.qualities))
        right = (logs[beaten] - math.log(max(chosen.latency_ms, 1e-12))) / wide
        nearest = land.candidates[beaten[np.hypot(right, worse[beaten] / tall).argmin()]]
    return Dominance(count=len(beaten), others=len(land.candidates) - 1, nearest=nearest)


def exchanges(land: Landscape) -> tuple[Exchange, ...]:
    """Return what each step costs along the front, fastest first, beyond the budget for latency too."""
    members = land.at(land.first)
    return tuple(
        Exchange(faster=one, better=other) for one, other in zip(members, members[1:], strict=False)
    )


def tighter(land: Landscape, preset: Preset) -> Switch:
    """Return the latency below which the answer is another one, and which.

    Something has to fit the budget, as in all that follows.
    """
    members = land.front()
    chosen = chosen_by(preset, members)
    for place in range(len(members) - 1, 0, -1):
        then = chosen_by(preset, members[:place])
        if then is not chosen:
            return Switch(limit_ms=members[place].latency_ms, then=then)
    return Switch(limit_ms=members[0].latency_ms, then=None)


def looser(land: Landscape, preset: Preset) -> Switch | None:
    """Return the least latency that has to be allowed for another answer; None where none is enough."""
    members = land.at(land.first)
    chosen = chosen_by(preset, members[: land.reached])
    for place in range(land.reached, len(members)):
        then = chosen_by(preset, members[: place + 1])
        if then is not chosen:
            return Switch(limit_ms=members[place].latency_ms, then=then)
    return None


def other_presets(land: Landscape, preset: Preset) -> dict[Preset, Candidate]:
    """Return what each other preset chooses, where that is another one."""
    members = land.front()
    chosen = chosen_by(preset, members)
    answers = {name: chosen_by(name, members) for name in PRESETS if name != preset}
    return {name: one for name, one in answers.items() if one is not chosen}


def flips(land: Landscape, preset: Preset) -> list[Flip]:
    """Return what measuring one candidate could change: first of the chosen one, then the nearest to it.

    Each candidate is moved to an end of its interval while all others stay where they are.
    """
    members = land.front()
    chosen = chosen_by(preset, members)
    base = [*members, *land.next_to_front()]
    found = []
    for one, at_ms in _moves(land, members):
        moved = replace(one, latency_ms=at_ms)
        rest = [other for other in base if other is not one]
        fitting = [*rest, moved] if at_ms <= land.limit_ms else rest
        then = chosen_by(preset, fitting) if fitting else None
        then = one if then is moved else then
        if then is not chosen:
            found.append(Flip(candidate=one, at_ms=at_ms, then=then))

    def apart(flip: Flip) -> tuple[bool, float]:
        one = flip.candidate
        return one is not chosen, abs(one.latency_ms - chosen.latency_ms)

    return sorted(found, key=apart)


def _moves(land: Landscape, members: Sequence[Candidate]) -> Iterator[tuple[Candidate, float]]:
    """Yield candidates with those ends of their intervals at which they may change what is chosen."""
    for one in members:
        for at_ms in (one.latency_low_ms, one.latency_high_ms):
            if at_ms != one.latency_ms:
                yield one, at_ms
    # Of the others those that would be on the front at their lower end.
    others = np.setdiff1d(land.room, land.first[: land.reached])
    lows = land.lows_ms[others]
    others = others[(lows < land.latencies_ms[others]) & (lows <= land.limit_ms)]
    faster = np.searchsorted([one.latency_ms for one in members], land.lows_ms[others], side="right")
    best = np.array([-math.inf, *(one.quality for one in members)])[faster]
    for place in others[land.qualities[others] > best]:
        one = land.candidates[place]
        yield one, one.latency_low_ms
