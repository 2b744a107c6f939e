"""Transports, one file each: how a job reaches a device and its result comes back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edge_bench import variants
from edge_bench.devices.job import Job, Measured
from edge_bench.devices.registry import Device
from edge_bench.files import Home
from edge_bench.store import ResultStore

TRANSPORTS = "edge_bench.devices.transports"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Whether a device answers now, and what is known beside that, in words."""

    reachable: bool
    detail: str = ""


class Transport(ABC):
    """Runs jobs on one device.

    One job at a time, in the order they are given: the device's own lock sees to it that no other
    controller's benchmark runs beside it.
    """

    name: ClassVar[str]

    def __init__(self, device: Device, *, home: Home, store: ResultStore) -> None:
        self.device = device
        self.home = home
        self.store = store

    @abstractmethod
    def run(self, job: Job, model: Path, *, say: Callable[[str], None]) -> Measured:
        """Measure `model` on the device and return the whole record, kept under the device's name: a
        `Survey` where the job is one.

        Adding the record to the store is left to the caller, and may be done twice: it is the same
        record. `say` is given what happens in the meantime, a line at a time.

        Raises:
            DeviceUnreachable: the device did not answer, or the connection was cut.
            EdgeBenchError: what went wrong on the device, of the same class as it had there.
        """

    @abstractmethod
    def reach(self) -> Reach:
        """Ask whether the device answers; takes a few seconds at most."""


def transport_of(device: Device, *, home: Home, store: ResultStore) -> Transport:
    """Return what runs jobs on a device; `MissingExtra` where its library is not installed."""
    return variants.load(Transport, TRANSPORTS, device.transport)(device, home=home, store=store)
