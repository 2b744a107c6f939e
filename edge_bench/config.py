"""Run files: TOML plus `--set key=value` to frozen dataclasses. Reading one has no effects."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from edge_bench.documents import from_document
from edge_bench.errors import ConfigError

T = TypeVar("T")


def load(kind: type[T], path: Path, *, overrides: Sequence[str] = ()) -> T:
    """Read a TOML file into the dataclass `kind`.

    Args:
        kind: a frozen dataclass whose fields mirror the file's tables.
        path: the TOML file.
        overrides: `training.batch_size=64` and the like; values are read as TOML,
            and as plain text where they are no TOML.

    Raises:
        ConfigError: no such file, no TOML, or a key or value that does not fit (nearest key named).
    """
    document = read_toml(path)
    for override in overrides:
        _override(document, override)
    try:
        return from_document(kind, document)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from error


def read_toml(path: Path) -> dict[str, Any]:
    """Return the document in a TOML file; `ConfigError` where there is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"there is no file '{path}'", hint="examples/ holds run files to start from"
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"'{path}' is a folder; a TOML file is expected") from None
    except PermissionError:
        raise ConfigError(f"'{path}' may not be read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{path}' is not TOML: {error}") from error


def _override(document: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set '{text}' is not of the form key=value, e.g. training.batch_size=64")
    *tables, name = key.strip().split(".")
    for table in tables:
        document = document.setdefault(table, {})
        if not isinstance(document, dict):
            raise ConfigError(f"--set '{text}': '{table}' is a value, not a table")
    try:
        document[name] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        document[name] = value.strip()
