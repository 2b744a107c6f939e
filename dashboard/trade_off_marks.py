"""The marks on a chart of trade-offs: points with what hovers over them, rings, and the legend.

What a mark says:

- its colour: the format and precision; of several devices on one ground, the device;
- its form: how the network was trained; a small one is int8, one between them fp16 or mixed;
- its filling: filled is measured (or counted), hollow predicted, hollow with a dot imported.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from dashboard.axes import Axis
from dashboard.figures import colour, transparent
from dashboard.frames import milliseconds, named_quality
from dashboard.names import marked
from dashboard.trade_off_chart import DRAWN, Chart, Panel
from edge_bench.records.quality import value_text

LABELLED = 12
WITH_INTERVALS = 300
# What a name beside a mark, or in the legend, has room for.
NAME_LENGTH = 40
# How a marker tells where a cost comes from, what is most to be trusted drawn last.
MARKS = {"predicted": "-open", "imported": "-open-dot", "measured": "", "counted": ""}
# A network that was made elsewhere is called imported too.
_WHENCE = {"imported": "measured by others"}
SIZES = {"fp32": 10.5, "fp16": 9.5, "mixed": 9.5, "int8": 8.0}
SMALLEST = 8.0


def points(panel: Panel, chart: Chart) -> Iterator[dict[str, Any]]:
    """Yield the marks of each colour, what is most to be trusted on top."""
    by = "device" if chart.overlaid else "kind"
    for named, unsorted in panel.drawn.groupby(by, sort=True):
        group = str(named)
        sources = _sources(unsorted, chart.axis)
        order = np.argsort([list(MARKS).index(one) for one in sources], kind="stable")
        rows, sources = unsorted.iloc[order], [sources[place] for place in order]
        paint = chart.paints[group] if chart.overlaid else colour(group)
        open_ = [MARKS[one] != "" for one in sources]
        yield {
            "type": "scatter",
            "x": rows[chart.axis.column].tolist(),
            "y": rows["metric"].tolist(),
            "xaxis": panel.x,
            "mode": "markers",
            "name": marked(group),
            "legendgroup": group,
            "showlegend": False,
            "customdata": rows["id"].tolist(),
            "hovertext": list(_hovers(rows, chart)),
            "hovertemplate": "%{hovertext}<extra></extra>",
            "marker": {
                "symbol": [
                    chart.forms[family] + MARKS[source]
                    for family, source in zip(rows["family"], sources, strict=True)
                ],
                "color": paint,
                "size": [SIZES.get(precision, SMALLEST) for precision in rows["precision"]],
                "line": {"width": np.where(open_, 1.6, 0.0).tolist(), "color": paint},
            },
            **_intervals(rows, chart.axis, paint),
            # What is not selected stays legible; the table below tells what is.
            "unselected": {"marker": {"opacity": 0.3}},
            "selected": {"marker": {"opacity": 1}},
        }


def _sources(rows: pd.DataFrame, axis: Axis) -> list[str]:
    return rows[axis.source].tolist() if axis.source else ["counted"] * len(rows)


def _intervals(rows: pd.DataFrame, axis: Axis, paint: str) -> dict[str, Any]:
    if not axis.low or len(rows) > WITH_INTERVALS:
        return {}
    return {
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": (rows[axis.high] - rows[axis.column]).tolist(),
            "arrayminus": (rows[axis.column] - rows[axis.low]).tolist(),
            "color": transparent(paint, 0.45),
            "thickness": 1.1,
            "width": 3,
        }
    }


def _hovers(rows: pd.DataFrame, chart: Chart) -> Iterator[str]:
    several = len(chart.devices) > 1
    columns = (
        "name kind runtime threads device family encoding metric_name metric test latency_ms low_ms high_ms"
        " source origin layers generated size_mb compressed_mb peak_memory_mb mmacs verdict warning"
    ).split()
    for row in rows[columns].itertuples(index=False):
        yield "<br>".join(_hover_lines(row, several, chart.axis))


def _hover_lines(row: Any, several: bool, axis: Axis) -> Iterator[str]:
    yield f"<b>{marked(row.name)}</b>"
    threads = f"{row.threads} thread{'s' if row.threads > 1 else ''}" if row.threads else "unknown threads"
    where = f" · {marked(row.device)}" if several else ""
    yield f"{marked(row.kind)} · {marked(row.runtime)} · {threads}{where}"
    yield marked(row.family) + ("" if row.encoding == "dense" else f", {marked(row.encoding)} encoding")
    test = "" if math.isnan(row.test) else f", {marked(value_text(row.metric_name, row.test))} (test)"
    yield f"{marked(named_quality(row.metric_name, row.metric))} (selection){test}"
    if row.source == "imported":
        yield f"{milliseconds(row.latency_ms)} imported: measured by {marked(row.origin)}, not here"
    else:
        interval = f"{milliseconds(row.low_ms)} – {milliseconds(row.high_ms)}"
        yield f"{milliseconds(row.latency_ms)} {row.source} [{interval}]"
    if row.layers:
        yield f"layers {marked(row.layers)}"
    if not math.isnan(row.generated):
        yield f"of a text of {row.generated:.4g} tokens"
    if not math.isnan(row.size_mb):
        packed = "" if math.isnan(row.compressed_mb) else f", {row.compressed_mb:.3g} MB compressed"
        yield f"{row.size_mb:.3g} MB{packed}"
    if axis.column == "peak_memory_mb":
        yield f"peak memory {row.peak_memory_mb:.4g} MB"
    if axis.column == "mmacs":
        yield f"{row.mmacs:.4g} million MACs"
    if row.verdict and row.verdict != "clean":
        yield f"timing: {marked(row.verdict)}"
    if row.warning:
        yield marked(row.warning)


def rings(
    panel: Panel, chart: Chart, chosen: set[str], annotations: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield rings around what is chosen, and name it where there are few."""
    rows = panel.rows[panel.rows["id"].isin(chosen)] if chosen else panel.rows[:0]
    if rows.empty:
        return
    few = rows if len(rows) <= DRAWN else rows.iloc[np.linspace(0, len(rows) - 1, DRAWN).astype(int)]
    yield {
        "type": "scatter",
        "x": few[chart.axis.column].tolist(),
        "y": few["metric"].tolist(),
        "xaxis": panel.x,
        "mode": "markers",
        "marker": {"symbol": "circle-open", "size": 17, "color": chart.ink, "line": {"width": 1.6}},
        "showlegend": False,
        "hoverinfo": "skip",
        "selectedpoints": list(range(len(few))),
    }
    if len(rows) <= LABELLED:
        annotations += [_name_beside(row, chart, panel) for row in rows.itertuples()]


def _name_beside(row: Any, chart: Chart, panel: Panel) -> dict[str, Any]:
    """Return a point's name where it has room: up and to the left of the front there are no points."""
    # Annotations on a log axis are placed by the logarithm.
    place = math.log10(getattr(row, chart.axis.column))
    left, right = math.log10(chart.low), math.log10(chart.high)
    near_edge = (place - left) / (right - left) < 0.3
    return {
        "text": marked(str(row.name), NAME_LENGTH),
        "x": place,
        "y": row.metric,
        "xref": panel.x,
        "yref": "y",
        "xanchor": "left" if near_edge else "right",
        "yanchor": "bottom",
        "yshift": 8,
        "showarrow": False,
        "font": {"color": chart.ink, "size": 11},
        "bgcolor": chart.ground,
        "borderpad": 1,
    }


def legend(drawn: pd.DataFrame, chart: Chart) -> Iterator[dict[str, Any]]:
    """Yield a mark for each thing that marks say: on the chart they are combined."""
    kinds = sorted(set(zip(drawn["kind"], drawn["precision"], strict=True)))
    precisions = sorted(set(drawn["precision"]), key=lambda one: -SIZES.get(one, SMALLEST))
    if not chart.overlaid:
        for kind, precision in kinds:
            yield _mark(kind, "circle", colour(kind), size=SIZES.get(precision, SMALLEST), group=kind)
    elif len(precisions) > 1:
        for precision in precisions:
            yield _mark(precision, "circle", chart.ink, size=SIZES.get(precision, SMALLEST))
    families = sorted(set(drawn["family"]))
    if len(families) > 1 or chart.forms[families[0]] != "circle":
        for family in families:
            yield _mark(family, chart.forms[family], chart.ink)
    sources = set(_sources(drawn, chart.axis))
    for source, mark in reversed(MARKS.items()):
        if source in sources:
            yield _mark(_WHENCE.get(source, source), f"circle{mark}", chart.ink)


def _mark(name: str, form: str, paint: str, *, size: float = 9, group: str = "") -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": [None],
        "y": [None],
        "mode": "markers",
        "marker": {"symbol": form, "color": paint, "size": size},
        "name": marked(name, NAME_LENGTH),
        "hoverinfo": "skip",
        **({"legendgroup": group} if group else {}),
    }
