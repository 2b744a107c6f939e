"""benchmark_app, the command that comes with OpenVINO."""

from __future__ import annotations

import importlib.metadata
import re

import openvino.tools.benchmark as program

from edge_bench.measure.inputs import concrete_shape
from edge_bench.measure.peers import SAID_NOTHING, Assignment, Peer, Report, run_program, unreadable

_UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


class BenchmarkApp(Peer):
    """Runs OpenVINO's own kernels in float32, where they would take bfloat16 by themselves: its ratio to
    ours tells how the runtimes differ, not how the measurements do.
    """

    name = "benchmark_app"
    formats = ("onnx", "tflite")

    def measure(self, assignment: Assignment) -> Report:
        options = {
            "-m": assignment.model,
            "-d": "CPU",
            "-api": "sync",
            "-hint": "none",
            "-nstreams": "1",
            "-nthreads": str(assignment.threads),
            "-infer_precision": "f32",
            "-t": str(max(1, round(assignment.seconds))),
        }
        if any(None in spec.shape for spec in assignment.inputs):
            shapes = {spec.name: concrete_shape(spec, 1) for spec in assignment.inputs}
            options["-shape"] = ",".join(
                f"{name}[{','.join(map(str, shape))}]" for name, shape in shapes.items()
            )
        said = run_program(f"{program.__name__}.main", options, name=self.name)
        median = re.search(r"Median:\s+([\d.]+) (us|ms|s)\b", said)
        count = re.search(r"Count:\s+(\d+) iterations", said)
        if not median or not count:
            raise unreadable(self.name, said)
        return Report(
            p50_ms=float(median[1]) * _UNITS_MS[median[2]],
            runs=int(count[1]),
            said=SAID_NOTHING,
            version=importlib.metadata.version("openvino"),
            resolution_ms=0.01 * _UNITS_MS[median[2]],
        )
