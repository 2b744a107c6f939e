"""Starting the dashboard: streamlit as a child process that only this machine can reach."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_bench.errors import ConfigError, EdgeBenchError, MissingExtra
from edge_bench.files import HOME_VARIABLE, Home

ADDRESS = "127.0.0.1"
APP = Path(__file__).with_name("app.py")
START_SECONDS = 60.0
_PRIMARY = {"light": "#1f6fbf", "dark": "#5aa7ec"}


def launch(home: Home, *, port: int, browser: bool, say: Callable[[str], None]) -> str:
    """Serve the dashboard until it is interrupted, and return the address it had.

    Args:
        home: the folder whose store is shown.
        port: the TCP port on the loopback address.
        browser: whether to open a browser window.
        say: told the address once the page answers.

    Raises:
        MissingExtra: streamlit or plotly is not installed.
        ConfigError: the port is taken; a free one is named.
        EdgeBenchError: the server ended by itself, or did not answer in a minute.
    """
    require("streamlit", "plotly", "pandas")
    require_free(port)
    address = f"http://{ADDRESS}:{port}"
    with _ended_by_signals(), serving(home, port=port) as server:
        try:
            await_answer(server, address)
            say(f"dashboard: {address}  (home {home.root}; Ctrl-C ends it)")
            if browser:
                webbrowser.open(address)
            status = server.wait()
        except KeyboardInterrupt:
            return address
    raise EdgeBenchError(f"the dashboard's server ended with status {status}")


def require(*libraries: str) -> None:
    """Raise `MissingExtra` unless every library is installed; imports none of them."""
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            raise MissingExtra(library, "dashboard")


def require_free(port: int) -> None:
    """Raise `ConfigError` unless `port` can be listened on; the message names a free one."""
    if not 1 <= port <= 65535:
        raise ConfigError(f"--port {port} is no port; it may be 1 to 65535")
    if not _is_free(port):
        above = range(port + 1, min(port + 50, 65536))
        free = next((other for other in above if _is_free(other)), None) or _any_free()
        raise ConfigError(
            f"port {port} is taken or not permitted; port {free} is free",
            hint=f"edge-bench dashboard --port {free}",
        )


@contextlib.contextmanager
def serving(home: Home, *, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server for the length of the block; it is gone when the block ends."""
    environment = {**os.environ, HOME_VARIABLE: str(home.root.absolute())}
    # A group of its own: Ctrl-C reaches this process only, which then ends the server quietly.
    server = subprocess.Popen(
        command(port),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(timeout=5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def command(port: int) -> list[str]:
    """Return the command line that serves the page on `port`: loopback only, nothing sent out."""
    options = {
        "server.port": port,
        "server.address": ADDRESS,
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "viewer",
        "theme.light.primaryColor": _PRIMARY["light"],
        "theme.dark.primaryColor": _PRIMARY["dark"],
    }
    return [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(APP),
        *(f"--{name}={value}" for name, value in options.items()),
    ]


def await_answer(server: subprocess.Popen[bytes], address: str) -> None:
    """Wait until the server answers.

    Raises:
        EdgeBenchError: it ended, or a minute passed.
    """
    deadline = time.monotonic() + START_SECONDS
    # Proxies of the environment have no say about this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise EdgeBenchError(f"the dashboard's server ended with status {server.returncode}")
        with contextlib.suppress(OSError), opener.open(f"{address}/_stcore/health", timeout=1) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise EdgeBenchError(f"the dashboard did not answer at {address} within {START_SECONDS:.0f} s")


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that no server is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        # As the server does: a port in TIME_WAIT counts as free.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((ADDRESS, port))
        except OSError:
            return False
    return True


def _any_free() -> int:
    with socket.socket() as trial:
        trial.bind((ADDRESS, 0))
        port: int = trial.getsockname()[1]
        return port
