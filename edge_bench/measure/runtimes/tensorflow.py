"""TensorFlow's own TFLite interpreter, for files that hold TensorFlow operators (Select-TF)."""

from __future__ import annotations

import warnings
from pathlib import Path

import tensorflow as library

from edge_bench.measure.interpreter import InterpreterRuntime


class TensorFlow(InterpreterRuntime):
    """Its Flex delegate runs what no other runtime here does, up to TensorFlow 2.18.

    From 2.19 on the Python package comes without the delegate and refuses such files, as LiteRT does.
    Loading the library takes seconds.
    """

    name = "tensorflow"
    formats = ("tflite",)
    precedence = 2

    def interpreter(self, model: Path, threads: int) -> library.lite.Interpreter:
        with warnings.catch_warnings():
            # It announces its removal; LiteRT's interpreter, its successor, has no Flex delegate.
            warnings.simplefilter("ignore")
            return library.lite.Interpreter(model_path=str(model), num_threads=threads)

    def version(self) -> str:
        return str(library.__version__)
