"""TFLite's sparse tensors: of filters with many zeros only the other weights are written.

The file shrinks. XNNPACK computes with the other weights alone where `edge-bench advise` says so: on ARM,
under conditions. Everywhere else the filters are made dense when the file is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from converters import flatbuffer
from converters.encodings import Encoding
from edge_bench.errors import ConversionError

# From here on values and their places take less room than all values.
LEAST_ZEROS = 0.5
_PLACES: tuple[tuple[type[np.unsignedinteger[Any]], Any, int], ...] = (
    (np.uint8, schema.Uint8VectorT, schema.SparseIndexVector.Uint8Vector),
    (np.uint16, schema.Uint16VectorT, schema.SparseIndexVector.Uint16Vector),
)


class Sparse(Encoding):
    """Filters of 1×1 convolutions and matrices of fully connected layers of which at least half is zero,
    row by row (CSR), each with the operator DENSIFY behind it, as XNNPACK looks for them.
    """

    formats = ("tflite",)
    precisions = ("fp32",)

    def encode(self, file: Path) -> None:
        content = file.read_bytes()
        model = flatbuffer.read(content)
        graphs = [_Graph(model, graph) for graph in model.subgraphs]
        if not sum(graph.encode() for graph in graphs):
            raise ConversionError(
                "no 1×1 convolution or fully connected layer of the network is half zeros, so there is "
                "nothing to write sparsely",
                hint="prune it first, by a technique such as dpf or by edge-bench tickets",
            )
        file.write_bytes(flatbuffer.written(model, len(content)))


class _Graph:
    """A graph of a model whose filters become sparse."""

    def __init__(self, model: schema.ModelT, graph: schema.SubGraphT) -> None:
        self._model, self._graph = model, graph

    def encode(self) -> int:
        """Make filters sparse; return how many."""
        operators: list[schema.OperatorT] = []
        made = 0
        for operator in self._graph.operators:
            weights = self._filter(operator)
            if weights is not None:
                operators.append(self._densify(operator, weights))
                made += 1
            operators.append(operator)
        self._graph.operators = operators
        return made

    def _filter(self, operator: schema.OperatorT) -> npt.NDArray[np.float32] | None:
        """Return an operator's filter [outputs, …, inputs], if it is one that is worth it."""
        kind = self._model.operatorCodes[operator.opcodeIndex].builtinCode
        if kind not in (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED):
            return None
        tensor = self._graph.tensors[operator.inputs[1]]
        data = self._model.buffers[tensor.buffer].data
        if tensor.type != schema.TensorType.FLOAT32 or data is None or not len(data):
            return None
        values = np.frombuffer(bytes(data), np.float32).reshape(tensor.shape)
        pointwise = all(side == 1 for side in values.shape[1:-1])
        worth = (values == 0).mean() >= LEAST_ZEROS and values.shape[-1] <= np.iinfo(np.uint16).max + 1
        return values if pointwise and worth else None

    def _densify(self, operator: schema.OperatorT, values: npt.NDArray[np.float32]) -> schema.OperatorT:
        """Return the operator that feeds `operator` with its filter, which is written sparsely."""
        dense = self._graph.tensors[operator.inputs[1]]
        kept = _kept(values)
        self._model.buffers[dense.buffer].data = np.frombuffer(values[kept].tobytes(), np.uint8)
        sparse = schema.TensorT()
        sparse.name, sparse.shape, sparse.type = f"{_text(dense.name)}/sparse", dense.shape, dense.type
        sparse.buffer = dense.buffer
        sparse.sparsity = _rows(kept)
        self._graph.tensors.append(sparse)
        # What was the filter is now what the operator answers.
        dense.buffer = 0
        densify = schema.OperatorT()
        densify.opcodeIndex = self._code()
        densify.builtinOptionsType = schema.BuiltinOptions.DensifyOptions
        densify.builtinOptions = schema.DensifyOptionsT()
        densify.inputs, densify.outputs = [len(self._graph.tensors) - 1], [operator.inputs[1]]
        return densify

    def _code(self) -> int:
        codes = self._model.operatorCodes
        for number, code in enumerate(codes):
            if code.builtinCode == schema.BuiltinOperator.DENSIFY:
                return number
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DENSIFY
        codes.append(code)
        return len(codes) - 1


def _kept(values: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return which values of a filter are written: those that are not zero, and of a filter of zeros alone
    one, since a tensor without data is no constant.
    """
    kept: npt.NDArray[np.bool_] = values != 0
    kept.flat[0] |= not kept.any()
    return kept


def _rows(kept: npt.NDArray[np.bool_]) -> schema.SparsityParametersT:
    """Return where a filter's written values lie: its last side in compressed rows, the others dense."""
    *outer, width = kept.shape
    rows = kept.reshape(-1, width)
    told = schema.SparsityParametersT()
    told.traversalOrder = list(range(kept.ndim))
    told.dimMetadata = [_dense_side(side) for side in outer]
    last = schema.DimensionMetadataT()
    last.format = schema.DimensionType.SPARSE_CSR
    segments = schema.Int32VectorT()
    segments.values = np.concatenate([[0], np.cumsum(rows.sum(1))]).astype(np.int32)
    last.arraySegmentsType, last.arraySegments = schema.SparseIndexVector.Int32Vector, segments
    number, vector, kind = next(one for one in _PLACES if width <= np.iinfo(one[0]).max + 1)
    places = vector()
    places.values = np.nonzero(rows)[1].astype(number)
    last.arrayIndicesType, last.arrayIndices = kind, places
    told.dimMetadata.append(last)
    return told


def _dense_side(side: int) -> schema.DimensionMetadataT:
    told = schema.DimensionMetadataT()
    told.format, told.denseSize = schema.DimensionType.DENSE, side
    return told


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
