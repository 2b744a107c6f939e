"""One example a query: a camera, a keyboard, a person who waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from edge_bench.measure.scenarios import Scenario


@dataclass(frozen=True, kw_only=True)
class SingleStream(Scenario):
    """What a person waits for; LoadGen reports its 90th percentile."""

    name: ClassVar[str] = "single_stream"
    figure: ClassVar[str] = "p90_ms"

    samples_per_query: int = field(default=1, init=False)
