"""What a model file is held to before any runtime sees it. Reads bytes, loads nothing."""

from __future__ import annotations

import ast
import importlib.util
import stat
from collections.abc import Iterable
from pathlib import Path

import psutil

from edge_bench import variants
from edge_bench.errors import ConfigError, InvalidModel, RuntimeUnavailable
from edge_bench.measure import onnx_file, tflite_file
from edge_bench.measure.runtimes import RUNTIMES

MAX_BYTES = 2 << 30
MAX_MEMORY_BYTES = 16 << 30
MIN_MEMORY_BYTES = 2 << 30
# Products of many sides grow beyond what a float holds.
MAX_TOLD_BYTES = 10**24
# ONNX Runtime reads its own memory instead of a file that is called so.
_MEMORY_TAG = "_ORT_MEM_ADDR_"


def check_model(model: Path, *, runtime: str) -> None:
    """Raise unless `model` is a file that `runtime` reads and that looks like what its ending says.

    Raises:
        ConfigError: there is no such file.
        RuntimeUnavailable: the runtime does not read this ending.
        InvalidModel: too large, no magic bytes, cut off, points outside itself, tensors larger than
            memory, operators that touch files, or weights outside the model's folder.
    """
    check_exists(model)
    ending = model.suffix.lstrip(".").lower()
    if ending not in formats(runtime):
        able = readers(ending)
        read = ", ".join(f".{name}" for name in formats(runtime))
        hint = f"--runtime {able[0]} reads .{ending}" if able else f"files it reads end in {read}"
        raise RuntimeUnavailable(f"{runtime} reads {read}, not '{model.name}'", hint=hint)
    size = model.stat().st_size
    if size > MAX_BYTES:
        raise InvalidModel(
            f"'{model}' has {size / 1e9:.1f} GB; at most {MAX_BYTES / 1e9:.1f} GB are opened"
        )
    if ending == "tflite":
        _check_tflite(model)
    elif ending == "onnx":
        _check_onnx(model)


def check_exists(model: Path) -> None:
    """Raise `ConfigError` unless `model` is a file that may be read."""
    if model.is_dir():
        raise ConfigError(f"'{model}' is a folder; a model file is expected", hint=f"name files: {model}/*")
    try:
        # Opening a pipe would wait for somebody to write into it.
        if not stat.S_ISREG(model.stat().st_mode):
            raise ConfigError(f"'{model}' is no regular file; a model file is expected")
        with model.open("rb"):
            pass
    except FileNotFoundError:
        raise ConfigError(f"there is no file '{model}'") from None
    except OSError as error:
        raise ConfigError(f"'{model}' cannot be read: {error.strerror}") from error


def memory_limit_bytes() -> int:
    """Return the memory that a model may take: three quarters of the machine's, from 2 to 16 GiB."""
    return min(MAX_MEMORY_BYTES, max(MIN_MEMORY_BYTES, int(psutil.virtual_memory().total * 0.75)))


def runtime_for(model: Path) -> str:
    """Return the installed runtime that reads a file by its ending: .onnx onnxruntime, .tflite litert.

    Where the one of least precedence is not installed, the next that is; where none is, the first,
    so that what it misses is told.

    Raises:
        RuntimeUnavailable: no runtime reads that ending.
    """
    ending = model.suffix.lstrip(".").lower()
    able = readers(ending)
    if able:
        return next((name for name in able if not missing_import(name)), able[0])
    known = {f".{one}" for name in variants.names(RUNTIMES) for one in formats(name)}
    listed = ", ".join(sorted(known))
    raise RuntimeUnavailable(f"no runtime reads '{model.name}'", hint=f"model files end in {listed}")


def readers(ending: str) -> list[str]:
    """Return the runtimes that read files of an ending (without the dot), the default one first."""
    able = [name for name in variants.names(RUNTIMES) if ending in formats(name)]
    return sorted(able, key=precedence)


def formats(runtime: str) -> tuple[str, ...]:
    """Return the endings that a runtime reads, without importing it.

    Raises:
        UnknownVariant: no such runtime; the nearest is told.
    """
    return tuple(variants.stated(RUNTIMES, runtime, "formats", role="runtime"))


def precedence(runtime: str) -> int:
    """Return a runtime's place among the readers of a file, the least first, without importing it."""
    return int(variants.stated(RUNTIMES, runtime, "precedence", role="runtime"))


def missing_import(runtime: str) -> str:
    """Return the first library that a runtime's file imports at its top and that is not there, or ""."""
    for statement in variants.syntax(RUNTIMES, runtime, role="runtime").body:
        named = [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else []
        if isinstance(statement, ast.ImportFrom) and statement.module:
            named = [statement.module]
        for name in (name.partition(".")[0] for name in named):
            if importlib.util.find_spec(name) is None:
                return name
    return ""


def _check_tflite(model: Path) -> None:
    seen = tflite_file.survey_file(model)
    if seen.touching_files:
        names = ", ".join(sorted(seen.touching_files))
        raise InvalidModel(
            f"'{model}' holds operators of TensorFlow that read or write files or run Python: {names}",
            hint="export it again without them",
        )
    _check_memory(model, seen.needed_bytes)
    _check_external(model, seen.external)


def _check_onnx(model: Path) -> None:
    seen = onnx_file.survey_file(model)
    _check_memory(model, seen.needed_bytes)
    _check_external(model, seen.external)


def _check_memory(model: Path, needed: int) -> None:
    allowed = memory_limit_bytes()
    if needed > allowed:
        told = min(needed, MAX_TOLD_BYTES) / 1e9
        raise InvalidModel(
            f"'{model}' asks for at least {told:.3g} GB by the shapes of its tensors; "
            f"{allowed / 1e9:.1f} GB are allowed"
        )


def _check_external(model: Path, places: Iterable[str]) -> None:
    folder = model.resolve().parent
    for place in sorted(places):
        if _MEMORY_TAG in place or not _is_within(folder, place):
            raise InvalidModel(f"'{model}' keeps weights outside its folder, in {place!r}")
        if not (folder / place).is_file():
            raise InvalidModel(f"'{model}' keeps weights in {place!r}, which is not beside it")


def _is_within(folder: Path, place: str) -> bool:
    try:
        return not Path(place).is_absolute() and (folder / place).resolve().is_relative_to(folder)
    # A zero byte, or links that lead in a circle.
    except (ValueError, OSError, RuntimeError):
        return False
