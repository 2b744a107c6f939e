"""A model of another library as a file that a runtime reads: converted in the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from converters import SOURCES
from converters.sources import Source
from edge_bench import variants
from edge_bench.errors import ConfigError
from edge_bench.measure.sandbox import run_job

TIMEOUT_S = 600


def source_of(given: Path) -> str | None:
    """Return the kind of model that a file or folder looks like, or None where it is to be run as it is."""
    for name in variants.names(SOURCES):
        if variants.load(Source, SOURCES, name)().recognises(given):
            return name
    return None


def converted(
    given: Path, source: str, folder: Path, *, trust: bool, starting: Callable[[], None] = lambda: None
) -> Path:
    """Convert in a child with the sandbox's limits and return the file, which lies in `folder`.

    Args:
        given: what `source` recognises.
        source: a file of `converters/sources`.
        folder: where the file is written.
        trust: whether the user says that what may run code is trusted.
        starting: called once nothing speaks against it.

    Raises:
        ConfigError: it needs trust and has none.
        MissingExtra: the library that loads it is not installed.
        InvalidModel, ModelCrashed, ConversionError: it is broken, holds code, or has no form in the format.
    """
    kind = variants.load(Source, SOURCES, source)
    if kind.needs_trust and not trust:
        raise ConfigError(
            f"to load '{given.name}' may run code that it holds, so it is not loaded",
            hint="export it to ONNX where it was made; or, if you trust who made it: --trust",
        )
    starting()
    target = folder / f"{given.name if given.is_dir() else given.stem}.{kind.format}"
    job = {"source": source, "given": str(given.resolve()), "target": str(target), "threads": 1}
    run_job("converters.bring:convert", job, timeout_s=TIMEOUT_S)
    return target


def convert(
    job: Mapping[str, Any], _: Mapping[str, npt.NDArray[np.generic]]
) -> tuple[dict[str, Any], Mapping[str, npt.NDArray[np.generic]]]:
    """The child's side: convert one model. What the libraries leave behind ends with the child."""
    source = variants.load(Source, SOURCES, job["source"])()
    source.convert(Path(job["given"]), Path(job["target"]))
    return {}, {}
