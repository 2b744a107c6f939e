"""The choice among candidates within a budget, with its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_bench.choose.landscape import Landscape
from edge_bench.choose.presets import Preset, chosen_by
from edge_bench.choose.reasons import changes, reasons
from edge_bench.errors import ConfigError, NoCandidate
from edge_bench.records import Budget, Candidate
from edge_bench.records.frontier import Source

# Beside the recommended one: five in all.
ALTERNATIVES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One recommendation, what else was near on the front, and in sentences why, and what would change it.

    `budget` and `preset` are what was asked for, of the candidates in `land`.
    """

    recommended: Candidate
    alternatives: tuple[Candidate, ...]
    reasons: tuple[str, ...]
    changes: tuple[str, ...]
    land: Landscape
    budget: Budget
    preset: Preset

    @property
    def members(self) -> tuple[Candidate, ...]:
        """The recommended one and the alternatives, fastest first."""
        return tuple(sorted((self.recommended, *self.alternatives), key=lambda one: one.latency_ms))


def pick(candidates: Sequence[Candidate], budget: Budget, *, preset: Preset = "accuracy") -> Pick:
    """Choose within a budget, on the selection split, as `presets.chosen_by` says.

    Raises:
        NoCandidate: nothing fits; the message names the nearest miss.
        ConfigError: the candidates are of different data or metrics, which no order compares.
    """
    if not candidates:
        raise NoCandidate("there is no candidate", hint="edge-bench quickstart fills the store")
    kinds = sorted({one.judged_by for one in candidates})
    if len(kinds) > 1:
        raise ConfigError(
            f"the candidates cannot be compared: they are judged by {' and '.join(kinds)}",
            hint="name the run or the data to choose among: --run, --data",
        )
    land = Landscape.of(candidates, budget)
    front = land.front()
    if not front:
        raise NoCandidate(*_nearest_miss(candidates, budget))
    # What a preset chooses is never dominated.
    chosen = chosen_by(preset, front)
    others = [one for one in front if one is not chosen]
    others.sort(key=lambda one: abs(one.latency_ms - chosen.latency_ms))
    return Pick(
        recommended=chosen,
        alternatives=tuple(sorted(others[:ALTERNATIVES], key=lambda one: one.latency_ms)),
        reasons=tuple(reasons(chosen, land, budget, preset)),
        changes=tuple(changes(chosen, land, preset)),
        land=land,
        budget=budget,
        preset=preset,
    )


def _nearest_miss(candidates: Sequence[Candidate], budget: Budget) -> tuple[str]:
    def excess(one: Candidate) -> float:
        shares = (cost / limit if limit > 0 else float("inf") for _, _, cost, limit in _spent(one, budget))
        return max(shares, default=0.0)

    nearest = min(candidates, key=lambda one: (excess(one), one.latency_ms))
    told = [
        f"{word} {cost:.4g} {unit} against at most {limit:.4g}"
        for word, unit, cost, limit in _spent(nearest, budget)
        if cost > limit
    ]
    return (f"nothing fits the budget; the nearest miss is {nearest.name} with {' and '.join(told)}",)


def _spent(one: Candidate, budget: Budget) -> list[tuple[str, str, float, float]]:
    """Return (what, unit, cost, limit) for each limit of the budget whose cost is known."""
    size_mb = None if one.size_bytes is None else one.size_bytes / 1e6
    rows = (
        ("latency", "ms", one.latency_ms, budget.max_latency_ms),
        (_marked("size", one.size_source), "MB", size_mb, budget.max_size_mb),
        (_marked("peak memory", one.memory_source), "MB", one.peak_memory_mb, budget.max_peak_memory_mb),
    )
    return [
        (what, unit, cost, limit)
        for what, unit, cost, limit in rows
        if cost is not None and limit is not None
    ]


def _marked(what: str, source: Source | None) -> str:
    return f"predicted {what}" if source == "predicted" else what
