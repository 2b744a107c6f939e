"""Widgets that more than one page has, so that they look, behave and link alike."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.frames import matching
from dashboard.stored import Stored, escaped, stored
from edge_bench.files import Home

HERE = "this-machine"


def records_or_advice(home: Home) -> Stored | None:
    """Return what is stored; where that is nothing to choose from, say how to get some."""
    records = stored(home)
    if records is not None and records.devices:
        return records
    st.subheader("Nothing to show yet")
    st.write("The store holds no measurement and no latency predictor. This fills it in a few minutes:")
    st.code("make quickstart", language="shell")
    st.write("or, where edge-bench is installed without its sources:")
    st.code("edge-bench quickstart", language="shell")
    st.caption(f"home: {escaped(str(home.root))}")
    return None


def device_control(records: Stored) -> str:
    """Let a device be chosen; the one measured on most stands first."""
    chosen: str = st.selectbox("Device", records.devices, key="device", bind="query-params")
    return chosen


def one_task(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the candidates of one data set and metric; asks which where there are several."""
    tasks = list(frame["task"].value_counts().index)
    if len(tasks) < 2:
        return frame
    task = st.selectbox("Data and metric", tasks, key="task", bind="query-params")
    return matching(frame, task=[task])


def is_dark() -> bool:
    """Say whether the page is shown on a dark ground."""
    return st.context.theme.type == "dark"
