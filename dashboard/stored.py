"""What the pages read from the store, cached by its revision, and names made safe for Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard.frames import candidate_frame, devices
from dashboard.names import plain
from edge_bench.choose.candidates import candidates, newest_results
from edge_bench.choose.percentiles import MEDIAN, P90, at_p90
from edge_bench.errors import StoreError
from edge_bench.files import Home
from edge_bench.records import Artifact, BenchmarkResult, Candidate, FittedPredictor, Subnet
from edge_bench.store import ResultStore

JOINER = "\u2060"
# Of the store, and of the folder of runs.
State = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The records of a home folder as they were at one revision of its store."""

    url: str
    revision: int
    subnets: tuple[Subnet, ...]
    artifacts: tuple[Artifact, ...]
    results: tuple[BenchmarkResult, ...]
    predictors: tuple[FittedPredictor, ...]

    @property
    def devices(self) -> list[str]:
        return devices(self.results, self.predictors)


def stored(home: Home) -> Stored | None:
    """Return what the store holds, or None where there is no store; makes no file."""
    if not home.has_store:
        return None
    with ResultStore(home.store_url) as store:
        return _read(home.store_url, store.revision())


def state_of(home: Home) -> State:
    """Return what changes when a record is written, or a run begins; makes no file.

    A store that cannot be read has no state of its own: the page tells why.
    """
    try:
        began = home.runs.stat().st_mtime_ns
    except OSError:
        began = 0
    if not home.has_store:
        return 0, began
    try:
        with ResultStore(home.store_url) as store:
            return store.revision(), began
    except StoreError:
        return 0, began


def candidates_of(records: Stored, device: str, *, percentile: str = MEDIAN) -> Sequence[Candidate]:
    """Return the candidates on a device, by the median of their latency or by its p90 where it is known."""
    return _candidates(records.url, records.revision, device, percentile, records)


def frame_of(records: Stored, device: str, *, percentile: str = MEDIAN) -> pd.DataFrame:
    """Return the candidates on a device as a frame of one's own."""
    return _frame(records.url, records.revision, device, percentile, records)


def file_within(home: Home, file: str) -> Path | None:
    """Return where a file that a record names lies; None where it is gone or not under the home folder."""
    try:
        path = home.absolute(file).resolve()
        return path if path.is_relative_to(home.root.resolve()) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):
        # A name that no file system takes, or links that go round.
        return None


def escaped(text: str) -> str:
    """Return `text` so that Markdown shows it as it stands: no link, image, formula or icon.

    Addresses are made links even where every sign is escaped, so a joiner of no width parts them.
    """
    parted = re.sub(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", JOINER, plain(text), flags=re.IGNORECASE)
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=@/])", r"\\\1", parted)


# Records are frozen, so one copy may serve every session; frames may be changed, so each gets one.
@st.cache_resource(max_entries=2, show_spinner="reading the store")
def _read(url: str, revision: int) -> Stored:
    with ResultStore(url) as store:
        return Stored(
            url=url,
            revision=revision,
            subnets=tuple(store.subnets()),
            artifacts=tuple(store.artifacts()),
            results=tuple(store.results()),
            predictors=tuple(store.predictors()),
        )


@st.cache_resource(max_entries=8, show_spinner="predicting latencies")
def _candidates(
    url: str, revision: int, device: str, percentile: str, _records: Stored
) -> tuple[Candidate, ...]:
    if percentile == P90:
        medians = candidates_of(_records, device)
        return tuple(at_p90(medians, newest_results(_records.results, device)))
    found = candidates(
        _records.subnets, _records.artifacts, _records.results, _records.predictors, device=device
    )
    return tuple(found)


@st.cache_data(max_entries=8, show_spinner=False)
def _frame(url: str, revision: int, device: str, percentile: str, _records: Stored) -> pd.DataFrame:
    return candidate_frame(_candidates(url, revision, device, percentile, _records))
