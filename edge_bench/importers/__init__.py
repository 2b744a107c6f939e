"""What other programs and tables report, read into results: one file a source, kind told by the content."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from edge_bench import variants
from edge_bench.documents import canonical_json
from edge_bench.errors import ConfigError, DataError
from edge_bench.records import Artifact, BenchmarkResult, Metric
from edge_bench.records.artifact import Precision
from edge_bench.store import now

IMPORTERS = "edge_bench.importers"
MAX_BYTES = 256 << 20
# Names the space of ids: the same report gives the same id on every machine.
_SPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "results.edge-bench")


@dataclass(frozen=True, kw_only=True)
class Report:
    """One figure that somebody else measured. What the source does not say is None or empty.

    `statistics` are its own, named as in `BenchmarkResult.reported`, in milliseconds unless the name
    says another unit; one of p50_ms, mean_ms and latency_ms is there. `facts` is whatever else it says.
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


class Importer(ABC):
    """Reads the output of one program or the table of one publisher. `origin` names it in results.

    Text in, reports out: nothing of what is read is run, loaded or unpickled.
    """

    origin: ClassVar[str]

    @abstractmethod
    def recognises(self, text: str) -> bool:
        """Say whether `text` is this source's, by marks that no other source has."""

    @abstractmethod
    def read(self, text: str, path: Path) -> list[Report]:
        """Return what a recognised `text` reports; `path` may tell names that the text leaves out.

        Raises:
            DataError: a row or field that cannot be read, named.
        """


@dataclass(frozen=True, kw_only=True)
class About:
    """What the user knows and a report does not say; each is taken where it is given."""

    device: str | None = None
    model: str | None = None
    digest: str = ""
    artifact: Artifact | None = None


def read_results(path: Path, *, source: str | None, about: About) -> list[BenchmarkResult]:
    """Return the results that a file reports, with ids that the content alone decides.

    Args:
        path: a report or a table.
        source: a file of this folder; None finds it by the content.
        about: what the report does not say.

    Raises:
        DataError: the file cannot be read, or no importer knows it, or a row has no latency.
        ConfigError: several importers know it; or it names no device and `about` neither.
        UnknownVariant: there is no such source.
    """
    text = _text(path)
    importer = variants.load(Importer, IMPORTERS, source)() if source else _found(text, path)
    if source and not importer.recognises(text):
        raise DataError(f"'{path}' is not a report of {importer.origin}")
    try:
        reports = importer.read(text, path)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"'{path}' is not a whole report of {importer.origin}: {error}") from error
    if not reports:
        raise DataError(f"'{path}' holds no result of {importer.origin}")
    if about.digest and len({report.model for report in reports}) > 1:
        raise ConfigError(f"'{path}' speaks of several models, so that --model can be none of them")
    return [_result(importer.origin, report, about, path) for report in reports]


def number(told: Any, what: str) -> float:
    """Return a number above 0 that a source gives as a number or a text; `DataError` names `what`."""
    try:
        value = float(told)
    except (TypeError, ValueError):
        raise DataError(f"{what} is {told!r}; a number is expected") from None
    if not 0 < value < float("inf"):
        raise DataError(f"{what} is {told!r}; a number above 0 is expected")
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
    content = canonical_json({"origin": origin, "device": device, "report": report})
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
