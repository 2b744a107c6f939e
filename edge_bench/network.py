"""The addresses that a server of ours listens on: who reaches them, and whether they can be had."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_bench.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: an address of this machine as sockets take it, and a port in it."""

    family: socket.AddressFamily
    place: tuple[Any, ...]

    @classmethod
    def of(cls, host: str, port: int) -> Address:
        """Return what a host name or an IP address means.

        Raises:
            ConfigError: nothing that is known here.
        """
        try:
            family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"'{host}' is no address of this machine: {error}") from error
        return cls(family, place)

    @property
    def ip(self) -> str:
        return str(self.place[0])

    def listening(self) -> socket.socket:
        """Return a socket that listens there; `OSError` where that cannot be had."""
        made = socket.socket(self.family, socket.SOCK_STREAM)
        try:
            # A port in TIME_WAIT counts as free.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(self.place)
            made.listen()
        except OSError:
            made.close()
            raise
        return made


def is_loopback(host: str) -> bool:
    """Say whether a host's name or IP address is one that only this machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def in_url(host: str) -> str:
    """Return a host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def check_certificate(certificate: Path | None, key: Path | None) -> None:
    """Raise `ConfigError` unless both files are there, or none is named."""
    if (certificate is None) != (key is None):
        raise ConfigError("--certificate and --key belong together")
    for file in (certificate, key):
        if file is not None and not file.is_file():
            raise ConfigError(f"there is no file '{file}'")
