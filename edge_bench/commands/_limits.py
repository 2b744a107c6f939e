"""The options that say what may be spent, of every command that chooses within a budget."""

from __future__ import annotations

import argparse

from edge_bench.choose.percentiles import MEDIAN, P90
from edge_bench.choose.presets import PRESETS
from edge_bench.errors import ConfigError
from edge_bench.records import Budget


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Declare limits on latency, size and memory, the percentile that is meant, and the preset."""
    parser.add_argument("--max-latency-ms", type=float, metavar="MS", help="budget for the latency")
    parser.add_argument(
        "--percentile",
        choices=(MEDIAN, P90),
        default=MEDIAN,
        help="of the latency: the median, or p90, which is known of files that were measured "
        f"(default: {MEDIAN})",
    )
    parser.add_argument(
        "--max-size-mb",
        type=float,
        metavar="MB",
        help="budget for the file; predicted where there is none yet",
    )
    parser.add_argument(
        "--max-peak-memory-mb",
        type=float,
        metavar="MB",
        help="budget for the whole process, as measured, else as predicted",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default="accuracy",
        help="accuracy: the best by its metric; balanced: the fastest within a point of that; "
        "speed: the fastest",
    )


def budget_of(options: argparse.Namespace) -> Budget:
    """Return the budget that options ask for; `ConfigError` where a limit is no number above 0."""
    return Budget(
        max_latency_ms=_positive("--max-latency-ms", options.max_latency_ms),
        max_size_mb=_positive("--max-size-mb", options.max_size_mb),
        max_peak_memory_mb=_positive("--max-peak-memory-mb", options.max_peak_memory_mb),
    )


def _positive(name: str, value: float | None) -> float | None:
    if value is not None and not 0 < value < float("inf"):
        raise ConfigError(f"{name} is {value:g}; a number above 0 is expected")
    return value
