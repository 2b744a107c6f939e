"""Pages of the dashboard, run without a browser."""

from __future__ import annotations

from collections.abc import Mapping

from streamlit.testing.v1 import AppTest


def opened(page: AppTest, link: Mapping[str, str]) -> AppTest:
    """Return a page as a link with these parameters shows it; fail where it raises."""
    for name, value in link.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception
    return page
