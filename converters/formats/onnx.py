"""ONNX by torch's dynamo exporter, batch norm folded, any batch size and length, one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch.export import ExportedProgram

from converters import quantization
from converters.chatter import silenced
from converters.failures import failed
from converters.formats import Converter
from converters.programs import BATCH, Signature, signature_of
from converters.zeros import Counts, summed
from edge_bench.errors import ConversionError


class Onnx(Converter):
    """Inputs, outputs and free sides are named as `programs` says: of a network for images "image"
    [batch, channels, size, size] and "logits" [batch, classes], both float32.

    int8 of images is static QDQ with unsigned activations and signed weights per channel: with signed
    activations ONNX Runtime on x86 was up to 3.5 times slower.
    """

    format = "onnx"
    runtime = "onnxruntime"
    tolerance = 1e-4
    free_sides = True

    def convert(self, program: ExportedProgram, target: Path, *, length: int = 1) -> None:
        signature = signature_of(program)
        try:
            with silenced():
                exported = torch.onnx.export(
                    program,
                    dynamo=True,
                    input_names=[one.name for one in signature.inputs],
                    output_names=list(signature.outputs),
                    external_data=False,
                )
                assert exported is not None
                model = exported.model_proto
        # The exporter has no base class of its own for what it raises.
        except Exception as error:
            raise failed(self.format, error) from error
        _name_free_sides(model, signature)
        _forget_origins(model)
        onnx.checker.check_model(model, full_check=True)
        target.write_bytes(model.SerializeToString())

    def quantize(self, source: Path, target: Path, calibration: npt.NDArray[np.float32]) -> None:
        quantization.in_child("onnx", source, target, self.layout(calibration))

    def quantize_weights(self, source: Path, target: Path) -> None:
        quantization.in_child("onnx_weights", source, target)

    def layout(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return inputs

    def count_weights(self, file: Path) -> Counts:
        kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8)
        held = onnx.load(str(file)).graph.initializer
        weights = [one for one in held if len(one.dims) > 1 and one.data_type in kinds]
        return summed((one.size, one) for one in map(numpy_helper.to_array, weights))


def _name_free_sides(model: onnx.ModelProto, signature: Signature) -> None:
    """Give the free sides of inputs and outputs their names; `ConversionError` where one is fixed."""
    names: dict[str, str] = {}
    for tensor, given in zip(model.graph.input, signature.inputs, strict=True):
        for place, name in given.free.items():
            side = tensor.type.tensor_type.shape.dim[place]
            if not side.dim_param:
                raise _fixed(name, tensor.name, side.dim_value)
            names[side.dim_param] = name
    for tensor in (*model.graph.input, *model.graph.output):
        for side in tensor.type.tensor_type.shape.dim:
            if side.dim_param:
                side.dim_param = names.get(side.dim_param, side.dim_param)
    if signature.takes_image:
        for tensor in model.graph.output:
            if not tensor.type.tensor_type.shape.dim[0].dim_param:
                raise _fixed(BATCH, tensor.name, tensor.type.tensor_type.shape.dim[0].dim_value)


def _fixed(side: str, tensor: str, size: int) -> ConversionError:
    return ConversionError(
        f"the program fixes the {side} of '{tensor}' at {size}; it must be free",
        hint=f"export the program at {side} 2 with a dynamic {side} dimension",
    )


def _forget_origins(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes on each node: stack traces with paths, longer than the graph."""
    del model.metadata_props[:]
    _forget_origins_in(model.graph)


def _forget_origins_in(graph: onnx.GraphProto) -> None:
    del graph.value_info[:], graph.metadata_props[:]
    for item in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        del item.metadata_props[:]
        item.doc_string = ""
    for node in graph.node:
        for attribute in node.attribute:
            # What a scan does in each step is a graph too.
            if attribute.HasField("g"):
                _forget_origins_in(attribute.g)
