"""LiteRT (TensorFlow Lite) on the CPU with the XNNPACK delegate."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import ai_edge_litert
import ai_edge_litert.interpreter as library

from edge_bench.errors import InvalidModel
from edge_bench.measure import litert_profile
from edge_bench.measure.inputs import UNTOLD, Feeding, random_feeds
from edge_bench.measure.interpreter import InterpreterRuntime
from edge_bench.measure.runtimes import Profile

LIBRARY = Path(ai_edge_litert.__file__).parent / "libLiteRt.so"


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

    def profile(self, model: Path, *, threads: int, batch: int = 1, feeding: Feeding = UNTOLD) -> Profile:
        """Tell the times too, by LiteRT's profiler, of the files that its newer interface takes."""
        placed = super().profile(model, threads=threads, batch=batch)
        session = self.open(model, threads=threads, batch=batch)
        try:
            feeds = random_feeds(session.inputs, batch=batch, feeding=feeding)
            times = litert_profile.profile(LIBRARY, model, feeds, threads=threads)
        except (InvalidModel, OSError, AttributeError) as error:
            # No library of that name, or one without these functions: another version's.
            return replace(placed, notes=(f"the times of operators are not told: {error}",))
        return replace(placed, operators=times, notes=())
