"""Commands that the server runs in the background, one at a time, each in a process of its own."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import edge_bench
from edge_bench.files import Home
from edge_bench.measure.progress import Progress, progress

State = Literal["queued", "running", "done", "failed", "cancelled"]
ACTIVE: tuple[State, ...] = ("queued", "running")
# How long a command may tidy up when it is cancelled.
GRACE_S = 10.0
STDOUT, STDERR = "stdout", "stderr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One `edge-bench` command: its words, and what it does, for people.

    `tidies` says whether it is to be told when it is cancelled, so that it can leave things as they were;
    a measurement would store what it has by then, and is ended at once.
    """

    words: tuple[str, ...]
    does: str
    tidies: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is asked for, and how far it is. `key` is what it is about: nothing is done twice at a time.

    `note` is told to whoever asks what it was for. `said` is the last line that the command printed,
    `message` and `hint` are those of the error that it ended with, and times are in seconds of
    `time.monotonic`.
    """

    id: int
    key: str
    title: str
    steps: tuple[Step, ...]
    note: Any = None
    state: State = "queued"
    step: int = 0
    began_s: float | None = None
    ended_s: float | None = None
    said: str = ""
    message: str = ""
    hint: str = ""
    progress: Progress | None = None

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def does(self) -> str:
        """What it does now, for people."""
        return self.steps[min(self.step, len(self.steps) - 1)].does

    @property
    def elapsed_s(self) -> float:
        """How long it has run, or ran."""
        if self.began_s is None:
            return 0.0
        return (self.ended_s or time.monotonic()) - self.began_s


class Jobs:
    """The jobs of one server and home folder, for all its sessions. Nothing of them is kept when it ends,
    and what runs then ends with it (`edge_bench.tethered`).

    `version` grows whenever a job is added, begins or ends.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._jobs: dict[int, Job] = {}
        self._waiting: deque[int] = deque()
        self._numbers = itertools.count(1)
        self._child: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._worker: threading.Thread | None = None
        self.version = 0

    def add(self, key: str, title: str, steps: Sequence[Step], *, note: Any = None) -> Job:
        """Have something done behind what waits; where it is under way already, that job is returned."""
        with self._lock:
            known = next((one for one in self._jobs.values() if one.active and one.key == key), None)
            if known is not None:
                return known
            job = Job(id=next(self._numbers), key=key, title=title, steps=tuple(steps), note=note)
            # Of those that have ended only the newest is told of.
            self._jobs = {one.id: one for one in self._jobs.values() if one.active} | {job.id: job}
            self._waiting.append(job.id)
            self.version += 1
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._work, name="edge-bench jobs", daemon=True)
                self._worker.start()
            return job

    def all(self) -> list[Job]:
        """Return the jobs that run or wait, and the one that ended last, in the order they were added."""
        with self._lock:
            folder, jobs = self._folder, list(self._jobs.values())
        if folder is None:
            return jobs
        said, told = _last_line(folder / STDERR), progress(folder)
        return [replace(one, said=said, progress=told) if one.state == "running" else one for one in jobs]

    def about(self, key: str) -> Job | None:
        """Return the newest job about something; None where there is none."""
        return next((one for one in reversed(self.all()) if one.key == key), None)

    def cancel(self, number: int) -> None:
        """End a job that runs, or take back one that waits."""
        with self._lock:
            job = self._jobs.get(number)
            if job is None or not job.active:
                return
            running = job.state == "running"
            self._change(number, state="cancelled", ended_s=time.monotonic())
            child = self._child if running else None
            tidies = job.steps[job.step].tidies
        if child is not None:
            threading.Thread(target=_end, args=(child, tidies), daemon=True).start()

    def dismiss(self, number: int) -> None:
        """Forget a job that has ended."""
        with self._lock:
            if number in self._jobs and not self._jobs[number].active:
                del self._jobs[number]
                self.version += 1

    def _work(self) -> None:
        """Do what waits; the thread ends when nothing does."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._worker = None
                    return
                number = self._waiting.popleft()
                if not self._is_active(number):
                    continue
                self._change(number, state="running", began_s=time.monotonic())
                steps = self._jobs[number].steps
            self._run(number, steps)

    def _run(self, number: int, steps: Sequence[Step]) -> None:
        for place, step in enumerate(steps):
            folder = Path(tempfile.mkdtemp(prefix="edge-bench-job-"))
            try:
                status = self._run_step(number, place, step, folder)
                if status is None:
                    return
                message, hint = _failure(folder, status)
                if message:
                    said = _last_line(folder / STDERR)
                    self._ended(number, "failed", message=message, hint=hint, said=said)
                    return
            finally:
                with self._lock:
                    self._folder = self._child = None
                shutil.rmtree(folder, ignore_errors=True)
        self._ended(number, "done")

    def _run_step(self, number: int, place: int, step: Step, folder: Path) -> int | None:
        """Run a command to its end and return its status; None where it was cancelled."""
        with self._lock:
            if not self._is_active(number):
                return None
            self._change(number, step=place)
            self._folder, self._child = folder, _start(step.words, folder, self._home)
            child = self._child
        status = child.wait()
        if child.stdin:
            child.stdin.close()
        with self._lock:
            return status if self._is_active(number) else None

    def _ended(self, number: int, state: State, **more: str) -> None:
        with self._lock:
            if self._is_active(number):
                self._change(number, state=state, ended_s=time.monotonic(), **more)

    def _is_active(self, number: int) -> bool:
        # One that was cancelled may be forgotten before its command has ended.
        return number in self._jobs and self._jobs[number].active

    def _change(self, number: int, **changes: Any) -> None:
        self._jobs[number] = replace(self._jobs[number], **changes)
        self.version += 1


def _start(words: Sequence[str], folder: Path, home: Home) -> subprocess.Popen[bytes]:
    """Start a command whose temporary files, and those of its sandboxes, lie in `folder`."""
    root = str(Path(edge_bench.__file__).resolve().parents[1])
    before = os.environ.get("PYTHONPATH")
    environment = {
        **os.environ,
        "TMPDIR": str(folder),
        # For a checkout that is not installed; last, so that nothing is put before what is.
        "PYTHONPATH": f"{before}{os.pathsep}{root}" if before else root,
    }
    # Nothing is imported from where the server was started.
    command = [sys.executable, "-P", "-m", "edge_bench.tethered", *words]
    with (folder / STDOUT).open("wb") as out, (folder / STDERR).open("wb") as err:
        return subprocess.Popen(
            [*command, "--json", "--home", str(home.root.absolute())],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            env=environment,
            # A group of its own, so that all of it can be ended.
            start_new_session=True,
        )


def _end(child: subprocess.Popen[bytes], tidies: bool) -> None:
    """End a command and what it has started; one that tidies is told first, as by Ctrl-C."""
    if tidies:
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_S)
    if child.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


def _failure(folder: Path, status: int) -> tuple[str, str]:
    """Return the message and hint of the error that a command ended with; empty where it ended well.

    That a measurement was noisy is no failure: it is stored, and says so.
    """
    try:
        told = json.loads((folder / STDOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        told = {}
    if "error" in told:
        return str(told["error"]["message"]), str(told["error"]["hint"])
    for failure in told.get("failures", ()):
        return str(failure["message"]), ""
    if status == 0 or told:
        return "", ""
    ended = f"signal {-status}" if status < 0 else f"status {status}"
    return f"the command ended with {ended}: {_last_line(folder / STDERR) or 'it said nothing'}", ""


def _last_line(file: Path) -> str:
    """Return the last line of what a command has said so far."""
    with suppress(OSError):
        with file.open("rb") as said:
            said.seek(max(file.stat().st_size - 4096, 0))
            lines = said.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""
    return ""
