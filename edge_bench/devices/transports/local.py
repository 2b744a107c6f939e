"""This machine: the sandboxed benchmark, in a child process, under the machine's lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge_bench.devices.job import Job
from edge_bench.devices.transports import Reach, Transport
from edge_bench.errors import EdgeBenchError
from edge_bench.files import Home
from edge_bench.measure.benchmark import CutShort, benchmark
from edge_bench.records import BenchmarkResult


class Local(Transport):
    """A folder of models and a lock on this machine: `device` is only the name of its results."""

    name = "local"

    def run(self, job: Job, model: Path, *, say: Callable[[str], None]) -> BenchmarkResult:
        return measure(job, model, device=self.device.name, home=self.home, say=say)

    def reach(self) -> Reach:
        return Reach(reachable=True)


def measure(
    job: Job, model: Path, *, device: str, home: Home, say: Callable[[str], None]
) -> BenchmarkResult:
    """Measure a job's file here. Every job ends in this: an agent's, and the far end's of ssh.

    In a cache of models the file is called after its digest; results and errors call it by its name.

    Raises:
        EdgeBenchError: what `benchmark` raises.
    """
    try:
        result = benchmark(
            model,
            home=home,
            artifact=job.artifact,
            device=device,
            waiting=lambda: say("waiting for another benchmark on this machine to end"),
            **job.options.arguments(),
        )
    except CutShort as cut:
        # A job counts whole or not at all: it is measured again, or its file is what cut it.
        raise cut.__cause__ or cut from None
    except EdgeBenchError as error:
        error.message = error.message.replace(str(model), job.model).replace(model.name, job.model)
        raise
    return result if job.artifact else replace(result, model=job.model)
