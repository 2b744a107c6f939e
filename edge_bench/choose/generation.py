"""What a text takes that is generated: a network once for its source, and a step for each token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge_bench.records import BenchmarkResult
from edge_bench.records.frontier import Generation, Source

# The worst of several counts.
_VERDICTS = ("", "clean", "noisy", "throttled", "inconclusive")
_SOURCES: tuple[Source, ...] = ("measured", "imported", "predicted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A latency with its bounds, and how it is known; the fields mean what they do in a `Candidate`."""

    ms: float
    low_ms: float
    high_ms: float
    source: Source
    runtime: str
    threads: int
    verdict: str = ""
    warning: str = ""
    origin: str = ""
    told_as: str = "median"


def runs_network(task: str) -> bool:
    """Say whether a text takes its network's file once, beside the steps.

    A translation does: its network is the encoder. A language model's network only judges a text, so that
    a text it continues takes steps alone.
    """
    return task == "translation"


def of_text(network: Timed | None, step: Timed, *, tokens: float) -> tuple[Timed, Generation]:
    """Return the latency of a text of `tokens` tokens, and of what it consists.

    Bounds are added up, as if both files were at their worst at once; of verdicts, and of how the
    latencies are known, the worst counts.

    Args:
        network: of a run of the network; None where steps alone are run (`runs_network`).
        step: of one token.
    """
    once = (network,) if network else ()
    parts = (*once, step)
    timed = Timed(
        ms=tokens * step.ms + sum(one.ms for one in once),
        low_ms=tokens * step.low_ms + sum(one.low_ms for one in once),
        high_ms=tokens * step.high_ms + sum(one.high_ms for one in once),
        source=max((one.source for one in parts), key=_SOURCES.index),
        runtime=step.runtime,
        threads=step.threads,
        verdict=max((one.verdict for one in parts), key=_VERDICTS.index),
        warning=next((one.warning for one in parts if one.warning), ""),
        origin=next((one.origin for one in parts if one.origin), ""),
        told_as=next((one.told_as for one in parts if one.told_as != "median"), "median"),
    )
    return timed, Generation(tokens=tokens, network_ms=network.ms if network else 0.0, token_ms=step.ms)


def summed_peaks(results: Sequence[BenchmarkResult | None]) -> dict[str, Any]:
    """Return the peak memory of a process that runs both files, at most: that of two, one for each.

    Nothing where one of them was not weighed.
    """
    weighed = [one for one in results if one and one.peak_memory_mb is not None]
    if len(weighed) < len(results):
        return {}
    here = all(one.measured_here for one in weighed)
    return {
        "peak_memory_mb": sum(one.peak_memory_mb or 0.0 for one in weighed),
        "memory_source": "measured" if here else "imported",
    }
