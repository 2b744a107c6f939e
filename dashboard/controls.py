"""Widgets that more than one page has, so that they look, behave and link alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import shell
from dashboard.axes import LATENCY, Axis
from dashboard.columns import Column
from dashboard.frames import budget_stops, matching
from dashboard.stored import Stored, escaped, own_devices, stored
from edge_bench.errors import EdgeBenchError
from edge_bench.files import Home
from edge_bench.records import THIS_MACHINE

ANY = "any"


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


def no_candidate(device: str, home: Home) -> None:
    """Say what brings a candidate on a device that has none."""
    st.info(
        "No candidate: of no file whose quality is known was a latency measured on this device, and no "
        "predictor covers what is stored."
    )
    if device == THIS_MACHINE or device in own_devices(home):
        st.write("Measurements of all exported files, a predictor, or a file of yours brings some:")
        commands = [shell.bench(["--all"], home, device=device), shell.fit(home, device=device)]
    else:
        st.write("What somebody measured there, or a file of yours brings some:")
        commands = [shell.command(["results", "import", "report.json", "--device", device], home)]
    commands.append(shell.command(["import", "net.onnx", "--data", "FOLDER"], home))
    st.code("\n".join(commands), language="shell")


def device_control(records: Stored, *, also: Sequence[str] = ()) -> str:
    """Let a device be chosen; the one measured on most stands first, and last what is there `also`."""
    options = list(dict.fromkeys((*records.devices, *also)))
    chosen: str = st.selectbox("Device", options, key="device", bind="query-params")
    return chosen


def one_task(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the candidates of one data set and metric; asks which where there are several."""
    tasks = [str(task) for task, count in frame["task"].value_counts().items() if count]
    if len(tasks) < 2:
        return frame
    task = st.selectbox("Data and metric", tasks, key="task", bind="query-params")
    return matching(frame, task=[task])


def budget_control(frame: pd.DataFrame, *, of: str = "median", axis: Axis = LATENCY) -> float | None:
    """Let a cost be chosen that may be spent, in the axis' unit; None where any will do.

    `of` says which latency it is.
    """
    low, high = float(frame[axis.column].min()), float(frame[axis.column].max())
    options = [*(f"{stop:g}" for stop in budget_stops(low, high)), ANY]
    if axis is LATENCY:
        of = "of a text" if frame["generated"].notna().any() else of
        label = f"Latency budget ({of}, ms)"
    else:
        label = f"{axis.title.capitalize()} budget ({axis.unit})"
    chosen = st.select_slider(label, options, value=ANY, key=axis.budget, bind="query-params")
    return None if chosen == ANY else float(chosen)


def column_config(columns: Mapping[str, Column]) -> dict[str, Any]:
    """Return columns as a table of streamlit takes them."""
    return {name: _configured(column) for name, column in columns.items()}


def tell(error: EdgeBenchError) -> None:
    """Show what went wrong, and what to do about it, where it went wrong.

    A fragment has to do so itself: what it raises does not reach the page.
    """
    st.error(escaped(error.message))
    if error.hint:
        st.caption(escaped(error.hint))


def is_dark() -> bool:
    """Say whether the page is shown on a dark ground."""
    return st.context.theme.type == "dark"


def _configured(column: Column) -> Any:
    if column.mark:
        return st.column_config.CheckboxColumn(column.heading, help=column.help or None)
    if column.format:
        return st.column_config.NumberColumn(
            column.heading, format=column.format, help=column.help or None, width=column.width
        )
    return st.column_config.TextColumn(column.heading, help=column.help or None, width=column.width)
