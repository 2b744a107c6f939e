"""litert-benchmark, the command that comes with LiteRT's own wheel."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import ai_edge_litert.tools.benchmark_litert_model as program

from edge_bench.measure.peers import Assignment, Peer, Report, read, run_program, unreadable

ANSWER = Path("litert-benchmark.json")


class LiteRTBenchmark(Peer):
    """Runs LiteRT's compiled-model API, not the interpreter; rounds what it reports to 0.01 ms."""

    name = "litert-benchmark"
    formats = ("tflite",)

    def measure(self, assignment: Assignment) -> Report:
        said = run_program(
            program.__name__,
            {
                "--model": assignment.model,
                "--num_threads": str(assignment.threads),
                "--num_runs": str(assignment.runs),
                "--warmup_runs": str(max(5, assignment.runs // 10)),
                "--result_json": str(ANSWER),
            },
            name=self.name,
        )
        try:
            told = json.loads(read(ANSWER))["latency"]
        except (ValueError, KeyError):
            raise unreadable(self.name, said) from None
        return Report(
            p50_ms=float(told["median_ms"]),
            runs=int(told["num_runs"]),
            said=f"a standard deviation ({told['std_ms']:g} ms)",
            version=importlib.metadata.version("ai-edge-litert"),
            resolution_ms=0.01,
        )
