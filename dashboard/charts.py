"""How each page places a chart: with its words, so that nobody has to see it."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from dashboard.names import plain

PLAIN_BAR = {"displayModeBar": False}


def shown(figure: go.Figure, words: str, *, key: str, **options: Any) -> None:
    """Place a chart.

    Args:
        figure: what is drawn.
        words: what it shows, for those who hear the page.
        key: of the widget; it stays while other widgets change.
        options: of streamlit's chart, such as what may be selected.
    """
    st.plotly_chart(figure, key=key, alt=plain(words), **{"config": PLAIN_BAR} | options)
