"""How the columns of the tables are headed and written: the same in a page and in a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from edge_bench.records.quality import is_share, metric_word


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading, the printf format of its numbers ("" of texts), and what it means.

    `mark` says that it holds a yes or no; `width` is in pixels, where it is not that of what it holds.
    """

    heading: str
    format: str = ""
    help: str = ""
    mark: bool = False
    width: int | None = None

    def written(self, value: Any) -> str:
        """Return what stands in a cell; "–" where it is None: nothing is known."""
        if value is None:
            return "–"
        if self.mark:
            return "✓" if value else ""
        return self.format % value if self.format else str(value)


def candidate_columns(frame: pd.DataFrame) -> dict[str, Column]:
    """Return the columns of `frames.table` and `frames.picks_table`; of all rows one metric."""
    name = str(frame["metric_name"].iloc[0])
    word = metric_word(name)
    quality = "%.2f %%" if is_share(name) else "%.4g"
    unit, change = ("points", "%+.2f") if is_share(name) else (word, "%+.3g")
    higher = bool(frame["higher_is_better"].iloc[0])
    better = "more is better" if higher else "less is better"
    gain = f"Δ {unit}" if higher else f"gain, {unit}"
    return {
        "metric": Column(f"{word} (selection)", quality, better),
        "test": Column(f"{word} (test)", quality, better),
        **LATENCY_COLUMNS,
        "size_mb": Column("size MB", "%.3g"),
        "compressed_mb": Column("compressed MB", "%.3g", "by zstd or gzip"),
        "sparsity": Column("sparsity", "%.3f", "share of zeros among the weights"),
        "mmacs": Column("MMACs", "%.4g"),
        "family": Column("trained by", help="the techniques of its run"),
        "encoding": Column("encoding", help="what became of zeros in its file"),
        "layers": Column("layers", help="layers kept, of an encoder before those of a decoder"),
        "length": Column("tokens", "%d", "of the longest text"),
        "generated": Column("generated", "%.4g", "tokens of the text that the latency is of"),
        "pick": Column("★", help="★: the recommended one", width=40),
        "chance": Column("in budget", help="probability that it meets the budget"),
        "exchange": Column("step", help="against the next faster one on the front"),
        "gain": Column(gain, change, "against the recommended one; more is better"),
        "extra_ms": Column("Δ ms", "%+.3g", "against the recommended one; less is faster"),
        "front": Column("on front", help="no other is as good and as fast", mark=True),
        "fits": Column("in budget", mark=True),
    }


# Those of every table of latencies.
LATENCY_COLUMNS: Mapping[str, Column] = {
    "latency_ms": Column("latency ms", "%.4g"),
    "p50_ms": Column("latency ms", "%.4g", "median, or what its source tells instead"),
    "low_ms": Column("from", "%.4g", "lower end of the latency's interval"),
    "high_ms": Column("to", "%.4g", "upper end of the latency's interval"),
    "p90_ms": Column("p90 ms", "%.4g"),
    "peak_memory_mb": Column("peak MB", "%.4g"),
    "threads": Column("threads", "%d"),
}


def rung_columns(metric: str) -> dict[str, Column]:
    """Return the columns of `family_frames.rungs`."""
    return {
        "level": Column("level", "%d"),
        "left": Column("weights left %", "%.3g"),
        "metric": Column(metric_word(metric), "%.2f %%" if is_share(metric) else "%.4g"),
        "runs": Column("runs", "%d"),
    }
