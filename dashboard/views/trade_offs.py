"""Trade-offs: quality over latency, the front, a budget, and the table behind the chart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import words
from dashboard.charts import shown
from dashboard.columns import candidate_columns
from dashboard.controls import (
    budget_control,
    column_config,
    device_control,
    is_dark,
    one_task,
    records_or_advice,
)
from dashboard.figures import DENSE, trade_off_figure
from dashboard.frames import front, in_boxes, matching, milliseconds, named_quality, table, to_csv
from dashboard.stored import Stored, escaped, frame_of
from dashboard.views import View
from edge_bench.files import Home

CHART = "chart"
SELECTED = "selected"
ROWS_SHOWN = 1_000
LINKED = 40


class TradeOffs(View):
    """Chart and table in one fragment: moving the budget redraws nothing else."""

    title = "Trade-offs"
    place = 0

    def show(self, home: Home) -> None:
        records = records_or_advice(home)
        if records is not None:
            _explore(records)


@st.fragment
def _explore(records: Stored) -> None:
    on_device, on_runtime, on_precision, on_family, on_budget = st.columns([2, 2, 2, 2, 3], gap="medium")
    with on_device:
        device = device_control(records)
        everything = one_task(frame_of(records, device))
    if everything.empty:
        st.info("Nothing is measured on this device and no predictor covers what is stored.")
        return
    with on_runtime:
        runtimes = _filter("Runtime", everything["runtime"], "runtime")
    with on_precision:
        precisions = _filter("Precision", everything["precision"], "precision")
    with on_family:
        families = _filter("Trained by", everything["family"], "family")
    with on_budget:
        budget = budget_control(everything)
    frame = matching(everything, runtime=runtimes, precision=precisions, family=families)
    if frame.empty:
        st.info("No candidate fits these filters together. Take one back.")
        return
    _summary(frame, budget, device)
    chosen = _chosen(frame)
    figure = trade_off_figure(frame, budget_ms=budget, chosen=chosen["id"].tolist(), dark=is_dark())
    shown(
        figure,
        words.trade_offs(frame, budget),
        key=_chart_key(),
        on_select="rerun",
        selection_mode=("points", "box", "lasso"),
        config={"displaylogo": False, "modeBarButtonsToRemove": ["autoScale2d", "zoomIn2d", "zoomOut2d"]},
    )
    _table(frame, chosen, budget)


def _filter(label: str, column: pd.Series[str], key: str) -> list[str]:
    # Labels of pills are Markdown, and these come from the store.
    options = sorted(column.unique())
    return st.pills(
        label, options, selection_mode="multi", format_func=escaped, key=key, bind="query-params"
    )


def _summary(frame: pd.DataFrame, budget: float | None, device: str) -> None:
    fitting = frame if budget is None else frame[frame["latency_ms"] <= budget]
    measured = int((frame["source"] == "measured").sum())
    counted = f"{len(frame):,} candidates, {measured:,} measured"
    if fitting.empty:
        fastest = milliseconds(float(frame["latency_ms"].min()))
        st.markdown(f"{counted}. **None fits the budget**; the fastest needs {fastest}.")
        return
    best = front(fitting).iloc[-1]
    quality = named_quality(best["metric_name"], best["metric"])
    within = "" if budget is None else f", {len(fitting):,} within {budget:.4g} ms"
    st.markdown(
        f"{counted}{within}. Best{' of these' if within else ''}: **{escaped(best['name'])}**, "
        f"{escaped(best['kind'])}, {escaped(quality)} at {milliseconds(best['latency_ms'])} "
        f"({best['source']})."
    )


def _chosen(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows selected on the chart, else those the link names; keep the link in step."""
    event: Mapping[str, Any] = st.session_state.get(_chart_key()) or {}
    selection = event.get("selection", {})
    if len(frame) > DENSE and selection.get("box"):
        chosen = in_boxes(frame, [(tuple(box["x"]), tuple(box["y"])) for box in selection["box"]])
    else:
        ids = [point["customdata"] for point in selection.get("points", ()) if "customdata" in point]
        flat = [one[0] if isinstance(one, (list, tuple)) else one for one in ids]
        chosen = frame[frame["id"].isin(flat)]
    linked = st.query_params.get(SELECTED, "")
    if len(chosen):
        link = ",".join(chosen["id"][:LINKED]) if len(chosen) <= LINKED else ""
        _keep_link(link)
        return chosen
    return frame[frame["id"].isin(linked.split(","))]


def _keep_link(link: str) -> None:
    if link:
        st.query_params[SELECTED] = link
    else:
        st.query_params.pop(SELECTED, None)


def _clear() -> None:
    # The chart holds its own selection; a new key makes it a new chart.
    st.session_state["chart_number"] = st.session_state.get("chart_number", 0) + 1
    st.query_params.pop(SELECTED, None)


def _chart_key() -> str:
    return f"{CHART}-{st.session_state.get('chart_number', 0)}"


def _table(frame: pd.DataFrame, chosen: pd.DataFrame, budget: float | None) -> None:
    rows = chosen if len(chosen) else frame
    told, clear, save = st.columns([6, 2, 2], vertical_alignment="center")
    with told:
        if len(chosen):
            st.markdown(f"**{len(chosen):,} selected on the chart**")
        else:
            st.markdown("**All candidates** · select on the chart to filter")
    if len(chosen):
        clear.button("Clear selection", on_click=_clear, width="stretch")
    save.download_button(
        "Download CSV",
        data=lambda: to_csv(rows),
        file_name="edge-bench-candidates.csv",
        mime="text/csv",
        on_click="ignore",
        width="stretch",
    )
    listed = table(rows.head(ROWS_SHOWN), front(frame), budget)
    st.dataframe(
        listed,
        hide_index=True,
        column_config=column_config(candidate_columns(frame)),
        placeholder="–",
        key="candidates",
    )
    if len(rows) > ROWS_SHOWN:
        st.caption(f"The fastest {ROWS_SHOWN:,} of {len(rows):,}; the CSV holds all.")
