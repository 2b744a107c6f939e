"""What the pages are given of the store, and names made safe for Markdown."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard.device_status import status
from dashboard.frames import candidate_frame
from dashboard.names import plain
from dashboard.reading import Stored as Stored
from dashboard.reading import reading_of
from edge_bench.choose.candidates import newest_results
from edge_bench.choose.percentiles import MEDIAN, P90, at_p90
from edge_bench.devices.queue import standing
from edge_bench.devices.registry import registered
from edge_bench.errors import StoreError
from edge_bench.files import Home
from edge_bench.records import Candidate
from edge_bench.store import ResultStore

JOINER = "\u2060"
# Of the store, and of the folder of runs.
State = tuple[int, int]


def stored(home: Home) -> Stored | None:
    """Return what the store holds, or None where there is no store; makes no file."""
    if not home.has_store:
        return None
    reading = reading_of(home.store_url)
    with _told_if_not(reading.is_current(), "reading the store"):
        return reading.stored()


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


def own_devices(home: Home) -> list[str]:
    """Return the names of the devices that jobs can be sent to; makes no file."""
    if not home.has_store:
        return []
    with ResultStore(home.store_url) as store:
        return [device.name for device in registered(store)]


def own_status(home: Home) -> pd.DataFrame:
    """Return what one's own devices do now, as `device_status.status` tells it; makes no file.

    Raises:
        StoreError: a store that cannot be read.
    """
    if not home.has_store:
        return status((), (), 0.0)
    with ResultStore(home.store_url) as store:
        return status(registered(store), standing(store), time.time())


def candidates_of(
    records: Stored, device: str, *, percentile: str = MEDIAN, task: str | None = None
) -> Sequence[Candidate]:
    """Return the candidates on a device, by the median of their latency or by its p90 where it is known;
    those of one task (`Candidate.judged_by`) where it is named.
    """
    if task is not None:
        return _of_task(records.url, records.revision, device, percentile, task, records)
    if percentile == P90:
        return _tails(records.url, records.revision, device, records)
    reading = reading_of(records.url)
    with _told_if_not(reading.knows(device), "predicting latencies"):
        return reading.candidates(device)


def frame_of(records: Stored, device: str, *, percentile: str = MEDIAN) -> pd.DataFrame:
    """Return `candidates_of` as a frame; what is changed in it changes no other."""
    if percentile == P90:
        return _tail_frame(records.url, records.revision, device, records).copy(deep=False)
    reading = reading_of(records.url)
    with _told_if_not(reading.knows(device), "predicting latencies"):
        return reading.frame(device).copy(deep=False)


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


def _told_if_not(ready: bool, what: str) -> AbstractContextManager[None]:
    return nullcontext() if ready else st.spinner(what, show_time=True)


@st.cache_resource(max_entries=8, show_spinner="reading every p90")
def _tails(url: str, revision: int, device: str, _records: Stored) -> tuple[Candidate, ...]:
    newest = newest_results(_records.results, device)
    return tuple(at_p90(candidates_of(_records, device), newest))


@st.cache_resource(max_entries=8, show_spinner=False)
def _tail_frame(url: str, revision: int, device: str, _records: Stored) -> pd.DataFrame:
    return candidate_frame(_tails(url, revision, device, _records))


@st.cache_resource(max_entries=16, show_spinner=False)
def _of_task(
    url: str, revision: int, device: str, percentile: str, task: str, _records: Stored
) -> tuple[Candidate, ...]:
    everything = candidates_of(_records, device, percentile=percentile)
    return tuple(one for one in everything if one.judged_by == task)
