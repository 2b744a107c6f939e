"""TFLite by litert-torch, channels last, batch norm and activations folded."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan_op
from torch.export import ExportedProgram
from torch.fx import GraphModule

from converters import flatbuffer, quantization
from converters.chatter import silenced
from converters.failures import failed
from converters.formats import Converter
from converters.programs import BATCH, IMAGE, LENGTH, LOGITS, ROOM, Named, signature_of
from converters.zeros import Counts, summed

with silenced():
    import litert_torch

_WEIGHTS: dict[int, type[np.generic]] = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
}


class TFLite(Converter):
    """Of a network for images: signature input "image" [1, size, size, channels], output "logits"
    [1, classes], both float32. The batch is 1 and may be resized. int8 files take and give int8, with a
    scale and zero point.

    Of others: tensors and the signature's ends are named as `programs` says; batch and length are fixed,
    since a transformer cannot be resized, and tokens are int32. What runs over a text token by token is
    unrolled: TFLite's own loops are not delegated.
    """

    format = "tflite"
    runtime = "litert"
    tolerance = 1e-3
    free_sides = False

    def convert(self, program: ExportedProgram, target: Path, *, length: int = 1) -> None:
        signature = signature_of(program)
        network: nn.Module
        if signature.takes_image:
            channels, height, width = input_shape(program)
            network = _ChannelsLast(program)
            # At batch 1 every layer becomes one delegated operator; a free batch leaves some behind.
            examples = {IMAGE: torch.zeros(1, height, width, channels)}
        else:
            network = Named(program)
            _unroll_scans(network)
            sizes = {BATCH: 1, LENGTH: length, ROOM: length}
            examples = {one.name: one.example(sizes) for one in signature.inputs}
        try:
            with silenced():
                converted = litert_torch.convert(network, sample_kwargs=examples)
                content = converted.model_content()
        # The converter lets the errors of torch, MLIR and its own passes through.
        except Exception as error:
            raise failed(self.format, error) from error
        content = _resizable(content) if signature.takes_image else _plainly_named(content)
        # Not the converter's own way to a file: on a full disk that ends the whole process.
        target.write_bytes(content)

    def quantize(self, source: Path, target: Path, calibration: npt.NDArray[np.float32]) -> None:
        quantization.in_child("tflite", source, target, self.layout(calibration))

    def quantize_weights(self, source: Path, target: Path) -> None:
        quantization.in_child("tflite_weights", source, target)

    def layout(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.ascontiguousarray(inputs.transpose(0, 2, 3, 1))

    def count_weights(self, file: Path) -> Counts:
        model = flatbuffer.read(file.read_bytes())
        tensors = [one for graph in model.subgraphs for one in graph.tensors]
        held = [(one, model.buffers[one.buffer].data) for one in tensors if one.type in _WEIGHTS]
        return summed(
            (prod(map(int, one.shape)), np.frombuffer(bytes(data), _WEIGHTS[one.type]))
            for one, data in held
            if data is not None and len(data) and len(one.shape) > 1
        )


def input_shape(program: ExportedProgram) -> tuple[int, int, int]:
    """Return channels, height and width of the program's input."""
    name = program.graph_signature.user_inputs[0]
    node = next(node for node in program.graph.nodes if node.name == name)
    _, channels, height, width = node.meta["val"].shape
    return int(channels), int(height), int(width)


class _ChannelsLast(nn.Module):
    """The program with input [n, height, width, channels] and a named output."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        self.network = program.module()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {LOGITS: self.network(image.permute(0, 3, 1, 2))}


def _resizable(content: bytes) -> bytes:
    """Return the file with no batch of 1 written into a reshape, such as the flattening of maps."""
    model = flatbuffer.read(content)
    reshapes = {
        number
        for number, code in enumerate(model.operatorCodes)
        if code.builtinCode == schema.BuiltinOperator.RESHAPE
    }
    found = False
    for graph in model.subgraphs:
        for operator in graph.operators:
            if operator.opcodeIndex not in reshapes:
                continue
            before, wanted = (graph.tensors[index] for index in operator.inputs[:2])
            shape = np.frombuffer(bytes(model.buffers[wanted.buffer].data), np.int32).copy()
            if shape[0] == 1 == before.shape[0] and (shape > 0).all():
                shape[0] = -1
                model.buffers[wanted.buffer].data = np.frombuffer(shape.tobytes(), np.uint8)
                operator.builtinOptionsType = schema.BuiltinOptions.NONE
                operator.builtinOptions = None
                found = True
    return flatbuffer.written(model, len(content)) if found else content


def _unroll_scans(network: nn.Module) -> None:
    """Let scans run as loops in Python, which become as many operators as there are tokens.

    The converter knows no scan.
    """
    for module in network.modules():
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                if node.target is scan_op:
                    node.target = _unrolled
            module.recompile()


def _unrolled(
    step: nn.Module, states: Sequence[Tensor], given: Sequence[Tensor], more: Sequence[Tensor]
) -> list[Tensor]:
    """Return what `scan_op` does: the last states, then what each step gave out, stacked."""
    count, told = len(states), []
    for place in range(given[0].shape[0]):
        answered = step(*states, *(one[place] for one in given), *more)
        states = answered[:count]
        told.append(answered[count:])
    return [*states, *(torch.stack(one) for one in zip(*told, strict=True))]


def _plainly_named(content: bytes) -> bytes:
    """Return the file with the tensors at its ends called as its signature calls them.

    The converter puts words of its own around those names, which whoever feeds tensors would have to know.
    """
    model = flatbuffer.read(content)
    for signature in model.signatureDefs:
        tensors = model.subgraphs[signature.subgraphIndex].tensors
        for end in (*signature.inputs, *signature.outputs):
            tensors[end.tensorIndex].name = end.name
    return flatbuffer.written(model, len(content))
