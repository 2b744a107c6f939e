"""Starting the dashboard: its server as a child process, for this machine or for whoever has a token."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_bench.errors import ConfigError, EdgeBenchError, MissingExtra
from edge_bench.files import HOME_VARIABLE, Home
from edge_bench.network import Address, check_certificate, in_url, is_loopback
from edge_bench.tokens import others_can_read, read_token

ADDRESS = "127.0.0.1"
START_SECONDS = 60.0
# Characters, and how many of them differ at least.
SHORTEST_TOKEN, LEAST_DIFFERENT = 20, 8
_EVERY = {"0.0.0.0": ADDRESS, "::": "::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the dashboard is served, and to whom.

    `token` is asked of everybody; without one `host` must be of the loopback. `certificate` and `key` are
    files, for https.
    """

    host: str = ADDRESS
    port: int
    token: str | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def url(self) -> str:
        """The address that a browser on this machine opens."""
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://{in_url(_EVERY.get(self.host, self.host))}:{self.port}"


def place_for(
    *,
    host: str,
    port: int,
    token_file: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> Place:
    """Return where to serve as options ask for.

    Raises:
        ConfigError: the address is none of this machine's or is open to others while no token is asked; the
            file of the token is missing, readable by others, or holds one that is soon guessed; the port is
            taken, and a free one is named; a certificate without its key.
    """
    if token_file is None and not is_loopback(host):
        raise ConfigError(
            f"'{host}' can be reached from other machines, and nobody would be asked for a token",
            hint=f"--token-file FILE; {_making('FILE')} makes one",
        )
    check_certificate(certificate, key)
    address = require_free(port, host=host)
    return Place(
        host=address.ip,
        port=port,
        token=None if token_file is None else _token(token_file),
        certificate=certificate,
        key=key,
    )


def launch(home: Home, place: Place, *, browser: bool, say: Callable[[str], None]) -> str:
    """Serve the dashboard until it is interrupted, and return the address it had.

    Args:
        home: the folder whose store is shown.
        place: where, and who is let in.
        browser: whether to open a browser window.
        say: told the address once the page answers.

    Raises:
        MissingExtra: streamlit or plotly is not installed.
        EdgeBenchError: the server ended by itself, or did not answer in a minute.
    """
    require("streamlit", "plotly", "pandas")
    with _ended_by_signals(), serving(home, place) as server:
        try:
            await_answer(server, place.url)
            asks = "; asks for the token" if place.token else ""
            say(f"dashboard: {_told(place)}  (home {home.root}{asks}; Ctrl-C ends it)")
            if place.token and not place.certificate and not is_loopback(place.host):
                say("the token and the pages travel unencrypted: use --certificate on a network you share")
            if browser:
                webbrowser.open(place.url)
            status = server.wait()
        except KeyboardInterrupt:
            return place.url
    raise EdgeBenchError(f"the dashboard's server ended with status {status}")


def require(*libraries: str) -> None:
    """Raise `MissingExtra` unless every library is installed; imports none of them."""
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            raise MissingExtra(library, "dashboard")


def require_free(port: int, *, host: str = ADDRESS) -> Address:
    """Return an address that can be listened on.

    Raises:
        ConfigError: it is none of this machine's, or the port is taken; the message names a free one.
    """
    if not 1 <= port <= 65535:
        raise ConfigError(f"--port {port} is no port; it may be 1 to 65535")
    address = Address.of(host, port)
    if _is_free(address):
        return address
    if not _is_free(Address.of(host, 0)):
        raise ConfigError(
            f"'{host}' is no address of this machine", hint=f"--address {ADDRESS}, or 0.0.0.0"
        )
    above = range(port + 1, min(port + 50, 65536))
    free = next((other for other in above if _is_free(Address.of(host, other))), None) or _any_free(host)
    raise ConfigError(
        f"port {port} is taken or not permitted; port {free} is free",
        hint=f"edge-bench dashboard --port {free}",
    )


@contextlib.contextmanager
def serving(home: Home, place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server for the length of the block; it is gone when the block ends."""
    environment = {**os.environ, HOME_VARIABLE: str(home.root.absolute())}
    # A group of its own: Ctrl-C reaches this process only, which then ends the server quietly.
    server = subprocess.Popen(
        command(place),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert server.stdin is not None
        # One that has died already is told by whoever waits for its answer.
        with contextlib.suppress(BrokenPipeError), server.stdin as pipe:
            pipe.write(json.dumps(place.token).encode())
        yield server
    finally:
        server.terminate()
        try:
            server.wait(timeout=5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def command(place: Place) -> list[str]:
    """Return the command line of the server, which reads the token from its input."""
    # -P: a folder called `dashboard` where the user stands is not meant.
    words = [
        sys.executable,
        "-P",
        "-m",
        "dashboard.server",
        f"--address={place.host}",
        f"--port={place.port}",
    ]
    if place.certificate and place.key:
        words += [f"--certificate={place.certificate.absolute()}", f"--key={place.key.absolute()}"]
    return words


def await_answer(server: subprocess.Popen[bytes], url: str) -> None:
    """Wait until the server answers.

    Raises:
        EdgeBenchError: it ended, or a minute passed.
    """
    deadline = time.monotonic() + START_SECONDS
    # Nothing is told to it, so that a certificate of another name is no matter.
    trusting = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
    # Proxies of the environment have no say about this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trusting)
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise EdgeBenchError(f"the dashboard's server ended with status {server.returncode}")
        try:
            with opener.open(f"{url}/_stcore/health", timeout=1) as answer:
                if answer.status == 200:
                    return
        except urllib.error.HTTPError as error:
            # It asks for the token before it tells anything.
            if error.code == 401:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise EdgeBenchError(f"the dashboard did not answer at {url} within {START_SECONDS:.0f} s")


def _token(file: Path) -> str:
    making = _making(str(file))
    token = read_token(file, hint=f"{making} makes one")
    if others_can_read(file):
        raise ConfigError(
            f"others on this machine can read the token in '{file}'",
            hint=f"chmod 600 {shlex.quote(str(file))}",
        )
    if len(token) < SHORTEST_TOKEN or len(set(token)) < LEAST_DIFFERENT:
        raise ConfigError(
            f"the token in '{file}' is soon guessed: {len(token)} characters, {len(set(token))} of them "
            f"different; {SHORTEST_TOKEN} random ones are the least",
            hint=f"{making} makes one",
        )
    return token


def _making(file: str) -> str:
    making = "import secrets; print(secrets.token_urlsafe(32))"
    return f"(umask 077; python -c '{making}' > {shlex.quote(file)})"


def _told(place: Place) -> str:
    """Return the address that people are told: of one that means every address, this machine's name too."""
    if place.host not in _EVERY:
        return place.url
    scheme = place.url.partition(":")[0]
    return f"{place.url}, elsewhere {scheme}://{socket.gethostname()}:{place.port}"


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


def _is_free(address: Address) -> bool:
    try:
        address.listening().close()
    except OSError:
        return False
    return True


def _any_free(host: str) -> int:
    with Address.of(host, 0).listening() as trial:
        port: int = trial.getsockname()[1]
        return port
