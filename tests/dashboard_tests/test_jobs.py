"""Commands in the background: one at a time, told as they go, ended when asked, and with their server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dashboard.jobs import Job, Jobs, Step
from edge_bench.files import Home
from edge_bench.store import ResultStore

PATIENCE_S = 120


def scripted(folder: Path, name: str, **script: object) -> str:
    """Write a file for the scripted runtime, and return its path."""
    file = folder / f"{name}.scripted"
    file.write_text(json.dumps({"latencies_ms": [1.0], **script}), encoding="utf-8")
    return str(file)


def bench(folder: Path, name: str, **script: object) -> Step:
    return Step(words=("bench", scripted(folder, name, **script)), does="measuring", tidies=False)


def endless(folder: Path, *, tidies: bool = False) -> Step:
    """Return a measurement that goes on for minutes: so unlike are its latencies."""
    file = scripted(folder, "endless", latencies_ms=[10.0, 40.0], real_seconds=0.05)
    return Step(words=("bench", file, "--max-seconds", "600"), does="measuring", tidies=tidies)


def until(jobs: Jobs, number: int, met: Callable[[Job], bool]) -> Job:
    """Return a job once it is as it should be."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        job = next(one for one in jobs.all() if one.id == number)
        if met(job):
            return job
        time.sleep(0.05)
    raise AssertionError(f"still {job}")


def ended(job: Job) -> bool:
    return not job.active


def children() -> list[psutil.Process]:
    found = []
    for one in psutil.Process().children():
        # One that was killed and not yet waited for has no command.
        with contextlib.suppress(psutil.Error):
            found += [one] if "edge_bench.tethered" in one.cmdline() else []
    return found


@pytest.fixture
def jobs(home: Home) -> Iterator[Jobs]:
    """Jobs of an empty home; what a test leaves running is ended."""
    made = Jobs(home)
    yield made
    for job in made.all():
        made.cancel(job.id)
    psutil.wait_procs(children(), timeout=PATIENCE_S)


def test_a_measurement_is_told_as_it_goes_and_is_stored(jobs: Jobs, home: Home, tmp_path: Path) -> None:
    slow = bench(tmp_path, "slow", latencies_ms=[100.0], real_seconds=0.02)
    job = jobs.add("one", "slow", [slow], note="kept")
    before = jobs.version
    told = until(jobs, job.id, lambda one: ended(one) or bool(one.progress and one.progress.blocks > 1))
    assert told.progress is not None and told.progress.stage == "timing"
    assert told.state == "running" and told.elapsed_s > 0
    done = until(jobs, job.id, ended)
    assert (done.state, done.message, done.note) == ("done", "", "kept")
    assert jobs.version > before
    with ResultStore(home.store_url) as store:
        [result] = store.results()
    assert result.model == "slow.scripted" and len(result.blocks) > 1


def test_one_runs_at_a_time_and_nothing_is_done_twice_at_once(jobs: Jobs, tmp_path: Path) -> None:
    first = jobs.add("a", "first", [bench(tmp_path, "a", latencies_ms=[500.0], real_seconds=0.2)])
    second = jobs.add("b", "second", [bench(tmp_path, "b")])
    again = jobs.add("a", "first", [bench(tmp_path, "a")])
    assert again.id == first.id
    until(jobs, first.id, lambda one: one.state == "running")
    assert next(one for one in jobs.all() if one.id == second.id).state == "queued"
    assert len(children()) == 1
    until(jobs, second.id, ended)
    assert [one.state for one in jobs.all()] == ["done", "done"]


def test_a_failure_is_told_in_the_commands_own_words_and_ends_its_job(jobs: Jobs, tmp_path: Path) -> None:
    broken = Step(words=("bench", "no-such-file"), does="measuring")
    job = jobs.add("one", "broken", [broken, bench(tmp_path, "never")])
    told = until(jobs, job.id, ended)
    assert (told.state, told.does) == ("failed", "measuring")
    assert told.message.startswith("there is no file and no artifact 'no-such-file'")
    hinted = jobs.add("two", "hinted", [Step(words=("export", "--home", "."), does="writing")])
    told = until(jobs, hinted.id, ended)
    assert told.message and told.hint


def test_a_command_that_somebody_else_ends_has_failed(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.add("one", "killed", [endless(tmp_path)])
    until(jobs, job.id, lambda one: one.progress is not None)
    children()[0].kill()
    told = until(jobs, job.id, ended)
    assert told.state == "failed" and told.message.startswith("the command ended with signal 9: ")


@pytest.mark.parametrize("tidies", [True, False])
def test_a_cancelled_job_ends_with_all_it_started(
    jobs: Jobs, home: Home, tmp_path: Path, tidies: bool
) -> None:
    job = jobs.add("one", "endless", [endless(tmp_path, tidies=tidies)])
    waiting = jobs.add("two", "waiting", [bench(tmp_path, "waiting")])
    until(jobs, job.id, lambda one: bool(one.progress and one.progress.blocks))
    [child] = children()
    started = [child, *child.children(recursive=True)]
    assert len(started) > 1, "the sandbox has a child of its own"
    jobs.cancel(waiting.id)
    jobs.cancel(job.id)
    assert [one.state for one in jobs.all()] == ["cancelled", "cancelled"]
    gone, left = psutil.wait_procs(started, timeout=PATIENCE_S)
    assert not left
    with ResultStore(home.store_url) as store:
        kept = store.results()
    assert bool(kept) == tidies, "one that tidies ends as by Ctrl-C, and bench keeps what it has"
    after = jobs.add("three", "after", [bench(tmp_path, "after")])
    assert until(jobs, after.id, ended).state == "done"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_what_runs_ends_with_the_server_however_that_ends(
    home: Home, tmp_path: Path, by: signal.Signals
) -> None:
    words = endless(tmp_path).words
    program = (
        "import sys, time; from pathlib import Path; from dashboard.jobs import Jobs, Step; "
        "from edge_bench.files import Home; jobs = Jobs(Home(Path(sys.argv[1]))); "
        "jobs.add('one', 'endless', [Step(words=tuple(sys.argv[2:]), does='measuring')]); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(home.root), *words]) as server:
        try:
            started = _grown(server.pid)
            os.kill(server.pid, by)
            server.wait(PATIENCE_S)
        finally:
            server.kill()
    _, left = psutil.wait_procs(started, timeout=PATIENCE_S)
    for process in left:
        process.kill()
    assert not left


def test_of_ended_jobs_the_last_is_told_until_it_is_dismissed(jobs: Jobs, tmp_path: Path) -> None:
    first = jobs.add("a", "first", [Step(words=("bench", "nothing"), does="measuring")])
    until(jobs, first.id, ended)
    second = jobs.add("b", "second", [Step(words=("bench", "nothing"), does="measuring")])
    until(jobs, second.id, ended)
    assert [one.title for one in jobs.all()] == ["second"]
    version = jobs.version
    jobs.dismiss(second.id)
    assert jobs.all() == [] and jobs.version > version


def _grown(pid: int) -> list[psutil.Process]:
    """Return what a process has started, once that is a command, its sandbox's child and no fewer."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = psutil.Process(pid).children(recursive=True)
        if len(found) > 1:
            return found
        time.sleep(0.1)
    raise AssertionError("nothing was started")
