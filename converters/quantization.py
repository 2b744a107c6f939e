"""int8 from an fp32 file: static, with real inputs that set the ranges, or of its weights alone.

Calibration runs the model, so it happens in a child process of its own: `python -m
converters.quantization METHOD SOURCE TARGET [INPUTS.npy]`. Whatever the libraries do there, and the
memory they take, ends with the child.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_bench.errors import ConversionError

Inputs = npt.NDArray[np.float32]
TIMEOUT_S = 600


def in_child(method: str, source: Path, target: Path, inputs: Inputs | None = None) -> None:
    """Write an int8 file to `target` from the fp32 file `source`.

    Args:
        method: a key of `METHODS`, or of `WEIGHT_METHODS`, which take no inputs.
        source: the fp32 file.
        target: where the int8 file is written.
        inputs: [n, ...] in the file's own layout.

    Raises:
        ConversionError: the library failed, or died.
    """
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        kept, made = Path(folder) / "inputs.npy", Path(folder) / f"int8{source.suffix}"
        command = [sys.executable, "-m", __name__, method, str(source), str(made)]
        if inputs is not None:
            np.save(kept, inputs)
            command.append(str(kept))
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise ConversionError(
                f"quantizing '{source.name}' took more than {TIMEOUT_S} s",
                hint="calibrate on fewer or smaller images",
            ) from None
        if ended.returncode:
            lines = [line for line in ended.stderr.splitlines() if line.strip()]
            told = lines[-1].strip() if lines else f"the child ended with status {ended.returncode}"
            raise ConversionError(f"'{source.name}' cannot be quantized: {told}")
        # Copied here, so that a disk which refuses the file is not taken for a network that cannot
        # be quantized.
        shutil.copyfile(made, target)


def onnx_qdq(source: Path, target: Path, inputs: Inputs) -> None:
    """QDQ by onnxruntime: unsigned activations, signed weights, per channel."""
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quant_pre_process,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self._feeds: Iterator[dict[str, Inputs]] = ({name: one[None]} for one in inputs)

        def get_next(self) -> dict[str, Inputs] | None:
            return next(self._feeds, None)

    name = onnx.load(str(source)).graph.input[0].name
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            Reader(name),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def tflite_static(source: Path, target: Path, inputs: Inputs) -> None:
    """Integer weights and activations by ai-edge-quantizer; input and output become int8."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import calibrator, quantizer, recipe, recipe_manager
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    signatures = Interpreter(model_path=str(source)).get_signature_list()
    [(signature, ends)] = signatures.items()
    [name] = ends["inputs"]
    feeds = [{name: one[None]} for one in inputs]
    rules = recipe.static_wi8_ai8()
    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(rules)
    # The quantizer's own way is a moving average of each image's range, which cuts off what half of
    # the images hold.
    ranges = calibrator.Calibrator(str(source), num_threads=1, qsv_update_func=min_max_update)
    ranges.calibrate({signature: feeds}, manager)
    made = quantizer.Quantizer(str(source), rules)
    target.write_bytes(made.quantize(ranges.get_model_qsvs()).quantized_model)


def onnx_weights(source: Path, target: Path) -> None:
    """Weights of matrix multiplications as signed int8 and tables of vectors as unsigned, by onnxruntime.

    One scale a matrix: with one a channel a translator's answers were no nearer and its step slower. Its
    tables are more than half of the file, and cost neither time nor accuracy as integers.
    """
    from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        kinds = ["MatMul", "Gemm", "Gather"]
        quantize_dynamic(
            str(prepared), str(target), op_types_to_quantize=kinds, weight_type=QuantType.QInt8
        )


def tflite_weights(source: Path, target: Path) -> None:
    """Weights as int8 and real inputs and outputs, by ai-edge-quantizer."""
    from ai_edge_quantizer import quantizer, recipe

    made = quantizer.Quantizer(str(source), recipe.dynamic_wi8_afp32())
    target.write_bytes(made.quantize().quantized_model)


METHODS: dict[str, Callable[[Path, Path, Inputs], None]] = {
    "onnx": onnx_qdq,
    "tflite": tflite_static,
}


WEIGHT_METHODS: dict[str, Callable[[Path, Path], None]] = {
    "onnx_weights": onnx_weights,
    "tflite_weights": tflite_weights,
}


def _main(method: str, source: str, target: str, inputs: str = "") -> None:
    if method in WEIGHT_METHODS:
        WEIGHT_METHODS[method](Path(source), Path(target))
    else:
        METHODS[method](Path(source), Path(target), np.load(inputs, allow_pickle=False))


if __name__ == "__main__":
    _main(*sys.argv[1:])
