"""The queue of jobs: leases, attempts, and each job's one result, all of it in the store's database.

A killed controller finds everything as it was. What must hold whatever happens is left to the database:
a unique index lets a device hold one lease, and a result is written in the transaction that ends its job.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa

from edge_bench.devices.job import Failure, Job, Measured, Report
from edge_bench.documents import canonical_json, from_document
from edge_bench.errors import ConfigError
from edge_bench.store import ResultStore

# A heartbeat comes every third of it.
LEASE_S = 60.0
MAX_ATTEMPTS = 3
_FELL_SILENT = Failure(
    kind="DeviceUnreachable",
    message=f"the device took the job {MAX_ATTEMPTS} times and ended or fell silent each time",
    hint="does the model need more memory than the device has? `edge-bench agent` on the device says what "
    "happens",
)
State = Literal["queued", "leased", "done", "failed", "cancelled"]
OPEN: tuple[State, ...] = ("queued", "leased")

_METADATA = sa.MetaData()
_JOBS = sa.Table(
    "device_jobs",
    _METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True),
    sa.Column("device", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("lease", sa.String(64), nullable=True),
    sa.Column("holder", sa.String(64), nullable=True),
    sa.Column("expires", sa.Float, nullable=True),
    sa.Column("changed", sa.Float, nullable=False),
    sa.Column("report", sa.String(64), nullable=True),
    sa.Column("failure", sa.Text, nullable=True),
)
_LEASED = _JOBS.c.state == "leased"
_ONE_LEASE = sa.Index(
    "one_lease_a_device", _JOBS.c.device, unique=True, sqlite_where=_LEASED, postgresql_where=_LEASED
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A job that a device may run for now: it holds `lease` for `lease_s` from its last heartbeat."""

    job: Job
    lease: str
    lease_s: float
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A job as the queue holds it. `changed` is when it came to its state, in seconds since 1970."""

    job: Job
    device: str
    state: State
    attempts: int
    changed: float
    report: str | None
    failure: Failure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Whether a report was counted, or had been before; if not, why. Either way it is done with."""

    accepted: bool
    why: str = ""


class JobQueue:
    """Jobs by device, first come, first served.

    A job is `queued`, then `leased`; it ends `done`, `failed` or `cancelled`. A lease that expires
    brings it back into the queue, until it was leased `MAX_ATTEMPTS` times. A report that comes
    after its lease expired counts if none has counted before.
    """

    def __init__(
        self,
        store: ResultStore,
        *,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.lease_s = lease_s
        self._store = store
        self._clock = clock
        with store.transaction() as connection:
            connection.execute(sa.schema.CreateTable(_JOBS, if_not_exists=True))
            connection.execute(sa.schema.CreateIndex(_ONE_LEASE, if_not_exists=True))

    def add(self, device: str, job: Job) -> Job:
        """Queue a job and return it; or the one that is open already and does the same work."""
        with self._store.transaction() as connection:
            self._expire(connection)
            rows = connection.execute(
                sa.select(_JOBS.c.document)
                .where(_JOBS.c.device == device, _JOBS.c.state.in_(OPEN), _JOBS.c.digest == job.digest)
                .order_by(_JOBS.c.number)
            ).scalars()
            for waiting in map(_job, rows):
                if waiting.work == job.work:
                    return waiting
            connection.execute(
                sa.insert(_JOBS).values(
                    id=job.id,
                    device=device,
                    state="queued",
                    document=canonical_json(job),
                    digest=job.digest,
                    attempts=0,
                    changed=self._clock(),
                )
            )
        return job

    def lease(self, device: str, holder: str) -> Grant | None:
        """Give the device its next job; None where there is none, or while another agent holds one.

        `holder` is the agent that asks. One that asks measures nothing: what it still holds it has
        lost, by ending or because our answer never arrived, and that goes back into the queue first.
        """
        lease = str(uuid.uuid4())
        with self._store.transaction() as connection:
            self._expire(connection)
            self._return(
                connection, _JOBS.c.device == device, _JOBS.c.state == "leased", _JOBS.c.holder == holder
            )
            other = _JOBS.alias()
            holds = sa.exists().where(other.c.device == device, other.c.state == "leased")
            waiting = _JOBS.alias()
            first = (
                sa.select(sa.func.min(waiting.c.number))
                .where(waiting.c.device == device, waiting.c.state == "queued")
                .scalar_subquery()
            )
            connection.execute(
                sa.update(_JOBS)
                .where(_JOBS.c.number == first, _JOBS.c.state == "queued", ~holds)
                .values(
                    state="leased",
                    lease=lease,
                    holder=holder,
                    attempts=_JOBS.c.attempts + 1,
                    expires=self._clock() + self.lease_s,
                    changed=self._clock(),
                )
            )
            row = connection.execute(sa.select(_JOBS).where(_JOBS.c.lease == lease)).first()
        if row is None:
            return None
        return Grant(job=_job(row.document), lease=lease, lease_s=self.lease_s, attempt=row.attempts)

    def renew(self, device: str, job: str, lease: str) -> bool:
        """Let a lease run on from now; False where it is held no longer."""
        with self._store.transaction() as connection:
            self._expire(connection)
            renewed = connection.execute(
                sa.update(_JOBS)
                .where(
                    _JOBS.c.device == device,
                    _JOBS.c.id == job,
                    _JOBS.c.state == "leased",
                    _JOBS.c.lease == lease,
                )
                .values(expires=self._clock() + self.lease_s)
            )
        return renewed.rowcount == 1

    def release(self, device: str, holder: str) -> bool:
        """Take back what an agent holds and ends on purpose; False where it holds nothing.

        That attempt says nothing about the job, and is not counted.
        """
        held = (_JOBS.c.device == device, _JOBS.c.state == "leased", _JOBS.c.holder == holder)
        with self._store.transaction() as connection:
            self._expire(connection)
            connection.execute(sa.update(_JOBS).where(*held).values(attempts=_JOBS.c.attempts - 1))
            return self._return(connection, *held) == 1

    def report(self, device: str, report: Report) -> Receipt:
        """Take how a job ended; its result is stored at the same moment, once.

        Raises:
            ConfigError: no such job of this device, or a result of another file or device.
        """
        with self._store.transaction() as connection:
            self._expire(connection)
            asked = sa.select(_JOBS).where(_JOBS.c.device == device, _JOBS.c.id == report.job)
            row = connection.execute(asked).first()
            if row is None:
                raise ConfigError(f"device '{device}' has no job '{report.job}'")
            if row.report == report.id:
                return Receipt(accepted=True, why="it was there already")
            _check(device, row.digest, report.result)
            counts: sa.ColumnElement[bool] = _JOBS.c.state.in_(OPEN)
            if report.result is not None:
                # A measurement that came late is better than none.
                counts = sa.or_(counts, sa.and_(_JOBS.c.state == "failed", _JOBS.c.report.is_(None)))
            ended = connection.execute(
                sa.update(_JOBS)
                .where(_JOBS.c.number == row.number, counts)
                .values(
                    state="done" if report.result else "failed",
                    report=report.id,
                    failure=canonical_json(report.failure) if report.failure else None,
                    lease=None,
                    expires=None,
                    changed=self._clock(),
                )
            )
            if ended.rowcount != 1:
                return Receipt(accepted=False, why=f"the job is {row.state} already")
            if report.result is not None:
                self._store.add(report.result, within=connection)
        return Receipt(accepted=True)

    def cancel(self, job: str) -> Entry:
        """Take a job that has not ended out of the queue; what a device still reports is dropped.

        Raises:
            ConfigError: no such job, or one that has ended.
        """
        with self._store.transaction() as connection:
            self._expire(connection)
            cancelled = connection.execute(
                sa.update(_JOBS)
                .where(_JOBS.c.id == job, _JOBS.c.state.in_(OPEN))
                .values(state="cancelled", lease=None, expires=None, changed=self._clock())
            )
        entry = self.entry(job)
        if cancelled.rowcount != 1:
            raise ConfigError(f"job '{job}' is {entry.state} already")
        return entry

    def cancel_all(self, device: str) -> int:
        """Take every job of a device that has not ended out of the queue; return how many."""
        with self._store.transaction() as connection:
            return connection.execute(
                sa.update(_JOBS)
                .where(_JOBS.c.device == device, _JOBS.c.state.in_(OPEN))
                .values(state="cancelled", lease=None, expires=None, changed=self._clock())
            ).rowcount

    def entry(self, job: str) -> Entry:
        """Return a job as it stands; `ConfigError` where there is none."""
        found = self._entries(_JOBS.c.id == job)
        if not found:
            raise ConfigError(f"there is no job '{job}'", hint="edge-bench devices jobs")
        return found[0]

    def entries(self, device: str | None = None) -> list[Entry]:
        """Return all jobs in the order they were queued, of one device where it is named."""
        return self._entries(*([] if device is None else [_JOBS.c.device == device]))

    def wanted(self, device: str | None = None) -> set[str]:
        """Return the digests of the files that jobs which have not ended need."""
        asked = sa.select(_JOBS.c.digest).where(_JOBS.c.state.in_(OPEN))
        if device is not None:
            asked = asked.where(_JOBS.c.device == device)
        with self._store.transaction() as connection:
            return set(connection.execute(asked).scalars())

    def _entries(self, *conditions: Any) -> list[Entry]:
        with self._store.transaction() as connection:
            self._expire(connection)
            rows = connection.execute(sa.select(_JOBS).where(*conditions).order_by(_JOBS.c.number)).all()
        return [_entry(row) for row in rows]

    def _expire(self, connection: sa.Connection) -> None:
        # A write, and the first statement of a transaction: whoever comes second waits here.
        self._return(connection, _JOBS.c.state == "leased", _JOBS.c.expires < self._clock())

    def _return(self, connection: sa.Connection, *which: Any) -> int:
        """Put leased jobs back into the queue, or end those that were tried too often; return how many."""
        too_often = _JOBS.c.attempts >= MAX_ATTEMPTS
        returned = connection.execute(
            sa.update(_JOBS)
            .where(*which)
            .values(
                state=sa.case((too_often, "failed"), else_="queued"),
                failure=sa.case((too_often, canonical_json(_FELL_SILENT)), else_=None),
                lease=None,
                expires=None,
                changed=self._clock(),
            )
        )
        return returned.rowcount


def standing(store: ResultStore, *, clock: Callable[[], float] = time.time) -> list[Entry]:
    """Return of each device the job that ended last, and then those that have not ended, in their order.

    Looking writes nothing, and makes no table: a lease that has expired is told as it will be once the
    queue is used again.
    """
    ended = _JOBS.c.state.not_in(OPEN)
    last = (
        sa.select(_JOBS.c.device, sa.func.max(_JOBS.c.changed).label("changed"))
        .where(ended)
        .group_by(_JOBS.c.device)
        .subquery()
    )
    newest = sa.and_(ended, _JOBS.c.device == last.c.device, _JOBS.c.changed == last.c.changed)
    with store.transaction() as connection:
        if not sa.inspect(connection).has_table(_JOBS.name):
            return []
        rows = [
            *connection.execute(sa.select(_JOBS).join(last, newest).order_by(_JOBS.c.number)),
            *connection.execute(sa.select(_JOBS).where(_JOBS.c.state.in_(OPEN)).order_by(_JOBS.c.number)),
        ]
    return [_as_due(_entry(row), row.expires, clock()) for row in rows]


def _as_due(entry: Entry, expires: float | None, now: float) -> Entry:
    """Return what `JobQueue` would make of a job now."""
    if entry.state != "leased" or expires is None or expires >= now:
        return entry
    if entry.attempts >= MAX_ATTEMPTS:
        return replace(entry, state="failed", failure=_FELL_SILENT, changed=now)
    return replace(entry, state="queued", changed=now)


def _check(device: str, digest: str, result: Measured | None) -> None:
    if result is None:
        return
    if result.device != device:
        raise ConfigError(f"the result is of device '{result.device}', not of '{device}'")
    if result.digest != digest:
        raise ConfigError(f"the result is of the file {result.digest[:12]}, not of {digest[:12]}")


def _job(document: str) -> Job:
    return from_document(Job, json.loads(document))


def _entry(row: Any) -> Entry:
    return Entry(
        job=_job(row.document),
        device=row.device,
        state=row.state,
        attempts=row.attempts,
        changed=row.changed,
        report=row.report,
        failure=from_document(Failure, json.loads(row.failure)) if row.failure else None,
    )
