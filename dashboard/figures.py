"""What all charts share: colours, marks, axes and the ground. Nothing is read, no widget is placed.

Colours are chosen once for white and for Streamlit's dark ground: each has a contrast of at least
3:1 to both, and those that meet on one chart stay apart for colour-blind eyes (as Machado, Oliveira and
Fernandes, 2009, simulate them).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

import plotly.graph_objects as go

COLOURS = {
    "ONNX fp32": "#1f77c9",
    "ONNX fp16": "#3c9ccc",
    "ONNX int8": "#00936b",
    "ONNX mixed": "#6c3cfc",
    "TFLite fp32": "#d55e00",
    "TFLite fp16": "#fc306c",
    "TFLite int8": "#b3529c",
    "TFLite mixed": "#846030",
}
OTHER = "#7f7f7f"
# Lines and words, grid lines, and what lies behind a name.
INK = {
    "light": ("#30333d", "rgba(48,51,61,.13)", "rgba(255,255,255,.55)"),
    "dark": ("#e8e8ea", "rgba(232,232,234,.16)", "rgba(25,25,25,.5)"),
}
# Of devices on one chart: to most they are no colour of a format.
PAINTS = ("#3d54f5", "#f53418", "#29a394", "#885499", "#9b81eb", "#ad4552")
# How a marker tells how networks were trained: by the first of these that is part of their family's name.
FAMILY_FORMS = {
    "imported": "star",
    "ticket": "diamond",
    "DPF": "triangle-up",
    "LayerDrop": "square",
    "single network": "pentagon",
    "once-for-all": "circle",
}
# Of families beside which another has that form already.
SPARE_FORMS = ("triangle-down", "cross", "x", "hexagram", "hourglass", "bowtie", *FAMILY_FORMS.values())
LAST_FORM = "octagon"


def bare_figure(*, dark: bool, height: int) -> go.Figure:
    """Return a figure without traces on the page's own ground, with ink, axes and legend of every chart."""
    return go.Figure(layout=bare_layout(dark=dark, height=height))


def bare_layout(*, dark: bool, height: int) -> dict[str, Any]:
    """Return the layout of `bare_figure`; every call gives another."""
    ink, faint, _ = INK["dark" if dark else "light"]
    axis = {
        "showgrid": True,
        "gridcolor": faint,
        "zeroline": False,
        "linecolor": faint,
        "tickfont": {"color": ink},
        "title": {"font": {"color": ink}},
    }
    return {
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
        "yaxis": deepcopy(axis),
    }


def colour(kind: str) -> str:
    """Return the colour of a format and precision: the same on every page."""
    return COLOURS.get(kind, OTHER)


def device_paints(devices: Sequence[str], among: Iterable[str]) -> dict[str, str]:
    """Return a colour for each of a few devices on one chart.

    Each keeps its own whichever others are chosen with it, unless two of them would be alike.

    Args:
        devices: as many as there are `PAINTS`, or fewer.
        among: all devices that there are.
    """
    places = {device: place for place, device in enumerate(sorted(among))}
    found: dict[str, str] = {}
    for device in devices:
        own = PAINTS[places.get(device, 0) % len(PAINTS)]
        found[device] = next((paint for paint in (own, *PAINTS) if paint not in found.values()), own)
    return found


def family_forms(families: Iterable[str]) -> dict[str, str]:
    """Return a marker for each family of networks; what was trained in one way comes before mixtures."""
    found: dict[str, str] = {}
    for family in sorted(set(families), key=lambda family: (family.count(" + "), family)):
        parts = family.split(" + ")
        own = [form for part, form in FAMILY_FORMS.items() if part in parts]
        free = (form for form in (*own, *SPARE_FORMS) if form not in found.values())
        found[family] = next(free, LAST_FORM)
    return found


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


def transparent(paint: str, opacity: float) -> str:
    """Return a colour `#rrggbb` that lets what is behind it through."""
    red, green, blue = (int(paint[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
