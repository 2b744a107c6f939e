"""MLPerf LoadGen's mlperf_log_summary.txt, in any scenario"""

from __future__ import annotations

import re
from pathlib import Path

from edge_bench.errors import DataError
from edge_bench.importers import Importer, Report, number

_SCENARIOS = {
    "SingleStream": "single_stream",
    "MultiStream": "multi_stream",
    "Offline": "offline",
    "Server": "server",
}
_STATISTICS = {
    "Min latency (ns)": "min_ms",
    "Mean latency (ns)": "mean_ms",
    "Max latency (ns)": "max_ms",
    "50.00 percentile latency (ns)": "p50_ms",
    "90.00 percentile latency (ns)": "p90_ms",
    "95.00 percentile latency (ns)": "p95_ms",
    "97.00 percentile latency (ns)": "p97_ms",
    "99.00 percentile latency (ns)": "p99_ms",
    "99.90 percentile latency (ns)": "p99.9_ms",
    "* Early stopping 90.0th percentile estimate": "p90_bound_ms",
    "* Early stopping 99.0th percentile estimate": "p99_bound_ms",
}
_LINE = re.compile(r"^\s*(.+?)\s*:\s*(.*?)\s*$")
_TITLE = "MLPerf Results Summary"


class LoadGen(Importer):
    """One latency is of a query, as LoadGen counts: of `samples_per_query` examples. Neither model nor
    runtime are told; whether LoadGen found the run VALID stands among the facts.
    """

    origin = "loadgen"

    def recognises(self, text: str) -> bool:
        return _TITLE in text and "samples_per_query" in text

    def read(self, text: str, path: Path) -> list[Report]:
        told = {match[1]: match[2] for line in text.splitlines() if (match := _LINE.match(line))}
        if told.get("Mode") != "PerformanceOnly":
            raise DataError(f"it ran in mode {told.get('Mode')}; only PerformanceOnly tells latencies")
        scenario = _SCENARIOS[told["Scenario"]]
        samples = int(told["samples_per_query"])
        facts = {
            name: told[key]
            for name, key in (
                ("result_is", "Result is"),
                ("queries", "min_query_count"),
                ("samples_per_second", "Samples per second"),
            )
            if key in told
        }
        return [
            Report(
                model=told.get("SUT name", path.stem),
                statistics={
                    ours: number(told[name], name) / 1e6
                    for name, ours in _STATISTICS.items()
                    if name in told
                },
                batch=1 if scenario == "single_stream" and samples == 1 else None,
                scenario=scenario,
                samples_per_query=samples,
                facts=facts,
            )
        ]
