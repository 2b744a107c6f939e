"""This machine: the sandboxed benchmark, in a child process, under the machine's lock."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge_bench.devices import bundle
from edge_bench.devices.job import Job, Measured, Options, SurveyOptions
from edge_bench.devices.transports import Reach, Transport
from edge_bench.errors import EdgeBenchError
from edge_bench.files import Home
from edge_bench.measure.benchmark import CutShort, benchmark
from edge_bench.measure.environment import fingerprint
from edge_bench.measure.lock import exclusive
from edge_bench.measure.sandbox import survey
from edge_bench.records import BenchmarkResult, Survey
from edge_bench.store import now

_WAITING = "waiting for another benchmark on this machine to end"


class Local(Transport):
    """A folder of models and a lock on this machine: `device` is only the name of its results."""

    name = "local"

    def run(self, job: Job, model: Path, *, say: Callable[[str], None]) -> Measured:
        return measure(job, model, device=self.device.name, home=self.home, say=say)

    def reach(self) -> Reach:
        return Reach(reachable=True)


def measure(job: Job, model: Path, *, device: str, home: Home, say: Callable[[str], None]) -> Measured:
    """Measure a job's file here. Every job ends in this: an agent's, and the far end's of ssh.

    In a cache of models the file is called after its digest; results and errors call it by its name.

    Raises:
        EdgeBenchError: what `benchmark` or `survey` raises.
    """
    if isinstance(job.options, SurveyOptions):
        return _surveyed(job, job.options, model, device, home, say)
    return _benchmarked(job, job.options, model, device, home, say)


def _surveyed(
    job: Job, options: SurveyOptions, model: Path, device: str, home: Home, say: Callable[[str], None]
) -> Survey:
    with tempfile.TemporaryDirectory(prefix="edge-bench-survey-") as folder:
        files = bundle.unpack(model, Path(folder))
        with exclusive(home, waiting=lambda: say(_WAITING)):
            latencies_ms = survey(
                files,
                runtime=options.runtime,
                threads=options.threads,
                rounds=options.rounds,
                round_ms=options.round_ms,
            )
    return Survey(
        id=str(uuid.uuid4()),
        device=device,
        digest=job.digest,
        space=options.space,
        runtime=options.runtime,
        threads=options.threads,
        latencies_ms=dict(zip((file.stem for file in files), latencies_ms, strict=True)),
        environment=fingerprint(),
        created=now(),
    )


def _benchmarked(
    job: Job, options: Options, model: Path, device: str, home: Home, say: Callable[[str], None]
) -> BenchmarkResult:
    try:
        result = benchmark(
            model,
            home=home,
            artifact=job.artifact,
            device=device,
            waiting=lambda: say(_WAITING),
            **options.arguments(),
        )
    except CutShort as cut:
        # A job counts whole or not at all: it is measured again, or its file is what cut it.
        raise cut.__cause__ or cut from None
    except EdgeBenchError as error:
        error.message = error.message.replace(str(model), job.model).replace(model.name, job.model)
        raise
    return result if job.artifact else replace(result, model=job.model)
