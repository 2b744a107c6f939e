"""A dashboard that is served, and pages of it in a real browser."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, WebSocket

from dashboard.launch import ADDRESS, Place, await_answer, serving
from edge_bench.files import Home

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage"
).split()
PATIENCE_MS = 60_000
# Widths and colours that a page is looked at in: two at every change, the others with the slow tests.
LOOKS = [
    (400, "dark"),
    (1280, "light"),
    pytest.param(400, "light", marks=pytest.mark.slow),
    pytest.param(1280, "dark", marks=pytest.mark.slow),
]
READY = "[data-testid=stApp][data-test-script-state=notRunning]"
# How long a page does nothing before it counts as settled: a widget tells the server a moment after it was
# moved, and an old chart stays a moment beside the new one.
QUIET_MS = 500


@contextmanager
def served(home: Home, *, token: str | None = None) -> Iterator[str]:
    """Serve a home folder's dashboard for the length of the block; gives its address."""
    place = Place(port=free_port(), token=token)
    with serving(home, place) as server:
        await_answer(server, place.url)
        yield place.url


def free_port() -> int:
    """Return a TCP port of this machine that nobody listens on."""
    with socket.socket() as trial:
        trial.bind((ADDRESS, 0))
        port: int = trial.getsockname()[1]
    return port


def settle(page: Page, *, chart: bool = True) -> None:
    """Wait until the script has run, nothing on the page is old, and the chart, if any, is drawn."""
    page.evaluate("delete window.quietSince")
    page.wait_for_function(
        """([ready, quietMs]) => {
            const busy = !document.querySelector(ready) || document.querySelector("[data-stale=true]");
            if (busy || window.quietSince === undefined) window.quietSince = performance.now();
            return performance.now() - window.quietSince >= quietMs;
        }""",
        arg=[READY, QUIET_MS],
    )
    if chart:
        page.wait_for_selector(".js-plotly-plot .main-svg")


def outside(asked: Request | WebSocket) -> list[str]:
    """Return what is wrong with a request: that it leaves this machine."""
    parts = urlsplit(asked.url)
    inside = parts.scheme in {"data", "blob"} or parts.hostname == ADDRESS
    return [] if inside else [f"request to elsewhere: {asked.url}"]


def blocked(told: ConsoleMessage) -> list[str]:
    """Return what is wrong with a line of the browser's console: that the page tried what it may not."""
    return [told.text] if "Content Security Policy" in told.text else []
