"""LiteRT (TensorFlow Lite) on the CPU with the XNNPACK delegate."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import ai_edge_litert.interpreter as library
import numpy as np
import numpy.typing as npt

from edge_bench.errors import InvalidModel
from edge_bench.measure.runtimes import Runtime, Session, Tensors, fixed_batch, refusal
from edge_bench.records.artifact import Precision, TensorSpec


class LiteRT(Runtime):
    """A batch other than the file's own is made by resizing, which not every network allows."""

    name = "litert"
    formats = ("tflite",)

    def open(self, model: Path, *, threads: int, batch: int = 1) -> Session:
        try:
            interpreter = library.Interpreter(model_path=str(model), num_threads=threads)
            resized = _resize(interpreter, batch)
        except (RuntimeError, ValueError, OSError) as error:
            raise refusal(self.name, model, error) from error
        try:
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            if resized is not None:
                raise fixed_batch(model, resized, batch) from error
            raise refusal(self.name, model, error) from error
        return _Session(model, interpreter)

    def version(self) -> str:
        return importlib.metadata.version("ai-edge-litert")


class _Session(Session):
    def __init__(self, model: Path, interpreter: library.Interpreter) -> None:
        self._model = model
        self._interpreter = interpreter
        self._places = {str(item["name"]): int(item["index"]) for item in interpreter.get_input_details()}
        self._answers = [
            (str(item["name"]), int(item["index"])) for item in interpreter.get_output_details()
        ]
        self.inputs = tuple(_spec(model, item) for item in interpreter.get_input_details())
        self.outputs = tuple(_spec(model, item) for item in interpreter.get_output_details())
        self.precision = _precision(interpreter, (*self.inputs, *self.outputs))

    def run(self, feeds: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        try:
            self._interpreter.reset_all_variables()
            self.prepare(feeds)
            self.invoke()
            return {name: self._interpreter.get_tensor(index) for name, index in self._answers}
        except (RuntimeError, ValueError) as error:
            raise refusal("litert", self._model, error) from error

    def prepare(self, feeds: Tensors) -> None:
        for name, array in feeds.items():
            self._interpreter.set_tensor(self._places[name], array)

    def invoke(self) -> None:
        self._interpreter.invoke()


def _resize(interpreter: library.Interpreter, batch: int) -> int | None:
    """Resize inputs to `batch` where they stand at another; return what they stood at, else None."""
    before: int | None = None
    for item in interpreter.get_input_details():
        shape = [int(side) for side in item["shape"]]
        free = bool(len(item["shape_signature"])) and item["shape_signature"][0] == -1
        if shape and shape[0] != batch and (batch > 1 or free):
            before = shape[0]
            interpreter.resize_tensor_input(item["index"], [batch, *shape[1:]])
    return before


def _spec(model: Path, item: dict[str, Any]) -> TensorSpec:
    dtype = np.dtype(item["dtype"])
    if dtype.kind not in "fiub":
        raise InvalidModel(f"'{model.name}': '{item['name']}' is of {dtype}; numeric tensors are supported")
    signature = [int(side) for side in item["shape_signature"]]
    sides = [int(side) for side in item["shape"]]
    free = [side == -1 for side in signature] or [False] * len(sides)
    scale, zero_point = item["quantization"]
    return TensorSpec(
        name=str(item["name"]),
        dtype=dtype.name,
        shape=tuple(None if any_size else side for any_size, side in zip(free, sides, strict=True)),
        scale=float(scale) or None,
        zero_point=int(zero_point) if scale else None,
    )


def _precision(interpreter: library.Interpreter, ends: tuple[TensorSpec, ...]) -> Precision:
    """Return what the tensors are; 8-bit weights between float activations are "mixed"."""
    if any(spec.scale and np.dtype(spec.dtype).itemsize == 1 for spec in ends):
        return "int8"
    kinds = [
        np.dtype(item["dtype"]).name for item in interpreter.get_tensor_details() if item["shape"].size
    ]
    eight_bit = sum(kind in ("int8", "uint8") for kind in kinds)
    if not eight_bit:
        return "fp16" if "float16" in kinds else "fp32"
    return "int8" if eight_bit > kinds.count("float32") else "mixed"
