"""list the devices that are known, or show one with the source of every fact"""

from __future__ import annotations

import argparse
from typing import Any

import device_profiles
from device_profiles import DeviceProfile, ProfileError
from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.documents import to_document
from edge_bench.errors import ConfigError
from edge_bench.measure.environment import fingerprint

READ_HERE = "read on the spot"
# What `list` shows, by the name that a device file and the fingerprint of a machine each give it.
COLUMNS = {"cpu": "cpu", "cores": "cores", "ram_mb": "memory_mb"}


class Devices(Command):
    """A device is one file in `device_profiles/devices`; this machine's facts are read when asked for."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "action", nargs="?", choices=("list", "show"), default="list", help="default: list"
        )
        parser.add_argument("device", metavar="ID", nargs="?", help="the device to show")

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        if options.action == "show":
            return _show(options.device)
        if options.device:
            raise ConfigError(
                f"devices list takes no id, '{options.device}' was given",
                hint=f"edge-bench devices show {options.device}",
            )
        return _list()


def _list() -> Outcome:
    profiles = [_load(name) for name in device_profiles.names()]
    rows = [
        {"id": one.id, "name": one.name, **_columns(one), "latencies": _source(one)} for one in profiles
    ]
    document = {"devices": [_document(one) for one in profiles]}
    return Outcome(document=document, text=f"{table(rows)}\nnext: edge-bench devices show ID")


def _show(name: str | None) -> Outcome:
    if name is None:
        known = ", ".join(device_profiles.names())
        raise ConfigError(f"devices show needs the id of a device. Known: {known}")
    profile = _load(name)
    document = _document(profile)
    rows = [
        {"fact": fact, "value": _told(told["value"]), "source": told["source"]}
        for fact, told in document["facts"].items()
    ]
    lines = [f"{profile.name} ({profile.id}); latencies: {_source(profile)}"]
    lines += [table(rows)] if rows else ["  no fact with a source is known"]
    lines += [f"published: {one.what}\n  {one.source}" for one in profile.published]
    return Outcome(document={"device": document}, text="\n".join(lines))


def _load(name: str) -> DeviceProfile:
    try:
        return device_profiles.load(name)
    except ProfileError as error:
        raise ConfigError(str(error)) from error


def _document(profile: DeviceProfile) -> dict[str, Any]:
    """Return a device as one document, with this machine's facts where they are read on the spot."""
    if profile.read_here:
        facts = {key: {"value": value, "source": READ_HERE} for key, value in fingerprint().items()}
    else:
        facts = {key: to_document(fact) for key, fact in profile.facts().items()}
    return {
        "id": profile.id,
        "name": profile.name,
        "latency_source": profile.latency_source,
        "read_here": profile.read_here,
        "facts": facts,
        "published": to_document(profile.published),
    }


def _columns(profile: DeviceProfile) -> dict[str, Any]:
    if profile.read_here:
        here = fingerprint()
        return {name: here[key] for name, key in COLUMNS.items()}
    facts = profile.facts()
    return {name: facts[name].value if name in facts else None for name in COLUMNS}


def _source(profile: DeviceProfile) -> str:
    return "none yet" if profile.latency_source == "none" else profile.latency_source


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
