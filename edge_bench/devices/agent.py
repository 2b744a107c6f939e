"""The agent: a device asks its controller for work, measures, and hands the result over."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edge_bench.devices.client import ControllerClient, ControllerUnreachable, Refused, UnreadableJob
from edge_bench.devices.job import Failure, Report
from edge_bench.devices.models import ModelCache
from edge_bench.devices.protocol import Hold
from edge_bench.devices.queue import Grant
from edge_bench.devices.spool import Spool
from edge_bench.devices.transports.local import measure
from edge_bench.documents import canonical_json
from edge_bench.errors import ConfigError, DataError, EdgeBenchError, StoreError
from edge_bench.files import Home, locked, write_text

POLL_S = 3.0
LONGEST_WAIT_S = 60.0
DOWNLOADS = 3


@dataclass(kw_only=True)
class Tally:
    """What an agent did: reports delivered that were counted, and those that were not needed."""

    delivered: int = 0
    dropped: int = 0


class Agent:
    """One loop: deliver what waits, ask, measure, again.

    What was measured is on the disk before it is sent, and is sent until the controller has taken
    it: a cut connection costs time, never a result. Its heartbeat is a thread of this process, which
    sleeps while the model runs in its own: one request every third of a lease.
    """

    def __init__(
        self,
        client: ControllerClient,
        home: Home,
        *,
        say: Callable[[str], None],
        poll_s: float = POLL_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._home = home
        self._folder = home.root / "agent"
        self._say = say
        self._poll_s = poll_s
        self._sleep = sleep
        self._models = ModelCache.of_device(home)
        self._failures = 0
        self._may_hold = False
        self.tally = Tally()

    def run(self, *, once: bool) -> Tally:
        """Work until interrupted; with `once`, one job at most, and errors of the connection end it.

        Raises:
            ConfigError: the token is not known, or another agent runs under this home.
            ControllerUnreachable: with `once`, the controller did not answer.
        """
        with _alone(self._home):
            self._spool = Spool(self._folder / "spool.jsonl")
            self._identity = _identity(self._folder / "identity")
            try:
                return self._loop(once)
            except KeyboardInterrupt:
                if self._may_hold:
                    self._say("interrupted; what was being measured goes back into the queue")
                    with suppress(EdgeBenchError):
                        self._client.release(self._identity)
                raise

    def _loop(self, once: bool) -> Tally:
        while True:
            try:
                self._deliver()
                worked = self._work()
                self._deliver()
            except ControllerUnreachable as error:
                if once:
                    raise
                self._wait_after(error)
                continue
            self._failures = 0
            if once:
                return self.tally
            if not worked:
                self._sleep(self._poll_s * random.uniform(0.8, 1.2))

    def _deliver(self) -> None:
        for report in self._spool.waiting:
            try:
                receipt = self._client.report(report)
            except Refused as error:
                self._set_aside(report, error)
            else:
                self.tally.delivered += receipt.accepted
                self.tally.dropped += not receipt.accepted
                why = f" ({receipt.why})" if receipt.why else ""
                self._say(
                    f"report of job {report.job}: {'taken' if receipt.accepted else 'not needed'}{why}"
                )
            self._spool.delivered(report)

    def _set_aside(self, report: Report, error: Refused) -> None:
        path = self._folder / "refused" / f"{uuid.UUID(report.id)}.json"
        write_text(path, canonical_json(report))
        self._say(f"{error.message}; the report is kept as {path}")

    def _work(self) -> bool:
        """Take one job if there is one, and spool how it ended; return whether there was one."""
        # From before the question: its answer may be on its way when somebody ends the agent.
        self._may_hold = True
        try:
            device, grant = self._client.lease(self._identity)
        except UnreadableJob as error:
            self._finish(error.hold, Failure.of(error))
            return True
        if grant is None:
            self._may_hold = False
            return False
        hold = Hold(job=grant.job.id, lease=grant.lease)
        self._say(f"job {hold.job}: {grant.job.model}, attempt {grant.attempt}")
        with _beating(self._client, hold, every_s=grant.lease_s / 3):
            self._measure(device, grant, hold)
        return True

    def _measure(self, device: str, grant: Grant, hold: Hold) -> None:
        try:
            model = self._fetch(grant)
            result = measure(grant.job, model, device=device, home=self._home, say=self._say)
        except ControllerUnreachable:
            raise
        except EdgeBenchError as error:
            self._finish(hold, Failure.of(error))
        except Exception as error:
            # One job that meets a fault of ours must not end the agent: the controller is told.
            self._finish(hold, Failure.of(error))
        else:
            self._finish(hold, Report(id=result.id, job=hold.job, lease=hold.lease, result=result))

    def _fetch(self, grant: Grant) -> Path:
        """Return the job's model file, downloaded unless it is there."""
        job = grant.job
        if self._models.has(job):
            return self._models.path(job)
        for attempt in range(1, DOWNLOADS + 1):
            try:
                return self._models.receive(
                    job, lambda file: self._client.download(job.digest, job.size_bytes, file)
                )
            except (ControllerUnreachable, DataError) as error:
                if attempt == DOWNLOADS:
                    raise
                self._say(f"{error.message}; trying again")
                self._sleep(_backoff_s(attempt))
        raise AssertionError("unreachable: the loop returns or raises")

    def _finish(self, hold: Hold, ended: Failure | Report) -> None:
        report = ended
        if isinstance(ended, Failure):
            self._say(f"job {hold.job} failed: {ended.message}")
            report = Report(id=str(uuid.uuid4()), job=hold.job, lease=hold.lease, failure=ended)
        assert isinstance(report, Report)
        self._may_hold = False
        try:
            self._spool.finished(report)
        except StoreError as error:
            self._say(f"{error.message}; the report is in memory until the controller takes it")

    def _wait_after(self, error: ControllerUnreachable) -> None:
        self._failures += 1
        wait_s = _backoff_s(self._failures)
        self._say(f"{error.message}; trying again in {wait_s:.0f} s")
        self._sleep(wait_s)


def _backoff_s(failures: int) -> float:
    """Return how long to wait: twice as long each time, and never two devices at the same moment."""
    return min(LONGEST_WAIT_S, 2.0 ** min(failures - 1, 10)) * random.uniform(0.5, 1.0)


def _identity(path: Path) -> str:
    """Return the name of this home's agent, the same over restarts; made at the first."""
    if not path.exists():
        write_text(path, str(uuid.uuid4()))
    return path.read_text(encoding="utf-8").strip()


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Hold the home folder's agent lock: two agents would run each other's spool."""

    def taken() -> None:
        raise ConfigError(f"another agent runs under '{home.root}'", hint="stop it, or name another --home")

    with locked(home.root / "agent" / "agent.lock", taken=taken):
        yield


@contextmanager
def _beating(client: ControllerClient, hold: Hold, *, every_s: float) -> Iterator[None]:
    """Renew a lease from a thread during the block. A beat that does not get through is no reason to
    stop measuring: a result that comes late counts too.
    """
    over = threading.Event()

    def beat() -> None:
        while not over.wait(every_s):
            with suppress(EdgeBenchError):
                if not client.heartbeat(hold):
                    return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        # Not joined: a beat that hangs in a dead connection would hold the result back.
        over.set()
