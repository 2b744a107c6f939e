"""What `device_frames` tells, drawn. Pure functions: nothing is read, no widget is placed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.device_frames import by_device, labels
from dashboard.figures import INK, bare_figure, colour, ticks_1_2_5
from dashboard.frames import milliseconds
from dashboard.names import marked

MISSING = "–"
# Read alike by all eyes, and by those who see no colours: from dark to light it only grows lighter
# (cividis: Nuñez, Anderton and Renslow, 2018).
SCALE = "Cividis"
# From this part of the scale on, black words are read better than white ones.
_BRIGHT = 0.45
_ON_BRIGHT, _ON_DEEP = "#14161c", "#ffffff"


def heat_figure(cells: pd.DataFrame, *, dark: bool) -> go.Figure:
    """Draw models × devices: the median latency in ms, its colour on a log scale.

    A predicted latency is in italics behind ≈ and its cell has a dashed edge; an imported one bears an
    asterisk; a dash says that nothing is known.

    Args:
        cells: as `device_frames.one_a_cell` gives them, one row or more.
        dark: whether the page is dark.
    """
    names = labels(cells)
    rows = {model: place for place, model in enumerate(names)}
    columns = {device: place for place, device in enumerate(by_device(cells))}
    figure = bare_figure(dark=dark, height=110 + 27 * len(rows))
    ink, _, _ = INK["dark" if dark else "light"]
    heat = np.full((len(rows), len(columns)), np.nan)
    text = np.full(heat.shape, MISSING, dtype=object)
    hover = np.full(heat.shape, "neither measured nor predicted", dtype=object)
    framed = np.zeros(heat.shape, bool)
    for cell in cells.itertuples():
        place = rows[str(cell.model)], columns[str(cell.device)]
        heat[place] = _log_ms(cell)
        text[place], hover[place] = _cell_text(cell), _cell_hover(cell)
        framed[place] = cell.source == "predicted"
    low, high = float(np.nanmin(heat)), float(np.nanmax(heat))
    ticks = ticks_1_2_5(10**low / 1.0001, 10**high * 1.0001) if high > low else [10**low]
    figure.add_trace(
        go.Heatmap(
            x=list(columns.values()),
            y=list(rows.values()),
            z=heat,
            hovertext=hover,
            hovertemplate="%{hovertext}<extra></extra>",
            hoverongaps=False,
            colorscale=SCALE,
            zmin=low,
            # Of one value alone there is no scale to spread.
            zmax=high if high > low else low + 1,
            xgap=3,
            ygap=3,
            colorbar={
                "title": {"text": "ms", "font": {"color": ink}},
                "tickvals": [math.log10(tick) for tick in ticks],
                "ticktext": [f"{tick:.3g}" for tick in ticks],
                "tickfont": {"color": ink},
                "thickness": 10,
                "len": 1,
                "outlinewidth": 0,
            },
        )
    )
    # Words on a cell are white or black, whichever is read better there.
    bright = (heat - low) / max(high - low, 1e-9) > _BRIGHT
    for words, where in (
        (ink, np.isnan(heat)),
        (_ON_BRIGHT, bright),
        (_ON_DEEP, ~np.isnan(heat) & ~bright),
    ):
        places = np.argwhere(where)
        figure.add_trace(
            go.Scatter(
                x=places[:, 1],
                y=places[:, 0],
                mode="text",
                text=text[where],
                textfont={"color": words},
                hovertext=hover[where],
                hovertemplate="%{hovertext}<extra></extra>",
                showlegend=False,
            )
        )
        for y, x in np.argwhere(where & framed):
            figure.add_shape(
                type="rect",
                x0=x - 0.46,
                x1=x + 0.46,
                y0=y - 0.4,
                y1=y + 0.4,
                line={"color": words, "width": 1.4, "dash": "dot"},
            )
    figure.update_xaxes(
        tickvals=list(columns.values()),
        ticktext=[marked(device, 18) for device in columns],
        side="top",
        showgrid=False,
        range=[-0.5, len(columns) - 0.5],
    )
    figure.update_yaxes(
        tickvals=list(rows.values()),
        ticktext=[marked(name, 22) for name in names.values()],
        tickfont={"color": ink, "size": 11},
        showgrid=False,
        range=[len(rows) - 0.5, -0.5],
        automargin=True,
    )
    return figure


def calibration_figure(frame: pd.DataFrame, *, dark: bool, height: int) -> go.Figure:
    """Draw predicted over measured latency on log axes, with the line on which both are equal.

    Vertical bars are the predicted 90 % intervals, horizontal ones those of the measured medians. A
    hollow mark lies outside of its predicted interval.
    """
    figure = bare_figure(dark=dark, height=height)
    ink, _, _ = INK["dark" if dark else "light"]
    ends = frame[["measured_ms", "predicted_ms", "low_ms", "high_ms"]].to_numpy(np.float64)
    low, high = max(float(ends.min()), 1e-6) / 1.15, float(ends.max()) * 1.15
    figure.add_trace(
        go.Scatter(
            x=[low, high],
            y=[low, high],
            mode="lines",
            line={"color": ink, "width": 1.3, "dash": "dash"},
            opacity=0.7,
            name="predicted as measured",
            hoverinfo="skip",
        )
    )
    for inside, rows in frame.groupby("inside", sort=False):
        paint = colour(str(rows["kind"].iloc[0]))
        figure.add_trace(
            go.Scatter(
                x=rows["measured_ms"],
                y=rows["predicted_ms"],
                mode="markers",
                name="within its interval" if inside else "outside of its interval",
                marker={
                    "symbol": "circle" if inside else "circle-open",
                    "size": 9,
                    "color": paint,
                    "line": {"color": paint, "width": 0 if inside else 1.8},
                },
                error_x=_bars(rows, "measured_ms", "measured_low_ms", "measured_high_ms", paint),
                error_y=_bars(rows, "predicted_ms", "low_ms", "high_ms", paint),
                hovertext=[_calibration_hover(row) for row in rows.itertuples()],
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    ticks = ticks_1_2_5(low, high)
    axis = {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
    }
    figure.update_xaxes(**axis, title_text="measured (ms, log scale)")
    figure.update_yaxes(**axis, title_text="predicted (ms, log scale)", automargin=True)
    figure.update_layout(showlegend=True)
    return figure


def residuals_figure(frame: pd.DataFrame, *, dark: bool, height: int) -> go.Figure:
    """Draw by how many per cent predictions lie above or below what was measured, over the measured."""
    figure = bare_figure(dark=dark, height=height)
    ink, _, _ = INK["dark" if dark else "light"]
    figure.add_hline(y=0, line={"color": ink, "width": 1.3, "dash": "dash"}, opacity=0.7)
    paints = [colour(str(kind)) for kind in frame["kind"]]
    figure.add_trace(
        go.Scatter(
            x=frame["measured_ms"],
            y=100 * frame["residual"],
            mode="markers",
            marker={
                "symbol": ["circle" if inside else "circle-open" for inside in frame["inside"]],
                "size": 9,
                "color": paints,
                "line": {"color": paints, "width": 1.6},
            },
            hovertext=[_calibration_hover(row) for row in frame.itertuples()],
            hovertemplate="%{hovertext}<extra></extra>",
            showlegend=False,
        )
    )
    low, high = float(frame["measured_ms"].min()) / 1.15, float(frame["measured_ms"].max()) * 1.15
    ticks = ticks_1_2_5(low, high)
    figure.update_xaxes(
        type="log",
        range=[math.log10(low), math.log10(high)],
        tickmode="array",
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
        title_text="measured (ms, log scale)",
    )
    reach = 1.25 * max(float(100 * frame["residual"].abs().max()), 1.0)
    figure.update_yaxes(
        range=[-reach, reach],
        ticksuffix=" %",
        title_text="predicted too fast (−) or too slow (+)",
        automargin=True,
    )
    return figure


def _bars(rows: pd.DataFrame, middle: str, low: str, high: str, paint: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": rows[high] - rows[middle],
        "arrayminus": rows[middle] - rows[low],
        "color": paint,
        "thickness": 1.1,
        "width": 3,
        "visible": len(rows) <= 300,
    }


def _log_ms(cell: Any) -> float:
    return math.log10(max(float(cell.latency_ms), 1e-6))


def _cell_text(cell: Any) -> str:
    number = milliseconds(float(cell.latency_ms)).removesuffix(" ms")
    if cell.source == "predicted":
        return f"<i>≈{number}</i>"
    return f"{number}*" if cell.source == "imported" else number


def _cell_hover(cell: Any) -> str:
    threads = "unknown threads" if not cell.threads else f"{cell.threads} thread"
    threads += "s" if cell.threads > 1 else ""
    by = f" by {marked(cell.origin)}" if cell.source == "imported" else ""
    between = f" [{milliseconds(cell.low_ms)} – {milliseconds(cell.high_ms)}]"
    return (
        f"<b>{marked(cell.name)}</b><br>{marked(cell.device)}, {marked(cell.runtime)}, "
        f"{marked(cell.precision)}, {threads}<br>"
        f"{milliseconds(cell.latency_ms)}{between if cell.low_ms < cell.high_ms else ''}, {cell.source}{by}"
    )


def _calibration_hover(row: Any) -> str:
    lines = [
        f"<b>{marked(row.name)}</b>",
        f"measured {milliseconds(row.measured_ms)}",
        f"predicted {milliseconds(row.predicted_ms)} [{milliseconds(row.low_ms)} – "
        f"{milliseconds(row.high_ms)}], {row.residual:+.1%}",
    ]
    if row.warning:
        lines.append(marked(row.warning))
    return "<br>".join(lines)
