"""What a store holds, kept in memory and in step: only what was written since is read and worked out anew.

One `Reading` of a store serves all sessions of the server. Records are frozen, so all may share them.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

import pandas as pd

from dashboard.frames import candidate_frame, devices, joined
from dashboard.names import encodable
from edge_bench.choose.candidates import candidates
from edge_bench.choose.shipped import shipped
from edge_bench.errors import EdgeBenchError
from edge_bench.files import Home
from edge_bench.records import Artifact, BenchmarkResult, Candidate, FittedPredictor, Subnet
from edge_bench.store import Record, ResultStore

T = TypeVar("T", Subnet, Artifact, BenchmarkResult, FittedPredictor)
# As many objects, and the collector of garbage would take seconds over them.
MANY = 10_000
KINDS = (Subnet, Artifact, BenchmarkResult, FittedPredictor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The records of a home folder as they were at one revision of its store.

    `devices` are those of which something is known, those measured on most first.
    """

    url: str
    revision: int
    subnets: tuple[Subnet, ...]
    artifacts: tuple[Artifact, ...]
    results: tuple[BenchmarkResult, ...]
    predictors: tuple[FittedPredictor, ...]
    devices: list[str]


@lru_cache(maxsize=4)
def reading_of(url: str) -> Reading:
    """Return the one reading of the store at an address."""
    return Reading(url)


@lru_cache(maxsize=64)
def published(device: str) -> tuple[FittedPredictor, ...]:
    """Return the predictors of a device that come with edge-bench, as `pick` takes them too."""
    return tuple(shipped(device))


def read_ahead(home: Home) -> None:
    """Read a home's store, and work out the device that pages begin with, before anybody asks.

    What is wrong with the store is told by the pages.
    """
    with suppress(EdgeBenchError):
        if home.has_store:
            reading = reading_of(home.store_url)
            for device in reading.stored().devices[:1]:
                reading.frame(device)


@dataclass
class _OnDevice:
    """The candidates on a device, as they followed from the records up to a `revision`."""

    revision: int
    predictors: tuple[FittedPredictor, ...]
    candidates: tuple[Candidate, ...]
    frame: pd.DataFrame


@dataclass
class Reading:
    """The records of a store, and what follows from them; may be asked by several threads."""

    url: str
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _held: dict[type[Record], dict[str, Record]] = field(default_factory=dict)
    _stored: Stored | None = None
    _on_device: dict[str, _OnDevice] = field(default_factory=dict)
    # At which revision each network, by its id or that of a file without one, last changed.
    _changed: dict[str, int] = field(default_factory=dict)

    def is_current(self) -> bool:
        """Say whether nothing was written since the store was last read; quick, and waits for nobody."""
        known = self._stored
        with ResultStore(self.url) as store:
            return known is not None and known.revision == store.revision()

    def stored(self) -> Stored:
        """Return the records as they are now."""
        with self._lock:
            if self._stored is None or not self.is_current():
                self._stored = self._read()
            return self._stored

    def knows(self, device: str) -> bool:
        """Say whether the candidates on a device are worked out, of the records as they were last read."""
        stored, known = self._stored, self._on_device.get(device)
        return stored is not None and known is not None and known.revision == stored.revision

    def candidates(self, device: str) -> tuple[Candidate, ...]:
        """Return the candidates on a device, of the records as they were last read."""
        return self._of(device).candidates

    def frame(self, device: str) -> pd.DataFrame:
        """Return `candidates` as a frame, which is shared and not to be changed."""
        return self._of(device).frame

    def _read(self) -> Stored:
        since = self._stored.revision if self._stored else 0
        with ResultStore(self.url) as store, _collector_at_rest(store.revision() - since):
            written = store.written(*KINDS, since=since)
            self._take(written.records, written.revision)
            if written.held != sum(map(len, self._held.values())):
                self._forget()
                written = store.written(*KINDS)
                self._take(written.records, written.revision)
        results, predictors = self._all(BenchmarkResult), self._all(FittedPredictor)
        return Stored(
            url=self.url,
            revision=written.revision,
            subnets=self._all(Subnet),
            artifacts=self._all(Artifact),
            results=results,
            predictors=predictors,
            devices=devices(results, predictors),
        )

    def _take(self, records: tuple[Record, ...], revision: int) -> None:
        for record in map(encodable, records):
            alike = self._held.setdefault(type(record), {})
            # What replaces another stands last, as in the store.
            alike.pop(record.id, None)
            alike[record.id] = record
        for record in records:
            network = self._network_of(record)
            if network is not None:
                self._changed[network] = revision

    def _forget(self) -> None:
        self._held.clear()
        self._changed.clear()
        self._on_device.clear()

    def _all(self, kind: type[T]) -> tuple[T, ...]:
        # Each under its own type.
        return tuple(self._held.get(kind, {}).values())  # type: ignore[arg-type]

    def _network_of(self, record: Record) -> str | None:
        """Return the network whose candidates a record may change; None of a predictor, or a stranger's."""
        if isinstance(record, Subnet):
            return record.id
        files = self._held.get(Artifact, {})
        file = files.get(record.artifact or "") if isinstance(record, BenchmarkResult) else record
        if not isinstance(file, Artifact):
            return None
        whole = files.get(file.step_of or "", file)
        assert isinstance(whole, Artifact)
        return whole.subnet or whole.id

    def _of(self, device: str) -> _OnDevice:
        with self._lock:
            stored = self._stored or self.stored()
            known = self._on_device.get(device)
            if known is None or known.revision != stored.revision:
                self._on_device[device] = known = self._worked_out(device, stored, known)
            return known

    def _worked_out(self, device: str, stored: Stored, known: _OnDevice | None) -> _OnDevice:
        own = (one for one in stored.predictors if one.device == device)
        fitted = (*published(device), *own)
        if known is None or not _same(fitted, known.predictors):
            with _collector_at_rest(len(stored.subnets) + len(stored.artifacts)):
                found = tuple(
                    candidates(stored.subnets, stored.artifacts, stored.results, fitted, device=device)
                )
                return _OnDevice(stored.revision, fitted, found, candidate_frame(found))
        changed = {name for name, revision in self._changed.items() if revision > known.revision}
        if not changed:
            return _OnDevice(stored.revision, fitted, known.candidates, known.frame)
        anew = candidates(
            [one for one in stored.subnets if one.id in changed],
            [one for one in stored.artifacts if self._network_of(one) in changed],
            [one for one in stored.results if self._network_of(one) in changed],
            fitted,
            device=device,
        )
        kept = [one for one in known.candidates if (one.subnet or one.artifact) not in changed]
        networks = known.frame["subnet"].fillna(known.frame["artifact"])
        old, new = known.frame[~networks.isin(changed)], candidate_frame(anew)
        return _OnDevice(stored.revision, fitted, (*kept, *anew), joined([old, new]))


def _same(ones: tuple[FittedPredictor, ...], others: tuple[FittedPredictor, ...]) -> bool:
    return len(ones) == len(others) and all(one is other for one, other in zip(ones, others, strict=True))


@contextmanager
def _collector_at_rest(count: int) -> Iterator[None]:
    """Make about so many objects that stay, without looking for garbage among them, now and later."""
    if count < MANY:
        yield
        return
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
