"""What `benchmark_frames` tells, drawn. Pure functions: nothing is read, no widget is placed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboard import benchmark_frames as told
from dashboard.figures import COLOURS, INK, OTHER, bare_figure, colour, ticks_1_2_5
from dashboard.frames import kind_of, milliseconds
from dashboard.names import category, category_axis, marked
from edge_bench.records import BenchmarkResult

PERCENTS = (50, 90, 99)
OPERATORS_SHOWN = 20
# What a line of an axis, or of a legend, has room for.
NAME_LENGTH, TICK_LENGTH, LEGEND_LENGTH = 26, 18, 60
# Wider spreads than this are read on a log axis.
_WIDE = 3.0


def distribution_figure(results: Mapping[str, BenchmarkResult], *, dark: bool, height: int) -> go.Figure:
    """Draw which share of the runs took at most how long, with p50, p90 and p99 marked.

    Args:
        results: one, or two to compare, by what the legend calls them; they hold latencies.
        dark: whether the page is dark.
        height: pixels.
    """
    figure = bare_figure(dark=dark, height=height)
    ink, _, ground = INK["dark" if dark else "light"]
    alone = len(results) == 1
    paints: list[str] = []
    for number, (name, result) in enumerate(results.items()):
        paint = colour(kind_of(result.format, result.precision or ""))
        paint = OTHER if paint in paints else paint
        paints.append(paint)
        frame = told.distribution(result)
        figure.add_trace(
            go.Scatter(
                x=frame["latency_ms"],
                y=frame["share"],
                mode="lines",
                name=marked(name, LEGEND_LENGTH),
                showlegend=not alone,
                # Colours may be alike; the stroke tells them apart too.
                line={"shape": "hv", "color": paint, "width": 2, "dash": "dash" if number else "solid"},
                hovertemplate="%{y:.1%} took at most %{x:.4g} ms<extra></extra>",
            )
        )
        marks = [(f"p{percent}", percent / 100, _percentile(result, percent)) for percent in PERCENTS]
        figure.add_trace(
            go.Scatter(
                x=[ms for _, _, ms in marks],
                y=[share for _, share, _ in marks],
                mode="markers",
                marker={"color": paint, "size": 9, "symbol": "diamond" if number else "circle"},
                showlegend=False,
                hovertext=[f"{mark} {milliseconds(ms)}" for mark, _, ms in marks],
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
        if alone:
            _lay_latencies(figure, result.latencies_ms)
            for shift, (mark, share, ms) in zip((0, -8, 8), marks, strict=True):
                _name_mark(figure, f"{mark} {milliseconds(ms)}", ms, share, ink, ground, shift)
    if not alone:
        _lay_latencies(figure, [ms for result in results.values() for ms in result.latencies_ms])
    figure.update_yaxes(range=[0, 1.06], tickformat=".0%", title_text="share of runs", automargin=True)
    figure.update_xaxes(title_text=f"latency (ms{', log scale' if _is_log(figure) else ''})")
    return figure


def blocks_figure(result: BenchmarkResult, *, dark: bool, height: int) -> go.Figure:
    """Draw the median of each block over time, its tenths, and what became of blocks that were polluted."""
    figure = bare_figure(dark=dark, height=height)
    ink, _, _ = INK["dark" if dark else "light"]
    paint = colour(kind_of(result.format, result.precision or ""))
    frame = told.blocks(result)
    by_time = bool(frame["at_s"].notna().all())
    if result.p50_low_ms is not None and result.p50_high_ms is not None:
        figure.add_hrect(
            y0=result.p50_low_ms, y1=result.p50_high_ms, fillcolor=paint, opacity=0.15, line_width=0
        )
    figure.add_hline(y=result.p50_ms, line={"color": paint, "width": 1.3, "dash": "dash"}, opacity=0.8)
    looks = {
        told.COUNTED: ("circle", paint),
        told.KEPT: ("circle-open", ink),
        told.LEFT_OUT: ("x", ink),
    }
    for state, (shape, mark) in looks.items():
        rows = frame[frame["state"] == state]
        if rows.empty:
            continue
        figure.add_trace(
            go.Scatter(
                x=rows["at_s"] if by_time else rows["block"],
                y=rows["p50_ms"],
                mode="markers",
                name=state,
                marker={"symbol": shape, "color": mark, "size": 8, "line": {"width": 1.6, "color": mark}},
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": rows["p90_ms"] - rows["p50_ms"],
                    "arrayminus": rows["p50_ms"] - rows["p10_ms"],
                    "color": mark,
                    "thickness": 0.8,
                    "width": 0,
                    "visible": len(frame) <= 300,
                },
                hovertext=[_block_hover(row) for row in rows.itertuples()],
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    figure.update_xaxes(title_text="seconds since the first block" if by_time else "block")
    figure.update_yaxes(title_text="latency (ms)", automargin=True)
    figure.update_layout(showlegend=True)
    return figure


def operators_figure(frame: pd.DataFrame, *, dark: bool) -> go.Figure:
    """Draw what each operator takes, as `benchmark_frames.operators` tells, the longest on top."""
    shown = frame.head(OPERATORS_SHOWN)
    figure = bare_figure(dark=dark, height=90 + 24 * len(shown))
    ink, _, _ = INK["dark" if dark else "light"]
    figure.add_trace(
        go.Bar(
            x=shown["mean_ms"],
            # By number: two operators may be named alike.
            y=list(range(len(shown))),
            orientation="h",
            marker={"color": COLOURS["ONNX fp32"]},
            text=[f"{row.mean_ms:.3g} ms · {row.share:.0%}" for row in shown.itertuples()],
            textposition="auto",
            hovertext=[_operator_hover(row) for row in shown.itertuples()],
            hovertemplate="%{hovertext}<extra></extra>",
            showlegend=False,
        )
    )
    figure.update_xaxes(title_text="ms of one inference", rangemode="tozero")
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(shown))),
        ticktext=[marked(str(name), NAME_LENGTH) for name in shown["name"]],
        tickfont={"color": ink, "size": 11},
        autorange="reversed",
        automargin=True,
        showgrid=False,
    )
    return figure


def sweep_figure(
    frame: pd.DataFrame, over: told.Swept, *, paint: str, dark: bool, height: int
) -> go.Figure:
    """Draw p50 with its interval for each thread count or runtime of `benchmark_frames.sweep_frame`.

    Of threads a dotted line says what as many would take if the work were shared out without a loss.
    """
    figure = bare_figure(dark=dark, height=height)
    ink, _, _ = INK["dark" if dark else "light"]
    names = [str(value) for value in frame[over]]
    places = [category(name) for name in names]
    if over == "threads" and len(frame) > 1:
        first = frame.iloc[0]
        figure.add_trace(
            go.Scatter(
                x=places,
                y=first["p50_ms"] * first["threads"] / frame["threads"],
                mode="lines",
                line={"color": ink, "width": 1.2, "dash": "dot"},
                opacity=0.6,
                name="shared out without loss",
                hoverinfo="skip",
            )
        )
    figure.add_trace(
        go.Scatter(
            x=places,
            y=frame["p50_ms"],
            mode="lines+markers" if over == "threads" else "markers",
            line={"color": paint, "width": 1.6},
            marker={"color": paint, "size": 10},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": frame["high_ms"] - frame["p50_ms"],
                "arrayminus": frame["p50_ms"] - frame["low_ms"],
                "color": paint,
            },
            name="median and its interval",
            hovertext=[
                f"{marked(name)}: {_sweep_hover(row)}"
                for name, row in zip(names, frame.itertuples(), strict=True)
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title_text=over, **category_axis(names, TICK_LENGTH))
    figure.update_yaxes(title_text="latency, median (ms)", rangemode="tozero", automargin=True)
    return figure


def _percentile(result: BenchmarkResult, percent: int) -> float:
    found: float | None = getattr(result, f"p{percent}_ms")
    return math.nan if found is None else found


def _lay_latencies(figure: go.Figure, latencies_ms: Any) -> None:
    """Lay out the axis of latencies: logarithmic where some are many times longer than others."""
    low, high = max(min(latencies_ms), 1e-6), max(*latencies_ms, 1e-6)
    if high <= _WIDE * low:
        air = 0.06 * (high - low) or 0.05 * high
        figure.update_xaxes(range=[low - air, high + 3 * air])
        return
    left, right = low / 1.1, high * 1.3
    ticks = ticks_1_2_5(left, right)
    figure.update_xaxes(
        type="log",
        range=[math.log10(left), math.log10(right)],
        tickmode="array",
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
    )


def _is_log(figure: go.Figure) -> bool:
    return bool(figure.layout.xaxis.type == "log")


def _on_axis(figure: go.Figure, ms: float) -> float:
    # Annotations on a log axis are placed by the logarithm.
    return math.log10(ms) if _is_log(figure) else ms


def _name_mark(
    figure: go.Figure, text: str, ms: float, share: float, ink: str, ground: str, shift: int
) -> None:
    """Write a mark's name beside it: to the right, or near the right edge below it and to the left."""
    left, right = figure.layout.xaxis.range
    place = _on_axis(figure, ms)
    near_edge = (place - left) / (right - left) > 0.6
    figure.add_annotation(
        x=place,
        y=share,
        text=text,
        showarrow=False,
        xanchor="right" if near_edge else "left",
        xshift=-4 if near_edge else 9,
        # p90 and p99 stand close together.
        yshift=-13 if near_edge else shift,
        font={"color": ink, "size": 12},
        bgcolor=ground,
    )


def _block_hover(row: Any) -> str:
    lines = [
        f"<b>block {row.block}</b>, {row.runs} runs: {row.state}",
        f"median {milliseconds(row.p50_ms)} [{milliseconds(row.p10_ms)} – {milliseconds(row.p90_ms)}]",
    ]
    if row.reason:
        lines.append(marked(row.reason))
    elif not math.isnan(row.off_cpu):
        lines.append(f"off the CPU {row.off_cpu:.1%} of the time")
    if not math.isnan(row.temperature_c):
        lines.append(f"{row.temperature_c:.0f} °C")
    if not math.isnan(row.frequency_mhz):
        lines.append(f"{row.frequency_mhz:.0f} MHz")
    return "<br>".join(lines)


def _sweep_hover(row: Any) -> str:
    return (
        f"{milliseconds(row.p50_ms)} [{milliseconds(row.low_ms)} – {milliseconds(row.high_ms)}], "
        f"{marked(row.verdict)}"
    )


def _operator_hover(row: Any) -> str:
    calls = f"{row.calls} call{'s' if row.calls > 1 else ''}"
    where = f", {marked(row.where)}" if row.where else ""
    return (
        f"<b>{marked(row.name)}</b><br>{marked(row.kind)}, {calls}{where}<br>"
        f"{milliseconds(row.mean_ms)}, {row.share:.1%} of all operators"
    )
