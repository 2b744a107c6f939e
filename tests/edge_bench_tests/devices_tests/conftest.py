"""A controller on loopback, agents in this process or in their own, and models with known latencies."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from edge_bench.devices.agent import Agent
from edge_bench.devices.client import ControllerClient
from edge_bench.devices.controller import controller
from edge_bench.devices.job import Job, Options, job_for
from edge_bench.devices.models import ModelCache
from edge_bench.devices.queue import JobQueue
from edge_bench.devices.registry import Device, Registry
from edge_bench.files import Home
from edge_bench.records import BenchmarkResult
from edge_bench.store import ResultStore
from edge_bench.tokens import new_token

PATIENCE_S = 120


@pytest.fixture
def store(home: Home) -> Iterator[ResultStore]:
    """The store of the controller's home."""
    with ResultStore(home.store_url) as opened:
        yield opened


@dataclass
class Controller:
    """A controller that listens on loopback, and how a test puts devices and jobs in front of it."""

    url: str
    home: Home
    store: ResultStore

    @property
    def queue(self) -> JobQueue:
        return JobQueue(self.store)

    def device(self, name: str = "pi") -> str:
        """Add a device that polls; return its token."""
        token = new_token()
        Registry(self.store).add(Device(name=name, transport="agent"), token=token)
        return token

    def job(self, model: Path, device: str = "pi", **options: Any) -> Job:
        """Queue a job of a moment's length."""
        job = job_for(model, Options(**{"max_seconds": 0.2, **options}))
        ModelCache.of_controller(self.home).keep(job, model)
        return self.queue.add(device, job)

    def agent(self, token: str, home: Home, *, url: str = "", said: list[str] | None = None) -> Agent:
        """Return an agent of this process; it never really sleeps between its questions."""
        heard = [] if said is None else said
        client = ControllerClient(url or self.url, token, timeout_s=5)
        return Agent(client, home, say=heard.append, poll_s=0.01, sleep=lambda s: time.sleep(min(s, 0.05)))

    def results(self) -> list[BenchmarkResult]:
        return self.store.results()


@pytest.fixture
def served(home: Home, store: ResultStore, request: pytest.FixtureRequest) -> Iterator[Controller]:
    """A controller in a thread of this process; a lease lasts 60 s, or what the test's parameter says."""
    app = controller(store, home, lease_s=getattr(request, "param", 60.0), body_timeout_s=2)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_config=None, log_level="warning", lifespan="off", timeout_graceful_shutdown=1
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield Controller(f"http://127.0.0.1:{listening.getsockname()[1]}", home, store)
    server.should_exit = True
    thread.join(20)
    listening.close()


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[..., Path]:
    """Write a model whose latencies are known; every name is a file, and a digest, of its own."""

    def write(name: str = "known", **document: Any) -> Path:
        file = tmp_path / f"{name}.scripted"
        latency = 1 + sum(name.encode()) / 1e6
        file.write_text(json.dumps({"latencies_ms": [latency], **document}), encoding="utf-8")
        return file

    return write


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `edge-bench` in a process of its own; what still runs at the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_bench", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=options.pop("stderr", subprocess.DEVNULL),
            text=True,
            **options,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def eventually(holds: Callable[[], Any], *, within_s: float = PATIENCE_S) -> None:
    """Wait until something holds; fail when it does not within a bounded time."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it did not come to hold in time"
        time.sleep(0.05)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., None]:
    return eventually
