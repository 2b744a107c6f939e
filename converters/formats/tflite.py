"""TFLite by litert-torch, channels last, batch norm and activations folded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from converters import quantization
from converters.chatter import silenced
from converters.failures import failed
from converters.formats import Converter

with silenced():
    import litert_torch


class TFLite(Converter):
    """Signature input "image" [1, size, size, channels], output "logits" [1, classes], both float32.

    The batch is 1 and may be resized. int8 files take and give int8, with a scale and zero point.
    """

    format = "tflite"
    runtime = "litert"
    tolerance = 1e-3

    def convert(self, program: ExportedProgram, target: Path) -> None:
        channels, height, width = input_shape(program)
        # At batch 1 every layer becomes one delegated operator; a free batch leaves some behind.
        image = torch.zeros(1, height, width, channels)
        try:
            with silenced():
                converted = litert_torch.convert(_ChannelsLast(program), sample_kwargs={"image": image})
                content = converted.model_content()
        # The converter lets the errors of torch, MLIR and its own passes through.
        except Exception as error:
            raise failed(self.format, error) from error
        # Not the converter's own way to a file: on a full disk that ends the whole process.
        target.write_bytes(content)

    def quantize(self, source: Path, target: Path, calibration: npt.NDArray[np.float32]) -> None:
        quantization.in_child("tflite", source, target, self.layout(calibration))

    def layout(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.ascontiguousarray(inputs.transpose(0, 2, 3, 1))


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
        return {"logits": self.network(image.permute(0, 3, 1, 2))}
