"""What is selected on the chart, boxes and points: kept for a session, and told by the link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.axes import Axis
from dashboard.frames import in_box
from dashboard.trade_off_chart import panel_device

# More points than that are in no link; a box holds any number.
LINKED = 40
IDS, BOXES = "selected", "box"
_KEPT = "selection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Costs on an axis by metrics, of one device where it was drawn on its own ground."""

    column: str
    costs: tuple[float, float]
    metrics: tuple[float, float]
    device: str = ""

    def holds(self, frame: pd.DataFrame) -> pd.Series[bool]:
        """Say which rows lie in it."""
        inside = in_box(frame, self.costs, self.metrics, self.column)
        return inside & (frame["device"] == self.device) if self.device else inside

    def link(self) -> str:
        """Return it as a link has it."""
        numbers = (f"{number:.6g}" for number in (*self.costs, *self.metrics))
        return ":".join([self.column, *numbers, self.device])

    @classmethod
    def of_link(cls, text: str) -> Box | None:
        """Return what `link` wrote; None of anything else."""
        column, _, rest = text.partition(":")
        *numbers, device = rest.split(":", 4)
        try:
            left, right, bottom, top = map(float, numbers)
        except ValueError:
            return None
        return cls(column=column, costs=(left, right), metrics=(bottom, top), device=device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Candidates by their ids, and by boxes."""

    ids: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()

    def of(self, frame: pd.DataFrame, axis: Axis) -> pd.DataFrame:
        """Return the rows that are selected; a box counts on the axis on which it was drawn."""
        chosen = frame["id"].isin(self.ids).to_numpy() if self.ids else np.zeros(len(frame), bool)
        for box in self.boxes:
            if box.column == axis.column:
                chosen = chosen | box.holds(frame).to_numpy()
        return frame[chosen]

    @classmethod
    def of_event(cls, event: Mapping[str, Any], axis: Axis, devices: Sequence[str]) -> Selection:
        """Return what an event of the chart tells; `devices` are those side by side, where they are."""
        told = event.get("selection", {})
        boxes = []
        for box in told.get("box", ()):
            device = panel_device(str(box.get("xref", "x")), devices) if len(devices) > 1 else ""
            left, right = sorted(map(float, box["x"][:2]))
            bottom, top = sorted(map(float, box["y"][:2]))
            boxes.append(
                Box(column=axis.column, costs=(left, right), metrics=(bottom, top), device=device or "")
            )
        # A box tells also of what it holds that was not drawn.
        points = () if boxes and not told.get("lasso") else told.get("points", ())
        ids = [point["customdata"] for point in points if "customdata" in point]
        flat = [one[0] if isinstance(one, (list, tuple)) else one for one in ids]
        return cls(ids=tuple(map(str, flat)), boxes=tuple(boxes))


def selection() -> Selection:
    """Return what is selected in this session, else what the link tells."""
    kept = st.session_state.get(_KEPT)
    if isinstance(kept, Selection):
        return kept
    boxes = [Box.of_link(text) for text in st.query_params.get_all(BOXES)]
    ids = st.query_params.get(IDS, "").split(",")
    return Selection(ids=tuple(filter(None, ids)), boxes=tuple(box for box in boxes if box))


def select(chosen: Selection) -> None:
    """Keep what is selected."""
    st.session_state[_KEPT] = chosen


def heed(event: Mapping[str, Any], axis: Axis, devices: Sequence[str]) -> None:
    """Keep what an event of the chart selects; see `Selection.of_event`.

    A chart that is drawn anew tells that nothing is selected, and on a slow machine in the name of the
    one before it, so only what selects something counts.
    """
    told = Selection.of_event(event, axis, devices)
    if told.ids or told.boxes:
        select(told)


def keep_link(chosen: Selection) -> None:
    """Let the link tell what is selected, as far as it has room."""
    wanted = {
        IDS: [",".join(chosen.ids)] if 0 < len(chosen.ids) <= LINKED else [],
        BOXES: [box.link() for box in chosen.boxes],
    }
    for name, values in wanted.items():
        if values != st.query_params.get_all(name):
            if values:
                st.query_params[name] = values
            else:
                st.query_params.pop(name, None)
