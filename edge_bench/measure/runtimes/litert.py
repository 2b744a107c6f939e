"""LiteRT (TensorFlow Lite) on the CPU with the XNNPACK delegate."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import ai_edge_litert.interpreter as library

from edge_bench.measure.interpreter import InterpreterRuntime


class LiteRT(InterpreterRuntime):
    """What reads .tflite files by default."""

    name = "litert"
    formats = ("tflite",)
    precedence = 0
    delegate = "XNNPACK"

    def interpreter(self, model: Path, threads: int) -> library.Interpreter:
        return library.Interpreter(model_path=str(model), num_threads=threads)

    def version(self) -> str:
        return importlib.metadata.version("ai-edge-litert")
