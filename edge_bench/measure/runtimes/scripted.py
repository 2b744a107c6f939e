"""A runtime whose latencies are written in its file: for tests and demonstrations, no hardware needed."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench.documents import from_document
from edge_bench.errors import ConfigError, InvalidModel
from edge_bench.measure.clock import Clock, MachineClock
from edge_bench.measure.runtimes import Runtime, Session, Tensors, fixed_batch
from edge_bench.records.artifact import TensorSpec


@dataclass(frozen=True, kw_only=True)
class Script:
    """What a `.scripted` file (JSON) says.

    The n-th timed run takes the n-th latency, and after the last it begins again; `off_cpu` is the
    share of each in which the thread did not run. `crash` names a signal that the first run raises,
    or the timed run of number `crash_at`; `hang_seconds` is how long the first run sleeps for real and
    `real_seconds` each timed one. `temperature_c` and `frequency_mhz` are what the n-th look shows.
    With `batch` the file takes batches of that size only. In place of latencies there may be `sines`:
    so many are computed in each run, and this machine's own clock times them.
    """

    latencies_ms: tuple[float, ...] = ()
    sines: int = 0
    off_cpu: tuple[float, ...] = (0.0,)
    crash: str | None = None
    crash_at: int | None = None
    hang_seconds: float = 0.0
    real_seconds: float = 0.0
    temperature_c: tuple[float, ...] = ()
    frequency_mhz: tuple[float, ...] = ()
    batch: int | None = None


class Scripted(Runtime):
    """Its time is that of the script: nothing waits, and every nanosecond is known."""

    name = "scripted"
    formats = ("scripted",)
    precedence = 0

    def open(self, model: Path, *, threads: int, batch: int = 1) -> Session:
        try:
            document: Any = json.loads(model.read_text(encoding="utf-8"))
            script = from_document(Script, document)
        except (ValueError, ConfigError) as error:
            raise InvalidModel(f"scripted refuses '{model.name}': {error}") from error
        if not (script.latencies_ms or script.sines > 0) or not script.off_cpu:
            raise InvalidModel(f"scripted refuses '{model.name}': no latencies")
        if script.batch is not None and batch != script.batch:
            raise fixed_batch(model, script.batch, batch)
        return _Session(script)

    def version(self) -> str:
        return "1"


class _Session(Session):
    precision = "fp32"

    def __init__(self, script: Script) -> None:
        self._script = script
        self._clock = _ScriptClock(script)
        self._runs = 0
        self._angles = np.linspace(0, 1, script.sines, dtype=np.float32)
        self._sines = np.empty_like(self._angles)
        self.inputs = (TensorSpec(name="input", dtype="float32", shape=(script.batch, 4)),)
        self.outputs = (TensorSpec(name="output", dtype="float32", shape=(script.batch, 4)),)

    def run(self, feeds: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        if self._script.crash_at is None:
            self._crash()
        time.sleep(self._script.hang_seconds)
        return {"output": np.asarray(feeds["input"], np.float32) * 2}

    def prepare(self, feeds: Tensors) -> None:
        self._bound = dict(feeds)

    def invoke(self) -> None:
        if self._script.sines:
            np.sin(self._angles, out=self._sines)
            return
        script, number = self._script, self._runs
        if number == script.crash_at:
            self._crash()
        if script.real_seconds:
            time.sleep(script.real_seconds)
        wall = round(script.latencies_ms[number % len(script.latencies_ms)] * 1e6)
        self._clock.wall += wall
        self._clock.away += round(wall * script.off_cpu[number % len(script.off_cpu)])
        self._runs += 1

    def clock(self, threads: int) -> Clock:
        return MachineClock(threads) if self._script.sines else self._clock

    def _crash(self) -> None:
        if self._script.crash:
            os.kill(os.getpid(), signal.Signals[self._script.crash])


class _ScriptClock(Clock):
    of_this_machine = False

    def __init__(self, script: Script) -> None:
        self.wall = 0
        self.away = 0
        self._temperatures_c = iter(script.temperature_c)
        self._frequencies_mhz = iter(script.frequency_mhz)

    def wall_ns(self) -> int:
        return self.wall

    def away_ns(self) -> int:
        return self.away

    def sleep(self, seconds: float) -> None:
        self.wall += round(seconds * 1e9)
        self.away += round(seconds * 1e9)

    def thermals(self) -> tuple[float | None, float | None]:
        return next(self._temperatures_c, None), next(self._frequencies_mhz, None)
