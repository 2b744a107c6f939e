"""Trade-offs: quality over a cost, the front of each device, a budget, and the table behind the chart."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from dashboard import words
from dashboard.axes import AXES, LATENCY, Axis, axes_of
from dashboard.charts import shown
from dashboard.columns import candidate_columns
from dashboard.controls import (
    budget_control,
    column_config,
    is_dark,
    no_candidate,
    one_task,
    records_or_advice,
)
from dashboard.figures import PAINTS
from dashboard.frames import front, fronts, joined, matching, named_quality, table, to_csv
from dashboard.selection import Selection, heed, keep_link, select, selection
from dashboard.stored import Stored, escaped, frame_of
from dashboard.trade_off_chart import BESIDE, OVERLAID
from dashboard.trade_off_figures import trade_off_figure
from dashboard.views import View
from edge_bench.files import Home

CHART = "chart"
ROWS_SHOWN = 1_000
# How the columns are called that a filter may narrow.
FILTERS = {"runtime": "Runtime", "precision": "Precision", "family": "Trained by", "encoding": "Encoding"}
# In place of a row of buttons.
MANY = 8


class TradeOffs(View):
    """Chart and table in one fragment: moving the budget redraws nothing else."""

    title = "Trade-offs"
    place = 0

    def show(self, home: Home) -> None:
        records = records_or_advice(home)
        if records is not None:
            _explore(records, home)


@st.fragment
def _explore(records: Stored, home: Home) -> None:
    on_devices, on_axis, on_budget = st.columns(3, gap="medium")
    with on_devices:
        devices = _devices(records)
        layout = _layout() if len(devices) > 1 else OVERLAID
    if not devices:
        st.info("Choose a device, or several to compare.")
        return
    everything = one_task(joined([frame_of(records, device) for device in devices]))
    if everything.empty:
        no_candidate(devices[0], home)
        return
    with on_axis:
        axis = _axis(everything)
    known = axis.known(everything)
    with on_budget:
        budget = budget_control(known, axis=axis)
    frame = _filtered(known)
    if frame.empty:
        st.info("No candidate fits these filters together. Take one back.")
        return
    _summary(frame, devices, budget, axis)
    if len(known) < len(everything):
        st.caption(f"{len(everything) - len(known):,} are left out: their {axis.title} is not known.")
    chosen = selection()
    keep_link(chosen)
    rows = chosen.of(frame, axis)
    figure = trade_off_figure(
        frame,
        axis=axis,
        budget=budget,
        chosen=rows["id"].tolist(),
        layout=layout,
        devices=devices,
        among=records.devices,
        families=everything["family"].unique().tolist(),
        dark=is_dark(),
    )
    there = set(frame["device"].unique())
    panels = [device for device in devices if device in there] if layout == BESIDE else []
    shown(
        figure,
        words.trade_offs(frame, budget, axis=axis, chosen=len(rows)),
        key=_chart_key(),
        theme=None,
        on_select=partial(_selected, axis, panels),
        selection_mode=("points", "box", "lasso"),
        config={"displaylogo": False, "modeBarButtonsToRemove": ["autoScale2d", "zoomIn2d", "zoomOut2d"]},
    )
    _table(frame, rows, budget, axis)


def _devices(records: Stored) -> list[str]:
    """Let devices be chosen; the one measured on most is there to begin with."""
    chosen = st.multiselect(
        "Devices",
        records.devices,
        default=records.devices[:1],
        max_selections=len(PAINTS),
        placeholder="choose a device",
        key="device",
        bind="query-params",
    )
    return [device for device in records.devices if device in chosen]


def _layout() -> str:
    chosen = st.segmented_control(
        "Several devices",
        (OVERLAID, BESIDE),
        default=OVERLAID,
        required=True,
        label_visibility="collapsed",
        key="layout",
        bind="query-params",
    )
    return chosen or OVERLAID


def _axis(frame: pd.DataFrame) -> Axis:
    """Let the cost be chosen, among those that are known of some candidate."""
    names = axes_of(frame)
    if len(names) < 2:
        return AXES[names[0]] if names else LATENCY
    chosen = st.segmented_control(
        "Quality over",
        names,
        default=names[0],
        required=True,
        key="x",
        bind="query-params",
    )
    return AXES[chosen or names[0]]


def _filtered(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what the filters leave; one is there where it would leave something out."""
    with st.container(horizontal=True, gap="medium"):
        wanted = {
            column: _filter(label, sorted(frame[column].unique()), column)
            for column, label in FILTERS.items()
            if frame[column].nunique() > 1
        }
    return matching(frame, **wanted)


def _filter(label: str, options: list[str], key: str) -> list[str]:
    if len(options) > MANY:
        return st.multiselect(label, options, placeholder="any", key=key, bind="query-params", width=320)
    # Labels of pills are Markdown, and these come from the store.
    return st.pills(
        label,
        options,
        selection_mode="multi",
        format_func=escaped,
        key=key,
        bind="query-params",
        width="content",
    )


def _summary(frame: pd.DataFrame, devices: list[str], budget: float | None, axis: Axis) -> None:
    """Say what there is and the best of it, device by device."""
    of_devices = list(frame.groupby("device", sort=True))
    if len(of_devices) < 2:
        st.markdown(_told(frame, budget, axis))
        return
    st.markdown(
        "\n".join(f"- {escaped(str(one))}: {_told(rows, budget, axis)}" for one, rows in of_devices)
    )


def _told(frame: pd.DataFrame, budget: float | None, axis: Axis) -> str:
    measured = int((frame["source"] == "measured").sum())
    counted = f"{len(frame):,} candidates, {measured:,} measured"
    best = front(frame, axis.column)
    # The front of what fits is what fits of the front.
    fitting = best if budget is None else best[best[axis.column] <= budget]
    if fitting.empty:
        least, does = (
            axis.told(float(best[axis.column].iloc[0])),
            "fastest" if axis is LATENCY else "smallest",
        )
        return f"{counted}. **None fits the budget**; the {does} needs {least}."
    chosen = fitting.iloc[-1]
    quality = named_quality(chosen["metric_name"], chosen["metric"])
    within = ""
    if budget is not None:
        within = f", {int((frame[axis.column] <= budget).sum()):,} within {budget:.4g} {axis.unit}"
    whence = f" ({chosen[axis.source]})" if axis.source else ""
    return (
        f"{counted}{within}. Best{' of these' if within else ''}: **{escaped(chosen['name'])}**, "
        f"{escaped(chosen['kind'])}, {escaped(quality)} at {axis.told(chosen[axis.column])}{whence}."
    )


def _selected(axis: Axis, beside: list[str]) -> None:
    heed(st.session_state.get(_chart_key()) or {}, axis, beside)


def _clear() -> None:
    # The chart holds its own selection; a new key makes it a new chart.
    st.session_state["chart_number"] = st.session_state.get("chart_number", 0) + 1
    select(Selection())


def _chart_key() -> str:
    return f"{CHART}-{st.session_state.get('chart_number', 0)}"


def _table(frame: pd.DataFrame, chosen: pd.DataFrame, budget: float | None, axis: Axis) -> None:
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
    listed = table(rows.head(ROWS_SHOWN), fronts(frame, axis.column), budget, cost=axis.column)
    st.dataframe(
        listed,
        hide_index=True,
        column_config=column_config(candidate_columns(frame)),
        placeholder="–",
        key="candidates",
    )
    if len(rows) > ROWS_SHOWN:
        first = "fastest" if axis is LATENCY else "first"
        st.caption(f"The {first} {ROWS_SHOWN:,} of {len(rows):,}; the CSV holds all.")
