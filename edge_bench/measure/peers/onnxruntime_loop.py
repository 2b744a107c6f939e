"""A bare loop around ONNX Runtime, as many write it: no blocks, no verdict, no care."""

from __future__ import annotations

import time

import onnxruntime

from edge_bench.measure.peers import SAID_NOTHING, Assignment, Peer, Report
from edge_bench.measure.peers._onnxruntime import bare_session
from edge_bench.statistics import percentile

WARMUP_SHARE = 0.1


class OnnxRuntimeLoop(Peer):
    """Copies outputs to new arrays in each run, which a bound session does not: some microseconds."""

    name = "onnxruntime loop"
    formats = ("onnx",)

    def measure(self, assignment: Assignment) -> Report:
        session = bare_session(assignment)
        feeds = assignment.feeds()
        latencies: list[float] = []
        begun = time.perf_counter()
        while time.perf_counter() - begun < assignment.seconds:
            before = time.perf_counter()
            session.run(None, feeds)
            latencies.append(time.perf_counter() - before)
        counted = latencies[int(len(latencies) * WARMUP_SHARE) :]
        return Report(
            p50_ms=percentile(counted, 50) * 1e3,
            runs=len(counted),
            said=SAID_NOTHING,
            version=str(onnxruntime.__version__),
        )
