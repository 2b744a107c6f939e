"""What other programs and tables report, read into results: one file a source, kind told by the content."""

from __future__ import annotations

import csv
import io
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from edge_bench import variants
from edge_bench.documents import canonical_json, to_document
from edge_bench.errors import ConfigError, DataError
from edge_bench.records import Artifact, BenchmarkResult, Metric
from edge_bench.records.artifact import Precision
from edge_bench.store import now

IMPORTERS = "edge_bench.importers"
MAX_BYTES = 256 << 20
# Values of a row for which the header has no name.
_BEYOND = "\0beyond"
# Names the space of ids: the same report gives the same id on every machine.
_SPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "results.edge-bench")


@dataclass(frozen=True, kw_only=True)
class Report:
    """One figure that somebody else measured. What the source does not say is None or empty.

    `statistics` are its own, named as in `BenchmarkResult.reported`, in milliseconds unless the name
    says another unit; one of p50_ms, mean_ms and latency_ms is there. `facts` is whatever else it says,
    `where` the place in a table.
    """

    model: str
    statistics: Mapping[str, float]
    device: str | None = None
    format: str = ""
    precision: Precision | None = None
    runtime: str = ""
    runtime_version: str = ""
    threads: int | None = None
    batch: int | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    peak_memory_mb: float | None = None
    mode: str = "burst"
    scenario: str = "single_stream"
    samples_per_query: int = 1
    metrics: tuple[Metric, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A row that became no result: `where` it stands, and `why`."""

    where: str
    why: str
    kind: Literal["malformed", "without_latency", "repeated"] = "malformed"


class Importer(ABC):
    """Reads the output of one program or the table of one publisher. `origin` names it in results.

    Text in, reports out: nothing of what is read is run, loaded or unpickled.
    """

    origin: ClassVar[str]

    @abstractmethod
    def recognises(self, text: str) -> bool:
        """Say whether `text` is this source's, by marks that no other source has."""

    @abstractmethod
    def read(self, text: str, path: Path) -> Sequence[Report | Unread]:
        """Return what a recognised `text` reports, and of a table each row that could not be read.

        `path` may tell names that the text leaves out.

        Raises:
            DataError: nothing of it can be read; what is wrong is named.
        """


@dataclass(frozen=True, kw_only=True)
class About:
    """What the user knows and a report does not say; each is taken where it is given."""

    device: str | None = None
    model: str | None = None
    digest: str = ""
    artifact: Artifact | None = None


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The results of a file, in its order, and the rows of it that became none."""

    origin: str
    results: Sequence[BenchmarkResult]
    unread: Sequence[Unread]


def read_results(path: Path, *, source: str | None, about: About) -> Imported:
    """Return the results that a file reports, with ids that the content alone decides.

    Rows that cannot be read do not keep the others from being read. Of rows that say the same the
    first is a result, and the others are named as its repetition.

    Args:
        path: a report or a table.
        source: a file of this folder; None finds it by the content.
        about: what the report does not say.

    Raises:
        DataError: the file cannot be read, or no importer knows it, or none of its rows can be read.
        ConfigError: several importers know it; or it names no device and `about` neither.
        UnknownVariant: there is no such source.
    """
    text = _text(path)
    importer = variants.load(Importer, IMPORTERS, source)() if source else _found(text, path)
    if source and not importer.recognises(text):
        raise DataError(f"'{path}' is not a report of {importer.origin}")
    try:
        told = importer.read(text, path)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"'{path}' is not a whole report of {importer.origin}: {error}") from error
    unread = [one for one in told if isinstance(one, Unread)]
    reports = [one for one in told if isinstance(one, Report)]
    if not reports:
        first = f": {unread[0].where}: {unread[0].why}" if unread else ""
        others = len(unread) - 1
        more = f", and {others} more {'row' if others == 1 else 'rows'}" if others > 0 else ""
        raise DataError(f"'{path}' holds no result of {importer.origin}{first}{more}")
    if about.digest and len({report.model for report in reports}) > 1:
        raise ConfigError(f"'{path}' speaks of several models, so that --model can be none of them")
    results: dict[str, BenchmarkResult] = {}
    for report in reports:
        result = _result(importer.origin, report, about, path)
        if result.id in results:
            why = f"it says the same of {report.model} as another row"
            unread.append(Unread(where=report.where, why=why, kind="repeated"))
        results.setdefault(result.id, result)
    return Imported(origin=importer.origin, results=tuple(results.values()), unread=tuple(unread))


def rows_of(
    text: str, read: Callable[[Mapping[str, str]], Report], *, latency: str, required: Sequence[str]
) -> Iterator[Report | Unread]:
    """Yield of a CSV table with a header what `read` makes of each row, or why it makes nothing.

    Args:
        text: the table.
        read: makes a report of a row, by the names of its columns; `DataError` and `ValueError` tell why
            it cannot.
        latency: the column without which a row reports nothing.
        required: the columns that may not be empty in a row that reports something.
    """
    rows = csv.DictReader(io.StringIO(text, newline=""), restkey=_BEYOND)
    while True:
        begun = rows.line_num + 1
        try:
            row = next(rows, None)
            if row is None:
                return
            where = _lines(max(begun, 2), rows.line_num)
            if why := _not_whole(row, len(rows.fieldnames or ()), required):
                yield Unread(where=where, why=why)
            elif not row[latency].strip():
                named = ", ".join(row[name] for name in required)
                yield Unread(where=where, why=f"{latency} is empty ({named})", kind="without_latency")
            else:
                yield replace(read(row), where=where)
        except (csv.Error, DataError, ValueError) as error:
            yield Unread(where=_lines(max(begun, 2), rows.line_num), why=str(error))


def _lines(first: int, last: int) -> str:
    return f"line {first}" if last <= first else f"lines {first} to {last}"


def _not_whole(row: Mapping[str, Any], columns: int, required: Sequence[str]) -> str:
    beyond = len(row.get(_BEYOND, ()))
    have = sum(value is not None for value in row.values()) - bool(beyond) + beyond
    if have != columns:
        return f"it has {have} values; the header names {columns}"
    empty = [name for name in required if not row[name].strip()]
    return f"{' and '.join(empty)} is empty" if empty else ""


def number(told: Any, what: str) -> float:
    """Return a number above 0 that a source gives as a number or a text; `DataError` names `what`."""
    value = amount(told, what)
    if not value:
        raise DataError(f"{what} is {told!r}; a number above 0 is expected")
    return value


def amount(told: Any, what: str) -> float:
    """Return a number of 0 or more, likewise: a peak of memory may be rounded to nothing."""
    try:
        value = float(told)
    except (TypeError, ValueError):
        raise DataError(f"{what} is {told!r}; a number is expected") from None
    if not 0 <= value < float("inf"):
        raise DataError(f"{what} is {told!r}; a number of 0 or more is expected")
    return value


def _text(path: Path) -> str:
    if path.is_dir():
        raise DataError(f"'{path}' is a folder; a report or a table is expected")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"'{path}' is larger than {MAX_BYTES >> 20} MiB; no report is")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"there is no file '{path}'") from None
    except UnicodeDecodeError:
        raise DataError(f"'{path}' is not text; a report or a table is expected") from None
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}") from error


def _found(text: str, path: Path) -> Importer:
    known = {name: variants.load(Importer, IMPORTERS, name)() for name in variants.names(IMPORTERS)}
    named = [name for name, importer in known.items() if importer.recognises(text)]
    if len(named) == 1:
        return known[named[0]]
    listed = ", ".join(name.replace("_", "-") for name in named or known)
    if named:
        raise ConfigError(f"'{path}' could be of {listed}", hint=f"say which: --from {named[0]}")
    raise DataError(
        f"'{path}' is no report that is known. Known: {listed}.",
        hint="`edge-bench results --help` tells what each reads",
    )


def _result(origin: str, report: Report, about: About, path: Path) -> BenchmarkResult:
    device = about.device or report.device
    if device is None:
        raise ConfigError(
            f"'{path}' does not say on which device it was measured", hint="name it: --device NAME"
        )
    if not {"p50_ms", "mean_ms", "latency_ms"} & set(report.statistics):
        raise DataError(f"'{path}' tells no latency of {report.model}")
    artifact = about.artifact
    # Where a row stands in its table is no part of what it says.
    said = {name: value for name, value in to_document(report).items() if name != "where"}
    content = canonical_json({"origin": origin, "device": device, "report": said})
    return BenchmarkResult(
        id=str(uuid.uuid5(_SPACE, content)),
        artifact=artifact.id if artifact else None,
        model=(artifact.name if artifact else about.model) or report.model,
        digest=about.digest,
        format=artifact.format if artifact else report.format,
        precision=artifact.precision if artifact else report.precision,
        device=device,
        runtime=report.runtime,
        runtime_version=report.runtime_version,
        threads=report.threads,
        batch=report.batch,
        load_ms=report.load_ms,
        first_ms=report.first_ms,
        blocks=(),
        p50_low_ms=None,
        p50_high_ms=None,
        peak_memory_mb=report.peak_memory_mb,
        verdict="inconclusive",
        verdict_cause=f"{origin} measured it elsewhere; nothing is known of the machine's state",
        stopped_by="",
        environment=dict(report.facts),
        created=now(),
        mode=report.mode,
        scenario=report.scenario,
        samples_per_query=report.samples_per_query,
        metrics=report.metrics,
        origin=origin,
        reported=dict(report.statistics),
    )


def changed(results: Sequence[BenchmarkResult], stored: Sequence[BenchmarkResult]) -> list[BenchmarkResult]:
    """Return those of `results` that are not stored as they are; when they were imported apart."""
    known = {one.id: one for one in stored}

    def same(one: BenchmarkResult) -> bool:
        other = known.get(one.id)
        return other is not None and replace(one, created=other.created) == other

    return [one for one in results if not same(one)]
