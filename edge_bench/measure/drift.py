"""How the latency of a sustained measurement moved from its start to its end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_bench.records.result import BenchmarkResult
from edge_bench.statistics import percentile

# Start and end are a tenth each, of this many blocks at least: fewer hold no interval.
SHARE = 0.1
FEWEST = 5
RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The median latency at the start and at the end, and their ratio with its 95 % interval."""

    start_ms: float
    end_ms: float
    ratio: float
    low: float
    high: float


def drift(result: BenchmarkResult) -> Drift | None:
    """Return how the end of a sustained measurement compares with its start, else None.

    The interval comes from resampling whole blocks (Efron, 1979): the runs of a block resemble each
    other, so a block is one observation, its median. None too where fewer than ten blocks count.
    """
    blocks = [block.latencies_ns for block in result.blocks if block.counted]
    part = max(FEWEST, round(len(blocks) * SHARE))
    if result.mode != "sustained" or len(blocks) < 2 * part:
        return None
    start, end = (
        np.array([percentile(block, 50) / 1e6 for block in side])
        for side in (blocks[:part], blocks[-part:])
    )
    generator = np.random.default_rng(0)
    ratios = np.median(generator.choice(end, (RESAMPLES, part)), axis=1) / np.median(
        generator.choice(start, (RESAMPLES, part)), axis=1
    )
    middle_start, middle_end = float(np.median(start)), float(np.median(end))
    missed = (1 - CONFIDENCE) / 2
    return Drift(
        start_ms=middle_start,
        end_ms=middle_end,
        ratio=middle_end / middle_start,
        low=float(np.quantile(ratios, missed)),
        high=float(np.quantile(ratios, 1 - missed)),
    )
