"""Some examples a query: several cameras at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edge_bench.measure.scenarios import Scenario


@dataclass(frozen=True, kw_only=True)
class MultiStream(Scenario):
    """The latency is that of the whole query; LoadGen reports its 99th percentile."""

    name: ClassVar[str] = "multi_stream"
    figure: ClassVar[str] = "p99_ms"

    samples_per_query: int = 8
