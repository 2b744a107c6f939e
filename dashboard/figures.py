"""DataFrames to plotly figures. Pure functions: nothing is read, no widget is placed.

Colours are chosen once for white and for Streamlit's dark ground: each has a contrast of at least
3:1 to both, and the pairs that meet on one chart stay apart for colour-blind eyes (after Okabe and
Ito, 2008). Form repeats what colour says: a circle is fp32, a diamond int8.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.frames import front, milliseconds, named_quality
from dashboard.names import marked
from edge_bench.choose.percentiles import P90
from edge_bench.records.quality import is_share, metric_word, value_text

COLOURS = {
    "ONNX fp32": "#1f77c9",
    "ONNX fp16": "#2a8fa3",
    "ONNX int8": "#00936b",
    "ONNX mixed": "#6b7d99",
    "TFLite fp32": "#d55e00",
    "TFLite fp16": "#a87900",
    "TFLite int8": "#b3529c",
    "TFLite mixed": "#9b7653",
}
OTHER = "#7f7f7f"
# Lines and words, grid lines, and what lies behind a name.
INK = {
    "light": ("#30333d", "rgba(48,51,61,.13)", "rgba(255,255,255,.55)"),
    "dark": ("#e8e8ea", "rgba(232,232,234,.16)", "rgba(25,25,25,.5)"),
}
SYMBOLS = {"fp32": "circle", "fp16": "square", "int8": "diamond", "mixed": "triangle-up"}
DENSE = 5_000
DRAWN = 2_000
LABELLED = 12
# What a title, or a name beside a mark, has room for.
NAME_LENGTH = 40
# How a marker tells where a latency comes from, what is most to be trusted drawn last.
MARKS = {"predicted": "-open", "imported": "-open-dot", "measured": ""}


def trade_off_figure(
    frame: pd.DataFrame,
    *,
    budget_ms: float | None = None,
    chosen: Collection[str] = (),
    dark: bool = False,
    height: int = 520,
    selectable: bool = True,
) -> go.Figure:
    """Draw quality over latency with the Pareto staircase and the budget.

    Args:
        frame: rows as `frames.candidate_frame` makes them, all of one metric.
        budget_ms: the latency that may be spent; None draws no line.
        chosen: ids of the candidates to ring and to name.
        dark: whether the page is dark.
        height: pixels.
        selectable: whether dragging draws a selection.
    """
    figure = bare_figure(dark=dark, height=height)
    ink, _, ground = INK["dark" if dark else "light"]
    _lay_out(figure, frame, budget_ms)
    figure.update_layout(dragmode="select" if selectable else False)
    if frame.empty:
        return figure
    best = front(frame)
    drawn = frame
    if len(frame) > DENSE:
        figure.add_trace(_density(frame, dark))
        drawn = _thinned(frame, best)
    figure.add_trace(_staircase(best, figure, ink))
    for kind in sorted(drawn["kind"].unique()):
        for source in MARKS:
            rows = drawn[(drawn["kind"] == kind) & (drawn["source"] == source)]
            if len(rows):
                figure.add_trace(_points(rows, kind, source))
    _explain_marks(figure, drawn, ink)
    _ring(figure, frame[frame["id"].isin(list(chosen))], ink, ground)
    if budget_ms is not None:
        _draw_budget(figure, budget_ms, ink)
    return figure


def bare_figure(*, dark: bool, height: int) -> go.Figure:
    """Return a figure without traces on the page's own ground, with ink, axes and legend of every chart."""
    ink, faint, _ = INK["dark" if dark else "light"]
    axis = {
        "showgrid": True,
        "gridcolor": faint,
        "zeroline": False,
        "linecolor": faint,
        "tickfont": {"color": ink},
        "title": {"font": {"color": ink}},
    }
    return go.Figure(
        layout={
            "height": height,
            "margin": {"l": 8, "r": 12, "t": 34, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": ink, "size": 13},
            "hovermode": "closest",
            "hoverlabel": {"align": "left"},
            "legend": {
                "orientation": "h",
                # Measured from the figure's own edge, so that it never meets the axis title.
                "yref": "container",
                "yanchor": "bottom",
                "y": 0,
                "xref": "container",
                "x": 0,
                "font": {"color": ink},
                "itemsizing": "constant",
            },
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def colour(kind: str) -> str:
    """Return the colour of a format and precision: the same on every page."""
    return COLOURS.get(kind, OTHER)


def symbol(precision: str) -> str:
    """Return the marker of a precision."""
    return SYMBOLS.get(precision, "cross")


def ticks_1_2_5(low: float, high: float) -> list[float]:
    """Return the ticks 1, 2, 5 × 10ⁿ from `low` to `high`.

    Where they are many, whole decades only; where they are fewer than three, 1.5, 3, 4 and 7 too.
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)

    def ticks(*steps: float) -> list[float]:
        every = [float(f"{step * 10.0**power:.6g}") for power in powers for step in steps]
        return [tick for tick in every if low <= tick <= high]

    usual = ticks(1, 2, 5) if len(powers) <= 5 else ticks(1)
    return usual if len(usual) > 2 else ticks(1, 1.5, 2, 3, 4, 5, 7)


def latency_range(frame: pd.DataFrame, budget_ms: float | None) -> tuple[float, float]:
    """Return the latencies in ms that the axis spans, with some air on both sides."""
    if frame.empty:
        return 0.1, 10.0
    low, high = float(frame["latency_ms"].min()), float(frame["latency_ms"].max())
    low, high = min(low, budget_ms or low), max(high, budget_ms or high)
    air = max((high / low) ** 0.07, 1.12)
    return low / air, high * air


def metric_range(frame: pd.DataFrame) -> tuple[float, float]:
    """Return the axis from bottom to top; turned where lower is better, so that better is up."""
    if frame.empty:
        return 0.0, 1.0
    low, high = float(frame["metric"].min()), float(frame["metric"].max())
    air = (high - low) * 0.09 or max(abs(high) * 0.01, 1e-3)
    higher = bool(frame["higher_is_better"].iloc[0])
    return (low - air, high + air) if higher else (high + air, low - air)


def _lay_out(figure: go.Figure, frame: pd.DataFrame, budget_ms: float | None) -> None:
    low, high = latency_range(frame, budget_ms)
    ticks = ticks_1_2_5(low, high)
    name = "accuracy" if frame.empty else str(frame["metric_name"].iloc[0])
    higher = frame.empty or bool(frame["higher_is_better"].iloc[0])
    better = "" if higher else ", lower is better"
    figure.update_layout(
        # Zoom and hidden series stay when a slider reruns the page.
        uirevision="trade-offs",
        xaxis={
            "type": "log",
            "range": [math.log10(low), math.log10(high)],
            "tickmode": "array",
            "tickvals": ticks,
            "ticktext": [f"{tick:g}" for tick in ticks],
            "title": {"text": f"{_latency_of(frame)} (ms, log scale)"},
        },
        yaxis={
            "range": list(metric_range(frame)),
            "tickformat": ".1%" if is_share(name) else ".4~g",
            "automargin": True,
            "title": {"text": f"{marked(metric_word(name), NAME_LENGTH)} on selection data{better}"},
        },
    )


def _latency_of(frame: pd.DataFrame) -> str:
    if frame["generated"].notna().any():
        return "latency of a text"
    return "latency, p90" if len(frame) and (frame["latency_is"] == P90).all() else "latency, median"


def _staircase(best: pd.DataFrame, figure: go.Figure, ink: str) -> go.Scatter:
    # The last step runs on to the edge: more time buys nothing better.
    edge = 10 ** figure.layout.xaxis.range[1]
    floor = figure.layout.yaxis.range[0]
    first, last = best.iloc[0], best.iloc[-1]
    return go.Scatter(
        x=[first["latency_ms"], *best["latency_ms"], edge],
        y=[floor, *best["metric"], last["metric"]],
        mode="lines",
        line={"shape": "hv", "color": ink, "width": 1.4},
        opacity=0.55,
        name="Pareto front",
        hoverinfo="skip",
    )


def _points(rows: pd.DataFrame, kind: str, source: str) -> go.Scatter:
    shape, paint = symbol(str(rows["precision"].iloc[0])), colour(kind)
    mark = MARKS[source]
    shown = [_hover(row) for row in rows.itertuples()]
    return go.Scatter(
        x=rows["latency_ms"],
        y=rows["metric"],
        mode="markers",
        name=marked(kind),
        legendgroup=kind,
        showlegend=False,
        customdata=rows["id"].to_numpy(),
        hovertext=shown,
        hovertemplate="%{hovertext}<extra></extra>",
        marker={
            "symbol": f"{shape}{mark}",
            "size": 9 if len(rows) <= 300 else 7,
            "color": paint,
            "line": {"width": 1.6 if mark else 0, "color": paint},
        },
        error_x={
            "type": "data",
            "symmetric": False,
            "array": rows["high_ms"] - rows["latency_ms"],
            "arrayminus": rows["latency_ms"] - rows["low_ms"],
            "color": _transparent(paint, 0.45),
            "thickness": 1.1,
            "width": 3,
            "visible": len(rows) <= 300,
        },
        # What is not selected stays legible; the table below tells what is.
        unselected={"marker": {"opacity": 0.3}},
        selected={"marker": {"opacity": 1}},
    )


def _hover(row: Any) -> str:
    name = row.metric_name
    lines = [
        f"<b>{marked(row.name)}</b>",
        f"{marked(row.kind)} · {marked(row.runtime)} · "
        + (
            "unknown threads"
            if not row.threads
            else f"{row.threads} thread{'s' if row.threads > 1 else ''}"
        ),
        f"{marked(named_quality(name, row.metric))} (selection)"
        + ("" if math.isnan(row.test) else f", {marked(value_text(name, row.test))} (test)"),
        f"{milliseconds(row.latency_ms)} "
        + (
            f"imported: measured by {marked(row.origin)}, not here"
            if row.source == "imported"
            else f"{row.source} [{milliseconds(row.low_ms)} – {milliseconds(row.high_ms)}]"
        ),
    ]
    if row.layers:
        lines.append(f"layers {marked(row.layers)}")
    if not math.isnan(row.generated):
        lines.append(f"of a text of {row.generated:.4g} tokens")
    if not math.isnan(row.size_mb):
        packed = "" if math.isnan(row.compressed_mb) else f", {row.compressed_mb:.3g} MB compressed"
        lines.append(f"{row.size_mb:.3g} MB{packed}")
    if row.verdict and row.verdict != "clean":
        lines.append(f"timing: {marked(row.verdict)}")
    if row.warning:
        lines.append(marked(row.warning))
    return "<br>".join(lines)


def _explain_marks(figure: go.Figure, drawn: pd.DataFrame, ink: str) -> None:
    """Give the legend one mark a kind and one a source: on the chart the two are combined."""
    for kind, precision in sorted(set(zip(drawn["kind"], drawn["precision"], strict=True))):
        figure.add_trace(_mark(kind, symbol(precision), colour(kind), group=kind))
    for source, mark in reversed(MARKS.items()):
        if (drawn["source"] == source).any():
            figure.add_trace(_mark(source, f"circle{mark}", ink))


def _mark(name: str, shape: str, paint: str, *, group: str | None = None) -> go.Scatter:
    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        marker={"symbol": shape, "color": paint, "size": 9},
        name=marked(name),
        legendgroup=group,
        hoverinfo="skip",
    )


def _ring(figure: go.Figure, rows: pd.DataFrame, ink: str, ground: str) -> None:
    if rows.empty:
        return
    figure.add_trace(
        go.Scatter(
            x=rows["latency_ms"],
            y=rows["metric"],
            mode="markers",
            marker={"symbol": "circle-open", "size": 16, "color": ink, "line": {"width": 1.6}},
            showlegend=False,
            hoverinfo="skip",
            selectedpoints=list(range(len(rows))),
        )
    )
    if len(rows) <= LABELLED:
        for row in rows.itertuples():
            figure.add_annotation(
                text=marked(str(row.name), NAME_LENGTH),
                showarrow=False,
                font={"color": ink, "size": 11},
                bgcolor=ground,
                borderpad=1,
                **_beside(row, figure),
            )


def _beside(row: Any, figure: go.Figure) -> dict[str, Any]:
    """Return where a point's name has room: up and to the left of the front there are no points."""
    left, right = figure.layout.xaxis.range
    # Annotations on a log axis are placed by the logarithm.
    place = math.log10(row.latency_ms)
    near_edge = (place - left) / (right - left) < 0.3
    return {
        "x": place,
        "y": row.metric,
        "xanchor": "left" if near_edge else "right",
        "yanchor": "bottom",
        "yshift": 8,
    }


def _draw_budget(figure: go.Figure, budget_ms: float, ink: str) -> None:
    start = 10 ** (figure.layout.xaxis.range[0] - 2)
    figure.add_vrect(
        x0=start, x1=budget_ms, fillcolor=COLOURS["ONNX int8"], opacity=0.09, line_width=0, layer="below"
    )
    figure.add_vline(x=budget_ms, line={"color": ink, "width": 1.5, "dash": "dash"}, opacity=0.8)
    # add_vline(annotation_text=…) would put its text at 10^x on a log axis.
    low, high = figure.layout.xaxis.range
    place = math.log10(budget_ms)
    figure.add_annotation(
        x=place,
        y=1,
        yref="paper",
        yanchor="bottom",
        xanchor="right" if place > (low + high) / 2 else "left",
        text=f"budget {budget_ms:.4g} ms",
        showarrow=False,
        font={"color": ink, "size": 12},
    )


def _density(frame: pd.DataFrame, dark: bool) -> go.Heatmap:
    """Return how many candidates lie where: a histogram in log latency, sent in place of them all."""
    x, y = np.log10(frame["latency_ms"].to_numpy()), frame["metric"].to_numpy()
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=(90, 60))
    shades = np.where(counts > 0, np.log10(np.maximum(counts, 1)) + 0.15, np.nan)
    deep = "rgba(232,232,234,.55)" if dark else "rgba(48,51,61,.5)"
    pale = "rgba(232,232,234,.06)" if dark else "rgba(48,51,61,.05)"
    return go.Heatmap(
        x=10**x_edges,
        y=y_edges,
        z=shades.T,
        colorscale=[[0, pale], [1, deep]],
        showscale=False,
        hoverinfo="skip",
        name="density",
    )


def _thinned(frame: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """Return the front and an even share of the rest, `DRAWN` rows in all."""
    rest = frame[~frame["id"].isin(best["id"])]
    room = max(DRAWN - len(best), 0)
    places = np.linspace(0, len(rest) - 1, min(room, len(rest))).astype(int)
    return pd.concat([best, rest.iloc[places]]).sort_values("latency_ms")


def _transparent(paint: str, opacity: float) -> str:
    red, green, blue = (int(paint[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
