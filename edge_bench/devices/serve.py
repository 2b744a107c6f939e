"""Running the controller: which address it listens on, and when it refuses to."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from edge_bench.devices.controller import controller
from edge_bench.devices.registry import Registry
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from edge_bench.network import Address, in_url, is_loopback
from edge_bench.store import ResultStore

KEEP_ALIVE_S = 5
MAX_CONNECTIONS = 200


def serve(
    store: ResultStore,
    home: Home,
    *,
    host: str,
    port: int,
    lease_s: float,
    certificate: Path | None = None,
    key: Path | None = None,
    say: Callable[[str], None],
) -> None:
    """Serve until interrupted; port 0 takes any that is free, and `say` tells which.

    Raises:
        ConfigError: the address is taken or is none of this machine's; or others can reach it and no
            device has a token.
    """
    agents = [device.name for device in Registry(store).all() if device.transport == "agent"]
    open_to_others = not is_loopback(host)
    if open_to_others and not agents:
        raise ConfigError(
            f"'{host}' can be reached from other machines, and no device has a token",
            hint="edge-bench devices add NAME --agent",
        )
    config = uvicorn.Config(
        controller(store, home, lease_s=lease_s),
        # Its own configuration of logging would close the handlers that other libraries have opened.
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=5,
        limit_concurrency=MAX_CONNECTIONS,
        server_header=False,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    with _bound(host, port) as listening:
        bound = listening.getsockname()[1]
        scheme = "https" if certificate else "http"
        known = ", ".join(agents) or "none"
        say(f"listening on {scheme}://{in_url(host)}:{bound}; devices with a token: {known}")
        if open_to_others and not certificate:
            say("tokens and results travel unencrypted: use --certificate on a network you share")
        uvicorn.Server(config).run(sockets=[listening])


def _bound(host: str, port: int) -> socket.socket:
    try:
        # From here on who connects waits for an answer, so that the address may be told.
        return Address.of(host, port).listening()
    except OSError as error:
        hint = "another --port, or stop what listens there"
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}", hint=hint) from error
