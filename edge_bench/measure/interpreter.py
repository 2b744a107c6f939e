"""TFLite's interpreter, which several libraries ship under one interface: what their runtimes share."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench.errors import InvalidModel
from edge_bench.measure.inputs import POSITION, UNTOLD, Feeding, batch_axis, plain_name
from edge_bench.measure.runtimes import Profile, Runtime, Session, Tensors, fixed_batch, refusal
from edge_bench.measure.tflite_file import survey_file
from edge_bench.records.artifact import TensorSpec
from edge_bench.records.result import Placement

# What the interpreter calls a node that a delegate runs, and where an operator runs that it left over.
DELEGATE = "DELEGATE"
BUILTIN = "built-in kernels"


class InterpreterRuntime(Runtime):
    """A batch other than the file's own is made by resizing, which not every network allows."""

    @abstractmethod
    def interpreter(self, model: Path, threads: int) -> Any:
        """Return the library's interpreter of `model`, its tensors not yet allocated."""

    def open(self, model: Path, *, threads: int, batch: int = 1) -> Session:
        try:
            interpreter = self.interpreter(model, threads)
            resized = _resize(interpreter, batch)
        except (RuntimeError, ValueError, OSError) as error:
            raise self._refusal(model, error) from error
        try:
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            if resized is not None:
                raise fixed_batch(model, resized, batch) from error
            raise self._refusal(model, error) from error
        return InterpreterSession(self.name, model, interpreter)

    def profile(self, model: Path, *, threads: int, batch: int = 1, feeding: Feeding = UNTOLD) -> Profile:
        """Tell which operators the delegate took; the Python interpreter tells no times."""
        session = self.open(model, threads=threads, batch=batch)
        assert isinstance(session, InterpreterSession)
        return Profile(
            placements=session.placements(),
            notes=(f"{self.name} does not tell the times of its operators",),
        )

    def _refusal(self, model: Path, error: BaseException) -> InvalidModel:
        refused = refusal(self.name, model, error)
        if "Select TensorFlow op" in str(error):
            refused.hint = (
                "the file holds TensorFlow's own operators: --runtime tensorflow runs them, in an "
                "environment of its own with the extra 'flex'"
            )
        return refused


class InterpreterSession(Session):
    """An interpreter whose tensors are allocated."""

    def __init__(self, runtime: str, model: Path, interpreter: Any) -> None:
        self._runtime = runtime
        self._model = model
        self._interpreter = interpreter
        self._places = {str(item["name"]): int(item["index"]) for item in interpreter.get_input_details()}
        self._answers = [
            (str(item["name"]), int(item["index"])) for item in interpreter.get_output_details()
        ]
        self.inputs = tuple(_spec(model, item) for item in interpreter.get_input_details())
        self.outputs = tuple(_spec(model, item) for item in interpreter.get_output_details())
        self.precision = survey_file(model).precision

    def run(self, feeds: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        try:
            self._interpreter.reset_all_variables()
            self.prepare(feeds)
            self.invoke()
            return {name: self._interpreter.get_tensor(index) for name, index in self._answers}
        except (RuntimeError, ValueError) as error:
            raise refusal(self._runtime, self._model, error) from error

    def prepare(self, feeds: Tensors) -> None:
        for name, array in feeds.items():
            self._interpreter.set_tensor(self._places[name], array)

    def invoke(self) -> None:
        self._interpreter.invoke()

    def placements(self) -> tuple[Placement, ...]:
        """Return what XNNPACK took of the graph's operators, and what fell back from it."""
        # The interpreter's list of nodes is its own, of no promised form.
        return placements_of(self._interpreter._get_ops_details())


def placements_of(nodes: Sequence[Mapping[str, Any]]) -> tuple[Placement, ...]:
    """Return which operators of an interpreter's list of nodes a delegate runs, and which none does."""
    taken = _taken(nodes)
    own = [node for node in nodes if node["op_name"] != DELEGATE]
    kinds = {
        inside: Counter(str(node["op_name"]) for node in own if (node["index"] in taken) == inside)
        for inside in (True, False)
    }
    told = [
        Placement(where="XNNPACK", operators=dict(kinds[True])),
        Placement(where=BUILTIN, operators=dict(kinds[False]), wanted=False),
    ]
    return tuple(one for one in told if one.operators)


def _taken(nodes: Sequence[Mapping[str, Any]]) -> set[int]:
    """Return the indices of the operators that stand for nothing any more: a delegate runs them.

    A delegate's node reads the inputs of its part of the graph and writes its outputs, so the part is
    what lies between them.
    """
    makers = {
        int(tensor): node for node in nodes if node["op_name"] != DELEGATE for tensor in node["outputs"]
    }
    taken: set[int] = set()
    for delegate in (node for node in nodes if node["op_name"] == DELEGATE):
        given = {int(tensor) for tensor in delegate["inputs"]}
        open_ends = [int(tensor) for tensor in delegate["outputs"]]
        while open_ends:
            maker = makers.get(open_ends.pop())
            if maker is not None and maker["index"] not in taken:
                taken.add(maker["index"])
                open_ends += [int(tensor) for tensor in maker["inputs"] if int(tensor) not in given]
    return taken


def _resize(interpreter: Any, batch: int) -> int | None:
    """Resize inputs to `batch` where they stand at another; return what they stood at, else None."""
    before: int | None = None
    for item in interpreter.get_input_details():
        shape = [int(side) for side in item["shape"]]
        if not shape or plain_name(str(item["name"])) == POSITION:
            continue
        axis = batch_axis(shape)
        free = bool(len(item["shape_signature"])) and item["shape_signature"][axis] == -1
        if shape[axis] != batch and (batch > 1 or free):
            before = shape[axis]
            interpreter.resize_tensor_input(item["index"], [*shape[:axis], batch, *shape[axis + 1 :]])
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
