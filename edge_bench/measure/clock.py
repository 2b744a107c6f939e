"""What time is read from while measuring: wall time, and time in which the work was kept waiting."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from edge_bench.measure.heat import thermals
from edge_bench.measure.witness import run_delay_ns


class Clock(ABC):
    """Two counters that only their differences mean anything of.

    `of_this_machine` says whether other work on this machine can disturb what it times.
    """

    of_this_machine: ClassVar[bool] = True

    @abstractmethod
    def wall_ns(self) -> int:
        """Return nanoseconds of wall time."""

    @abstractmethod
    def away_ns(self) -> int | None:
        """Return nanoseconds in which the measuring threads were off the CPU, or None if untold."""

    @abstractmethod
    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass without working."""

    @abstractmethod
    def thermals(self) -> tuple[float | None, float | None]:
        """Return the temperature in °C and the CPU's clock in MHz, None where untold."""


class MachineClock(Clock):
    """This machine's clock, for work done by `threads` threads; read it in the thread that measures.

    One thread is away whenever its CPU time stands still. Of several, some rest between operators
    without being disturbed, so there it is the scheduler's own count that tells: the time in which
    a thread was ready to run and did not (`schedstat`, Linux only), shared among the threads.
    """

    def __init__(self, threads: int, *, root: Path = Path("/")) -> None:
        self.threads = threads
        self.root = root
        self.tasks = root / "proc" / "self" / "task"

    def wall_ns(self) -> int:
        return time.perf_counter_ns()

    def away_ns(self) -> int | None:
        if self.threads == 1:
            return time.perf_counter_ns() - time.thread_time_ns()
        delay = run_delay_ns(self.tasks)
        return None if delay is None else delay // self.threads

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def thermals(self) -> tuple[float | None, float | None]:
        return thermals(root=self.root)
