"""Quality over cost, drawn: what the candidates on one device or on several give for what they cost.

Pure functions: nothing is read, no widget is placed. `trade_off_marks` says what a mark means.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.axes import LATENCY, Axis
from dashboard.figures import COLOURS, INK, bare_layout, device_paints, family_forms, ticks_1_2_5
from dashboard.frames import even_stops, front
from dashboard.names import marked
from dashboard.trade_off_chart import BESIDE, OVERLAID, Chart, Panel, cost_range, metric_range, panels_of
from dashboard.trade_off_marks import NAME_LENGTH, legend, points, rings
from edge_bench.choose.percentiles import P90
from edge_bench.records.quality import is_share, metric_word

FONT = "'Source Sans', system-ui, sans-serif"
# In pixels, as Streamlit's are.
SMALL, LARGE = 12, 14
# Behind what hovers over a point.
GROUNDS = {"light": "#ffffff", "dark": "#191919"}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def trade_off_figure(
    frame: pd.DataFrame,
    *,
    axis: Axis = LATENCY,
    budget: float | None = None,
    chosen: Collection[str] = (),
    layout: str = OVERLAID,
    devices: Sequence[str] = (),
    among: Collection[str] = (),
    families: Collection[str] = (),
    dark: bool = False,
    height: int = 520,
    selectable: bool = True,
) -> go.Figure:
    """Draw quality over a cost, with the Pareto staircase of each device and the budget.

    It has no template, and is to be shown with `theme=None`: Streamlit draws a chart, and then once more
    with its own theme. Plotly takes that for a chart of other data, whatever has changed, where there is a
    template, no `datarevision`, or an array that is no plain list.

    Args:
        frame: rows as `frames.candidate_frame` makes them, all of one metric; of several devices, joined.
        axis: the cost; rows of which it is not known are left out.
        budget: what may be spent, in the axis' unit; None draws no line.
        chosen: ids of the candidates to ring and to name.
        layout: of several devices, all on one ground, or `BESIDE` each other.
        devices: those of the rows, in the order in which they are shown; by name where none are given.
        among: all devices that there are, so that each keeps its colour.
        families: all that there are, so that each keeps its form.
        dark: whether the page is dark.
        height: pixels.
        selectable: whether dragging draws a selection.
    """
    rows = axis.known(frame)
    there = set(frame["device"].unique())
    shown = [one for one in devices if one in there] if devices else sorted(there)
    panels = panels_of(rows, shown, layout, axis)
    ink, _, ground = INK["dark" if dark else "light"]
    (low, high), (bottom, top) = cost_range(rows, axis, budget), metric_range(rows)
    chart = Chart(
        axis=axis,
        devices=shown,
        overlaid=len(shown) > 1 and layout != BESIDE,
        paints=device_paints(shown, among or shown),
        forms=family_forms([*families, *rows["family"].unique()]),
        ink=ink,
        ground=ground,
        low=low,
        high=high,
        bottom=bottom,
        top=top,
    )
    drawing = _dressed(bare_layout(dark=dark, height=height), ink, "dark" if dark else "light")
    _lay_out(drawing, chart, panels, rows)
    # What Streamlit would set a moment later, and draw all again for.
    drawing |= {"dragmode": "select" if selectable else False, "clickmode": "event", "datarevision": 0}
    if rows.empty:
        return _without_template(go.Figure(layout=drawing))
    traces: list[dict[str, Any]] = []
    for panel in panels:
        if len(panel.drawn) < len(panel.rows):
            traces.append(_density(panel, chart, dark))
        traces += _staircases(panel, chart)
        traces += points(panel, chart)
        traces += rings(panel, chart, set(chosen), drawing["annotations"])
    traces += legend(pd.concat([panel.drawn for panel in panels]), chart)
    if budget is not None:
        for panel in panels:
            _draw_budget(drawing, chart, panel, budget)
    return _without_template(go.Figure(data=traces, layout=drawing))


def _without_template(figure: go.Figure) -> go.Figure:
    """Take away the template that plotly gives to each new figure."""
    figure.layout.template = None
    return figure


def _dressed(drawing: dict[str, Any], ink: str, scheme: str) -> dict[str, Any]:
    """Return a bare layout with what Streamlit's theme gives to the other charts."""
    for axis in (drawing["xaxis"], drawing["yaxis"]):
        axis["tickfont"]["size"] = SMALL
        axis["title"] |= {"font": {"color": ink, "size": LARGE}, "standoff": 20}
        axis |= {"automargin": True, "ticks": ""}
    drawing["margin"]["pad"] = 8
    drawing["font"]["family"] = FONT
    drawing["legend"]["font"]["size"] = SMALL
    drawing["hoverlabel"] |= {
        "bgcolor": GROUNDS[scheme],
        "bordercolor": ink,
        "font": {"color": ink, "size": SMALL},
    }
    return drawing


def _lay_out(drawing: dict[str, Any], chart: Chart, panels: Sequence[Panel], rows: pd.DataFrame) -> None:
    ticks = ticks_1_2_5(chart.low, chart.high)
    if len(ticks) < 3:
        ticks = [tick for tick in even_stops(chart.low, chart.high) if chart.low <= tick <= chart.high]
    if len(panels) > 1 and len(ticks) > 4:
        ticks = [tick for tick in ticks if f"{tick:e}"[0] == "1"] or ticks[::2]
    name = "accuracy" if rows.empty else str(rows["metric_name"].iloc[0])
    better = "" if rows.empty or bool(rows["higher_is_better"].iloc[0]) else ", lower is better"
    across = {
        "type": "log",
        "range": [math.log10(chart.low), math.log10(chart.high)],
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
    }
    title = f"{_cost_told(rows, chart.axis)} ({chart.axis.unit}, log scale)"
    common = drawing["xaxis"]
    gap = 0.03
    width = (1 - gap * (len(panels) - 1)) / len(panels)
    drawing["annotations"], drawing["shapes"] = [], []
    for place, panel in enumerate(panels):
        begin = place * (width + gap)
        own = {
            "domain": [begin, begin + width],
            "anchor": "y",
            # On a narrow ground there is room for the unit alone.
            "title": common["title"] | {"text": title if len(panels) < 3 else chart.axis.unit},
            **({"matches": "x"} if place else {}),
        }
        drawing[f"xaxis{panel.x[1:]}"] = common | across | own
        if len(panels) > 1:
            drawing["annotations"].append(_panel_title(panel, begin, NAME_LENGTH // len(panels), chart))
            drawing["margin"] = drawing["margin"] | {"t": 56}
    drawing["yaxis"] |= {
        "range": [chart.bottom, chart.top],
        "tickformat": ".4~p" if is_share(name) else ".4~g",
        "title": drawing["yaxis"]["title"]
        | {"text": f"{marked(metric_word(name), NAME_LENGTH)} on selection data{better}"},
    }
    drawing["legend"] |= {"itemsizing": "trace"}
    # Zoom and hidden series stay when a slider reruns the page.
    drawing["uirevision"] = f"{chart.axis.column} {len(panels)}"


def _cost_told(rows: pd.DataFrame, axis: Axis) -> str:
    if axis is not LATENCY or rows.empty:
        return axis.title if axis is not LATENCY else "latency, median"
    if rows["generated"].notna().any():
        return "latency of a text"
    return "latency, p90" if (rows["latency_is"] == P90).all() else "latency, median"


def _panel_title(panel: Panel, begin: float, length: int, chart: Chart) -> dict[str, Any]:
    return {
        "text": f"<b>{marked(panel.device, length)}</b>",
        "x": begin,
        "xanchor": "left",
        "y": 1,
        "xref": "paper",
        "yref": "paper",
        "yanchor": "bottom",
        "yshift": 18,
        "showarrow": False,
        "font": {"color": chart.ink, "size": 13},
    }


def _staircases(panel: Panel, chart: Chart) -> Iterator[dict[str, Any]]:
    for device in chart.devices if chart.overlaid else [panel.device]:
        rows = panel.rows[panel.rows["device"] == device] if chart.overlaid else panel.rows
        if rows.empty:
            continue
        best = front(rows, chart.axis.column)
        costs, metrics = best[chart.axis.column].tolist(), best["metric"].tolist()
        place = chart.devices.index(device) if chart.overlaid else 0
        paint = chart.paints[device] if chart.overlaid else chart.ink
        yield {
            "type": "scatter",
            # The last step runs on to the edge: to spend more buys nothing better.
            "x": [costs[0], *costs, chart.high],
            "y": [chart.bottom, *metrics, metrics[-1]],
            "xaxis": panel.x,
            "mode": "lines",
            "line": {"shape": "hv", "color": paint, "width": 1.6, "dash": DASHES[place % len(DASHES)]},
            "opacity": 0.85 if chart.overlaid else 0.55,
            "name": marked(device, NAME_LENGTH) if chart.overlaid else "Pareto front",
            "legendgroup": device if chart.overlaid else "front",
            "showlegend": panel.x == "x",
            "hoverinfo": "skip",
        }


def _draw_budget(drawing: dict[str, Any], chart: Chart, panel: Panel, budget: float) -> None:
    over = {"xref": panel.x, "yref": "paper", "y0": 0, "y1": 1}
    region = {
        "type": "rect",
        "x0": chart.low / 100,
        "x1": budget,
        "fillcolor": COLOURS["ONNX int8"],
        "opacity": 0.09,
        "line": {"width": 0},
        "layer": "below",
    }
    line = {
        "type": "line",
        "x0": budget,
        "x1": budget,
        "line": {"color": chart.ink, "width": 1.5, "dash": "dash"},
        "opacity": 0.8,
    }
    drawing["shapes"] += [over | region, over | line]
    # On a log axis a shape stands at its value, and a text at the logarithm.
    place = math.log10(budget)
    right = place > (math.log10(chart.low) + math.log10(chart.high)) / 2
    drawing["annotations"].append(
        {
            "x": place,
            "y": 1,
            "xref": panel.x,
            "yref": "paper",
            "yanchor": "bottom",
            "xanchor": "right" if right else "left",
            "text": f"budget {budget:.4g} {chart.axis.unit}",
            "showarrow": False,
            "font": {"color": chart.ink, "size": 12},
        }
    )


def _density(panel: Panel, chart: Chart, dark: bool) -> dict[str, Any]:
    """Return how many candidates lie where: a histogram in log cost, sent in place of them all."""
    x, y = np.log10(panel.rows[chart.axis.column].to_numpy()), panel.rows["metric"].to_numpy()
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=(90, 60))
    shades = np.where(counts > 0, np.log10(np.maximum(counts, 1)) + 0.15, np.nan)
    deep = "rgba(232,232,234,.55)" if dark else "rgba(48,51,61,.5)"
    pale = "rgba(232,232,234,.06)" if dark else "rgba(48,51,61,.05)"
    return {
        "type": "heatmap",
        "x": (10**x_edges).tolist(),
        "y": y_edges.tolist(),
        # Two digits are more than is seen.
        "z": np.round(shades.T, 2).tolist(),
        "xaxis": panel.x,
        "colorscale": [[0, pale], [1, deep]],
        "showscale": False,
        "hoverinfo": "skip",
        "name": "density",
    }
