"""Channels and neurons that are dead are cut out: a smaller dense network, faster on any runtime."""

from __future__ import annotations

from torch.export import ExportedProgram

from converters.dead_units import without_dead_units
from converters.encodings import Encoding
from edge_bench.errors import ConversionError


class Compact(Encoding):
    """A dense file of what is left (`converters.dead_units`); its parameters and multiply-accumulates are
    fewer than the network's.
    """

    formats = ("onnx", "tflite")
    precisions = ("fp32", "int8")

    def prepared(self, program: ExportedProgram) -> ExportedProgram:
        cut = without_dead_units(program)
        if not cut.cut:
            raise ConversionError(
                f"none of the network's {cut.units} units is dead: a compact file would be the dense one",
                hint="export it dense; units die at a higher sparsity, or where the scope is global",
            )
        return cut.program
