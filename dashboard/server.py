"""The server's own process: streamlit behind its guard. `launch` starts it."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware

from dashboard.guard import Guard
from dashboard.reading import read_ahead
from dashboard.views import views
from edge_bench.files import default_home

APP = Path(__file__).with_name("app.py")
_PRIMARY = {"light": "#1f6fbf", "dark": "#5aa7ec"}


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="an IP address of this machine")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    given = parser.parse_args()
    # By a pipe: command lines and environments can be read by others.
    token = json.load(sys.stdin)
    # By the time that somebody opens a page, what it shows is often there.
    threading.Thread(target=_read_ahead, daemon=True).start()
    guard = Middleware(Guard, token=token, port=given.port, secure=given.certificate is not None)
    st.App(APP, middleware=[guard]).run(config=settings(given))


def _read_ahead() -> None:
    views()
    read_ahead(default_home())


def settings(given: argparse.Namespace) -> dict[str, Any]:
    """Return streamlit's settings: nothing is sent out, watched or shown that a viewer has no use for."""
    return {
        "server.port": given.port,
        "server.address": given.address,
        "server.sslCertFile": given.certificate,
        "server.sslKeyFile": given.key,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.enableStaticServing": False,
        "server.enableAgentApi": False,
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "viewer",
        # Its greeting asks a host elsewhere for this machine's address.
        "logger.hideWelcomeMessage": True,
        "theme.light.primaryColor": _PRIMARY["light"],
        "theme.dark.primaryColor": _PRIMARY["dark"],
    }


if __name__ == "__main__":
    main()
