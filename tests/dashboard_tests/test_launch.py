"""Starting and ending: a taken port is told, and nothing is left running."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import psutil
import pytest

from dashboard import launch
from edge_bench import cli, errors
from edge_bench.errors import ConfigError, EdgeBenchError, MissingExtra
from edge_bench.files import HOME_VARIABLE, Home


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as other:
        other.bind((launch.ADDRESS, 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_taken_port_is_told_with_a_free_one(taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dashboard", "--port", str(taken), "--no-browser"]) == errors.USAGE
    told = capsys.readouterr().err
    assert f"port {taken} is taken" in told
    free = int(told.rsplit("--port", 1)[1])
    launch.require_free(free)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_number_that_is_no_port_is_told(port: int) -> None:
    with pytest.raises(ConfigError, match="1 to 65535"):
        launch.require_free(port)


def test_a_missing_library_is_told_with_its_extra() -> None:
    with pytest.raises(MissingExtra) as caught:
        launch.require("streamlit", "no_such_library")
    assert "edge-bench[dashboard]" in caught.value.hint


def test_a_server_that_ends_by_itself_is_an_error() -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]) as server:
        with pytest.raises(EdgeBenchError, match="status 3"):
            launch.await_answer(server, "http://127.0.0.1:9")


def test_it_serves_this_machine_only_and_tells_nobody() -> None:
    words = launch.command(8501)
    assert "--server.address=127.0.0.1" in words
    assert "--browser.gatherUsageStats=false" in words


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_server_too(ended_by: signal.Signals, home: Home) -> None:
    with socket.socket() as trial:
        trial.bind((launch.ADDRESS, 0))
        port = trial.getsockname()[1]
    words = [sys.executable, "-m", "edge_bench", "dashboard", "--port", str(port), "--no-browser", "--json"]
    environment = {**os.environ, HOME_VARIABLE: str(home.root)}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as command:
        try:
            _await(f"http://127.0.0.1:{port}/_stcore/health")
            servers = psutil.Process(command.pid).children(recursive=True)
            assert servers
            command.send_signal(ended_by)
            printed, _ = command.communicate(timeout=30)
        finally:
            command.kill()
    assert command.returncode == errors.OK
    assert f'"http://127.0.0.1:{port}"' in printed.decode()
    left = [server for server in servers if server.is_running()]
    for server in left:
        server.kill()
    assert not left
    launch.require_free(port)


def _await(address: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(600):
        try:
            with opener.open(address, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no answer at {address}")
