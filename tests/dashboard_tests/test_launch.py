"""Starting and ending: a taken port is told, and nothing is left running."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from browsing import free_port

from dashboard import launch
from edge_bench import cli, errors
from edge_bench.errors import ConfigError, EdgeBenchError, MissingExtra
from edge_bench.files import HOME_VARIABLE, Home
from edge_bench.tokens import new_token


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


def test_it_serves_this_machine_only_and_its_command_line_tells_no_token() -> None:
    token = new_token()
    words = launch.command(launch.Place(port=8501, token=token))
    assert "--address=127.0.0.1" in words
    assert token not in " ".join(words)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", ""])
def test_an_address_that_others_reach_needs_a_token(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dashboard", "--no-browser", "--address", host]) == errors.USAGE
    told = capsys.readouterr().err
    assert "can be reached from other machines" in told
    assert "--token-file FILE" in told and "secrets.token_urlsafe" in told


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_the_hint_makes_a_token_file_that_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "a token"
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        launch.place_for(host="0.0.0.0", port=free_port(), token_file=file)
    making = caught.value.hint.removesuffix(" makes one").replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(making, shell=True, check=True)
    place = launch.place_for(host="0.0.0.0", port=free_port(), token_file=file)
    assert place.token == file.read_text().strip() and len(place.token) >= 40
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others on this machine can read") as caught:
        launch.place_for(host=launch.ADDRESS, port=free_port(), token_file=file)
    assert caught.value.hint.startswith("chmod 600")


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("", "holds no token"),
        ("  \n", "holds no token"),
        ("two words of some length", "holds no token"),
        ("one\ntwo lines of them all", "holds no token"),
        ("schlüssel-mit-umlauten-äöü", "holds no token"),
        ("\x00" * 40, "holds no token"),
        ("short", "soon guessed"),
        ("a" * 60, "soon guessed"),
    ],
)
def test_a_token_that_would_keep_nobody_out_is_refused(token: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(token, encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        launch.place_for(host=launch.ADDRESS, port=free_port(), token_file=file)


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid", "-"])
def test_an_address_of_another_machine_is_told(host: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(new_token())
    with pytest.raises(ConfigError, match="is no address of this machine"):
        launch.place_for(host=host, port=free_port(), token_file=file)


def test_a_certificate_goes_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="belong together"):
        launch.place_for(host=launch.ADDRESS, port=free_port(), certificate=tmp_path / "c.pem")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_server_too(ended_by: signal.Signals, home: Home) -> None:
    port = free_port()
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
