"""A measurement: raw latencies kept, summaries derived."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from edge_bench.records.artifact import Precision
from edge_bench.records.footprint import Footprint
from edge_bench.records.subnet import Metric, Split
from edge_bench.statistics import percentile, percentile_bound

# The device that every command measures on unless another is named.
THIS_MACHINE = "this-machine"
# Who measured a result, unless it was imported.
THIS_PROGRAM = "edge-bench"
Verdict = Literal["clean", "noisy", "throttled", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingBlock:
    """A run of inferences. `reason` says why a block was not counted, else empty.

    `off_cpu` is the share of wall time in which the measuring threads did not run, or None where
    the platform does not tell; `at_s` when the block began, counted from the first one;
    `temperature_c` and `frequency_mhz` what the hottest zone and the fastest core showed at its end.
    """

    latencies_ns: tuple[int, ...]
    counted: bool
    off_cpu: float | None
    reason: str = ""
    at_s: float | None = None
    temperature_c: float | None = None
    frequency_mhz: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """One operator of a profiled model: how long its calls took, of one inference.

    `share` is its part of the time of all operators; `where` the provider or delegate that ran it.
    """

    name: str
    kind: str
    mean_ms: float
    share: float
    calls: int = 1
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Which operators a provider or delegate ran: kind to how many of them.

    `wanted` is false where they fell back from the one that was asked for.
    """

    where: str
    operators: Mapping[str, int]
    wanted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkResult:
    """One model file on one device in one runtime; load, first and warm inference apart.

    `p50_low_ms` and `p50_high_ms` bound the median with 95 % confidence. `environment` is the
    fingerprint of the machine. `artifact` is the id of the stored artifact, or None for a stranger's.

    `mode` says when inferences were issued, `scenario` what one latency is of: a query of
    `samples_per_query` examples. `operators`, `placements` and `footprint` come from a pass of its
    own, `metrics` from running the file on labelled data. `loads_ms` are the loading times of every
    fresh process in cold mode, where `load_ms` is their median. `notes` are sentences on what could not
    be measured as asked, or was assumed. `origin` names who measured; where that is somebody else, there
    may be no raw latencies, what that one does not tell is None or empty, and `reported` holds that
    one's own statistics: `p50_ms`, `mean_ms`, or `latency_ms` where it does not say which. `length` is
    that of a text model's sequences, in tokens, where it was asked for another than its own.
    """

    id: str
    artifact: str | None
    model: str
    digest: str
    format: str
    precision: Precision | None
    device: str
    runtime: str
    runtime_version: str
    threads: int | None
    batch: int | None
    load_ms: float | None
    first_ms: float | None
    blocks: tuple[TimingBlock, ...]
    p50_low_ms: float | None
    p50_high_ms: float | None
    peak_memory_mb: float | None
    verdict: Verdict
    verdict_cause: str
    stopped_by: str
    environment: Mapping[str, Any]
    created: str
    mode: str = "burst"
    scenario: str = "single_stream"
    samples_per_query: int = 1
    interval_ms: float | None = None
    operators: tuple[OperatorTime, ...] = ()
    placements: tuple[Placement, ...] = ()
    metrics: tuple[Metric, ...] = ()
    loads_ms: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    footprint: Footprint | None = None
    origin: str = THIS_PROGRAM
    reported: Mapping[str, float] = field(default_factory=dict)
    length: int | None = None

    @property
    def latencies_ms(self) -> tuple[float, ...]:
        """The warm latencies that count, in the order they were measured."""
        return tuple(ns / 1e6 for block in self.blocks if block.counted for ns in block.latencies_ns)

    @property
    def plain(self) -> bool:
        """Whether its latencies are of single examples of the usual length, run back to back."""
        usual = self.batch == 1 and self.length is None
        return self.mode == "burst" and self.scenario == "single_stream" and usual

    @property
    def runs(self) -> int:
        return sum(len(block.latencies_ns) for block in self.blocks if block.counted)

    @property
    def measured_here(self) -> bool:
        """Whether edge-bench measured it; what others measured carries their own statistics."""
        return self.origin == THIS_PROGRAM

    @property
    def p50_is(self) -> str:
        """What `p50_ms` is: "median", "mean", or "one figure" of which nobody says what it is."""
        if self.latencies_ms or "p50_ms" in self.reported:
            return "median"
        return "mean" if "mean_ms" in self.reported else "one figure"

    @property
    def p50_ms(self) -> float:
        """The median; where no median is told, what `p50_is` says; where nothing is told, NaN."""
        told = self._percentile("p50_ms", 50)
        others = (self.reported[name] for name in ("mean_ms", "latency_ms") if name in self.reported)
        return next(others, math.nan) if told is None else told

    @property
    def p50_bounds_ms(self) -> tuple[float, float, float]:
        """The median and its bounds; where nobody told the bounds, they are the median itself."""
        middle = self.p50_ms
        low, high = self.p50_low_ms, self.p50_high_ms
        return middle, middle if low is None else low, middle if high is None else high

    @property
    def p90_ms(self) -> float | None:
        return self._percentile("p90_ms", 90)

    @property
    def p95_ms(self) -> float | None:
        return self._percentile("p95_ms", 95)

    @property
    def p99_ms(self) -> float | None:
        return self._percentile("p99_ms", 99)

    @property
    def samples_per_second(self) -> float | None:
        """Examples a second of the time spent running; None where runs do not follow each other."""
        total_ms = sum(self.latencies_ms)
        if self.mode == "cold" or self.interval_ms is not None or not total_ms:
            return None
        return self.samples_per_query * self.runs / total_ms * 1e3

    @property
    def p90_bound_ms(self) -> float | None:
        """What p90 stays below with 99 % confidence; None of fewer than 64 runs."""
        return self._bound("p90_bound_ms", 90)

    @property
    def p95_bound_ms(self) -> float | None:
        """What p95 stays below with 99 % confidence; None of fewer than 130 runs."""
        return self._bound("p95_bound_ms", 95)

    @property
    def p99_bound_ms(self) -> float | None:
        """What p99 stays below with 99 % confidence; None of fewer than 662 runs."""
        return self._bound("p99_bound_ms", 99)

    def metric(self, split: Split) -> Metric | None:
        """Return the metric measured on `split`, or None."""
        return next((metric for metric in self.metrics if metric.split == split), None)

    def _percentile(self, name: str, percent: float) -> float | None:
        latencies = self.latencies_ms
        return percentile(latencies, percent) if latencies else self.reported.get(name)

    def _bound(self, name: str, percent: float) -> float | None:
        latencies = self.latencies_ms
        return percentile_bound(latencies, percent) if latencies else self.reported.get(name)

    def summary(self) -> dict[str, Any]:
        """Return the fields that a table of results shows, raw latencies left out."""
        named = (
            "model format runtime runtime_version threads batch precision device p50_ms p50_low_ms"
            " p50_high_ms p50_is p90_ms p90_bound_ms p95_ms p95_bound_ms p99_ms p99_bound_ms load_ms"
            " first_ms peak_memory_mb runs verdict verdict_cause stopped_by mode scenario interval_ms"
            " samples_per_query samples_per_second length origin artifact digest created id"
        )
        return {name: getattr(self, name) for name in named.split()}
