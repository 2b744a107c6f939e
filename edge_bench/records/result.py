"""A measurement: raw latencies kept, summaries derived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edge_bench.records.artifact import Precision
from edge_bench.statistics import percentile

# The device that every command measures on unless another is named.
THIS_MACHINE = "this-machine"
Verdict = Literal["clean", "noisy", "throttled", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingBlock:
    """A run of back-to-back inferences. `reason` says why a block was not counted, else empty.

    `off_cpu` is the share of wall time in which the measuring threads did not run, or None where
    the platform does not tell.
    """

    latencies_ns: tuple[int, ...]
    counted: bool
    off_cpu: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkResult:
    """One model file on one device in one runtime; load, first and warm inference apart.

    `p50_low_ms` and `p50_high_ms` bound the median with 95 % confidence. `environment` is the
    fingerprint of the machine. `artifact` is the id of the stored artifact, or None for a stranger's.
    """

    id: str
    artifact: str | None
    model: str
    digest: str
    format: str
    precision: Precision
    device: str
    runtime: str
    runtime_version: str
    threads: int
    batch: int
    load_ms: float
    first_ms: float
    blocks: tuple[TimingBlock, ...]
    p50_low_ms: float
    p50_high_ms: float
    peak_memory_mb: float
    verdict: Verdict
    verdict_cause: str
    stopped_by: str
    environment: Mapping[str, Any]
    created: str

    @property
    def latencies_ms(self) -> tuple[float, ...]:
        """The warm latencies that count, in the order they were measured."""
        return tuple(ns / 1e6 for block in self.blocks if block.counted for ns in block.latencies_ns)

    @property
    def runs(self) -> int:
        return sum(len(block.latencies_ns) for block in self.blocks if block.counted)

    @property
    def p50_ms(self) -> float:
        return percentile(self.latencies_ms, 50)

    @property
    def p90_ms(self) -> float:
        return percentile(self.latencies_ms, 90)

    @property
    def p99_ms(self) -> float:
        return percentile(self.latencies_ms, 99)

    def summary(self) -> dict[str, Any]:
        """Return the fields that a table of results shows, raw latencies left out."""
        named = (
            "model format runtime runtime_version threads batch precision device p50_ms p50_low_ms"
            " p50_high_ms p90_ms p99_ms load_ms first_ms peak_memory_mb runs verdict verdict_cause"
            " stopped_by artifact digest created id"
        )
        return {name: getattr(self, name) for name in named.split()}
