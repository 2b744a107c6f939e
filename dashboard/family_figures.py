"""Families of networks drawn: curves, choices, depths, ladders and maps of position. Pure functions.

Colours, as in `figures`, stay apart for colour-blind eyes, on white and on dark; marks and dashes repeat
what colours say.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.family_frames import CHOICES, DENSE, axis_means, lines_of, phase_ends
from dashboard.figures import INK, bare_figure, ticks_1_2_5
from dashboard.names import category, category_axis, marked
from edge_bench.records.position import ALL, IMAGE, PositionFindings, targets
from edge_bench.records.quality import is_share, metric_word, value_text

LINES = ("#1f77c9", "#d55e00", "#00936b", "#b3529c", "#846030", "#3c9ccc", "#fc306c", "#6c3cfc")
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "triangle-down", "cross", "x", "star")
DASHES = ("solid", "dash", "dot", "dashdot")
WORDS = {ALL: "all stages", IMAGE: "image only"}
LOWEST_CORRELATION = -0.2
# What a tick, and what a legend or a title has room for.
TICK_LENGTH, NAME_LENGTH = 22, 40
_BARE_AXIS = {"showticklabels": False, "showgrid": False, "showline": False, "ticks": ""}
CURVES = ("loss", "learned", "learning_rate")


def curves_figure(log: pd.DataFrame, learned: str | None, *, dark: bool) -> go.Figure:
    """Draw loss, what is learned (where that is told) and learning rate by step, with the phases marked."""
    shown = {"loss": "loss"}
    if learned:
        shown["learned"] = f"{metric_word(learned)}, training"
    shown["learning_rate"] = "learning rate"
    columns = list(shown)
    panels = make_subplots(rows=len(columns), shared_xaxes=True, vertical_spacing=0.05)
    figure = _still(panels, dark=dark, height=170 * len(columns) + 70)
    for row, (column, title) in enumerate(shown.items(), 1):
        place = CURVES.index(column)
        told = [
            f"step {one.step:,}, epoch {one.epoch}, phase {marked(str(one.phase))}<br>"
            f"{marked(title)} {getattr(one, column):.4g}"
            for one in log.itertuples()
        ]
        figure.add_trace(
            go.Scatter(
                x=log["step"],
                y=log[column],
                mode="lines+markers" if len(log) < 100 else "lines",
                line={"color": LINES[place], "width": 2},
                marker={"symbol": SYMBOLS[place], "size": 6},
                hovertext=told,
                hovertemplate="%{hovertext}<extra></extra>",
                name=marked(title, NAME_LENGTH),
                showlegend=False,
            ),
            row=row,
            col=1,
        )
        share = column == "learned" and learned is not None and is_share(learned)
        figure.update_yaxes(
            title_text=marked(title, TICK_LENGTH),
            tickformat=".0%" if share else ".3~g",
            automargin=True,
            row=row,
            col=1,
        )
    figure.update_xaxes(title_text="step", row=len(columns), col=1)
    _mark_phases(figure, log, _ink(dark))
    figure.update_layout(uirevision="curves")
    return figure


def choice_figure(
    frame: pd.DataFrame, axis: str, metric: str, *, higher_is_better: bool, dark: bool
) -> go.Figure:
    """Draw quality along one choice of a space: a mark a network, and the mean of those alike."""
    figure = _still(dark=dark, height=300)
    means = axis_means(frame, axis)
    figure.add_trace(
        go.Scatter(
            x=frame[axis],
            y=frame["metric"],
            mode="markers",
            marker={"color": LINES[0], "size": 7, "opacity": 0.55},
            hovertext=[
                f"{marked(str(one.key))}<br>{_told(metric, one.metric)}<br>{one.mmacs:.3g} MMACs"
                for one in frame.itertuples()
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            name="one network",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=means[axis],
            y=means["metric"],
            mode="lines+markers",
            line={"color": LINES[1], "width": 2},
            marker={"symbol": "diamond", "size": 9},
            hovertext=[
                f"mean of {one.networks} networks: {_told(metric, one.metric)}"
                for one in means.itertuples()
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            name="mean",
        )
    )
    figure.update_xaxes(title_text=CHOICES[axis])
    if axis in ("depth", "resolution"):
        # What lies between two of them is no choice.
        figure.update_xaxes(tickvals=sorted(set(frame[axis])))
    figure.update_yaxes(**_quality_axis(frame["metric"], metric, higher_is_better))
    return figure


def depth_figure(
    frame: pd.DataFrame, best: pd.DataFrame, metric: str, *, higher_is_better: bool, dark: bool
) -> go.Figure:
    """Draw quality by how many layers are kept: a mark a network, a line through the best of each depth."""
    figure = _still(dark=dark, height=420)
    for rows, name, look in (
        (frame, "one choice of layers", {"mode": "markers", "marker": {"color": LINES[0], "size": 8}}),
        (best, "best of a depth", {"mode": "lines", "line": {"color": LINES[1], "width": 2}}),
    ):
        figure.add_trace(
            go.Scatter(
                x=rows["layers"],
                y=rows["metric"],
                hovertext=[
                    f"layers {marked(str(one.kept))}<br>{_told(metric, one.metric)}"
                    for one in rows.itertuples()
                ],
                hovertemplate="%{hovertext}<extra></extra>",
                name=name,
                **look,
            )
        )
    figure.update_xaxes(title_text="layers kept", dtick=1)
    figure.update_yaxes(**_quality_axis(frame["metric"], metric, higher_is_better))
    return figure


def ladder_figure(ladder: pd.DataFrame, metric: str, *, higher_is_better: bool, dark: bool) -> go.Figure:
    """Draw quality by the share of weights that is left, on a log axis: one line for each control.

    The dense network is level 0 of tickets and of techniques alike; bars span the seeds.
    """
    figure = _still(dark=dark, height=460)
    dense = ladder[ladder["line"] == DENSE]
    for place, name in enumerate(lines_of(ladder)):
        rows = ladder[ladder["line"] == name]
        figure.add_trace(
            go.Scatter(
                x=100 * rows["left"],
                y=rows["metric"],
                mode="lines+markers",
                line={
                    "color": _ink(dark) if name == DENSE else LINES[(place - 1) % len(LINES)],
                    "width": 2,
                    "dash": DASHES[place // len(LINES) % len(DASHES)],
                },
                marker={"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 9},
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": rows["high"] - rows["metric"],
                    "arrayminus": rows["metric"] - rows["low"],
                    "thickness": 1.1,
                    "width": 3,
                    "visible": bool((rows["runs"] > 1).any()),
                },
                hovertext=[_rung(one, metric) for one in rows.itertuples()],
                hovertemplate="%{hovertext}<extra></extra>",
                name=marked(name.replace("_", " "), NAME_LENGTH),
            )
        )
    for value in dense["metric"]:
        figure.add_hline(y=value, line={"color": _ink(dark), "width": 1, "dash": "dot"}, opacity=0.6)
    low, high = 100 * float(ladder["left"].min()), 100.0
    ticks = ticks_1_2_5(low / 1.15, high)
    figure.update_xaxes(
        title_text="weights left (%, log scale)",
        type="log",
        # The dense network stands at the left, and what is pruned goes to the right.
        range=[math.log10(high * 1.12), math.log10(low / 1.15)],
        tickmode="array",
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
    )
    spread = pd.concat([ladder["low"], ladder["high"]])
    figure.update_yaxes(**_quality_axis(spread, metric, higher_is_better))
    return figure


def position_figure(found: PositionFindings, *, dark: bool) -> go.Figure:
    """Draw how well each map of position is read out of the image alone, each stage, and all stages."""
    figure = _still(dark=dark, height=340)
    sources = list(found.sources)
    words = [WORDS.get(source, source) for source in sources]
    known = {(score.source, score.target): score for score in found.scores}
    for place, target in enumerate(found.targets):
        scores = [known.get((source, target)) for source in sources]
        figure.add_trace(
            go.Scatter(
                x=[category(word) for word in words],
                y=[None if score is None else score.mean_spearman for score in scores],
                mode="lines+markers",
                line={"color": LINES[place % len(LINES)], "width": 2},
                marker={"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 8},
                hovertext=[
                    ""
                    if score is None
                    else f"{marked(target)} from {marked(word)}<br>correlation "
                    f"{score.mean_spearman:.3f}, mean of {len(score.spearman)}<br>absolute difference "
                    f"{score.mean_mae:.3f}"
                    for word, score in zip(words, scores, strict=True)
                ],
                hovertemplate="%{hovertext}<extra></extra>",
                name=marked(target, TICK_LENGTH),
            )
        )
    figure.update_xaxes(**category_axis(words, TICK_LENGTH))
    figure.update_yaxes(
        title_text="rank correlation with the wanted map", range=[LOWEST_CORRELATION, 1.03], automargin=True
    )
    return figure


def maps_figure(found: PositionFindings, *, dark: bool) -> go.Figure | None:
    """Draw the maps that were to be read out above those that were; None where no map is stored."""
    wanted = targets()
    names = [name for name in found.targets if name in wanted]
    sources = [source for source in (ALL, IMAGE) if found.predicted.get(source)]
    if not names or not sources:
        return None
    labels = ["wanted", *(WORDS[source] for source in sources)]
    panels = make_subplots(
        rows=len(labels), cols=len(names), horizontal_spacing=0.02, vertical_spacing=0.03
    )
    figure, ink = _still(panels, dark=dark, height=300), _ink(dark)
    for column, name in enumerate(names, 1):
        maps: list[Any] = [wanted[name], *(found.predicted[source].get(name) for source in sources)]
        for row, one in enumerate(maps, 1):
            if one is None:
                continue
            figure.add_trace(
                go.Heatmap(
                    z=np.asarray(one, dtype=float).round(3),
                    coloraxis="coloraxis",
                    hovertemplate=f"{marked(name)}, {labels[row - 1]}: %{{z:.2f}}<extra></extra>",
                ),
                row=row,
                col=column,
            )
            number = (row - 1) * len(names) + column
            figure.update_xaxes(**_BARE_AXIS, row=row, col=column)
            figure.update_yaxes(
                **_BARE_AXIS,
                autorange="reversed",
                scaleanchor=f"x{number if number > 1 else ''}",
                constrain="domain",
                row=row,
                col=column,
            )
        figure.update_xaxes(
            title={"text": marked(name, TICK_LENGTH), "font": {"color": ink}}, side="top", row=1, col=column
        )
    for row, label in enumerate(labels, 1):
        figure.update_yaxes(title={"text": label, "font": {"color": ink, "size": 11}}, row=row, col=1)
    figure.update_layout(
        coloraxis={
            "colorscale": "Cividis",
            "cmin": 0,
            "cmax": 1,
            "colorbar": {"thickness": 8, "tickfont": {"color": ink}, "tickvals": [0, 0.5, 1]},
        },
        margin={"l": 8, "r": 8, "t": 40, "b": 8},
    )
    return figure


def _still(figure: go.Figure | None = None, *, dark: bool, height: int) -> go.Figure:
    """Return a chart without traces that no finger drags by mistake; one of several panels may be given."""
    bare = bare_figure(dark=dark, height=height)
    bare.update_layout(dragmode=False)
    if figure is None:
        return bare
    look = bare.to_plotly_json()["layout"]
    axes = {name: look.pop(name) for name in ("xaxis", "yaxis")}
    return figure.update_layout(look).update_xaxes(axes["xaxis"]).update_yaxes(axes["yaxis"])


def _ink(dark: bool) -> str:
    return INK["dark" if dark else "light"][0]


def _quality_axis(values: pd.Series[float], metric: str, higher_is_better: bool) -> dict[str, Any]:
    """Return the axis of a quality: turned where lower is better, so that better is up."""
    low, high = float(values.min()), float(values.max())
    air = (high - low) * 0.09 or max(abs(high) * 0.01, 1e-3)
    ends = [low - air, high + air]
    better = "" if higher_is_better else ", lower is better"
    return {
        "title_text": f"{marked(metric_word(metric), NAME_LENGTH)}{better}",
        "automargin": True,
        "range": ends if higher_is_better else ends[::-1],
        "tickformat": (".0%" if high - low > 0.05 else ".2%") if is_share(metric) else ".4~g",
    }


def _mark_phases(figure: go.Figure, log: pd.DataFrame, ink: str) -> None:
    ends = phase_ends(log)
    if len(ends) < 2:
        return
    for place, (name, first, _) in enumerate(ends):
        if place:
            figure.add_vline(x=first, line={"color": ink, "width": 1, "dash": "dot"}, opacity=0.6)
        figure.add_annotation(
            x=first,
            y=1,
            yref="paper",
            xanchor="left",
            yanchor="bottom",
            # Names of short phases would lie on each other.
            yshift=14 * (place % 2),
            text=marked(name, TICK_LENGTH),
            showarrow=False,
            font={"color": ink, "size": 11},
        )


def _rung(one: Any, metric: str) -> str:
    level = "" if math.isnan(one.level) else f", level {one.level:.0f}"
    seeds = ""
    if one.runs > 1:
        ends = " to ".join(marked(value_text(metric, end)) for end in (one.low, one.high))
        seeds = f", mean of {one.runs} runs ({ends})"
    return (
        f"<b>{marked(str(one.line).replace('_', ' '))}</b>{level}<br>"
        f"{100 * one.left:.3g} % of the weights left<br>{_told(metric, one.metric)}{seeds}"
    )


def _told(metric: str, value: Any) -> str:
    return marked(f"{metric_word(metric)} {value_text(metric, value)}")
