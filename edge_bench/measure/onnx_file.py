"""A look into an ONNX file without the onnx package: enough of protobuf to tell a model from garbage.

Only lengths, tags and shapes are followed, nothing is built, so a hostile file costs no more than its
size. Weights may hide in initialisers, sparse ones, attributes, functions and training information:
all of them are walked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from edge_bench.errors import InvalidModel
from edge_bench.measure.file_bytes import FileBytes, opened
from edge_bench.measure.liveness import VIEWS, Graph, Step, computed, peak_live_bytes
from edge_bench.records.artifact import Precision
from edge_bench.records.footprint import Footprint

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
MAX_DEPTH = 64
MAX_DIMENSIONS = 64
# Some seconds of walking; large networks have some ten thousand, large forests of decisions a million.
MAX_FIELDS = 4_000_000

# Wire types of ModelProto's fields.
_MODEL = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
# Where a graph and a function keep nodes and described values.
_GRAPH_NODE, _GRAPH_VALUES = 1, (11, 12, 13)
_FUNCTION_NODE, _FUNCTION_VALUES = 7, (12,)
# Bits of a value by TensorProto's data type; a text has a length of its own.
_BITS: Mapping[int, int] = {
    **dict.fromkeys((1, 6, 12), 32),
    **dict.fromkeys((2, 3, 8, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((7, 11, 13, 14), 64),
    15: 128,
    **dict.fromkeys((21, 22, 23), 4),
    **dict.fromkeys((25, 26), 2),
    **dict.fromkeys((27, 28), 6),
}
_INT64, _STRING = 7, 8
# Operators that make a tensor as large as an input says: which input, a shape or repeats.
_SIZED_BY_INPUT = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Resize": 3}
_SIZED_BY_ATTRIBUTE = ("RandomNormal", "RandomUniform")


@dataclass
class OnnxFile:
    """What the walk saw: operator types in use, files that hold weights outside, and sizes.

    `weights_bytes` is what all constant tensors take; `largest_bytes` the largest tensor of which the
    file tells that it is computed, a side of any size counted as 1.
    """

    operators: set[str] = field(default_factory=set)
    external: set[str] = field(default_factory=set)
    weights_bytes: int = 0
    largest_bytes: int = 0
    # The main graph's nodes in the file's order, and what it tells of its tensors.
    steps: list[Step] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def footprint(self, inferred: Mapping[str, int] | None = None) -> Footprint:
        """Return what the main graph takes; `activations_bytes` is None where a tensor's size is not told.

        Args:
            inferred: sizes in bytes of tensors, known from elsewhere; the file's own come before them.
        """
        steps = computed(self.steps, self.constants)
        sizes = {**(inferred or {}), **self.sizes}
        # An input of the graph may have a weight as its default: it is one.
        inputs = [name for name in self.inputs if name not in self.constants]
        known = all(name in sizes for step in steps for name in step.outputs if name)
        graph = Graph(
            steps=steps,
            sizes={name: size for name, size in sizes.items() if name not in self.constants},
            constants=frozenset(self.constants),
            inputs=inputs,
            outputs=self.outputs,
            # Around each operator of a quantized graph; ONNX Runtime fuses them with it.
            views=VIEWS | {"quantizelinear", "dequantizelinear"},
        )
        return Footprint(
            weights_bytes=self.weights_bytes, activations_bytes=peak_live_bytes(graph) if known else None
        )

    @property
    def needed_bytes(self) -> int:
        """Memory without which no runtime runs it."""
        return self.weights_bytes + self.largest_bytes

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
        InvalidModel: it is no ONNX model, ends too early, or a tensor holds less than its shape says.
    """
    if path.stat().st_size == 0:
        raise InvalidModel(f"'{path}' is empty")
    with opened(path) as data:
        try:
            return _Walk(data).model()
        except _Malformed as error:
            raise InvalidModel(f"'{path}' is not an ONNX model: {error}") from None


@dataclass(frozen=True, slots=True)
class _Node:
    operator: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    # Of a constant its values, of a random tensor its shape.
    values: Sequence[int] | None


@dataclass(slots=True)
class _Tensor:
    """A constant: `held` bytes of data, of which `raw` says that they are laid out as in memory."""

    name: str = ""
    kind: int = 0
    sides: list[int] = field(default_factory=list)
    held: int = 0
    raw: bool = False
    external: bool = False
    # Of a short vector of int64 what it holds.
    values: list[int] | None = None

    @property
    def bits(self) -> int:
        return _BITS.get(self.kind, 8)


class _Walk:
    def __init__(self, data: FileBytes) -> None:
        self._data = data
        self._left = MAX_FIELDS
        self._seen = OnnxFile()

    def model(self) -> OnnxFile:
        numbers = set()
        for number, wire, begin, end in self._fields(0, len(self._data)):
            if _MODEL.get(number) != wire:
                raise _Malformed("it is no protobuf of an ONNX model")
            numbers.add(number)
            if number == 7:
                self._graph(begin, end, 1, main=True)
            elif number == 20:
                self._training(begin, end)
            elif number == 25:
                self._graph(begin, end, 1, node=_FUNCTION_NODE, values=_FUNCTION_VALUES)
        if 7 not in numbers:
            raise _Malformed("it holds no graph")
        return self._seen

    def _training(self, start: int, end: int) -> None:
        for number, _, begin, stop in self._messages(start, end):
            if number in (1, 2):
                self._graph(begin, stop, 1)

    def _graph(
        self,
        start: int,
        end: int,
        depth: int,
        *,
        main: bool = False,
        node: int = _GRAPH_NODE,
        values: tuple[int, ...] = _GRAPH_VALUES,
    ) -> None:
        """Walk a graph, or a function, which has the same things in other places."""
        if depth > MAX_DEPTH:
            raise _Malformed(f"its graphs are nested more than {MAX_DEPTH} deep")
        constants: dict[str, Sequence[int]] = {}
        sized: list[_Node] = []
        for number, _, begin, stop in self._messages(start, end):
            if number == node:
                found = self._node(begin, stop, depth)
                if main:
                    self._seen.steps.append(Step(found.operator.lower(), found.inputs, found.outputs))
                if found.operator == "Constant" and found.values is not None:
                    constants.update(dict.fromkeys(found.outputs, found.values))
                elif found.operator in _SIZED_BY_INPUT or found.operator in _SIZED_BY_ATTRIBUTE:
                    sized.append(found)
            elif number in values:
                name, size = self._value(begin, stop)
                if main:
                    self._described(number, name, size)
            elif node == _FUNCTION_NODE:
                if number == 11:
                    self._attribute(begin, stop, depth)
            elif number == 5:
                tensor = self._tensor(begin, stop)
                if main:
                    self._seen.constants.add(tensor.name)
                if tensor.values is not None:
                    constants[tensor.name] = tensor.values
            elif number == 15:
                self._sparse(begin, stop)
        for one in sized:
            self._computed(_stated_size(one, constants))

    def _node(self, start: int, end: int, depth: int) -> _Node:
        operator, inputs, outputs, values = "", [], [], None
        for number, _, begin, stop in self._messages(start, end):
            if number == 1:
                inputs.append(self._text(begin, stop))
            elif number == 2:
                outputs.append(self._text(begin, stop))
            elif number == 4:
                operator = self._text(begin, stop)
                self._seen.operators.add(operator)
            elif number == 5:
                name, held = self._attribute(begin, stop, depth)
                if name in ("value", "value_ints", "shape"):
                    values = held
        return _Node(operator, inputs, outputs, values)

    def _attribute(self, start: int, end: int, depth: int) -> tuple[str, Sequence[int] | None]:
        """Walk an attribute; return its name, and the few whole numbers that it or its tensor holds."""
        name, held = "", None
        listed: list[int] = []
        for number, wire, begin, stop in self._fields(start, end):
            if number == 8 and len(listed) <= MAX_DIMENSIONS:
                listed += self._integers(wire, begin, stop)
            elif wire != _BYTES:
                continue
            elif number == 1:
                name = self._text(begin, stop)
            elif number in (5, 10):
                held = self._tensor(begin, stop).values
            elif number in (6, 11):
                self._graph(begin, stop, depth + 1)
            elif number in (22, 23):
                self._sparse(begin, stop)
        return name, listed if 0 < len(listed) <= MAX_DIMENSIONS else held

    def _tensor(self, start: int, end: int) -> _Tensor:
        tensor = self._read_tensor(start, end)
        values = _count(tensor.name, tensor.sides)
        needed = (values * tensor.bits + 7) // 8
        # Whole numbers are packed in one byte or more each, or several small ones in a byte.
        least = needed if tensor.raw and tensor.kind != _STRING else (values + 3) // 4
        if not tensor.external and tensor.held < least:
            raise _Malformed(
                f"tensor {tensor.name!r} is of {needed:,} bytes by its shape and holds {tensor.held:,}"
            )
        self._seen.weights_bytes += needed
        return tensor

    def _read_tensor(self, start: int, end: int) -> _Tensor:
        tensor = _Tensor()
        numbers: list[int] = []
        raw = b""
        for number, wire, begin, stop in self._fields(start, end):
            if number == 1:
                tensor.sides += self._integers(wire, begin, stop)
            elif number == 2 and wire == _VARINT:
                tensor.kind = self._varint(begin, stop)[0]
            elif number == 8 and wire == _BYTES:
                tensor.name = self._text(begin, stop)
            elif number == 13 and wire == _BYTES:
                tensor.external = True
                self._external(begin, stop)
            elif number == 9 and wire == _BYTES:
                tensor.held, tensor.raw = tensor.held + stop - begin, True
                raw = self._data[begin : min(stop, begin + 8 * MAX_DIMENSIONS)]
            elif number in (4, 5, 6, 7, 10, 11):
                tensor.held += stop - begin + (number == 6)
                if number == 7 and stop - begin <= 10 * MAX_DIMENSIONS and len(numbers) <= MAX_DIMENSIONS:
                    numbers += self._integers(wire, begin, stop)
        if tensor.kind == _INT64 and tensor.held <= 10 * MAX_DIMENSIONS:
            tensor.values = numbers or list(struct.unpack(f"<{len(raw) // 8}q", raw[: len(raw) // 8 * 8]))
        return tensor

    def _sparse(self, start: int, end: int) -> None:
        """Walk a sparse tensor; a runtime makes all of it, zeros included."""
        sides: list[int] = []
        name, bits = "", 8
        for number, wire, begin, stop in self._fields(start, end):
            if number == 3:
                sides += self._integers(wire, begin, stop)
            elif number in (1, 2) and wire == _BYTES:
                tensor = self._tensor(begin, stop)
                if number == 1:
                    name, bits = tensor.name, tensor.bits
        self._seen.weights_bytes += (_count(name, sides) * bits + 7) // 8

    def _external(self, start: int, end: int) -> None:
        key = value = b""
        for number, _, begin, stop in self._messages(start, end):
            key = self._data[begin:stop] if number == 1 else key
            value = self._data[begin:stop] if number == 2 else value
        if key == b"location":
            self._seen.external.add(value.decode("utf-8", "replace"))

    def _described(self, number: int, name: str, size: int | None) -> None:
        if size is not None:
            self._seen.sizes[name] = size
        if number == _GRAPH_VALUES[0]:
            self._seen.inputs.append(name)
        elif number == _GRAPH_VALUES[1]:
            self._seen.outputs.append(name)

    def _value(self, start: int, end: int) -> tuple[str, int | None]:
        """Walk a ValueInfoProto: name, type: tensor type: kind, shape: sides. Return its name and bytes.

        Sides of any size count as 1; a tensor without a shape has no size.
        """
        kind, sides, shaped = 0, [], False
        name = next((self._text(begin, stop) for begin, stop in self._inner(start, end, (1,))), "")
        for place in self._inner(start, end, (2, 1)):
            for number, wire, begin, stop in self._fields(*place):
                if number == 1 and wire == _VARINT:
                    kind = self._varint(begin, stop)[0]
                elif number == 2 and wire == _BYTES:
                    shaped = True
                    sides += [self._side(*dimension) for dimension in self._inner(begin, stop, (1,))]
        size = (_count("a value", sides) * _BITS.get(kind, 8) + 7) // 8
        self._computed(size)
        return name, size if shaped else None

    def _side(self, start: int, end: int) -> int:
        for number, wire, begin, stop in self._fields(start, end):
            if number == 1 and wire == _VARINT:
                return max(1, _signed(self._varint(begin, stop)[0]))
        return 1

    def _inner(self, start: int, end: int, path: tuple[int, ...]) -> Iterator[tuple[int, int]]:
        """Yield where the messages lie that a path of field numbers leads to."""
        for number, _, begin, stop in self._messages(start, end):
            if number == path[0]:
                if len(path) > 1:
                    yield from self._inner(begin, stop, path[1:])
                else:
                    yield begin, stop

    def _computed(self, size: int) -> None:
        self._seen.largest_bytes = max(self._seen.largest_bytes, size)

    def _text(self, begin: int, end: int) -> str:
        return self._data[begin:end].decode("utf-8", "replace")

    def _integers(self, wire: int, begin: int, end: int) -> list[int]:
        """Return whole numbers, alone or packed; of very many only as many as tell that they are."""
        if wire == _VARINT:
            return [_signed(self._varint(begin, end)[0])]
        numbers: list[int] = []
        while wire == _BYTES and begin < end and len(numbers) <= MAX_DIMENSIONS:
            number, begin = self._varint(begin, end)
            numbers.append(_signed(number))
        return numbers

    def _messages(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield the fields that hold messages or texts."""
        return (one for one in self._fields(start, end) if one[1] == _BYTES)

    def _fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield (field number, wire type, begin, end) of each field of a message."""
        data, position = self._data, start
        while position < end:
            self._left -= 1
            if self._left < 0:
                raise _Malformed(f"it has more than {MAX_FIELDS:,} fields")
            tag = data[position]
            position += 1
            if tag > 0x7F:
                tag, position = self._varint(position - 1, end)
            number, wire = tag >> 3, tag & 7
            begin = position
            if wire == _BYTES:
                length, begin = self._varint(position, end)
                position = begin + length
            elif wire == _VARINT:
                _, position = self._varint(position, end)
            elif wire in _WIDTHS:
                position += _WIDTHS[wire]
            else:
                raise _Malformed("it is no protobuf of an ONNX model")
            if position > end:
                raise _Malformed("it ends in the middle; the file seems truncated")
            yield number, wire, begin, position

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        if position < end and (short := self._data[position]) < 0x80:
            return short, position + 1
        value = 0
        for shift in range(0, 70, 7):
            if position >= end:
                raise _Malformed("it ends in the middle; the file seems truncated")
            byte = self._data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
        raise _Malformed("it is no protobuf of an ONNX model")


def _count(name: str, sides: Sequence[int]) -> int:
    if len(sides) > MAX_DIMENSIONS:
        raise _Malformed(f"tensor {name!r} has more than {MAX_DIMENSIONS} dimensions")
    if any(side < 0 for side in sides):
        raise _Malformed(f"tensor {name!r} has a negative side: {tuple(sides)}")
    return prod(sides)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _stated_size(node: _Node, constants: Mapping[str, Sequence[int]]) -> int:
    """Return how many values a node makes, at one byte each, as far as constants tell."""
    stated = node.values
    if node.operator in _SIZED_BY_INPUT:
        place = _SIZED_BY_INPUT[node.operator]
        stated = constants.get(node.inputs[place]) if place < len(node.inputs) else None
    return prod(max(1, side) for side in stated) if stated else 0
