"""LiteRT's benchmark tools: the JSON of `litert-benchmark --result_json`, the log of `benchmark_model`"""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from edge_bench.errors import DataError
from edge_bench.importers import Importer, Report, number

# The names of litert-benchmark's latencies, and of the text form of the C++ tool's protocol buffer.
_STATISTICS = {
    "median_ms": "p50_ms",
    "avg_ms": "mean_ms",
    "min_ms": "min_ms",
    "max_ms": "max_ms",
    "p5_ms": "p5_ms",
    "p95_ms": "p95_ms",
}
_TIMINGS = re.compile(
    r"Inference timings in us: Init: (?P<init>[\d.e+]+), First inference: (?P<first>[\d.e+]+), "
    r"Warmup \(avg\): [\d.e+]+, Inference \(avg\): (?P<avg>[\d.e+]+)"
)
_SPREAD = re.compile(r"count=(?P<count>\d+) first=[\d.e+]+ curr=[\d.e+]+ (?P<rest>min=.*)")
_GRAPH = re.compile(r"Graph: \[(.+?)\]|Loaded model (\S+)|--graph=(\S+)")
_THREADS = re.compile(r"(?:Num threads: \[|#threads used for CPU inference: \[|--num_threads=)(\d+)")


class LiteRT(Importer):
    """Reads three forms: JSON, the console log, and `benchmark_model`'s protocol buffer as text."""

    origin = "litert-benchmark"

    def recognises(self, text: str) -> bool:
        told = _json(text)
        if told is not None:
            return "avg_ms" in told.get("latency", ()) and "accelerators" in told
        return bool(_TIMINGS.search(text)) or "latency_metrics {" in text

    def read(self, text: str, path: Path) -> list[Report]:
        told = _json(text)
        if told is not None:
            return [_of_json(told)]
        return [_of_log(text, path) if _TIMINGS.search(text) else _of_proto(text, path)]


def _json(text: str) -> dict[str, Any] | None:
    try:
        told = json.loads(text)
    except ValueError:
        return None
    latency = told.get("latency") if isinstance(told, dict) else None
    return told if isinstance(told, dict) and isinstance(latency, dict | None) else None


def _of_json(told: dict[str, Any]) -> Report:
    latency = told["latency"]
    threads = told.get("num_threads")
    facts: dict[str, Any] = {
        name: told[name] for name in ("accelerators", "fully_accelerated") if name in told
    }
    return Report(
        model=PurePosixPath(str(told["model"]).replace("\\", "/")).name,
        statistics=_statistics(latency),
        format="tflite",
        runtime="litert",
        threads=int(threads) if threads else None,
        batch=1,
        load_ms=number(latency["init_ms"], "init_ms") if latency.get("init_ms") else None,
        first_ms=number(latency["warmup_first_ms"], "warmup_first_ms")
        if latency.get("warmup_first_ms")
        else None,
        facts={**facts, "runs": latency.get("num_runs")},
    )


def _of_log(text: str, path: Path) -> Report:
    # The last one is of the measurement; those before are of the warm-up.
    timings, spreads = list(_TIMINGS.finditer(text))[-1], list(_SPREAD.finditer(text))
    told = {"avg_ms": number(timings["avg"], "Inference (avg)") / 1000}
    if spreads:
        pairs = (word.split("=") for word in spreads[-1]["rest"].split() if word.count("=") == 1)
        told |= {f"{name}_ms": float(value) / 1000 for name, value in pairs}
    graph, threads = _GRAPH.search(text), _THREADS.search(text)
    named = next((name for name in graph.groups() if name), "") if graph else path.stem
    return Report(
        model=PurePosixPath(named).name,
        statistics=_statistics(told),
        format="tflite",
        runtime="litert",
        threads=int(threads[1]) if threads else None,
        batch=1,
        load_ms=number(timings["init"], "Init") / 1000,
        first_ms=number(timings["first"], "First inference") / 1000,
        facts={"runs": int(spreads[-1]["count"])} if spreads else {},
    )


def _of_proto(text: str, path: Path) -> Report:
    told = {name: float(value) for name, value in re.findall(r"(\w+): ([\d.e+-]+)", text)}
    peak = told.get("peak_mem_mb", 0)
    return Report(
        model=path.stem,
        statistics=_statistics(told),
        format="tflite",
        runtime="litert",
        batch=1,
        load_ms=told.get("init_ms") or None,
        first_ms=told.get("first_inference_ms") or None,
        peak_memory_mb=peak if peak > 0 else None,
        facts={"runs": int(told["num_runs"])} if "num_runs" in told else {},
    )


def _statistics(told: dict[str, Any]) -> dict[str, float]:
    found = {ours: number(told[name], name) for name, ours in _STATISTICS.items() if told.get(name)}
    if not found:
        raise DataError("it tells no latency")
    return found
