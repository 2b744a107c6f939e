"""The devices that somebody added: how each is reached, the hash of its token, when it was last seen."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from edge_bench.errors import ConfigError, did_you_mean
from edge_bench.store import ResultStore
from edge_bench.tokens import is_token, sha256_of_token

# Lower case, so that two names never differ by their case alone.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
# Polls come every few seconds: the moment is written when it says something new.
_SEEN_STEP_S = 5.0

_METADATA = sa.MetaData()
_DEVICES = sa.Table(
    "devices",
    _METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("transport", sa.String(32), nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("token_sha256", sa.String(64), nullable=True),
    sa.Column("last_seen", sa.Float, nullable=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device of one's own. `transport` names a file of `devices/transports`, `address` is its.

    `last_seen` is in seconds since 1970, None where it never answered.
    """

    name: str
    transport: str
    address: Mapping[str, Any] = field(default_factory=dict)
    last_seen: float | None = None


class Registry:
    """The devices in a store's database, by name."""

    def __init__(self, store: ResultStore, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        with store.transaction() as connection:
            connection.execute(sa.schema.CreateTable(_DEVICES, if_not_exists=True))

    def add(self, device: Device, *, token: str | None = None) -> None:
        """Keep a new device, and of its token the SHA-256 alone.

        Raises:
            ConfigError: a name that cannot be used, or that is taken.
        """
        if not _NAME.fullmatch(device.name):
            raise ConfigError(
                f"'{device.name}' cannot name a device",
                hint="lower-case letters, digits, '-', '_' and '.', at most 63, a letter or digit first",
            )
        with self._store.transaction() as connection:
            taken = sa.select(_DEVICES.c.name).where(_DEVICES.c.name == device.name)
            if connection.execute(taken).first():
                raise ConfigError(
                    f"there is a device '{device.name}' already",
                    hint=f"edge-bench devices remove {device.name}, or choose another name",
                )
            connection.execute(
                sa.insert(_DEVICES).values(
                    name=device.name,
                    transport=device.transport,
                    address=json.dumps(dict(device.address)),
                    token_sha256=None if token is None else sha256_of_token(token),
                )
            )

    def remove(self, name: str) -> None:
        """Forget a device and its token; its results stay. `ConfigError` where there is none."""
        self.get(name)
        with self._store.transaction() as connection:
            connection.execute(sa.delete(_DEVICES).where(_DEVICES.c.name == name))

    def all(self) -> list[Device]:
        """Return every device, sorted by name."""
        with self._store.transaction() as connection:
            rows = connection.execute(sa.select(_DEVICES).order_by(_DEVICES.c.name)).all()
        return [
            Device(
                name=row.name,
                transport=row.transport,
                address=json.loads(row.address),
                last_seen=row.last_seen,
            )
            for row in rows
        ]

    def get(self, name: str) -> Device:
        """Return the device of that name; `ConfigError` where there is none, with the nearest."""
        devices = {device.name: device for device in self.all()}
        if name not in devices:
            known = f" Known: {', '.join(devices)}.{did_you_mean(name, devices)}" if devices else ""
            raise ConfigError(
                f"'{name}' is no device of yours.{known}",
                hint="edge-bench devices add NAME --ssh USER@HOST, or --agent",
            )
        return devices[name]

    def authenticate(self, token: str) -> str | None:
        """Return the name of the device that a token belongs to, or None.

        Every stored hash is compared, each in constant time: how long it takes tells nothing.
        """
        with self._store.transaction() as connection:
            rows = connection.execute(
                sa.select(_DEVICES.c.name, _DEVICES.c.token_sha256).where(
                    _DEVICES.c.token_sha256.is_not(None)
                )
            ).all()
        matching = [row.name for row in rows if is_token(token, row.token_sha256)]
        return matching[0] if matching else None

    def seen(self, name: str) -> None:
        """Note that a device answered now."""
        now = self._clock()
        with self._store.transaction() as connection:
            connection.execute(
                sa.update(_DEVICES)
                .where(
                    _DEVICES.c.name == name,
                    sa.or_(_DEVICES.c.last_seen.is_(None), _DEVICES.c.last_seen < now - _SEEN_STEP_S),
                )
                .values(last_seen=now)
            )


def registered(store: ResultStore) -> list[Device]:
    """Return the devices in a store's database, sorted by name; looking makes no table."""
    with store.transaction() as connection:
        if not sa.inspect(connection).has_table(_DEVICES.name):
            return []
    return Registry(store).all()


def ago(moment: float | None, now: float) -> str:
    """Return how long ago a moment was, both in seconds since 1970, as people say it: "3 min ago"."""
    if moment is None:
        return "never"
    seconds = max(0.0, now - moment)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
