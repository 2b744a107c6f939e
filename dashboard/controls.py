"""Widgets that more than one page has, so that they look, behave and link alike."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from dashboard.frames import budget_stops, matching
from dashboard.stored import Stored, escaped, stored
from edge_bench.errors import EdgeBenchError
from edge_bench.files import Home
from edge_bench.records.quality import is_share, metric_word

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


def budget_control(frame: pd.DataFrame, *, of: str = "median") -> float | None:
    """Let a latency be chosen that may be spent, in ms, `of` what is said; None where any will do."""
    low, high = float(frame["latency_ms"].min()), float(frame["latency_ms"].max())
    options = [*(f"{stop:g}" for stop in budget_stops(low, high)), ANY]
    chosen = st.select_slider(
        "Latency budget (of a text, ms)"
        if frame["generated"].notna().any()
        else f"Latency budget ({of}, ms)",
        options,
        value=ANY,
        key="budget",
        bind="query-params",
    )
    return None if chosen == ANY else float(chosen)


def column_config(frame: pd.DataFrame) -> dict[str, Any]:
    """Return how the columns of `frames.table` are headed and written; of all rows one metric."""
    number = st.column_config.NumberColumn
    name = str(frame["metric_name"].iloc[0])
    word = metric_word(name)
    quality = "%.2f %%" if is_share(name) else "%.4g"
    unit, change = ("points", "%+.2f") if is_share(name) else (word, "%+.3g")
    higher = bool(frame["higher_is_better"].iloc[0])
    better = "more is better" if higher else "less is better"
    gain = f"Δ {unit}" if higher else f"gain, {unit}"
    return {
        "metric": number(f"{word} (selection)", format=quality, help=better),
        "test": number(f"{word} (test)", format=quality, help=better),
        "latency_ms": number("latency ms", format="%.4g"),
        "low_ms": number("from", format="%.4g", help="lower end of the latency's interval"),
        "high_ms": number("to", format="%.4g", help="upper end of the latency's interval"),
        "size_mb": number("size MB", format="%.3g"),
        "compressed_mb": number("compressed MB", format="%.3g", help="by zstd or gzip"),
        "sparsity": number("sparsity", format="%.3f", help="share of zeros among the weights"),
        "peak_memory_mb": number("peak MB", format="%.4g"),
        "mmacs": number("MMACs", format="%.4g"),
        "family": st.column_config.TextColumn("trained by", help="the techniques of its run"),
        "layers": st.column_config.TextColumn(help="layers kept, of an encoder before those of a decoder"),
        "length": number("tokens", help="of the longest text"),
        "generated": number("generated", format="%.4g", help="tokens of the text that the latency is of"),
        "threads": number("threads"),
        "pick": st.column_config.TextColumn("★", width=40, help="★: the recommended one"),
        "chance": st.column_config.TextColumn("in budget", help="probability that it meets the budget"),
        "exchange": st.column_config.TextColumn("step", help="against the next faster one on the front"),
        "gain": number(gain, format=change, help="against the recommended one; more is better"),
        "extra_ms": number("Δ ms", format="%+.3g", help="against the recommended one; less is faster"),
        "front": st.column_config.CheckboxColumn("on front", help="no other is as good and as fast"),
        "fits": st.column_config.CheckboxColumn("in budget"),
    }


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
