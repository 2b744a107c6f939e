"""The operators of a model file in the order they run, read from its bytes; nothing is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_bench.errors import InvalidModel
from edge_bench.measure import onnx_file, tflite_file
from edge_bench.measure.inspection import MAX_BYTES, check_exists


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOperator:
    """One operator of the main graph. `kind` is the format's own name for it, such as Conv or CONV_2D.

    `inputs` and `outputs` are tensors that are computed or given; `constants` counts the others it reads.
    `output_bytes` and `shape` are of its first output, None where the file does not tell; a side of any
    size is 1 in `shape`.
    """

    kind: str
    inputs: tuple[str, ...]
    constants: int
    outputs: tuple[str, ...]
    output_bytes: int | None = None
    shape: tuple[int, ...] | None = None


def operators_in(path: Path) -> tuple[FileOperator, ...]:
    """Return the operators of an ONNX or TFLite file.

    Raises:
        ConfigError: there is no such file.
        InvalidModel: it is no such model, is damaged, or larger than what is opened.
    """
    check_exists(path)
    if path.stat().st_size > MAX_BYTES:
        raise InvalidModel(f"'{path.name}' is larger than the {MAX_BYTES / 1e9:.1f} GB that are opened")
    match path.suffix.lower():
        case ".onnx":
            return _of_onnx(onnx_file.survey_file(path))
        case ".tflite":
            return _of_tflite(tflite_file.survey_file(path))
    raise InvalidModel(f"'{path.name}' ends in neither .onnx nor .tflite", hint="convert it by `import`")


def _of_onnx(seen: onnx_file.OnnxFile) -> tuple[FileOperator, ...]:
    called = {name.lower(): name for name in seen.operators}
    return tuple(
        FileOperator(
            kind=called.get(step.operator, step.operator),
            inputs=_computed(step.inputs, seen.constants),
            constants=sum(name in seen.constants for name in step.inputs),
            outputs=tuple(name for name in step.outputs if name),
            output_bytes=seen.sizes.get(step.outputs[0]) if step.outputs else None,
        )
        for step in seen.steps
    )


def _of_tflite(seen: tflite_file.TfliteFile) -> tuple[FileOperator, ...]:
    graph = seen.graph
    # Those of the main graph stand first.
    return tuple(
        FileOperator(
            kind=kind,
            inputs=_computed(step.inputs, graph.constants),
            constants=sum(name in graph.constants for name in step.inputs),
            outputs=tuple(name for name in step.outputs if name),
            output_bytes=graph.sizes.get(step.outputs[0]) if step.outputs else None,
            shape=seen.tensors[int(step.outputs[0])].shape if step.outputs and step.outputs[0] else None,
        )
        for kind, step in zip(seen.operators, graph.steps, strict=True)
    )


def _computed(names: Sequence[str], constants: Iterable[str]) -> tuple[str, ...]:
    fixed = set(constants)
    return tuple(name for name in names if name and name not in fixed)
