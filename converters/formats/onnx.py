"""ONNX by torch's dynamo exporter, batch norm folded, any batch size, one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch.export import ExportedProgram

from converters import quantization
from converters.chatter import silenced
from converters.failures import failed
from converters.formats import Converter
from edge_bench.errors import ConversionError

INPUT, OUTPUT, BATCH = "image", "logits", "batch"


class Onnx(Converter):
    """Input "image" [batch, channels, size, size], output "logits" [batch, classes], both float32.

    int8 is static QDQ with unsigned activations and signed weights per channel: with signed
    activations ONNX Runtime on x86 was up to 3.5 times slower.
    """

    format = "onnx"
    runtime = "onnxruntime"
    tolerance = 1e-4

    def convert(self, program: ExportedProgram, target: Path) -> None:
        try:
            with silenced():
                exported = torch.onnx.export(
                    program, dynamo=True, input_names=[INPUT], output_names=[OUTPUT], external_data=False
                )
                assert exported is not None
                model = exported.model_proto
        # The exporter has no base class of its own for what it raises.
        except Exception as error:
            raise failed(self.format, error) from error
        _free_batch(model)
        _forget_origins(model)
        onnx.checker.check_model(model, full_check=True)
        target.write_bytes(model.SerializeToString())

    def quantize(self, source: Path, target: Path, calibration: npt.NDArray[np.float32]) -> None:
        quantization.in_child("onnx", source, target, self.layout(calibration))

    def layout(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return inputs


def _free_batch(model: onnx.ModelProto) -> None:
    """Name the batch dimension of input and output "batch"; `ConversionError` where it is fixed."""
    for tensor in (*model.graph.input, *model.graph.output):
        first = tensor.type.tensor_type.shape.dim[0]
        if not first.dim_param:
            raise ConversionError(
                f"the program fixes the batch of '{tensor.name}' at {first.dim_value}; it must be free",
                hint="export the program at batch 2 with a dynamic batch dimension",
            )
        first.dim_param = BATCH


def _forget_origins(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes on each node: stack traces with paths, longer than the graph."""
    graph = model.graph
    del graph.value_info[:], graph.metadata_props[:], model.metadata_props[:]
    for item in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        del item.metadata_props[:]
        item.doc_string = ""
