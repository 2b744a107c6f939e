"""A device that polls: jobs wait in the queue until its agent fetches them from the controller."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from edge_bench.devices.job import Job, Measured, SurveyOptions
from edge_bench.devices.models import ModelCache
from edge_bench.devices.queue import Entry, JobQueue
from edge_bench.devices.registry import Registry
from edge_bench.devices.transports import Reach, Transport
from edge_bench.errors import ConfigError, DeviceUnreachable

# A device that polled within this time is there.
SEEN_WITHIN_S = 60.0
_LOOK_S = 0.25


class Agent(Transport):
    """Queues and waits. Whoever stops waiting leaves the job queued; the same command waits again."""

    name = "agent"
    seen_within_s = SEEN_WITHIN_S

    def run(self, job: Job, model: Path, *, say: Callable[[str], None]) -> Measured:
        queue = JobQueue(self.store)
        outgoing = ModelCache.of_controller(self.home)
        outgoing.drop_all_but(queue.wanted())
        outgoing.keep(job, model)
        job = queue.add(self.device.name, job)
        try:
            entry = self._wait(queue, job, say)
        except KeyboardInterrupt:
            say(f"the job stays; to take it back: edge-bench devices cancel {job.id}")
            raise
        if entry.failure is not None:
            raise entry.failure.error()
        if entry.state == "cancelled":
            raise ConfigError(f"job '{job.id}' was cancelled")
        surveyed = isinstance(job.options, SurveyOptions)
        kept: list[Measured] = [
            *(self.store.surveys if surveyed else self.store.results)(device=self.device.name)
        ]
        return next(one for one in kept if one.id == entry.report)

    def reach(self) -> Reach:
        age = self._unseen_s()
        return Reach(reachable=age < self.seen_within_s, detail="polls the controller")

    def _wait(self, queue: JobQueue, job: Job, say: Callable[[str], None]) -> Entry:
        """Wait until the job has ended; give up on a device that does not poll."""
        told: object = None
        begun = time.monotonic()
        while (entry := queue.entry(job.id)).state in ("queued", "leased"):
            if (entry.state, entry.attempts) != told:
                told = (entry.state, entry.attempts)
                say(_words(entry, self.device.name))
            silent_s = min(time.monotonic() - begun, self._unseen_s())
            if entry.state == "queued" and silent_s > self.seen_within_s:
                raise DeviceUnreachable(
                    f"device '{self.device.name}' has not asked for work in {silent_s:.0f} s; "
                    f"job {job.id} stays queued",
                    hint="does `edge-bench devices serve` run here, and `edge-bench agent` on the device?",
                )
            time.sleep(_LOOK_S)
        return entry

    def _unseen_s(self) -> float:
        seen = Registry(self.store).get(self.device.name).last_seen
        return float("inf") if seen is None else time.time() - seen


def _words(entry: Entry, device: str) -> str:
    if entry.state == "leased":
        again = f", attempt {entry.attempts}" if entry.attempts > 1 else ""
        return f"running on '{device}'{again}: {entry.job.model}"
    if entry.attempts:
        return f"queued again for '{device}', which fell silent: {entry.job.model}"
    return f"queued for '{device}': {entry.job.model}"
