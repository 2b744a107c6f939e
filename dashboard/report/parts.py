"""What a report is made of: sections of sentences, charts and tables, before they become HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import pandas as pd
import plotly.graph_objects as go

from dashboard.columns import Column


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure as it is drawn on white and on a dark ground, and what it shows in words."""

    words: str
    light: go.Figure
    dark: go.Figure

    @classmethod
    def of(cls, words: str, draw: Callable[..., go.Figure]) -> Chart:
        """Return what `draw(dark=…)` draws."""
        return cls(words=words, light=draw(dark=False), dark=draw(dark=True))


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of a frame with a caption; columns that `columns` does not tell are headed by their names."""

    caption: str
    frame: pd.DataFrame
    columns: Mapping[str, Column] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listed:
    """Sentences one below the other."""

    sentences: Sequence[str]


Part: TypeAlias = "str | Listed | Chart | Table | Section"


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands below it: sentences, charts, tables and sections of its own."""

    title: str
    parts: Sequence[Part]
