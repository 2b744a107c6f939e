"""The store: every record one versioned JSON document, in SQLite or any database SQLAlchemy knows.

SQLite runs in WAL mode with a busy timeout: readers never block writers, and writers wait for each
other instead of failing.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from edge_bench.documents import canonical_json, from_document, to_document
from edge_bench.errors import ConfigError, StoreError
from edge_bench.files import HINT_OTHER_PLACE
from edge_bench.records import (
    Artifact,
    BenchmarkResult,
    FittedAccuracyPredictor,
    FittedPredictor,
    Subnet,
    Survey,
)
from edge_bench.schema import json_schema

VERSION = 2
KINDS: dict[str, type[Any]] = {
    "subnet": Subnet,
    "artifact": Artifact,
    "result": BenchmarkResult,
    "predictor": FittedPredictor,
    "accuracy_predictor": FittedAccuracyPredictor,
    "survey": Survey,
}
Record = Subnet | Artifact | BenchmarkResult | FittedPredictor | FittedAccuracyPredictor | Survey
T = TypeVar("T", Subnet, Artifact, BenchmarkResult, FittedPredictor, FittedAccuracyPredictor, Survey)

_METADATA = sa.MetaData()
_RECORDS = sa.Table(
    "records",
    _METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("id", sa.String(128), nullable=False),
    sa.Column("device", sa.String(128), nullable=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.UniqueConstraint("kind", "id"),
    # Numbers are never used twice, so that `revision` grows with a replacement too.
    sqlite_autoincrement=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Records in the order of adding, up to a `revision` at which the store held `held` of their kinds."""

    records: tuple[Record, ...]
    revision: int
    held: int


class ResultStore:
    """All records of a home folder. Opening makes the database if it is missing.

    A record is identified by its kind and id; adding one that is there replaces it, so a repeated
    upload is the same upload. Reads come in the order of adding.
    """

    def __init__(self, url: str) -> None:
        """Open the store at an SQLAlchemy URL; `StoreError` where that cannot be done."""
        self.url = url
        try:
            parsed = sa.make_url(url)
            if parsed.get_backend_name() == "sqlite" and parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            self._engine = sa.create_engine(parsed)
        except (OSError, sa.exc.ArgumentError) as error:
            raise StoreError(f"cannot open the store '{url}': {error}", hint=HINT_OTHER_PLACE) from error
        if parsed.get_backend_name() == "sqlite":
            sa.event.listen(self._engine, "connect", _configure_sqlite)
        # In one statement: several processes may open a new home folder at the same moment.
        with self._explained(), self._engine.begin() as connection:
            connection.execute(sa.schema.CreateTable(_RECORDS, if_not_exists=True))

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Give a connection; what the block writes by it is written whole, or not at all if it raises.

        Raises:
            StoreError: the database refused (full or read-only disk, no such server).
        """
        with self._explained(), self._engine.begin() as connection:
            yield connection

    def add(self, *records: Record, within: sa.Connection | None = None) -> None:
        """Write records, all or none; as part of the transaction `within`, where one is given.

        Raises:
            StoreError: the database refused (full or read-only disk, no such server).
        """
        # Written out before the transaction: a large result holds up no other writer meanwhile.
        documents = [canonical_json(record) for record in records]
        with nullcontext(within) if within is not None else self.transaction() as connection:
            for record, document in zip(records, documents, strict=True):
                kind = next(name for name, of in KINDS.items() if isinstance(record, of))
                connection.execute(
                    sa.delete(_RECORDS).where(_RECORDS.c.kind == kind, _RECORDS.c.id == record.id)
                )
                connection.execute(
                    sa.insert(_RECORDS).values(
                        kind=kind,
                        id=record.id,
                        device=getattr(record, "device", None),
                        version=VERSION,
                        document=document,
                    )
                )

    def check_writable(self) -> None:
        """Raise `StoreError` unless the database takes a record now; leaves nothing behind."""
        probe = {"kind": "probe", "id": uuid.uuid4().hex, "version": VERSION, "document": "{}"}
        with self._explained(), self._engine.begin() as connection:
            connection.execute(sa.insert(_RECORDS).values(probe))
            connection.execute(sa.delete(_RECORDS).where(_RECORDS.c.id == probe["id"]))

    def subnets(self) -> list[Subnet]:
        """Return every subnet."""
        return self._read(Subnet)

    def artifacts(self) -> list[Artifact]:
        """Return every artifact."""
        return self._read(Artifact)

    def results(self, *, device: str | None = None, digest: str | None = None) -> list[BenchmarkResult]:
        """Return benchmark results, of one device and of the file of one digest where they are named."""
        # Documents are canonical: a digest stands in the text, and most others need no parsing.
        found = self._read(BenchmarkResult, device, f'"digest":{json.dumps(digest)}' if digest else "")
        return [one for one in found if digest in (None, one.digest)]

    def predictors(self, *, device: str | None = None) -> list[FittedPredictor]:
        """Return fitted predictors, of one device where it is named."""
        return self._read(FittedPredictor, device)

    def accuracy_predictors(self, *, run: str | None = None) -> list[FittedAccuracyPredictor]:
        """Return fitted accuracy predictors, of one run where it is named."""
        return [one for one in self._read(FittedAccuracyPredictor) if run in (None, one.run)]

    def surveys(self, *, device: str | None = None) -> list[Survey]:
        """Return what was surveyed to fit latency predictors, of one device where it is named."""
        return self._read(Survey, device)

    def revision(self) -> int:
        """Return a number that grows with every write; a cache of reads is good while it stays."""
        with self._explained(), self._engine.connect() as connection:
            return connection.execute(sa.select(sa.func.max(_RECORDS.c.number))).scalar() or 0

    def written(self, *kinds: type[Record], since: int = 0) -> Written:
        """Return the records of these kinds that were written after revision `since`, all by default.

        Whoever keeps what was read before adds these, each in the place of one of its kind and id. Where
        that makes another number than `held`, records were removed, or a slower writer filled a gap: then
        all must be read again.
        """
        named: dict[str, type[Any]] = {name: of for name, of in KINDS.items() if of in kinds}
        # What is added meanwhile has a higher number, and is read next time.
        revision = self.revision()
        mine = sa.and_(_RECORDS.c.kind.in_(named), _RECORDS.c.number <= revision)
        query = sa.select(_RECORDS.c.kind, _RECORDS.c.id, _RECORDS.c.version, _RECORDS.c.document)
        query = query.where(mine, _RECORDS.c.number > since).order_by(_RECORDS.c.number)
        with self._explained(), self._engine.connect() as connection:
            rows = connection.execute(query).all()
            held = connection.execute(sa.select(sa.func.count()).where(mine)).scalar_one()
        records = tuple(_parse(named[kind], kind, *rest) for kind, *rest in rows)
        return Written(records=records, revision=revision, held=held)

    def documents(self, kind: str) -> list[dict[str, Any]]:
        """Return the raw documents of a kind, as stored."""
        query = sa.select(_RECORDS.c.document).where(_RECORDS.c.kind == kind)
        with self._explained(), self._engine.connect() as connection:
            rows = connection.execute(query.order_by(_RECORDS.c.number)).scalars().all()
        return [json.loads(row) for row in rows]

    def close(self) -> None:
        """Let go of the database's connections."""
        self._engine.dispose()

    def __enter__(self) -> ResultStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, kind: type[T], device: str | None = None, text: str = "") -> list[T]:
        name = next(name for name, of in KINDS.items() if of is kind)
        query = sa.select(_RECORDS.c.id, _RECORDS.c.version, _RECORDS.c.document)
        query = query.where(_RECORDS.c.kind == name).order_by(_RECORDS.c.number)
        if device is not None:
            query = query.where(_RECORDS.c.device == device)
        if text:
            query = query.where(_RECORDS.c.document.contains(text, autoescape=True))
        with self._explained(), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [_parse(kind, name, *row) for row in rows]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise StoreError(f"the store '{self.url}' refused: {cause}", hint=HINT_OTHER_PLACE) from error


def document_of(record: Record) -> dict[str, Any]:
    """Return a record as the one document that stands for itself: all it holds, and its version."""
    return {"version": VERSION, **to_document(record)}


def schema_of(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a kind's self-contained documents."""
    schema = json_schema(KINDS[kind])
    return {
        **schema,
        "properties": {"version": {"const": VERSION}, **schema["properties"]},
        "required": ["version", *schema["required"]],
    }


def now() -> str:
    """Return the present moment as records keep it: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _parse(kind: type[T], name: str, identity: str, version: int, document: str) -> T:
    if version > VERSION:
        raise StoreError(
            f"{name} '{identity}' was written by a later edge-bench (version {version})",
            hint="pip install --upgrade edge-bench",
        )
    try:
        return from_document(kind, json.loads(document))
    except (ConfigError, json.JSONDecodeError) as error:
        raise StoreError(f"{name} '{identity}' cannot be read: {error}") from error


def _configure_sqlite(connection: Any, _: Any) -> None:
    # The timeout stands first: changing the journal mode itself may have to wait.
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")
