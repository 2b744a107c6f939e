"""The page that `edge-bench dashboard` serves: navigation over the files in `views/`."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard.controls import tell
from dashboard.stored import State, state_of
from dashboard.views import FOLLOW_S, View, views
from edge_bench.errors import EdgeBenchError
from edge_bench.files import Home, default_home

# Streamlit leaves 6rem above and 10rem below for bars that this page does not have, and shows the button
# that copies a command to the mouse alone.
STYLE = """<style>
.stMainBlockContainer { padding-top: 4rem; padding-bottom: 3rem; }
[data-testid=stCode]:focus-within button { visibility: visible; opacity: 1; }
</style>"""


def main() -> None:
    """Show the page that the address names."""
    # No icon from the material set: the browser would fetch its font from elsewhere.
    st.set_page_config(page_title="edge-bench", page_icon="📐", layout="wide")
    st.html(STYLE)
    home = default_home()
    ordered = sorted(views().items(), key=lambda item: item[1].place)
    pages = [
        st.Page(_shown(view, home), title=view.title, url_path=name.replace("_", "-"), default=not index)
        for index, (name, view) in enumerate(ordered)
    ]
    seen = state_of(home)
    st.navigation(pages, position="top").run()
    _follow(home, seen)


@st.fragment(run_every=FOLLOW_S)
def _follow(home: Home, seen: State) -> None:
    """Show the page again when what it was made from has grown."""
    if state_of(home) != seen:
        st.rerun()


def _shown(view: type[View], home: Home) -> Callable[[], None]:
    def show() -> None:
        try:
            view().show(home)
        except EdgeBenchError as error:
            tell(error)

    return show


main()
