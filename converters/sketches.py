"""Untrained files of an architecture, written directly from its operators in milliseconds.

For measuring latency: operator for operator the graph that the real converter yields, with random
weights. A converter takes seconds a network, and a table of latencies needs many networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import helper, numpy_helper

from edge_bench.files import atomic_path
from edge_bench.records import ArchConfig, Operator, SearchSpace, operators

Floats = npt.NDArray[np.float32]

OPSET = 20


def write_onnx(space: SearchSpace, arch: ArchConfig, target: Path, *, seed: int = 0) -> None:
    """Write `arch` with random weights as ONNX: "image" [batch, c, h, w] to "logits" [batch, classes].

    Raises:
        InvalidArch: `arch` is not in `space`.
        StoreError: the disk refuses.
    """
    write_operators_onnx(operators(space, arch), target, seed=seed)


def write_tflite(space: SearchSpace, arch: ArchConfig, target: Path, *, seed: int = 0) -> None:
    """Write `arch` with random weights as TFLite: "image" [1, h, w, c] to "logits" [1, classes].

    The weights are those of `write_onnx` with the same seed.

    Raises:
        InvalidArch: `arch` is not in `space`.
        StoreError: the disk refuses.
    """
    write_operators_tflite(operators(space, arch), target, seed=seed)


def write_operators_onnx(listed: Sequence[Operator], target: Path, *, seed: int = 0) -> None:
    """Write operators in a row, a whole network's or one block's, as `write_onnx` does."""
    graph = _OnnxGraph()
    _emit(graph, listed, "image", seed)
    graph.nodes[-1].output[0] = "logits"
    first, last = listed[0], listed[-1]
    image: list[str | int] = ["batch", first.input_channels]
    if first.kind != "linear":
        image += [first.input_size, first.input_size]
    logits: list[str | int] = ["batch", last.output_channels]
    if last.kind not in ("global_pool", "linear"):
        logits += [last.output_size, last.output_size]
    made = helper.make_graph(
        graph.nodes,
        "sketch",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, logits)],
        graph.weights,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    with atomic_path(target) as temporary:
        temporary.write_bytes(model.SerializeToString())


def write_operators_tflite(listed: Sequence[Operator], target: Path, *, seed: int = 0) -> None:
    """Write operators in a row, a whole network's or one block's, as `write_tflite` does."""
    graph = _TFLiteGraph()
    first = listed[0]
    sides = () if first.kind == "linear" else (first.input_size, first.input_size)
    image = graph.tensor("image", (1, *sides, first.input_channels))
    answer = _emit(graph, listed, image, seed)
    with atomic_path(target) as temporary:
        temporary.write_bytes(graph.packed(image, answer))


def weights(listed: Sequence[Operator], *, seed: int) -> Iterator[tuple[Operator, list[Floats]]]:
    """Yield each operator with its weights and biases in turn: convolutions [out, in, k, k] or
    depthwise [out, 1, k, k], fully connected [out, in]; two pairs for a squeeze-excite.

    Scaled so that activations keep their size (He et al., 2015): numbers that die out become
    denormal, and those are slow.
    """
    generator = np.random.default_rng(seed)
    for operator in listed:
        shapes = _shapes(operator)
        arrays: list[Floats] = []
        for shape in shapes:
            scale = np.sqrt(2 / np.prod(shape[1:]))
            arrays.append(generator.standard_normal(shape, np.float32) * np.float32(scale))
            arrays.append(generator.standard_normal(shape[0], np.float32) * np.float32(0.1))
        yield operator, arrays


def _shapes(operator: Operator) -> list[tuple[int, ...]]:
    before, after, kernel = operator.input_channels, operator.output_channels, operator.kernel
    match operator.kind:
        case "convolution" | "pointwise":
            return [(after, before, kernel, kernel)]
        case "depthwise":
            return [(after, 1, kernel, kernel)]
        case "squeeze_excite":
            return [(operator.hidden, before, 1, 1), (before, operator.hidden, 1, 1)]
        case "linear":
            return [(after, before)]
        case _:
            return []


def _emit(graph: Any, listed: Sequence[Operator], tensor: Any, seed: int) -> Any:
    """Lay the operators into `graph` in the order they run; return the last tensor."""
    block, start = None, tensor
    for operator, arrays in weights(listed, seed=seed):
        if operator.block != block:
            block, start = operator.block, tensor
        match operator.kind:
            case "convolution" | "pointwise" | "depthwise":
                tensor = graph.convolution(tensor, operator, *arrays)
            case "squeeze_excite":
                tensor = graph.squeeze_excite(tensor, operator, *arrays)
            case "add":
                tensor = graph.add(start, tensor)
            case "global_pool":
                tensor = graph.global_pool(tensor)
            case "linear":
                tensor = graph.linear(tensor, operator, *arrays)
        if operator.kind == "convolution":
            # The stem's block has the stem's number, and starts behind it.
            start = tensor
    return tensor


@dataclass
class _OnnxGraph:
    """ONNX nodes and weights; a tensor is its name."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def convolution(self, x: str, operator: Operator, weight: Floats, bias: Floats) -> str:
        kernel, group = operator.kernel, operator.input_channels if operator.kind == "depthwise" else 1
        x = self._conv(x, weight, bias, stride=operator.stride, padding=kernel // 2, group=group)
        return self._activated(x, operator.activation)

    def squeeze_excite(
        self, x: str, operator: Operator, down: Floats, down_bias: Floats, up: Floats, up_bias: Floats
    ) -> str:
        scale = self._pool(x)
        scale = self._node("Relu", [self._conv(scale, down, down_bias)])
        scale = self._conv(scale, up, up_bias)
        return self._node("Mul", [x, self._node("HardSigmoid", [scale], alpha=1 / 6, beta=0.5)])

    def add(self, start: str, x: str) -> str:
        return self._node("Add", [start, x])

    def global_pool(self, x: str) -> str:
        flat = self._constant("flat", np.array([0, -1]))
        return self._node("Reshape", [self._pool(x), flat])

    def linear(self, x: str, operator: Operator, weight: Floats, bias: Floats) -> str:
        inputs = [x, self._constant("weight", weight), self._constant("bias", bias)]
        return self._activated(self._node("Gemm", inputs, transB=1), operator.activation)

    def _conv(
        self, x: str, weight: Floats, bias: Floats, *, stride: int = 1, padding: int = 0, group: int = 1
    ) -> str:
        inputs = [x, self._constant("weight", weight), self._constant("bias", bias)]
        return self._node(
            "Conv",
            inputs,
            kernel_shape=list(weight.shape[2:]),
            strides=[stride, stride],
            pads=[padding] * 4,
            dilations=[1, 1],
            group=group,
        )

    def _pool(self, x: str) -> str:
        return self._node("ReduceMean", [x, self._constant("axes", np.array([2, 3]))], keepdims=1)

    def _activated(self, x: str, activation: str | None) -> str:
        if activation is None:
            return x
        if activation == "relu6":
            limits = [self._constant(name, np.float32(limit)) for name, limit in (("min", 0), ("max", 6))]
            return self._node("Clip", [x, *limits])
        return self._node({"relu": "Relu", "h_swish": "HardSwish"}[activation], [x])

    def _constant(self, name: str, value: npt.ArrayLike) -> str:
        unique = f"{name}{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), unique))
        return unique

    def _node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output


_FUSED = {
    None: schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
    # LiteRT fuses no h-swish: it becomes an operator behind.
    "h_swish": schema.ActivationFunctionType.NONE,
}
_VERSIONS = {schema.BuiltinOperator.FULLY_CONNECTED: 5}


@dataclass
class _TFLiteGraph:
    """TFLite tensors, buffers and operators; a tensor is its index."""

    tensors: list[Any] = field(default_factory=list)
    # By the format's rule the first buffer is empty: what has no data points to it.
    buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])
    operators: list[Any] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)

    def convolution(self, x: int, operator: Operator, weight: Floats, bias: Floats) -> int:
        # A stem over one channel becomes a depthwise convolution that multiplies its channel.
        depthwise = operator.kind == "depthwise" or operator.input_channels == 1
        x, padding = self._padded(x, operator)
        fields: dict[str, Any] = {
            "padding": padding,
            "strideW": operator.stride,
            "strideH": operator.stride,
            "fusedActivationFunction": _FUSED[operator.activation],
            "dilationWFactor": 1,
            "dilationHFactor": 1,
        }
        side = operator.output_size
        shape = (1, side, side, operator.output_channels)
        if depthwise:
            kernel = self._constant(weight[:, 0].transpose(1, 2, 0)[None])
            options = _options("DepthwiseConv2D", **fields)
            options.depthMultiplier = operator.output_channels // operator.input_channels
            x = self._node("DEPTHWISE_CONV_2D", [x, kernel, self._constant(bias)], shape, options)
        else:
            x = self._conv(x, weight, bias, shape, _options("Conv2D", **fields))
        return self._h_swished(x, operator.activation)

    def squeeze_excite(
        self, x: int, operator: Operator, down: Floats, down_bias: Floats, up: Floats, up_bias: Floats
    ) -> int:
        channels = operator.input_channels
        scale = self._mean(x, (1, 1, 1, channels), keep=True)
        for weight, bias, activation in ((down, down_bias, "relu"), (up, up_bias + 3, "relu6")):
            fields = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
            options = _options("Conv2D", padding=schema.Padding.VALID, **fields)
            options.fusedActivationFunction = _FUSED[activation]
            scale = self._conv(scale, weight, bias, (1, 1, 1, len(bias)), options)
        # A hard sigmoid is relu6(x + 3) / 6, its 3 in the bias before.
        sixth = self._constant(np.array(1 / 6, np.float32))
        scale = self._node("MUL", [scale, sixth], (1, 1, 1, channels), _options("Mul"))
        return self._node("MUL", [x, scale], self._shape(x), _options("Mul"))

    def add(self, start: int, x: int) -> int:
        return self._node("ADD", [start, x], self._shape(x), _options("Add"))

    def global_pool(self, x: int) -> int:
        return self._mean(x, (1, self._shape(x)[3]), keep=False)

    def linear(self, x: int, operator: Operator, weight: Floats, bias: Floats) -> int:
        options = _options(
            "FullyConnected", fusedActivationFunction=_FUSED[operator.activation], keepNumDims=True
        )
        inputs = [x, self._constant(weight), self._constant(bias)]
        x = self._node("FULLY_CONNECTED", inputs, (1, operator.output_channels), options)
        return self._h_swished(x, operator.activation)

    def tensor(self, name: str, shape: tuple[int, ...]) -> int:
        """Add a float32 tensor that is computed or fed."""
        return self._add_tensor(name, shape, schema.TensorType.FLOAT32, buffer=0)

    def packed(self, image: int, logits: int) -> bytes:
        """Return the model as a flatbuffer with the signature that converted files have."""
        self.tensors[logits].name = "logits"
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs, graph.name = [image], [logits], "main"
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [graph], self.buffers
        model.operatorCodes = [_code(code) for code in self.codes]
        model.signatureDefs = [_signature(image, logits)]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _padded(self, x: int, operator: Operator) -> tuple[int, int]:
        """Return the input of a convolution and its padding.

        SAME pads as little as possible, more behind than before; where that is not the symmetric
        padding that the network was trained with, an operator before pads.
        """
        kernel, stride, size = operator.kernel, operator.stride, operator.input_size
        if kernel == 1:
            return x, schema.Padding.VALID
        edge = kernel // 2
        if (operator.output_size - 1) * stride + kernel - size == 2 * edge:
            return x, schema.Padding.SAME
        pads = self._constant(np.array([[0, 0], [edge, edge], [edge, edge], [0, 0]], np.int32))
        side = size + 2 * edge
        shape = (1, side, side, operator.input_channels)
        return self._node("PAD", [x, pads], shape, _options("Pad")), schema.Padding.VALID

    def _conv(self, x: int, weight: Floats, bias: Floats, shape: tuple[int, ...], options: Any) -> int:
        kernel = self._constant(weight.transpose(0, 2, 3, 1))
        return self._node("CONV_2D", [x, kernel, self._constant(bias)], shape, options)

    def _mean(self, x: int, shape: tuple[int, ...], *, keep: bool) -> int:
        axes = self._constant(np.array([1, 2], np.int32))
        # The converter writes a mean as a sum and a division, and joins them again where it divides.
        kind = "MEAN" if self._shape(x)[1] > 1 else "SUM"
        return self._node(kind, [x, axes], shape, _options("Reducer", keepDims=keep))

    def _h_swished(self, x: int, activation: str | None) -> int:
        return self._node("HARD_SWISH", [x], self._shape(x), None) if activation == "h_swish" else x

    def _shape(self, x: int) -> tuple[int, ...]:
        return tuple(self.tensors[x].shape)

    def _constant(self, value: npt.NDArray[Any]) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        self.buffers.append(buffer)
        integer = value.dtype == np.int32
        kind = schema.TensorType.INT32 if integer else schema.TensorType.FLOAT32
        return self._add_tensor(
            f"constant{len(self.buffers)}", value.shape, kind, buffer=len(self.buffers) - 1
        )

    def _add_tensor(self, name: str, shape: tuple[int, ...], kind: int, *, buffer: int) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _node(self, kind: str, inputs: list[int], shape: tuple[int, ...], options: Any) -> int:
        code = getattr(schema.BuiltinOperator, kind)
        if code not in self.codes:
            self.codes.append(code)
        output = self.tensor(f"t{len(self.operators)}", shape)
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.index(code)
        operator.inputs, operator.outputs = inputs, [output]
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = options
        self.operators.append(operator)
        return output


def _options(name: str, **fields: Any) -> Any:
    options = getattr(schema, f"{name}OptionsT")()
    for key, value in fields.items():
        setattr(options, key, value)
    return options


def _code(builtin: int) -> Any:
    code = schema.OperatorCodeT()
    # Readers of before 2020 look into the older, one-byte field.
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = _VERSIONS.get(builtin, 1)
    return code


def _signature(image: int, logits: int) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    signature.inputs, signature.outputs = [_named("image", image)], [_named("logits", logits)]
    return signature


def _named(name: str, tensor: int) -> Any:
    named = schema.TensorMapT()
    named.name, named.tensorIndex = name, tensor
    return named
