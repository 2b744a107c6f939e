"""The graph of a model file: its operators as a table, and drawn one below the other. Pure functions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from dashboard.family_figures import LINES, SYMBOLS
from dashboard.figures import INK, OTHER, bare_figure
from dashboard.names import marked
from edge_bench.measure.operator_list import FileOperator

# More are not drawn: nobody reads them, and a browser slows down.
MOST_DRAWN = 300
NAME_LENGTH = 40
_ROW, _MOST_COLOURS = 28, 6


def operator_frame(operators: Sequence[FileOperator]) -> pd.DataFrame:
    """Return one row an operator: number, kind, whose outputs it reads, constants, and its own output."""
    makers = _makers(operators)
    rows = [
        {
            "number": number,
            "operator": one.kind,
            "reads": ", ".join(f"#{makers[name]}" if name in makers else "input" for name in one.inputs),
            "constants": one.constants,
            "shape": "" if one.shape is None else " × ".join(map(str, one.shape)),
            "output_kb": math.nan if one.output_bytes is None else one.output_bytes / 1e3,
        }
        for number, one in enumerate(operators)
    ]
    return pd.DataFrame(rows, columns="number operator reads constants shape output_kb".split())


def told_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of `operator_frame` that tell anything: not each format tells shapes and sizes."""
    told = [name for name in frame if not (frame[name].isna() | (frame[name] == "")).all()]
    return frame[told]


def kinds_text(operators: Sequence[FileOperator]) -> str:
    """Return how many operators there are of each kind: "12 Conv, 8 Clip, 1 Gemm"."""
    counts = Counter(one.kind for one in operators)
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())


def levels(operators: Sequence[FileOperator]) -> list[int]:
    """Return how many operators stand above each one on the longest way from an input."""
    makers = _makers(operators)
    found: list[int] = []
    for number, one in enumerate(operators):
        above = [makers[name] for name in one.inputs if makers.get(name, number) < number]
        found.append(max((found[other] + 1 for other in above), default=0))
    return found


def graph_figure(operators: Sequence[FileOperator], *, dark: bool) -> go.Figure:
    """Draw the first `MOST_DRAWN` operators, from the input down; lines that bow go past others."""
    drawn = operators[:MOST_DRAWN]
    ink = INK["dark" if dark else "light"][0]
    depth = levels(drawn)
    across = _across(depth)
    rows = max(depth, default=0) + 1
    figure = bare_figure(dark=dark, height=_ROW * rows + 40)
    _draw_edges(figure, drawn, depth, across, ink)
    common = [kind for kind, _ in Counter(one.kind for one in drawn).most_common(_MOST_COLOURS)]
    frame = operator_frame(operators)
    for kind in dict.fromkeys(one.kind for one in drawn):
        numbers = [number for number, one in enumerate(drawn) if one.kind == kind]
        place = common.index(kind) if kind in common else None
        figure.add_trace(
            go.Scatter(
                x=[across[number] for number in numbers],
                y=[depth[number] for number in numbers],
                mode="markers+text",
                text=[f"{number} {marked(kind, NAME_LENGTH)}" for number in numbers],
                textposition="middle right",
                textfont={"color": ink, "size": 11},
                marker={
                    "color": OTHER if place is None else LINES[place],
                    "symbol": "circle-open" if place is None else SYMBOLS[place],
                    "size": 10,
                },
                hovertext=[_hover(frame, number) for number in numbers],
                hovertemplate="%{hovertext}<extra></extra>",
                name=marked(kind),
                cliponaxis=False,
                showlegend=False,
            )
        )
    figure.update_layout(
        margin={"l": 8, "r": 8, "t": 12, "b": 12},
        dragmode=False,
        xaxis={"visible": False, "range": [min(across, default=0) - 0.6, max(across, default=0) + 1.6]},
        yaxis={"visible": False, "range": [rows - 0.3, -0.7]},
    )
    return figure


def _draw_edges(
    figure: go.Figure,
    drawn: Sequence[FileOperator],
    depth: Sequence[int],
    across: Sequence[float],
    ink: str,
) -> None:
    makers = _makers(drawn)
    straight: tuple[list[float | None], list[float | None]] = ([], [])
    bowed: tuple[list[float | None], list[float | None]] = ([], [])
    for number, one in enumerate(drawn):
        for maker in sorted({makers[name] for name in one.inputs if makers.get(name, number) < number}):
            span = depth[number] - depth[maker]
            if span <= 1:
                straight[0].extend((across[maker], across[number], None))
                straight[1].extend((depth[maker], depth[number], None))
            else:
                # To the left: what an operator is called stands at its right.
                aside = min(across[maker], across[number]) - min(0.15 + 0.04 * span, 0.5)
                bowed[0].extend((across[maker], aside, aside, across[number], None))
                bowed[1].extend(
                    (depth[maker], depth[maker] + 0.5, depth[number] - 0.5, depth[number], None)
                )
    for (x, y), dash in ((straight, "solid"), (bowed, "dot")):
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                mode="lines",
                line={"color": ink, "width": 1.2, "dash": dash},
                opacity=0.5,
                hoverinfo="skip",
                showlegend=False,
            )
        )


def _across(depth: Sequence[int]) -> list[float]:
    """Return a place from left to right for each operator: the first of a level stands at 0."""
    taken: Counter[int] = Counter()
    places: list[float] = []
    for level in depth:
        places.append(float(taken[level]))
        taken[level] += 1
    return places


def _makers(operators: Sequence[FileOperator]) -> Mapping[str, int]:
    return {name: number for number, one in enumerate(operators) for name in one.outputs}


def _hover(frame: pd.DataFrame, number: int) -> str:
    row = frame.iloc[number]
    told = [f"<b>{number} {marked(str(row['operator']))}</b>"]
    told += [f"reads {marked(str(row['reads']))}"] if row["reads"] else []
    told += [f"{row['constants']} constants"] if row["constants"] else []
    if row["shape"] or not math.isnan(row["output_kb"]):
        size = "" if math.isnan(row["output_kb"]) else f" {row['output_kb']:.4g} kB"
        told.append(f"writes {row['shape']}{size}")
    return "<br>".join(told)
