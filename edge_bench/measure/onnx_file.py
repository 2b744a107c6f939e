"""A look into an ONNX file without the onnx package: enough of protobuf to tell a model from garbage.

Only lengths and tags are followed, nothing is built, so a hostile file costs no more than its size.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge_bench.errors import InvalidModel
from edge_bench.records.artifact import Precision

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
MAX_DEPTH = 64

# Wire types of ModelProto's fields, and which fields lead from one message to the next.
_MODEL = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_CHILDREN = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "sparse": {1: "tensor", 2: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "tensor": {13: "entry"},
    "entry": {},
}


@dataclass
class OnnxFile:
    """What the walk saw: operator types in use, and the files that hold weights outside."""

    operators: set[str] = field(default_factory=set)
    external: set[str] = field(default_factory=set)

    def precision(self, input_dtype: str) -> Precision:
        """Return the precision of the arithmetic: quantized graphs usually keep float inputs."""
        used = self.operators
        if used & {"MatMulInteger", "ConvInteger", "DynamicQuantizeLinear", "MatMulNBits"}:
            return "mixed"
        if "QuantizeLinear" in used or any(name.startswith("QLinear") for name in used):
            return "int8"
        return "fp16" if input_dtype == "float16" else "fp32"


class _Malformed(Exception):
    pass


def survey_file(path: Path) -> OnnxFile:
    """Walk an ONNX file and return what it uses.

    Raises:
        InvalidModel: it is no ONNX model, or ends too early.
    """
    if path.stat().st_size == 0:
        raise InvalidModel(f"'{path}' is empty")
    seen = OnnxFile()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            numbers = set()
            for number, wire, _, _ in _fields(data, 0, len(data)):
                if _MODEL.get(number) != wire:
                    raise _Malformed("it is no protobuf of an ONNX model")
                numbers.add(number)
            if 7 not in numbers:
                raise _Malformed("it holds no graph")
            _walk(data, "model", 0, len(data), seen, 0)
        except _Malformed as error:
            raise InvalidModel(f"'{path}' is not an ONNX model: {error}") from None
    return seen


def _walk(data: mmap.mmap, kind: str, start: int, end: int, seen: OnnxFile, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _Malformed(f"its graphs are nested more than {MAX_DEPTH} deep")
    key = value = b""
    for number, wire, begin, stop in _fields(data, start, end):
        if wire != _BYTES:
            continue
        child = _CHILDREN[kind].get(number)
        if child:
            _walk(data, child, begin, stop, seen, depth + 1)
        elif kind == "node" and number == 4:
            seen.operators.add(data[begin:stop].decode("utf-8", "replace"))
        elif kind == "entry":
            key, value = (data[begin:stop], value) if number == 1 else (key, data[begin:stop])
    if kind == "entry" and key == b"location":
        seen.external.add(value.decode("utf-8", "replace"))


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field number, wire type, begin, end) of each field of a message."""
    position = start
    while position < end:
        tag, position = _varint(data, position, end)
        number, wire = tag >> 3, tag & 7
        begin = position
        if wire == _VARINT:
            _, position = _varint(data, position, end)
        elif wire in _WIDTHS:
            position += _WIDTHS[wire]
        elif wire == _BYTES:
            length, begin = _varint(data, position, end)
            position = begin + length
        else:
            raise _Malformed("it is no protobuf of an ONNX model")
        if position > end:
            raise _Malformed("it ends in the middle; the file seems truncated")
        yield number, wire, begin, position


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise _Malformed("it ends in the middle; the file seems truncated")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _Malformed("it is no protobuf of an ONNX model")
