"""Latencies of many small files measured in turns: what predictors are fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """One visit to each of some files on one device, in one runtime.

    `latencies_ms` holds for each name (an architecture's key, or that of a block's operators) the least
    of some medians. It is no benchmark: it has no interval and no verdict, and one visit may have met a
    disturbance. `space` says which search space the names belong to, `digest` is the SHA-256 of the
    bundle of files that travelled, `environment` the fingerprint of the machine.
    """

    id: str
    device: str
    digest: str
    space: str
    runtime: str
    threads: int
    latencies_ms: Mapping[str, float]
    environment: Mapping[str, Any]
    created: str
