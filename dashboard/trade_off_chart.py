"""What a chart of trade-offs is drawn by: its grounds, what stands on each, and how far its axes run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dashboard.axes import Axis
from dashboard.frames import fronts

OVERLAID, BESIDE = "overlaid", "side by side"
# More candidates than that are drawn as a density, with the fronts and an even share of the others: a mark
# takes a browser a quarter of a millisecond, whenever the budget moves.
DRAWN = 500


@dataclass(frozen=True)
class Panel:
    """The candidates on one ground, and the axis they stand on: "x", "x2", …"""

    x: str
    device: str
    rows: pd.DataFrame
    drawn: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What all parts of a chart are drawn by."""

    axis: Axis
    devices: Sequence[str]
    overlaid: bool
    paints: dict[str, str]
    forms: dict[str, str]
    ink: str
    ground: str
    low: float
    high: float
    bottom: float
    top: float


def panels_of(rows: pd.DataFrame, devices: Sequence[str], layout: str, axis: Axis) -> list[Panel]:
    """Return one ground for all devices, or one for each, with what is drawn on it."""
    if len(devices) < 2 or layout != BESIDE:
        return [Panel("x", "", rows, _thinned(rows, axis, DRAWN))]
    room = DRAWN // len(devices) if len(rows) > DRAWN else DRAWN
    each = [rows[rows["device"] == device] for device in devices]
    return [
        Panel(f"x{place}" if place > 1 else "x", device, mine, _thinned(mine, axis, room))
        for place, (device, mine) in enumerate(zip(devices, each, strict=True), 1)
    ]


def _thinned(rows: pd.DataFrame, axis: Axis, room: int) -> pd.DataFrame:
    """Return the fronts and an even share of the rest, `room` rows in all."""
    if len(rows) <= room:
        return rows
    best = fronts(rows, axis.column)
    rest = rows.index.difference(best.index, sort=False)
    places = np.linspace(0, len(rest) - 1, min(max(room - len(best), 0), len(rest))).astype(int)
    return rows.loc[best.index.union(rest[places])]


def cost_range(frame: pd.DataFrame, axis: Axis, budget: float | None) -> tuple[float, float]:
    """Return the costs that the axis spans, with some air on both sides."""
    if frame.empty:
        return 0.1, 10.0
    low, high = float(frame[axis.column].min()), float(frame[axis.column].max())
    low, high = min(low, budget or low), max(high, budget or high)
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


def panel_device(x: str, devices: Sequence[str]) -> str | None:
    """Return the device whose panel has an axis of that name, of a chart of `devices` side by side."""
    place = int(x[1:] or 1) - 1 if x[1:].isdigit() or x == "x" else -1
    return devices[place] if 0 <= place < len(devices) else None
