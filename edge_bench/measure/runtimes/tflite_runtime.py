"""tflite-runtime, LiteRT's predecessor: the one with wheels for 32-bit ARM boards."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import tflite_runtime.interpreter as library

from edge_bench.errors import RuntimeUnavailable
from edge_bench.measure.interpreter import InterpreterRuntime


class TFLiteRuntime(InterpreterRuntime):
    """Needs numpy 1.26, so an environment of its own: beside numpy 2 it makes no interpreter."""

    name = "tflite_runtime"
    formats = ("tflite",)
    precedence = 1

    def interpreter(self, model: Path, threads: int) -> library.Interpreter:
        if int(np.__version__.partition(".")[0]) >= 2:
            raise RuntimeUnavailable(
                f"tflite_runtime needs numpy 1.26; numpy {np.__version__} is installed",
                hint="give it an environment of its own: pip install 'edge-bench[tflite-runtime]' there",
            )
        return library.Interpreter(model_path=str(model), num_threads=threads)

    def version(self) -> str:
        return importlib.metadata.version("tflite-runtime")
