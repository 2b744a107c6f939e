"""Ten devices at once, each a process of its own: one is killed, one cut off, the controller restarts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from edge_bench.devices.job import Options, job_for
from edge_bench.devices.models import ModelCache
from edge_bench.devices.queue import JobQueue
from edge_bench.devices.registry import Device, Registry
from edge_bench.files import Home
from edge_bench.store import ResultStore
from edge_bench.tokens import new_token

Scripted = Callable[..., Path]
Started = Callable[..., subprocess.Popen[str]]
AGENTS, JOBS = 10, 3
# Each job sleeps twice as long, for its memory and for its timing: long enough to be met in the middle.
SLOW_S = 0.5


class Proxy:
    """A connection that can be cut: what goes through it goes to `port` on loopback, or nowhere."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: list[socket.socket] = []
        self.whole = True
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self.whole = False
        for one in self._open:
            one.close()

    def mend(self) -> None:
        self.whole = True

    def close(self) -> None:
        self.cut()
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
                if not self.whole:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._to), timeout=30)
            except OSError:
                if self._listening.fileno() < 0:
                    return
                continue
            near.settimeout(30)
            self._open = [one for one in self._open if one.fileno() >= 0] + [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while part := source.recv(65536):
            sink.sendall(part)
    except OSError:
        pass
    for one in (source, sink):
        one.close()


class Watch:
    """Looks at the process table: how many sandboxes each device had at the same moment, at most."""

    def __init__(self) -> None:
        self.agents: dict[str, list[psutil.Process]] = {}
        self.most: Counter[str] = Counter()
        self.looks = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(20)

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.looks += 1
            for name, agents in list(self.agents.items()):
                running = 0
                for agent in list(agents):
                    try:
                        running += sum(one.status() != "zombie" for one in agent.children())
                    except psutil.NoSuchProcess:
                        continue
                self.most[name] = max(self.most[name], running)


@pytest.fixture
def watch() -> Iterator[Watch]:
    watching = Watch()
    yield watching
    watching.stop()


def controller(started: Started, home: Home, port: int = 0) -> tuple[subprocess.Popen[str], int]:
    words = ("devices", "serve", "--port", str(port), "--lease-seconds", "4", "--home", str(home.root))
    process = started(*words, stderr=subprocess.PIPE)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "listening on http://127.0.0.1:" in line, line
    return process, int(line.split("127.0.0.1:")[1].split(";")[0])


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_counted_twice(
    home: Home,
    store: ResultStore,
    scripted: Scripted,
    started: Started,
    watch: Watch,
    eventually: Any,
    tmp_path: Path,
) -> None:
    names = [f"device-{number}" for number in range(AGENTS)]
    killed, cut = names[:2]
    queue = JobQueue(store)
    jobs = {}
    for name in names:
        token = new_token()
        Registry(store).add(Device(name=name, transport="agent"), token=token)
        (tmp_path / f"{name}.token").write_text(token, encoding="utf-8")
        for number in range(JOBS):
            model = scripted(f"{name}-{number}", hang_seconds=SLOW_S)
            job = job_for(model, Options(max_seconds=0.1))
            ModelCache.of_controller(home).keep(job, model)
            jobs[job.id] = queue.add(name, job)
    server, port = controller(started, home)
    proxy = Proxy(port)

    def agent(name: str) -> subprocess.Popen[str]:
        through = proxy.port if name == cut else port
        process = started(
            *("agent", "--controller", f"http://127.0.0.1:{through}", "--poll-seconds", "0.5"),
            *("--token-file", str(tmp_path / f"{name}.token"), "--home", str(tmp_path / name)),
        )
        watch.agents.setdefault(name, []).append(psutil.Process(process.pid))
        return process

    def measuring(name: str) -> bool:
        states = [entry.state for entry in queue.entries(name)]
        return "leased" in states and bool(watch.agents[name][-1].children())

    processes = {name: agent(name) for name in names}
    # One is killed while it measures and comes back; one is cut off for longer than its lease.
    eventually(lambda: measuring(killed))
    os.kill(processes[killed].pid, signal.SIGKILL)
    processes[killed].wait(20)
    eventually(lambda: measuring(cut))
    proxy.cut()
    processes[killed] = agent(killed)
    # The controller too, while all of them work.
    eventually(lambda: any(entry.state == "done" for entry in queue.entries()))
    server.kill()
    server.wait(20)
    eventually(lambda: all(entry.state != "leased" for entry in queue.entries(cut)))
    server, again = controller(started, home, port)
    assert again == port
    proxy.mend()

    eventually(lambda: all(entry.state == "done" for entry in queue.entries()), within_s=300)
    # Whatever is still on its way arrives, and changes nothing.
    time.sleep(2)
    for process in processes.values():
        process.send_signal(signal.SIGTERM)
    assert {process.wait(60) for process in processes.values()} == {130}
    proxy.close()
    watch.stop()

    results = store.results()
    entries = {entry.job.id: entry for entry in queue.entries()}
    assert set(entries) == set(jobs)
    assert Counter(entry.report for entry in entries.values()) == Counter(one.id for one in results)
    assert Counter((one.device, one.digest) for one in results) == Counter(
        (entry.device, entry.job.digest) for entry in entries.values()
    )
    assert len(results) == AGENTS * JOBS
    assert max(entry.attempts for entry in entries.values() if entry.device == killed) == 2
    assert all(entry.attempts >= 1 for entry in entries.values())
    assert watch.looks > 20 and set(watch.most) == set(names)
    assert all(watch.most[name] == 1 for name in names), watch.most
