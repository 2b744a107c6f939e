"""OpenVINO's `benchmark_app -report_type no_counters`: benchmark_report.json (-json_stats) or .csv"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from edge_bench.errors import DataError
from edge_bench.importers import Importer, Report, number

_SECTIONS = {
    "Command line parameters": "cmd_options",
    "Configuration setup": "configuration_setup",
    "Execution results": "execution_results",
}
_MEDIAN = 50


class OpenVino(Importer):
    """Its "latency (ms)" is the median unless -latency_percentile named another percentile.

    Where several requests were in flight at once, the result says so: it is no latency of one alone.
    """

    origin = "openvino benchmark_app"

    def recognises(self, text: str) -> bool:
        told = _sections(text)
        return "throughput" in told.get("execution_results", ()) and "configuration_setup" in told

    def read(self, text: str, path: Path) -> list[Report]:
        told = _sections(text)
        options, setup, results = (told.get(name, {}) for name in _SECTIONS.values())
        model = PurePosixPath(
            str(_option(options, "-m", "--path_to_model") or path.stem).replace("\\", "/")
        )
        threads = _option(options, "-nthreads", "--number_threads")
        percentile = int(_option(options, "-lp", "--latency_percentile", "-latency_percentile") or _MEDIAN)
        requests = int(setup.get("number of parallel infer requests", 1))
        names = {
            f"p{percentile}_ms": "latency (ms)",
            "mean_ms": "avg latency",
            "min_ms": "min latency",
            "max_ms": "max latency",
        }
        statistics = {ours: number(results[name], name) for ours, name in names.items() if name in results}
        if "mean_ms" not in statistics and "p50_ms" not in statistics:
            raise DataError("it tells no latency; was it measured with -report_type no_counters?")
        batch = str(setup.get("batch size", ""))
        facts = {**{f"option {name}": value for name, value in options.items() if name != "-m"}, **setup}
        return [
            Report(
                model=model.name,
                statistics=statistics,
                format=model.suffix.lstrip(".") or "openvino",
                runtime="openvino",
                threads=int(threads) if threads else None,
                batch=int(batch) if batch.isdigit() else None,
                load_ms=_sum(results, "read model time (ms)", "compile model time (ms)"),
                first_ms=_sum(results, "first inference time (ms)"),
                mode="burst" if requests == 1 else "concurrent",
                facts=facts,
            )
        ]


def _sections(text: str) -> dict[str, dict[str, Any]]:
    """Return the report's sections by the JSON form's names; an empty dict where it is neither form."""
    try:
        told = json.loads(text)
    except ValueError:
        return _of_csv(text)
    if not isinstance(told, dict):
        return {}
    return {str(name): section for name, section in told.items() if isinstance(section, dict)}


def _of_csv(text: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    current: dict[str, Any] = {}
    for line in text.splitlines():
        if line.strip() in _SECTIONS:
            current = found.setdefault(_SECTIONS[line.strip()], {})
        elif ";" in line:
            name, _, value = line.partition(";")
            current[name.strip()] = value.strip()
    return found


def _option(options: Mapping[str, Any], *names: str) -> Any:
    return next((options[name] for name in names if options.get(name)), None)


def _sum(results: Mapping[str, Any], *names: str) -> float | None:
    told = [number(results[name], name) for name in names if name in results]
    return sum(told) if told else None
