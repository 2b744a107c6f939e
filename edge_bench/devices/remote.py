"""The far end of ssh: `python -m edge_bench.devices.remote ACTION`, one JSON document a line on stdout.

It reads what it is to do as one line on stdin, and ends when stdin does: a cut connection leaves no
benchmark behind that would hold the device's lock.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from edge_bench import __version__
from edge_bench.devices.job import Failure, Job, read_job
from edge_bench.devices.models import ModelCache
from edge_bench.devices.transports.local import measure
from edge_bench.documents import to_document
from edge_bench.errors import INTERRUPTED, OK, ConfigError, EdgeBenchError
from edge_bench.files import default_home

VERSION = 1
_CHUNK = 1 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one action of `ACTIONS`; what goes wrong is told on stdout, as a document with "failure"."""
    [action] = sys.argv[1:] if arguments is None else arguments
    try:
        ACTIONS[action](json.loads(sys.stdin.buffer.readline()))
    except EdgeBenchError as error:
        _tell(failure=Failure.of(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    return OK


def hello(document: Mapping[str, Any]) -> None:
    """Tell which edge-bench this is and, where a job is named, whether its model file is here."""
    has = "job" in document and ModelCache.of_device(default_home()).has(read_job(document["job"]))
    _tell(version=VERSION, edge_bench=__version__, has=has)


def put(document: Mapping[str, Any]) -> None:
    """Read the job's model file from stdin, and no more than its size."""
    job = read_job(document["job"])
    ModelCache.of_device(default_home()).receive(job, lambda file: _copy(job, file))
    _tell(put=True)


def run(document: Mapping[str, Any]) -> None:
    """Measure the job's model file; tell what happens, then the result."""
    job, home = read_job(document["job"]), default_home()
    models = ModelCache.of_device(home)
    if not models.has(job):
        raise ConfigError(
            f"'{job.model}' is gone from the device's cache", hint="run the same command again"
        )
    threading.Thread(target=_end_with_connection, daemon=True).start()
    result = measure(
        job, models.path(job), device=document["device"], home=home, say=lambda text: _tell(says=text)
    )
    _tell(result=result)


ACTIONS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "hello": hello,
    "put": put,
    "run": run,
}


def _copy(job: Job, file: IO[bytes]) -> None:
    left = job.size_bytes
    while left > 0 and (part := sys.stdin.buffer.read(min(_CHUNK, left))):
        file.write(part)
        left -= len(part)


def _end_with_connection() -> None:
    # The sandbox's child ends with this process, and the kernel lets go of the lock.
    while os.read(sys.stdin.fileno(), _CHUNK):
        pass
    os._exit(INTERRUPTED)


def _tell(**document: Any) -> None:
    print(json.dumps(to_document(document)), flush=True)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(main())
