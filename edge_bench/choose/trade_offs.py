"""What a choice rests on, as data: what it dominates, what its neighbours cost, what would change it."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edge_bench.choose.presets import PRESETS, Preset, chosen_by
from edge_bench.records import Budget, Candidate, Frontier


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


def dominance(chosen: Candidate, everything: Sequence[Candidate]) -> Dominance:
    """Return what `chosen`, one of `everything`, dominates.

    Near is what lies near on the chart: latencies on a logarithmic scale and qualities count alike, each
    as a share of what the candidates span.
    """
    beaten = [one for one in everything if chosen.dominates(one)]
    logs = [math.log(max(one.latency_ms, 1e-12)) for one in everything]
    qualities = [one.quality for one in everything]
    wide, tall = (max(values) - min(values) or 1.0 for values in (logs, qualities))

    def distance(one: Candidate) -> float:
        ratio = max(one.latency_ms, 1e-12) / max(chosen.latency_ms, 1e-12)
        return math.hypot(math.log(ratio) / wide, (chosen.quality - one.quality) / tall)

    return Dominance(
        count=len(beaten), others=len(everything) - 1, nearest=min(beaten, key=distance, default=None)
    )


def with_room(candidates: Sequence[Candidate], budget: Budget) -> list[Candidate]:
    """Return the candidates that keep to every limit but that of the latency."""
    other = replace(budget, max_latency_ms=None)
    return [one for one in candidates if other.admits(one)]


def exchanges(candidates: Sequence[Candidate]) -> tuple[Exchange, ...]:
    """Return what each step costs along the front of `candidates`, fastest first."""
    members = Frontier.of(candidates).members
    return tuple(
        Exchange(faster=one, better=other) for one, other in zip(members, members[1:], strict=False)
    )


def tighter(candidates: Sequence[Candidate], budget: Budget, preset: Preset) -> Switch:
    """Return the latency below which the answer is another one, and which.

    Something among `candidates` has to fit the budget, as in all that follows.
    """
    members = Frontier.of(one for one in candidates if budget.admits(one)).members
    chosen = chosen_by(preset, members)
    # Those of a front that are at most so slow are the front of all that are.
    for place in range(len(members) - 1, 0, -1):
        then = chosen_by(preset, members[:place])
        if then is not chosen:
            return Switch(limit_ms=members[place].latency_ms, then=then)
    return Switch(limit_ms=members[0].latency_ms, then=None)


def looser(candidates: Sequence[Candidate], budget: Budget, preset: Preset) -> Switch | None:
    """Return the least latency that has to be allowed for another answer; None where none is enough."""
    if budget.max_latency_ms is None:
        return None
    members = Frontier.of(with_room(candidates, budget)).members
    fitting = bisect.bisect_right(members, budget.max_latency_ms, key=lambda one: one.latency_ms)
    chosen = chosen_by(preset, members[:fitting])
    for place in range(fitting, len(members)):
        then = chosen_by(preset, members[: place + 1])
        if then is not chosen:
            return Switch(limit_ms=members[place].latency_ms, then=then)
    return None


def other_presets(
    candidates: Sequence[Candidate], budget: Budget, preset: Preset
) -> dict[Preset, Candidate]:
    """Return what each other preset chooses, where that is another one."""
    fitting = [one for one in candidates if budget.admits(one)]
    chosen = chosen_by(preset, fitting)
    answers = {name: chosen_by(name, fitting) for name in PRESETS if name != preset}
    return {name: one for name, one in answers.items() if one is not chosen}


def flips(candidates: Sequence[Candidate], budget: Budget, preset: Preset) -> list[Flip]:
    """Return what measuring one candidate could change: first of the chosen one, then the nearest to it.

    Each candidate is moved to an end of its interval while all others stay where they are.
    """
    room = with_room(candidates, budget)
    front = Frontier.of(one for one in room if budget.admits(one))
    chosen = chosen_by(preset, front.members)
    # Without one of the front, those that only it dominated are next.
    base = [*front.members, *Frontier.of(front.dominated).members]
    limit = math.inf if budget.max_latency_ms is None else budget.max_latency_ms
    found = []
    for one, at_ms in _moves(room, front.members, limit):
        moved = replace(one, latency_ms=at_ms)
        rest = [other for other in base if other is not one]
        fitting = [*rest, moved] if at_ms <= limit else rest
        then = chosen_by(preset, fitting) if fitting else None
        then = one if then is moved else then
        if then is not chosen:
            found.append(Flip(candidate=one, at_ms=at_ms, then=then))

    def apart(flip: Flip) -> tuple[bool, float]:
        one = flip.candidate
        return one is not chosen, abs(one.latency_ms - chosen.latency_ms)

    return sorted(found, key=apart)


def _moves(
    room: Sequence[Candidate], members: Sequence[Candidate], limit: float
) -> Iterator[tuple[Candidate, float]]:
    """Yield candidates with those ends of their intervals at which they may change what is chosen."""
    latencies = [one.latency_ms for one in members]
    own = set(map(id, members))
    for one in room:
        low, high = one.latency_low_ms, one.latency_high_ms
        if id(one) in own:
            yield from ((one, at_ms) for at_ms in (low, high) if at_ms != one.latency_ms)
        elif low < one.latency_ms and low <= limit:
            # The best of those that are as fast; a better one would still dominate it.
            place = bisect.bisect_right(latencies, low)
            if not place or members[place - 1].quality < one.quality:
                yield one, low
