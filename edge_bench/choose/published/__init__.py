"""Tables of latencies that others measured and published, one file a source, told by the content.

Nothing of what is read is run, loaded or unpickled. A row that cannot be read is named and counted.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

import numpy as np

from edge_bench import variants
from edge_bench.choose.predictors import FeatureTable, Matrix
from edge_bench.errors import ConfigError, DataError

PUBLISHED = "edge_bench.choose.published"
Told = TypeVar("Told")
Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class Malformed:
    """A row that could not be read: where it stands in the file, and why."""

    where: str
    why: str


@dataclass(frozen=True, kw_only=True)
class MeasuredTable:
    """Networks or blocks that were measured: a row each, a column of latencies a device.

    Attributes:
        space: of which architectures they are: "nasbench201"; empty for blocks of no space in particular.
        unit: what a row is.
        keys: [rows] what names each row in the source.
        features: what predictors see of the rows.
        latencies_ms: by device, [rows] each; NaN where the device has no latency of that row.
        facts: by device, what the source says of the measurements: runtime, batch, threads.
        citation: who measured and published it, and where it lies.
        malformed: rows that are not here because they could not be read.
        blocks: of whole networks whose blocks the source tells: a table of blocks for each row.
    """

    space: str
    unit: Literal["network", "block"]
    keys: tuple[str, ...]
    features: FeatureTable
    latencies_ms: Mapping[str, Matrix]
    citation: str
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    malformed: tuple[Malformed, ...] = ()
    blocks: tuple[FeatureTable, ...] = ()

    def measured_on(self, device: str) -> tuple[FeatureTable, Matrix]:
        """Return the rows that `device` has a latency of, and those latencies in ms.

        Raises:
            ConfigError: the table has no such device; those it has are told.
        """
        if device not in self.latencies_ms:
            raise ConfigError(
                f"the table has no device '{device}'", hint=f"it has {', '.join(sorted(self.latencies_ms))}"
            )
        latencies = self.latencies_ms[device]
        there = ~np.isnan(latencies)
        return self.features.taken(there), latencies[there]


class PublishedTable(ABC):
    """Reads what one group of authors published. `citation` says who, what, when and where."""

    citation: ClassVar[str]

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Say whether a file is this source's, by marks that no other source has."""

    @abstractmethod
    def read(self, path: Path) -> list[MeasuredTable]:
        """Return the tables that a file holds, one for each space and unit.

        Raises:
            DataError: the file as a whole cannot be read.
        """


def read_published(path: Path, *, source: str | None = None) -> list[MeasuredTable]:
    """Return the tables of a published file; `source` names a file of this folder, None finds it.

    Raises:
        DataError: the file cannot be read, or no source knows it.
        UnknownVariant: there is no such source.
    """
    if not path.is_file():
        raise DataError(f"there is no file '{path}'", hint="name one file of a published table")
    known = [source] if source else list(variants.names(PUBLISHED))
    readers = [variants.load(PublishedTable, PUBLISHED, name)() for name in known]
    found = readers if source else [reader for reader in readers if reader.recognises(path)]
    if not found:
        raise DataError(f"'{path}' is no published table that is known. Known: {', '.join(known)}.")
    return found[0].read(path)


def read_rows(
    path: Path, rows: Iterable[tuple[str, Told]], read: Callable[[Told], Row]
) -> tuple[list[Row], tuple[Malformed, ...]]:
    """Return what `read` makes of each row, and the rows that it refused by a `ValueError`.

    Args:
        path: of the table, for the message.
        rows: where each stands ("row 17"), and what it says.
        read: turns one into what is kept; its `ValueError` tells why a row cannot be read.

    Raises:
        DataError: not one row can be read.
    """
    kept: list[Row] = []
    malformed: list[Malformed] = []
    for where, told in rows:
        try:
            kept.append(read(told))
        except ValueError as error:
            malformed.append(Malformed(where=where, why=str(error)))
    if not kept:
        first = f": {malformed[0].where}: {malformed[0].why}" if malformed else ""
        raise DataError(f"'{path}' has no row that can be read{first}")
    return kept, tuple(malformed)


def positive(told: object, what: str) -> float:
    """Return a finite number above 0 that a table gives as a number or a text.

    Raises:
        ValueError: it is anything else; `what` is named.
    """
    if told is None or told == "":
        raise ValueError(f"{what} is missing")
    try:
        value = float(told) if isinstance(told, str | int | float) else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"{what} is {told!r}; a number above 0 is expected")
    return value
