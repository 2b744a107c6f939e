"""What a model file takes of memory by its own shapes, whatever runs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge_bench.documents import to_document
from edge_bench.errors import EdgeBenchError
from edge_bench.measure import onnx_file, tflite_file
from edge_bench.measure.inputs import UNTOLD, Feeding
from edge_bench.measure.sandbox import run_job
from edge_bench.records.footprint import Footprint

INFERENCE_S = 60


def footprint(model: Path, *, feeding: Feeding = UNTOLD) -> Footprint | None:
    """Return the weights and live activations of a file for one example; None of formats without a walker.

    The file is read as bytes. An ONNX file that does not tell the shapes of what it computes goes to a
    child of the sandbox, which infers them; so does one that is fed texts of `feeding.length`, for what
    the file tells of a side of any size is nothing. Where the onnx package is missing or the shapes
    depend on values, `activations_bytes` is None.

    Raises:
        InvalidModel: the file is not what its ending says.
    """
    ending = model.suffix.lower()
    if ending == ".tflite":
        return tflite_file.survey_file(model).footprint
    if ending != ".onnx":
        return None
    seen = onnx_file.survey_file(model)
    if feeding.length is not None:
        seen = replace(seen, sizes={})
    told = seen.footprint()
    if told.activations_bytes is not None:
        return told
    try:
        job = {"model": str(model.resolve()), "threads": 1, "feeding": to_document(feeding)}
        answer = run_job("edge_bench.measure.shapes:sizes", job, timeout_s=INFERENCE_S).document
    except EdgeBenchError:
        return told
    return seen.footprint({str(name): int(size) for name, size in answer["sizes"].items()})
