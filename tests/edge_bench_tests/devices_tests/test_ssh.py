"""Over a real sshd on loopback: copied once, measured there, kept here; whatever is cut counts nothing."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from edge_bench import errors
from edge_bench.cli import main
from edge_bench.devices.job import Options, job_for
from edge_bench.devices.registry import Device, Registry
from edge_bench.devices.transports import Transport, transport_of
from edge_bench.errors import ConfigError, DeviceUnreachable, EdgeBenchError
from edge_bench.files import HOME_VARIABLE, Home
from edge_bench.measure.lock import exclusive
from edge_bench.store import ResultStore

Scripted = Callable[..., Path]
pytest.importorskip("asyncssh")


@dataclass
class Sshd:
    """An sshd that lets this user in with a key of the test's own."""

    port: int
    identity: Path
    device_home: Home
    process: subprocess.Popen[bytes]
    python: Path

    @property
    def address(self) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "user": getpass.getuser(),
            "port": self.port,
            "python": str(self.python),
            "identity": str(self.identity),
        }


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    found = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if found is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no sshd on this machine: apt-get install openssh-server")
    folder = tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    (folder / "authorized").write_bytes((folder / "user.pub").read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    if os.geteuid() == 0:
        # Where root starts it, sshd wants this folder for the processes that it locks in.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    device_home = Home(tmp_path / "device")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\n{HOME_VARIABLE}="{device_home.root}" exec {sys.executable} "$@"\n')
    python.chmod(0o700)
    options = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
    }
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    log = (folder / "log").open("wb")
    process = subprocess.Popen([found, "-D", "-e", "-f", "/dev/null", *words], stdout=log, stderr=log)
    _until_it_listens(port, process, folder / "log")
    known = tmp_path / "user" / ".ssh" / "known_hosts"
    known.parent.mkdir(parents=True)
    known.write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}", encoding="utf-8")
    monkeypatch.setenv("HOME", str(known.parents[1]))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    yield Sshd(port, folder / "user", device_home, process, python)
    for one in _sessions(process.pid):
        os.kill(one, signal.SIGKILL)
    process.kill()
    process.wait()
    log.close()


def _until_it_listens(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            pytest.skip(f"sshd does not start here: {log.read_text(encoding='utf-8').strip()[-200:]}")
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("sshd does not listen")


def _sessions(server: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(server).children() if child.is_running()]


@pytest.fixture
def transport(sshd: Sshd, store: ResultStore, home: Home) -> Transport:
    device = Device(name="board", transport="ssh", address=sshd.address)
    Registry(store).add(device)
    return transport_of(device, home=home, store=store)


def changed(transport: Transport, **address: Any) -> Transport:
    device = replace(transport.device, address={**transport.device.address, **address})
    return transport_of(device, home=transport.home, store=transport.store)


def refused(transport: Transport, model: Path) -> EdgeBenchError:
    with pytest.raises(EdgeBenchError) as raised:
        transport.run(job_for(model, Options(max_seconds=0.1)), model, say=lambda line: None)
    return raised.value


def test_a_model_is_copied_once_and_its_whole_record_comes_back(
    transport: Transport, sshd: Sshd, scripted: Scripted
) -> None:
    model, said = scripted(), []
    for _ in range(2):
        job = job_for(model, Options(max_seconds=0.1, threads=2))
        result = transport.run(job, model, say=said.append)
        assert (result.device, result.model, result.digest) == ("board", model.name, job.digest)
        assert result.threads == 2 and len(result.latencies_ms) > 10
    assert sum("copying" in line for line in said) == 1
    [kept] = (sshd.device_home.cache / "models").iterdir()
    assert kept.read_bytes() == model.read_bytes()


def test_the_command_measures_there_and_stores_here(
    transport: Transport, scripted: Scripted, store: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(scripted()), "--device", "board", "--max-seconds", "0.1"]) == errors.OK
    assert "board" in capsys.readouterr().err
    assert [one.device for one in store.results()] == ["board"]
    assert main(["devices", "list"]) == errors.OK
    told = capsys.readouterr().out
    assert "board" in told and "yes" in told and "never" not in told


def test_what_goes_wrong_there_is_told_as_it_would_be_here(
    transport: Transport, scripted: Scripted, tmp_path: Path
) -> None:
    error = refused(transport, scripted("bad", crash="SIGABRT"))
    assert "SIGABRT" in error.message and error.status == errors.INVALID_MODEL
    missing = refused(changed(transport, python="/no/python"), scripted())
    assert isinstance(missing, ConfigError) and "--python" in missing.hint
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n', encoding="utf-8")
    bare.chmod(0o700)
    missing = refused(changed(transport, python=str(bare)), scripted())
    assert isinstance(missing, ConfigError) and "No module named" in missing.message


def test_an_unknown_host_and_a_wrong_key_are_told_with_what_to_do(
    transport: Transport, sshd: Sshd, scripted: Scripted, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True)
    error = refused(changed(transport, identity=str(stranger)), scripted())
    assert isinstance(error, DeviceUnreachable) and "ssh-copy-id" in error.hint
    known = tmp_path / "user" / ".ssh" / "known_hosts"
    known.write_text("", encoding="utf-8")
    error = refused(transport, scripted())
    assert isinstance(error, DeviceUnreachable) and "not in known_hosts" in error.message
    assert f"ssh -p {sshd.port} 127.0.0.1" in error.hint
    assert stat.S_ISREG(known.stat().st_mode) and not known.read_text(encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = free.getsockname()[1]
    error = refused(changed(transport, port=nobody), scripted())
    assert isinstance(error, DeviceUnreachable) and error.status == errors.UNREACHABLE
    reach = changed(transport, port=nobody).reach()
    assert not reach.reachable and reach.detail


def test_a_connection_that_is_cut_counts_nothing_and_frees_the_device(
    transport: Transport,
    sshd: Sshd,
    scripted: Scripted,
    store: ResultStore,
    started: Any,
    eventually: Any,
    home: Home,
) -> None:
    model = scripted("slow", hang_seconds=60)
    words = ("bench", str(model), "--device", "board", "--home", str(home.root))
    process = started(*words, stderr=subprocess.PIPE)
    eventually(lambda: (sshd.device_home.root / "benchmark.lock").exists())
    for session in _sessions(sshd.process.pid):
        os.kill(session, signal.SIGKILL)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == errors.UNREACHABLE
    [line] = [one for one in said.splitlines() if one.startswith("edge-bench: ")]
    assert "cut" in line
    assert store.results() == []
    # What measured there has ended with the connection: the lock is free long before 60 s are over.
    waited: list[bool] = []
    with exclusive(sshd.device_home, waiting=lambda: waited.append(True)):
        pass
    quick = scripted("quick")
    assert transport.run(job_for(quick, Options(max_seconds=0.1)), quick, say=lambda line: None).runs


def test_one_benchmark_at_a_time_runs_there(transport: Transport, sshd: Sshd, scripted: Scripted) -> None:
    import threading

    model, said, results = scripted(), [], []

    def other() -> None:
        results.append(transport.run(job_for(model, Options(max_seconds=0.1)), model, say=say))

    waiting = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        if "waiting for another benchmark" in line:
            waiting.set()

    with exclusive(sshd.device_home):
        thread = threading.Thread(target=other)
        thread.start()
        assert waiting.wait(60) and not results
    thread.join(60)
    assert len(results) == 1
