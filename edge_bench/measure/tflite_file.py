"""A look into a TFLite file without any runtime: every table and vector lies inside it, or it is refused.

The interpreters follow offsets without checking all of them, so a flipped bit makes them read
elsewhere. Only the fields that the schema names are followed, each once, and nothing is copied.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench.errors import InvalidModel
from edge_bench.measure.file_bytes import FileBytes, opened
from edge_bench.measure.liveness import Graph, Step, computed, peak_live_bytes
from edge_bench.measure.tflite_operators import CUSTOM, NAMES
from edge_bench.records.artifact import Precision
from edge_bench.records.footprint import Footprint

# Offsets may lead to one table from many places: more than this would keep the walk busy for minutes.
MAX_TABLES = 400_000
MAX_DIMENSIONS = 64
# Nor may one long vector or text be read again for each of many tables: bytes read, in file sizes.
MAX_READINGS = 16

# Fields by their place in the table: name, and what is there. A number is a plain value of so many
# bytes (negative: signed); a numpy type is a vector of it; a text names a table, in a list a vector
# of tables. "string" is text, "any" a table of a kind that is not followed.
_Field = tuple[str, "int | str | list[str] | type[np.generic]"]
_SCHEMA: Mapping[str, Mapping[int, _Field]] = {
    "model": {
        0: ("version", 4),
        1: ("operator_codes", ["operator_code"]),
        2: ("subgraphs", ["subgraph"]),
        3: ("description", "string"),
        4: ("buffers", ["buffer"]),
        5: ("metadata_buffer", np.int32),
        6: ("metadata", ["metadata"]),
        7: ("signatures", ["signature"]),
        8: ("external_groups", ["external_group"]),
        9: ("external_buffers", ["external_buffer"]),
    },
    "subgraph": {
        0: ("tensors", ["tensor"]),
        1: ("inputs", np.int32),
        2: ("outputs", np.int32),
        3: ("operators", ["operator"]),
        4: ("name", "string"),
    },
    "tensor": {
        0: ("shape", np.int32),
        1: ("type", 1),
        2: ("buffer", 4),
        3: ("name", "string"),
        4: ("quantization", "quantization"),
        5: ("is_variable", 1),
        6: ("sparsity", "sparsity"),
        7: ("shape_signature", np.int32),
        8: ("has_rank", 1),
        9: ("variants", ["variant"]),
        10: ("external_buffer", 4),
    },
    "quantization": {
        0: ("min", np.float32),
        1: ("max", np.float32),
        2: ("scale", np.float32),
        3: ("zero_point", np.int64),
        4: ("details_type", 1),
        5: ("details", "any"),
        6: ("dimension", -4),
    },
    "sparsity": {
        0: ("traversal_order", np.int32),
        1: ("block_map", np.int32),
        2: ("dimensions", ["dimension"]),
    },
    "dimension": {
        0: ("format", 1),
        1: ("dense_size", -4),
        2: ("segments_type", 1),
        3: ("segments", "any"),
        4: ("indices_type", 1),
        5: ("indices", "any"),
    },
    "operator_code": {0: ("old_code", -1), 1: ("custom", "string"), 2: ("version", -4), 3: ("code", -4)},
    "operator": {
        0: ("code", 4),
        1: ("inputs", np.int32),
        2: ("outputs", np.int32),
        3: ("options_type", 1),
        4: ("options", "any"),
        5: ("custom_options", np.uint8),
        6: ("custom_format", 1),
        7: ("mutating", np.uint8),
        8: ("intermediates", np.int32),
        9: ("custom_offset", 8),
        10: ("custom_size", 8),
        11: ("options_2_type", 1),
        12: ("options_2", "any"),
    },
    "buffer": {0: ("data", np.uint8), 1: ("offset", 8), 2: ("size", 8)},
    "metadata": {0: ("name", "string"), 1: ("buffer", 4)},
    "signature": {
        0: ("inputs", ["named"]),
        1: ("outputs", ["named"]),
        2: ("key", "string"),
        4: ("subgraph", 4),
    },
    "named": {0: ("name", "string"), 1: ("tensor", 4)},
    "variant": {0: ("shape", np.int32), 1: ("type", 1), 2: ("has_rank", 1)},
    "external_group": {0: ("name", "string")},
    "external_buffer": {
        0: ("id", 4),
        1: ("group", 4),
        2: ("offset", 8),
        3: ("length", 8),
        4: ("packing", "string"),
    },
    "any": {},
}
# Types by number: name and bits of a value; of texts and resources no size is known.
_TYPES: Mapping[int, tuple[str, int]] = {
    0: ("float32", 32),
    1: ("float16", 16),
    2: ("int32", 32),
    3: ("uint8", 8),
    4: ("int64", 64),
    6: ("bool", 8),
    7: ("int16", 16),
    8: ("complex64", 64),
    9: ("int8", 8),
    10: ("float64", 64),
    11: ("complex128", 128),
    12: ("uint64", 64),
    15: ("uint32", 32),
    16: ("uint16", 16),
    17: ("int4", 4),
    18: ("bfloat16", 16),
    19: ("int2", 2),
    20: ("uint4", 4),
    21: ("float8_e4m3fn", 8),
    22: ("float8_e5m2", 8),
}

# Of the operators by number those that share memory, may write over an input, or are fused.
_KINDS: Mapping[int, str] = {
    0: "add",
    3: "convolution",
    4: "convolution",
    11: "relu",
    14: "logistic",
    18: "mul",
    19: "relu",
    20: "relu",
    21: "relu6",
    22: "reshape",
    28: "tanh",
    34: "pad",
    41: "sub",
    42: "div",
    43: "squeeze",
    47: "exp",
    54: "prelu",
    59: "neg",
    70: "expand_dims",
    75: "sqrt",
    98: "leaky_relu",
    101: "abs",
    111: "elu",
    117: "hard_swish",
    150: "gelu",
}

# TensorFlow's operators that read or write files, or run Python. They are named in an operator's
# options, whatever the list of operators calls it.
_TOUCHES_FILES = re.compile(
    rb"File|PyFunc|Save|Restore|Summary|Checkpoint|Dataset|Reader|Print|Debug|LoadAndRemap"
)
_WORD_BEFORE, _WORD_AFTER = re.compile(rb"\w*\Z"), re.compile(rb"\w*")
_LONGEST_WORD = 40
_TENSORFLOW = "Flex"

_Table = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFacts:
    """A tensor as the file states it; sides of any size are 1 in `shape`.

    `scale` is None where values are not quantized as a whole tensor; `constant`: its values lie in
    the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    scale: float | None
    zero_point: int | None
    constant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TfliteFile:
    """What the walk saw: the main graph and its inputs and outputs, all tensors, and what lies elsewhere.

    `custom` names operators that are not TFLite's own, `touching_files` those of TensorFlow's among
    them that read or write files; `external` the files that hold weights. `operators` are the main graph's
    as TFLite calls them, in the order they run.
    """

    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    tensors: tuple[TensorFacts, ...]
    custom: frozenset[str]
    touching_files: frozenset[str]
    external: frozenset[str]
    operators: tuple[str, ...]
    graph: Graph

    @property
    def footprint(self) -> Footprint:
        """The main graph's activations, and the weights of all; constants that are decoded stay decoded."""
        steps = computed(self.graph.steps, self.graph.constants)
        left = {name for step in steps for name in step.outputs}
        sizes = self.graph.sizes
        decoded = sum(sizes[name] for step in self.graph.steps for name in step.outputs if name not in left)
        return Footprint(
            weights_bytes=sum(one.bytes for one in self.tensors if one.constant) + decoded,
            activations_bytes=peak_live_bytes(replace(self.graph, steps=steps)),
        )

    @property
    def needed_bytes(self) -> int:
        """Memory without which no runtime runs it: its weights and the largest tensor computed."""
        weights = sum(one.bytes for one in self.tensors if one.constant)
        return weights + max((one.bytes for one in self.tensors if not one.constant), default=0)

    @property
    def precision(self) -> Precision:
        """What the tensors are; 8-bit weights between float activations are "mixed"."""
        ends = (*self.inputs, *self.outputs)
        if any(one.scale and one.dtype in ("int8", "uint8") for one in ends):
            return "int8"
        kinds = [one.dtype for one in self.tensors if one.shape]
        eight_bit = sum(kind in ("int8", "uint8") for kind in kinds)
        if not eight_bit:
            return "fp16" if "float16" in kinds else "fp32"
        return "int8" if eight_bit > kinds.count("float32") else "mixed"


class _Malformed(Exception):
    pass


def survey_file(path: Path) -> TfliteFile:
    """Walk a TFLite file and return what it holds.

    Raises:
        InvalidModel: it is no TFLite model, ends too early, or points outside itself.
    """
    size = path.stat().st_size
    if size < 8:
        raise InvalidModel(f"'{path}' is no TFLite model: it has {size} bytes")
    with opened(path) as data:
        magic = data[4:8]
        if magic != b"TFL3":
            raise InvalidModel(
                f"'{path}' is not a TFLite model: byte 4 starts with {magic!r}, not b'TFL3'",
                hint="export it again, or check that the download is complete",
            )
        try:
            reader = _Reader(data)
            return _facts(reader.table("model", reader.offset(0)), reader)
        except _Malformed as error:
            raise InvalidModel(f"'{path}' is not a TFLite model: {error}") from None


class _Reader:
    """Follows offsets in flatbuffers, none of them out of the data."""

    def __init__(self, data: FileBytes) -> None:
        self._data = data
        self._size = len(data)
        self._tables = 0
        self._unread = MAX_READINGS * self._size

    def table(self, kind: str, at: int) -> _Table:
        """Return a table's fields by name, those that are absent left out."""
        self._tables += 1
        if self._tables > MAX_TABLES:
            raise _Malformed(f"it leads to more than {MAX_TABLES:,} tables")
        vtable = at - self._number(at, -4)
        length, inline = self._number(vtable, 2), self._number(vtable + 2, 2)
        if length < 4 or length % 2 or inline < 4:
            raise _Malformed("a table has no layout")
        self.check(vtable, length)
        self.check(at, inline)
        places = struct.unpack(f"<{length // 2 - 2}H", self._data[vtable + 4 : vtable + length])
        if any(place >= inline for place in places):
            raise _Malformed("a table's field lies outside the table")
        schema = _SCHEMA[kind]
        return {
            schema[slot][0]: self._value(schema[slot][1], at + place)
            for slot, place in enumerate(places)
            if place and slot in schema
        }

    def offset(self, at: int) -> int:
        """Return where the offset at `at` leads."""
        return at + self._number(at, 4)

    def bytes(self, at: int, length: int) -> bytes:
        """Return `length` bytes from `at` on."""
        self.check(at, length)
        self._unread -= length
        if self._unread < 0:
            raise _Malformed("many of its tables share a long vector or text")
        return self._data[at : at + length]

    def check(self, at: int, length: int) -> None:
        """Raise unless `length` bytes from `at` on lie in the file."""
        if at < 0 or at + length > self._size:
            raise _Malformed("it points outside itself; the file seems truncated or damaged")

    def _value(self, of: Any, at: int) -> Any:
        if isinstance(of, int):
            return self._number(at, of)
        target = self.offset(at)
        if isinstance(of, list):
            begin, count = self._vector(target, 4)
            places = range(begin, begin + 4 * count, 4)
            return [self.table(of[0], self.offset(place)) for place in places]
        if of == "string":
            begin, count = self._vector(target, 1)
            return self.bytes(begin, count).decode("utf-8", "replace")
        if isinstance(of, str):
            return self.table(of, target)
        dtype = np.dtype(of).newbyteorder("<")
        begin, count = self._vector(target, dtype.itemsize)
        return _Vector(begin, count, dtype, self)

    def _vector(self, at: int, width: int) -> tuple[int, int]:
        count = self._number(at, 4)
        self.check(at + 4, count * width)
        return at + 4, count

    def _number(self, at: int, width: int) -> int:
        self.check(at, abs(width))
        return int.from_bytes(self._data[at : at + abs(width)], "little", signed=width < 0)


@dataclass(frozen=True, slots=True)
class _Vector:
    """A vector of plain values that is read when asked for."""

    begin: int
    count: int
    dtype: npt.DTypeLike
    reader: _Reader

    def tobytes(self) -> bytes:
        return self.reader.bytes(self.begin, self.count * np.dtype(self.dtype).itemsize)

    def tolist(self, most: int | None = None) -> list[Any]:
        count = self.count if most is None else min(self.count, most)
        dtype = np.dtype(self.dtype)
        held = self.reader.bytes(self.begin, count * dtype.itemsize)
        values: list[Any] = np.frombuffer(held, dtype).tolist()
        return values


def _facts(model: _Table, reader: _Reader) -> TfliteFile:
    graphs, buffers = model.get("subgraphs", []), model.get("buffers", [])
    if not graphs:
        raise _Malformed("it holds no graph")
    lengths = [_length(buffer, reader) for buffer in buffers]
    codes = model.get("operator_codes", [])
    tensors = []
    for graph in graphs:
        tensors.append([_tensor(one, lengths) for one in graph.get("tensors", [])])
        _check_operators(graph, len(tensors[-1]), len(codes))
    main = graphs[0]
    operators = [operator for graph in graphs for operator in graph.get("operators", [])]
    return TfliteFile(
        inputs=tuple(_chosen(tensors[0], main.get("inputs"), "input")),
        outputs=tuple(_chosen(tensors[0], main.get("outputs"), "output")),
        tensors=tuple(one for graph in tensors for one in graph),
        custom=frozenset(code["custom"] for code in codes if code.get("custom")),
        touching_files=frozenset(_touching_files(operators, codes, reader)),
        external=frozenset(one.get("name", "") for one in model.get("external_groups", [])),
        operators=tuple(_name(codes[one.get("code", 0)]) for one in main.get("operators", [])),
        graph=_graph(main, tensors[0], codes),
    )


def _graph(main: _Table, tensors: Sequence[TensorFacts], codes: Sequence[_Table]) -> Graph:
    """Return a graph whose tensors are named by their place: the names in a file need not differ."""

    def listed(table: _Table, end: str) -> list[str]:
        return [str(place) if place >= 0 else "" for place in (_places(table[end]) if end in table else ())]

    steps = [
        Step(_kind(codes[one.get("code", 0)]), listed(one, "inputs"), listed(one, "outputs"))
        for one in main.get("operators", [])
    ]
    return Graph(
        steps=_fused(steps),
        sizes={str(place): one.bytes for place, one in enumerate(tensors) if not one.constant},
        constants=frozenset(str(place) for place, one in enumerate(tensors) if one.constant),
        inputs=listed(main, "inputs"),
        outputs=listed(main, "outputs"),
    )


def _fused(steps: Sequence[Step]) -> list[Step]:
    """Return the steps, paddings that only convolutions read as views: XNNPACK pads as it convolves."""
    readers: dict[str, set[str]] = {}
    for step in steps:
        for name in step.inputs:
            readers.setdefault(name, set()).add(step.operator)
    return [
        replace(step, operator="reshape")
        if step.operator == "pad" and readers.get(step.outputs[0]) == {"convolution"}
        else step
        for step in steps
    ]


def _name(code: _Table) -> str:
    """Return what TFLite calls an operator, of a custom one its own name."""
    number = _number(code)
    if number == CUSTOM:
        return str(code.get("custom", NAMES[CUSTOM]))
    return NAMES[number] if 0 <= number < len(NAMES) else f"operator {number}"


def _kind(code: _Table) -> str:
    return _KINDS.get(_number(code), "")


def _number(code: _Table) -> int:
    # Writers of before 2020 know only the older, one-byte field.
    return max(int(code.get("code", 0)), int(code.get("old_code", 0)))


def _length(buffer: _Table, reader: _Reader) -> int:
    """Return the bytes of a buffer, which lie in it or, of large files, after the tables."""
    offset, length = buffer.get("offset", 0), buffer.get("size", 0)
    if offset > 1:
        reader.check(offset, length)
        return int(length)
    return buffer["data"].count if "data" in buffer else 0


def _tensor(table: _Table, lengths: Sequence[int]) -> TensorFacts:
    name = table.get("name", "")
    place = table.get("buffer", 0)
    if place >= max(len(lengths), 1):
        raise _Malformed(f"tensor {name!r} has no buffer")
    held = lengths[place] if lengths else 0
    dtype, bits = _TYPES.get(table.get("type", 0), ("", 0))
    shape = _shape(table, name)
    needed = (_product(shape) * bits + 7) // 8
    if held and needed > held and "sparsity" not in table:
        raise _Malformed(f"tensor {name!r} asks for {needed:,} bytes and holds {held:,}")
    scale, zero_point = _quantization(table)
    return TensorFacts(
        name=name,
        dtype=dtype,
        shape=shape,
        bytes=held if "sparsity" in table else needed,
        scale=scale,
        zero_point=zero_point,
        constant=bool(held) or "external_buffer" in table,
    )


def _shape(table: _Table, name: str) -> tuple[int, ...]:
    sides = table.get("shape")
    if sides is None:
        return ()
    if sides.count > MAX_DIMENSIONS:
        raise _Malformed(f"tensor {name!r} has {sides.count} dimensions")
    shape = tuple(1 if side == -1 else side for side in sides.tolist())
    if any(side < 0 for side in shape):
        raise _Malformed(f"tensor {name!r} has a negative side: {shape}")
    return shape


def _product(shape: Sequence[int]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


def _quantization(table: _Table) -> tuple[float | None, int | None]:
    stated = table.get("quantization", {})
    scales = stated["scale"].tolist(2) if "scale" in stated else []
    points = stated["zero_point"].tolist(1) if "zero_point" in stated else []
    if len(scales) != 1 or not scales[0]:
        return None, None
    return scales[0], points[0] if points else 0


def _check_operators(graph: _Table, tensors: int, codes: int) -> None:
    for operator in graph.get("operators", []):
        if operator.get("code", 0) >= codes:
            raise _Malformed("an operator is of no kind that the file lists")
        for end in ("inputs", "outputs", "intermediates"):
            if end in operator and any(not -1 <= place < tensors for place in _places(operator[end])):
                raise _Malformed("an operator names a tensor that is not there")


def _touching_files(operators: Sequence[_Table], codes: Sequence[_Table], reader: _Reader) -> Iterator[str]:
    for operator in operators:
        name = codes[operator.get("code", 0)].get("custom", "")
        if not name.startswith(_TENSORFLOW):
            continue
        options = operator["custom_options"].tobytes() if "custom_options" in operator else b""
        if operator.get("custom_offset", 0) > 1:
            options += reader.bytes(operator["custom_offset"], operator.get("custom_size", 0))
        yield from (found.removeprefix(_TENSORFLOW) for found in _words(name.encode() + b"\0" + options))


def _words(text: bytes) -> Iterator[str]:
    """Yield the words about files in a text, the first few of them, in time that grows with its length."""
    for found in itertools.islice(_TOUCHES_FILES.finditer(text), 8):
        before = _WORD_BEFORE.search(text[max(0, found.start() - _LONGEST_WORD) : found.start()])
        after = _WORD_AFTER.match(text[found.end() : found.end() + _LONGEST_WORD])
        parts = (before[0] if before else b"", found[0], after[0] if after else b"")
        yield b"".join(parts).decode("ascii", "replace")


def _chosen(tensors: Sequence[TensorFacts], places: Any, what: str) -> Iterator[TensorFacts]:
    for place in _places(places) if places is not None else ():
        if not 0 <= place < len(tensors):
            raise _Malformed(f"an {what} is a tensor that is not there")
        yield tensors[place]


def _places(vector: Any) -> list[int]:
    return list(vector.tolist())
