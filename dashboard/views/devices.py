"""Devices: what takes how long where, what a device is, and how far its predictions may be trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd
import streamlit as st

import device_profiles
from dashboard import device_frames as told
from dashboard import shell, words
from dashboard.charts import shown
from dashboard.columns import LATENCY_COLUMNS, candidate_columns
from dashboard.controls import (
    column_config,
    device_control,
    is_dark,
    no_candidate,
    one_task,
    records_or_advice,
)
from dashboard.device_figures import calibration_figure, heat_figure, residuals_figure
from dashboard.device_status import COLUMNS as STATUS_COLUMNS
from dashboard.frames import matching, milliseconds, to_csv
from dashboard.stored import Stored, candidates_of, escaped, frame_of, own_status
from dashboard.views import FOLLOW_S, View
from edge_bench.errors import StoreError
from edge_bench.files import Home
from edge_bench.records import FittedPredictor, HeldOut
from edge_bench.records.quality import is_share

CHART_HEIGHT = 400


class Devices(View):
    """All devices on one map; below it one of them."""

    title = "Devices"
    place = 2

    def show(self, home: Home) -> None:
        _own(home)
        records = records_or_advice(home)
        if records is None:
            return
        _map(records, home)
        st.divider()
        _device(records, home)


@st.fragment(run_every=FOLLOW_S)
def _own(home: Home) -> None:
    """Show what one's own devices do, and follow it: none of it is a record, for which the page follows."""
    try:
        frame = own_status(home)
    except StoreError:
        # The page tells of it.
        return
    if frame.empty:
        return
    st.subheader("Your devices", anchor=False)
    st.dataframe(frame, hide_index=True, column_config=column_config(STATUS_COLUMNS), key="own")


@st.fragment
def _map(records: Stored, home: Home) -> None:
    st.subheader("Models × devices", anchor=False)
    everything = told.latencies(
        records.artifacts,
        records.results,
        {device: candidates_of(records, device) for device in records.devices},
    )
    if everything.empty:
        no_candidate(records.devices[0], home)
        return
    on_runtime, on_precision, on_threads = st.columns(3, gap="medium")
    with on_runtime:
        runtimes = _filter("Runtime", everything["runtime"], "runtime")
    with on_precision:
        precisions = _filter("Precision", everything["precision"], "precision")
    with on_threads:
        threads = _filter("Threads", everything["threads"].map(_count), "threads")
    everything = everything.assign(threads_text=everything["threads"].map(_count))
    frame = matching(everything, runtime=runtimes, precision=precisions, threads_text=threads)
    if frame.empty:
        st.info("Nothing fits these filters together. Take one back.")
        return
    cells = told.one_a_cell(frame)
    told_words = words.heat(cells)
    shown(
        heat_figure(told.thinned(cells), dark=is_dark()),
        f"Median latency of models by device in ms. {told_words}. The table below holds the figures.",
        key="heat",
    )
    st.caption(
        f"Median latency in ms, fastest models on top. {told_words}. *Italics behind ≈ in a dotted frame*: "
        "predicted; \\*: imported; –: neither measured nor predicted."
    )
    _map_table(cells)


def _map_table(cells: pd.DataFrame) -> None:
    with st.expander("The figures"):
        columns = "name device latency_ms low_ms high_ms source origin runtime precision threads".split()
        st.download_button(
            "Download CSV",
            data=lambda: to_csv(cells[columns]),
            file_name="edge-bench-devices.csv",
            mime="text/csv",
            on_click="ignore",
        )
        st.dataframe(
            cells[columns].head(1_000),
            hide_index=True,
            column_config=column_config(LATENCY_COLUMNS),
            key="cells",
        )


def _filter(label: str, column: pd.Series[str], key: str) -> list[str]:
    options = sorted(column.unique())
    # Labels of pills are Markdown, and these come from the store.
    return st.pills(
        label, options, selection_mode="multi", format_func=escaped, key=key, bind="query-params"
    )


def _count(threads: int) -> str:
    return str(threads) if threads else "untold"


@st.fragment
def _device(records: Stored, home: Home) -> None:
    device = device_control(records)
    _facts(records, device, home)
    predictors = [one for one in records.predictors if one.device == device]
    st.subheader("How well it is predicted", anchor=False)
    if predictors:
        _calibration(records, predictors, home)
    else:
        st.write("No latency predictor is fitted for this device. This command fits one:")
        st.code(shell.fit(home, device=device), language="shell")
    _next(records, device, home)


def _facts(records: Stored, device: str, home: Home) -> None:
    profile = device_profiles.load(device) if device in device_profiles.names() else None
    frame = told.facts(profile, records.results, device)
    measured = sum(one.device == device for one in records.results)
    st.markdown(f"**Facts** · {escaped(device)}, {measured:,} results stored")
    if frame.empty:
        st.write(
            "No profile tells of it and nothing was measured on it yet. This measures every file there:"
        )
        st.code(shell.bench(["--all"], home, device=device), language="shell")
        return
    st.dataframe(
        frame,
        hide_index=True,
        column_config={
            "fact": st.column_config.TextColumn(width="small"),
            "value": st.column_config.TextColumn(width="medium"),
            "source": st.column_config.TextColumn(width="large"),
        },
        key="facts",
    )


def _calibration(records: Stored, predictors: Sequence[FittedPredictor], home: Home) -> None:
    # The newest first: it is the one that answers, where several are alike.
    by_id = {one.id: one for one in reversed(predictors)}
    chosen = st.selectbox(
        "Predictor",
        list(by_id),
        format_func=lambda one: told.predictor_text(by_id[one]),
        key=f"predictor-{predictors[0].device}",
    )
    fitted = by_id[chosen or predictors[-1].id]
    st.caption(escaped(" ".join(_held_out(fitted))))
    frame = told.calibration_frame(fitted, records.subnets, records.artifacts, records.results)
    if frame.empty:
        st.write(
            "No stored measurement is of a network that it answers for, with its runtime, precision and "
            "threads. This measures every exported file:"
        )
        st.code(shell.bench(["--all"], home, device=fitted.device), language="shell")
        return
    found = told.calibration(frame)
    with st.container(horizontal=True, gap="large"):
        _number("mean error", f"{found.mape:.1%}", f"of {found.count} files measured here")
        _number("median residual", f"{found.bias:+.1%}", "below 0: predicted too fast")
        _number(
            "90 % interval holds",
            f"{found.held} of {found.count}",
            f"{found.held / found.count:.0%}; 95 % interval {found.held_low:.0%} to {found.held_high:.0%}",
        )
        if not math.isnan(found.spearman):
            _number("Spearman", f"{found.spearman:.3f}", "1: ranked as measured")
    told_words = words.calibration(found)
    on_scatter, on_residuals = st.columns(2, gap="large")
    with on_scatter:
        st.markdown("**Predicted against measured**")
        shown(
            calibration_figure(frame, dark=is_dark(), height=CHART_HEIGHT),
            f"Predicted over measured latency: {told_words}",
            key="calibration",
        )
    with on_residuals:
        st.markdown("**Residuals**, in per cent of what was measured")
        shown(
            residuals_figure(frame, dark=is_dark(), height=CHART_HEIGHT),
            f"Residuals of the predictor over measured latency: {told_words}",
            key="residuals",
        )
    outside = frame[~frame["inside"]]
    if len(outside):
        named = ", ".join(outside["name"].head(5))
        st.caption(
            escaped(f"outside of their intervals: {named}{' and others' if len(outside) > 5 else ''}")
        )


def _held_out(fitted: FittedPredictor) -> Iterable[str]:
    """Yield what was found on networks that took no part in the fit, in sentences."""

    def errors(of: HeldOut) -> str:
        return f"mean error {of.mape:.1%}, {of.within_10_percent:.0%} within 10 %"

    what = f"{fitted.held_out_unit}s"
    yield f"{fitted.kind.replace('_', ' ')}, fitted on {fitted.fitted_networks} networks, {fitted.source}."
    held = fitted.held_out
    holds = "" if held.coverage is None else f", the 90 % interval held {held.coverage:.0%}"
    yield f"On {held.networks} {what} held out from the fit: {errors(held)}{holds}."
    yield f"A line through multiply-accumulates: {errors(fitted.baseline)}."


def _number(name: str, value: str, detail: str) -> None:
    with st.container(width="content"):
        st.metric(name, value)
        st.caption(detail)


def _next(records: Stored, device: str, home: Home) -> None:
    st.subheader("Measure these next", anchor=False)
    frame = one_task(frame_of(records, device))
    if frame.empty:
        no_candidate(device, home)
        return
    found = told.measure_next(frame)
    if found.empty:
        st.write("Everything that could run on this device is measured; no choice rests on a prediction.")
        return
    first = found.iloc[0]
    st.markdown(
        f"First **{escaped(str(first['name']))}**, predicted between {milliseconds(first['low_ms'])} and "
        f"{milliseconds(first['high_ms'])}: {first['why']}."
    )
    columns = "name kind why metric latency_ms low_ms high_ms width runtime"
    columns += " warning" if found["warning"].any() else ""
    st.dataframe(
        found[columns.split()].assign(
            metric=found["metric"] * (100 if is_share(str(first["metric_name"])) else 1)
        ),
        hide_index=True,
        column_config={
            **column_config(candidate_columns(frame)),
            "why": st.column_config.TextColumn("why", width="large"),
            "width": st.column_config.NumberColumn("to / from", format="%.2f ×"),
        },
        placeholder="–",
        key="next",
    )
    files = list(dict.fromkeys(found["artifact"].dropna()))
    if files:
        st.code(shell.bench(files, home, device=device), language="shell")
    missing = found[found["artifact"].isna()]
    if len(missing):
        subnets = list(dict.fromkeys(missing["subnet"]))
        formats = ",".join(sorted(set(missing["format"])))
        st.write("These have no file yet. The first command writes them, the second measures them:")
        st.code(
            shell.command(["export", *subnets, "--format", formats], home)
            + "\n"
            + shell.bench(["--all"], home, device=device),
            language="shell",
        )
