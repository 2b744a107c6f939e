"""What the pages read from run folders and probes, kept while the files stay as they are."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from edge_bench import runs
from edge_bench.errors import EdgeBenchError
from edge_bench.files import Home
from edge_bench.runs import Judgement, Lines, LogLine, Run

Stamp = tuple[tuple[int, int], ...]


def run_of(home: Home, name: str) -> Run:
    """Return a run; `EdgeBenchError` where there is none of that name, or it is damaged."""
    return _run(str(home.root), name, runs.stamp(home, name))


def log_of(home: Home, name: str) -> Lines[LogLine]:
    """Return what a run has logged so far."""
    return _log(str(home.root), name, runs.stamp(home, name))


def judged_of(home: Home, name: str) -> Lines[Judgement]:
    """Return what was judged of a run's networks."""
    return _judged(str(home.root), name, runs.stamp(home, name))


def all_runs(home: Home, names: list[str]) -> tuple[list[Run], list[str]]:
    """Return the runs that can be read, and a sentence for each that cannot."""
    found, damaged = [], []
    for name in names:
        try:
            found.append(run_of(home, name))
        except EdgeBenchError as error:
            damaged.append(error.message)
    return found, damaged


# Frozen, so one copy may serve every session.
@st.cache_resource(max_entries=2_000, show_spinner=False)
def _run(root: str, name: str, stamp: Stamp) -> Run:
    return runs.read_run(Home(Path(root)), name)


@st.cache_resource(max_entries=50, show_spinner=False)
def _log(root: str, name: str, stamp: Stamp) -> Lines[LogLine]:
    return runs.read_log(Home(Path(root)), name)


@st.cache_resource(max_entries=50, show_spinner=False)
def _judged(root: str, name: str, stamp: Stamp) -> Lines[Judgement]:
    return runs.read_judged(Home(Path(root)), name)
