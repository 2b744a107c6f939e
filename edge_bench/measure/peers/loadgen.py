"""MLPerf LoadGen, single-stream, driving ONNX Runtime."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path
from typing import Any

import mlperf_loadgen

from edge_bench.measure.peers import Assignment, Peer, Report, read, unreadable
from edge_bench.measure.peers._onnxruntime import bare_session

SUMMARY = Path("mlperf_log_summary.txt")


class LoadGen(Peer):
    """Each query crosses from LoadGen's own thread into Python and back: some microseconds."""

    name = "loadgen"
    formats = ("onnx",)

    def measure(self, assignment: Assignment) -> Report:
        session = bare_session(assignment)
        feeds = assignment.feeds()

        def answer(samples: list[Any]) -> None:
            for sample in samples:
                session.run(None, feeds)
                mlperf_loadgen.QuerySamplesComplete([mlperf_loadgen.QuerySampleResponse(sample.id, 0, 0)])

        for _ in range(max(5, assignment.runs // 10)):
            session.run(None, feeds)
        system = mlperf_loadgen.ConstructSUT(answer, lambda: None)
        library = mlperf_loadgen.ConstructQSL(1, 1, lambda samples: None, lambda samples: None)
        mlperf_loadgen.StartTestWithLogSettings(system, library, _settings(assignment), _logs())
        mlperf_loadgen.DestroyQSL(library)
        mlperf_loadgen.DestroySUT(system)
        return self._read(read(SUMMARY))

    def _read(self, summary: str) -> Report:
        median = re.search(r"50\.00 percentile latency \(ns\)\s*:\s*(\d+)", summary)
        result = re.search(r"Result is\s*:\s*(\w+)", summary)
        count = re.search(r"Processed at least \d+ queries \((\d+)\)", summary)
        if not median or not result:
            raise unreadable(self.name, summary)
        return Report(
            p50_ms=int(median[1]) / 1e6,
            runs=int(count[1]) if count else 0,
            said=f'"{result[1]}"',
            version=importlib.metadata.version("mlcommons-loadgen"),
        )


def _settings(assignment: Assignment) -> mlperf_loadgen.TestSettings:
    settings = mlperf_loadgen.TestSettings()
    settings.scenario = mlperf_loadgen.TestScenario.SingleStream
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.single_stream_expected_latency_ns = round(assignment.seconds / assignment.runs * 1e9)
    settings.min_duration_ms = round(assignment.seconds * 1e3)
    settings.max_duration_ms = round(assignment.seconds * 2e3)
    settings.min_query_count = min(assignment.runs, 64)
    return settings


def _logs() -> mlperf_loadgen.LogSettings:
    logs = mlperf_loadgen.LogSettings()
    logs.log_output.outdir = "."
    logs.enable_trace = False
    return logs
