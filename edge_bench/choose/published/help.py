"""HELP: whole networks of three search spaces on up to 24 devices, among them HW-NAS-Bench's series.

The authors publish PyTorch pickles. Those are refused, since opening one runs what is in it; the same
numbers are read from Parquet, one file a space: `arch_idx`, what names an architecture, and a column of
milliseconds for each device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_bench import variants
from edge_bench.choose.predictors import FeatureTable
from edge_bench.choose.published import MeasuredTable, PublishedTable, positive, read_rows
from edge_bench.choose.published._help_spaces import FBNet, Features, NasBench201, OnceForAll, Space
from edge_bench.errors import DataError

PARQUET = b"PAR1"
PICKLED = (b"PK\x03\x04", b"\x80")
WHOLE_MS = ("essential_ph_1", "pixel2", "samsung_a50", "samsung_s7")
INDEX = "arch_idx"
GPUS = ("1080ti", "2080ti", "titan", "v100")


class Help(PublishedTable):
    """Three traps: the number after a GPU's name is its batch; four phones tell whole milliseconds; and on
    raspi4 and pixel3 a NAS-Bench-201 cell whose output hangs on no input takes almost no time (0.003 ms).
    """

    citation = (
        "Lee, Lee, Chong, Hwang. HELP: Hardware-Adaptive Efficient Latency Prediction for NAS via "
        "Meta-Learning. NeurIPS 2021, arXiv 2106.08630; github.com/HayeonLee/HELP, folder data. "
        "raspi4, pixel3, fpga and eyeriss: Li et al. HW-NAS-Bench. ICLR 2021"
    )

    def recognises(self, path: Path) -> bool:
        """Parquet with a column of indices of architectures, or the authors' pickles by their ending."""
        if _start(path) == PARQUET:
            return INDEX in _columns(path)
        return _is_pickle(path)

    def read(self, path: Path) -> list[MeasuredTable]:
        if _is_pickle(path):
            raise DataError(
                f"'{path}' is a pickle, and opening one runs whatever it holds",
                hint="write it as Parquet where you trust it: arch_idx, the architecture, a column of "
                "milliseconds for each device",
            )
        columns = _columns(path)
        space = _space_of(columns)
        if space is None:
            raise DataError(f"'{path}' has none of HELP's columns: {'; '.join(map(_listed, SPACES))}")
        devices = [name for name in columns if name not in (INDEX, *space.columns)]
        if not devices:
            raise DataError(f"'{path}' has no column of latencies beside {', '.join(columns)}")
        rows = [(f"row {number}", row) for number, row in enumerate(_rows(path), 1)]
        kept, malformed = read_rows(path, rows, lambda row: _read(row, space, devices))
        latencies = np.array([one.latencies_ms for one in kept])
        return [
            MeasuredTable(
                space=space.name,
                unit="network",
                keys=tuple(one.key for one in kept),
                features=FeatureTable.of([one.features for one in kept]),
                latencies_ms=dict(zip(devices, latencies.T, strict=True)),
                facts={device: _facts(device, space.name) for device in devices},
                citation=self.citation,
                malformed=malformed,
            )
        ]


SPACES: tuple[Space, ...] = (NasBench201(), FBNet(), OnceForAll())


@dataclass(frozen=True)
class _Measured:
    key: str
    features: Features
    latencies_ms: list[float]


def _read(row: Mapping[str, Any], space: Space, devices: Sequence[str]) -> _Measured:
    key, found = space.read(row)
    latencies = [positive(row[device], device) for device in devices]
    return _Measured(key, found, latencies)


def _facts(device: str, space: str) -> dict[str, str]:
    batch = device.rpartition("_")[2] if device.startswith(GPUS) else "1"
    found = {"batch": batch if batch.isdigit() else "1"}
    if device in WHOLE_MS:
        found["note"] = "whole milliseconds: many networks tie"
    if space == "nasbench201" and device in ("raspi4", "pixel3"):
        found["note"] = (
            "a cell whose output hangs on no input takes nearly 0 ms: the rows with connected = 0"
        )
    return found


def _space_of(columns: Sequence[str]) -> Space | None:
    return next((space for space in SPACES if {INDEX, *space.columns} <= set(columns)), None)


def _listed(space: Space) -> str:
    return f"arch_idx, {', '.join(space.columns)} for {space.name}"


def _is_pickle(path: Path) -> bool:
    return path.suffix == ".pt" and _start(path).startswith(PICKLED)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _columns(path: Path) -> list[str]:
    return list(map(str, _opened(path).schema_arrow.names))


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = _opened(path).read().to_pylist()
    except OSError as error:
        raise DataError(f"'{path}' cannot be read as Parquet: {error}") from error
    return rows


def _opened(path: Path) -> Any:
    """Return the Parquet file, its schema read. Imported here, as other readers need no pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise variants.explain(error) from error
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"'{path}' cannot be read as Parquet: {error}") from error
