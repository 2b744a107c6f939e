"""The devices of one's own as a table: whether each asks for work, and what it does. Nothing is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from dashboard.columns import Column
from edge_bench.devices.job import SurveyOptions
from edge_bench.devices.queue import LEASE_S, OPEN, Entry
from edge_bench.devices.registry import Device, ago

COLUMNS = {
    "device": Column("device"),
    "does": Column("does now"),
    "waiting": Column("waiting", "%d", "jobs that nobody has begun"),
    "last_job": Column("last job"),
    "last_seen": Column("last seen", help="when it last asked for work, or was asked whether it answers"),
}
# What a device that is reached over a connection does, nobody knows between two jobs.
ASKED = "is asked when there is work"


def status(devices: Iterable[Device], jobs: Sequence[Entry], now: float) -> pd.DataFrame:
    """Return a row a device, in `COLUMNS`.

    Args:
        devices: those that somebody added.
        jobs: as `edge_bench.devices.queue.standing` returns them.
        now: in seconds since 1970.
    """
    rows = []
    for device in devices:
        own = [job for job in jobs if job.device == device.name]
        last = next((job for job in own if job.state not in OPEN), None)
        rows.append(
            {
                "device": device.name,
                "does": _does(device, own, now),
                "waiting": sum(job.state == "queued" for job in own),
                "last_job": _ended(last, now) if last else "",
                "last_seen": ago(device.last_seen, now),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _does(device: Device, own: Iterable[Entry], now: float) -> str:
    running = next((job for job in own if job.state == "leased"), None)
    if running is not None:
        return f"{_work(running)}, begun {ago(running.changed, now)}"
    if device.transport != "agent":
        return ASKED
    if device.last_seen is None:
        return "has not asked for work yet"
    return "asks for work" if now - device.last_seen <= LEASE_S else "is silent"


def _work(job: Entry) -> str:
    return "surveys networks" if isinstance(job.job.options, SurveyOptions) else f"measures {job.job.model}"


def _ended(job: Entry, now: float) -> str:
    cause = f": {job.failure.message}" if job.failure else ""
    what = "a survey" if isinstance(job.job.options, SurveyOptions) else job.job.model
    return f"{what} {job.state} {ago(job.changed, now)}{cause}"
