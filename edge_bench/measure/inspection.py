"""What a model file is held to before any runtime sees it. Reads bytes, loads nothing."""

from __future__ import annotations

import ast
from pathlib import Path

from edge_bench import variants
from edge_bench.errors import ConfigError, InvalidModel, RuntimeUnavailable
from edge_bench.measure.onnx_file import survey_file

RUNTIMES = "edge_bench.measure.runtimes"
MAX_BYTES = 2 << 30


def check_model(model: Path, *, runtime: str) -> None:
    """Raise unless `model` is a file that `runtime` reads and that looks like what its ending says.

    Raises:
        ConfigError: there is no such file.
        RuntimeUnavailable: the runtime does not read this ending.
        InvalidModel: too large, no magic bytes, cut off, or weights outside the model's folder.
    """
    check_exists(model)
    ending = model.suffix.lstrip(".").lower()
    if ending not in formats(runtime):
        able = [name for name in variants.names(RUNTIMES) if ending in formats(name)]
        read = ", ".join(f".{name}" for name in formats(runtime))
        hint = f"--runtime {able[0]} reads .{ending}" if able else f"files it reads end in {read}"
        raise RuntimeUnavailable(f"{runtime} reads {read}, not '{model.name}'", hint=hint)
    size = model.stat().st_size
    if size > MAX_BYTES:
        raise InvalidModel(
            f"'{model}' has {size / 1e9:.1f} GB; at most {MAX_BYTES / 1e9:.1f} GB are opened"
        )
    if ending == "tflite":
        _check_tflite(model, size)
    elif ending == "onnx":
        _check_onnx(model)


def check_exists(model: Path) -> None:
    """Raise `ConfigError` unless `model` is a file that may be read."""
    if model.is_dir():
        raise ConfigError(f"'{model}' is a folder; a model file is expected", hint=f"name files: {model}/*")
    try:
        with model.open("rb"):
            pass
    except FileNotFoundError:
        raise ConfigError(f"there is no file '{model}'") from None
    except OSError as error:
        raise ConfigError(f"'{model}' cannot be read: {error.strerror}") from error


def runtime_for(model: Path) -> str:
    """Return the runtime that reads a file by its ending: .onnx onnxruntime, .tflite litert.

    Raises:
        RuntimeUnavailable: no runtime reads that ending.
    """
    ending = model.suffix.lstrip(".").lower()
    known = {name: formats(name) for name in variants.names(RUNTIMES)}
    for name, endings in known.items():
        if ending in endings:
            return name
    listed = ", ".join(sorted({f".{one}" for endings in known.values() for one in endings}))
    raise RuntimeUnavailable(f"no runtime reads '{model.name}'", hint=f"model files end in {listed}")


def formats(runtime: str) -> tuple[str, ...]:
    """Return the endings that a runtime reads, without importing it.

    Raises:
        UnknownVariant: no such runtime; the nearest is told.
    """
    for node in ast.walk(variants.syntax(RUNTIMES, runtime, role="runtime")):
        if isinstance(node, ast.Assign) and any(ast.unparse(one) == "formats" for one in node.targets):
            return tuple(ast.literal_eval(node.value))
    raise TypeError(f"runtime '{runtime}' states no formats")


def _check_tflite(model: Path, size: int) -> None:
    with model.open("rb") as file:
        head = file.read(8)
    if head[4:8] != b"TFL3":
        raise InvalidModel(
            f"'{model}' is not a TFLite model: byte 4 starts with {head[4:8]!r}, not b'TFL3'",
            hint="export it again, or check that the download is complete",
        )
    if int.from_bytes(head[:4], "little") >= size:
        raise InvalidModel(f"'{model}' is not a TFLite model: the file seems truncated")


def _check_onnx(model: Path) -> None:
    folder = model.resolve().parent
    for place in sorted(survey_file(model).external):
        outside = Path(place).is_absolute() or not (folder / place).resolve().is_relative_to(folder)
        if outside:
            raise InvalidModel(f"'{model}' keeps weights outside its folder, in '{place}'")
        if not (folder / place).is_file():
            raise InvalidModel(f"'{model}' keeps weights in '{place}', which is not beside it")
