"""What a controller and an agent agree on: paths, header, and how large a body may be."""

from __future__ import annotations

from dataclasses import dataclass

LEASE = "/v1/lease"
HEARTBEAT = "/v1/heartbeat"
RELEASE = "/v1/release"
MODEL = "/v1/models/{digest}"
REPORT = "/v1/reports/{id}"
# A report holds every raw latency of a measurement; everything else is a few words.
MAX_REPORT_BYTES = 64_000_000
MAX_BODY_BYTES = 64_000
MAX_MODEL_BYTES = 4 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What an agent says of itself as it asks for work, or wants none.

    `agent` stays the same over restarts and is one home folder's own; `name` is for the controller to
    check.
    """

    agent: str
    name: str | None = None
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A lease that an agent holds."""

    job: str
    lease: str
