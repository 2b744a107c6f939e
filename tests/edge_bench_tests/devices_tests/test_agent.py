"""An agent and its controller: one job measured once, whatever is cut or killed on the way."""

from __future__ import annotations

import errno
import inspect
import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from edge_bench.devices import agent as agents
from edge_bench.devices.client import ControllerClient, ControllerUnreachable
from edge_bench.devices.job import Choice, Job, Options, Report, job_for, read_job
from edge_bench.devices.models import ModelCache
from edge_bench.devices.protocol import Hold
from edge_bench.devices.spool import Spool
from edge_bench.documents import to_document
from edge_bench.errors import ConfigError, DataError
from edge_bench.files import Home
from edge_bench.measure.benchmark import benchmark
from edge_bench.measure.modes import Mode
from edge_bench.measure.modes.burst import Burst
from edge_bench.measure.modes.paced import Paced
from edge_bench.measure.scenarios import Scenario
from edge_bench.measure.scenarios.multi_stream import MultiStream
from edge_bench.measure.scenarios.single_stream import SingleStream

Scripted = Callable[..., Path]
Started = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def device_home(tmp_path: Path) -> Home:
    return Home(tmp_path / "device")


def test_a_job_carries_every_option_of_benchmark_by_the_same_name_and_default() -> None:
    here = {"model", "home", "artifact", "device", "waiting"}
    taken = {
        name: parameter.default
        for name, parameter in inspect.signature(benchmark).parameters.items()
        if name not in here
    }
    assert {one.name: one.default for one in fields(Options)} == taken


@pytest.mark.parametrize(
    ("mode", "scenario"),
    [(Paced(interval_ms=5.0), MultiStream(samples_per_query=3)), (Burst(), SingleStream())],
)
def test_a_mode_and_a_scenario_travel_with_their_options(
    scripted: Scripted, mode: Mode, scenario: Scenario
) -> None:
    options = Options(mode=Choice.of(mode), scenario=Choice.of(scenario))
    job = read_job(json.loads(json.dumps(to_document(job_for(scripted(), options)))))
    given = job.options.arguments()
    assert (given["mode"], given["scenario"]) == (mode, scenario)
    with pytest.raises(ConfigError, match="Known: .*interval_ms"):
        replace(options, mode=Choice(name="paced", options={"intervall_ms": 5})).arguments()


def test_a_model_of_several_files_does_not_travel(tmp_path: Path) -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "split",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(np.ones((64, 64), np.float32), "w")],
    )
    path = tmp_path / "split.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(ConfigError, match="keeps weights in 'weights.bin'; only a model of one file"):
        job_for(path, Options())


@pytest.mark.parametrize(
    "wrong", [{"digest": "../../etc"}, {"digest": "A" * 64}, {"model": "../x.onnx"}, {"model": "noending"}]
)
def test_a_job_never_names_a_place_outside_the_cache(scripted: Scripted, wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        replace(job_for(scripted(), Options()), **wrong)


def test_a_job_is_measured_and_kept_under_the_devices_name(
    served: Any, scripted: Scripted, device_home: Home
) -> None:
    token, model = served.device(), scripted()
    job = served.job(model, threads=2)
    assert served.agent(token, device_home).run(once=True).delivered == 1
    [result] = served.results()
    assert (result.device, result.model, result.digest) == ("pi", model.name, job.digest)
    assert (result.threads, result.verdict) == (2, "clean")
    assert served.queue.entry(job.id).report == result.id
    assert served.agent(token, device_home).run(once=True).delivered == 0


def test_a_model_is_downloaded_once(served: Any, scripted: Scripted, device_home: Home) -> None:
    token, model = served.device(), scripted()
    served.job(model)
    served.job(model, threads=2)
    served.agent(token, device_home).run(once=True)
    for file in (served.home.root / "outgoing").iterdir():
        file.unlink()
    assert served.agent(token, device_home).run(once=True).delivered == 1
    assert len(served.results()) == 2


def test_a_model_that_arrives_otherwise_than_it_was_sent_is_not_run(
    served: Any, scripted: Scripted, device_home: Home
) -> None:
    token, job = served.device(), served.job(scripted())
    [file] = (served.home.root / "outgoing").iterdir()
    file.write_bytes(b"x" * job.size_bytes)
    served.agent(token, device_home).run(once=True)
    entry = served.queue.entry(job.id)
    assert entry.state == "failed" and entry.failure.kind == "DataError"
    assert not ModelCache.of_device(device_home).has(job)


def test_a_model_that_cannot_run_is_told_and_the_agent_lives(
    served: Any, scripted: Scripted, device_home: Home
) -> None:
    token = served.device()
    bad = served.job(scripted("bad", crash="SIGABRT"))
    unknown = served.job(scripted("good"), mode=Choice(name="lucky"))
    unread = served.job(scripted("unread"), runtime="litert")
    for _ in range(3):
        served.agent(token, device_home).run(once=True)
    assert served.queue.entry(unread.id).failure.message == "litert reads .tflite, not 'unread.scripted'"
    assert served.queue.entry(bad.id).failure.error().status == 6
    assert "SIGABRT" in served.queue.entry(bad.id).failure.message
    assert "unknown mode 'lucky'" in served.queue.entry(unknown.id).failure.message


def test_a_job_of_a_later_edge_bench_fails_in_words(
    served: Any, scripted: Scripted, device_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, job = served.device(), job_for(scripted(), Options())
    monkeypatch.setattr("edge_bench.devices.queue.canonical_json", lambda given: json.dumps(_later(given)))
    served.queue.add("pi", job)
    monkeypatch.undo()
    served.agent(token, device_home).run(once=True)
    assert "knows version 2" in served.queue.entry(job.id).failure.message


def _later(given: object) -> Any:
    document = to_document(given)
    return {**document, "version": 3} if isinstance(given, Job) else document


def test_a_result_that_could_not_be_sent_is_sent_after_a_restart(
    served: Any, scripted: Scripted, device_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, job = served.device(), served.job(scripted())

    def cut(self: ControllerClient, report: Report) -> None:
        raise ControllerUnreachable("cut")

    with monkeypatch.context() as patched:
        patched.setattr(ControllerClient, "report", cut)
        with pytest.raises(ControllerUnreachable):
            served.agent(token, device_home).run(once=True)
    [waiting] = Spool(device_home.root / "agent" / "spool.jsonl").waiting
    assert served.results() == []
    served.agent(token, device_home).run(once=True)
    assert [one.id for one in served.results()] == [waiting.id]
    assert served.queue.entry(job.id).attempts == 1


def test_an_answer_that_is_lost_makes_no_second_result(
    served: Any, scripted: Scripted, device_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = served.device()
    served.job(scripted())
    told = ControllerClient.report

    def lost(self: ControllerClient, report: Report) -> None:
        told(self, report)
        raise ControllerUnreachable("the answer is lost")

    with monkeypatch.context() as patched:
        patched.setattr(ControllerClient, "report", lost)
        with pytest.raises(ControllerUnreachable):
            served.agent(token, device_home).run(once=True)
    revision = served.store.revision()
    assert served.agent(token, device_home).run(once=True).delivered == 1
    assert len(served.results()) == 1 and served.store.revision() == revision


def test_a_report_that_is_refused_is_kept_beside_the_spool(
    served: Any, scripted: Scripted, device_home: Home
) -> None:
    token = served.device()
    job = served.job(scripted())
    agent = served.agent(token, device_home)
    agent.run(once=True)
    [result] = served.results()
    spool = Spool(device_home.root / "agent" / "spool.jsonl")
    spool.finished(Report(id=result.id, job="another", lease="x", result=result))
    agent.run(once=True)
    [kept] = (device_home.root / "agent" / "refused").iterdir()
    assert json.loads(kept.read_text(encoding="utf-8"))["result"]["digest"] == job.digest
    assert spool.path.read_bytes() == b""


def test_a_job_that_a_killed_agent_had_begun_goes_back_at_once(
    served: Any, scripted: Scripted, device_home: Home, started: Started, eventually: Any, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(token := served.device(), encoding="utf-8")
    job = served.job(scripted(hang_seconds=1.5))
    words = ("agent", "--controller", served.url, "--token-file", str(token_file))
    process = started(*words, "--home", str(device_home.root), "--poll-seconds", "0.1")
    eventually(lambda: served.queue.entry(job.id).state == "leased")
    # A child that is not yet another program still holds the agent's lock.
    eventually(lambda: any("-I" in one.cmdline() for one in psutil.Process(process.pid).children()))
    os.kill(process.pid, signal.SIGKILL)
    process.wait(20)
    assert served.queue.entry(job.id).state == "leased"
    served.agent(token, device_home).run(once=True)
    assert len(served.results()) == 1
    assert served.queue.entry(job.id).attempts == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_agent_that_is_stopped_gives_its_lease_back(
    served: Any,
    scripted: Scripted,
    device_home: Home,
    started: Started,
    eventually: Any,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(served.device(), encoding="utf-8")
    job = served.job(scripted(hang_seconds=30))
    words = ("agent", "--controller", served.url, "--token-file", str(token_file))
    process = started(*words, "--home", str(device_home.root), stderr=subprocess.PIPE)
    eventually(lambda: served.queue.entry(job.id).state == "leased")
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "goes back into the queue" in said
    entry = served.queue.entry(job.id)
    assert (entry.state, entry.attempts) == ("queued", 0)


def test_two_agents_under_one_home_are_one_too_many(served: Any, device_home: Home) -> None:
    token = served.device()
    with agents._alone(device_home), pytest.raises(ConfigError, match="another agent runs under"):
        served.agent(token, device_home).run(once=True)


def test_a_full_disk_loses_no_result(
    served: Any, scripted: Scripted, device_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = served.device()
    served.job(scripted())
    opened, told = Path.open, Spool.finished

    def full(self: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if self.name == "spool.jsonl" and "a" in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(self, mode, *rest, **options)

    def finished(self: Spool, report: Report) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "open", full)
            told(self, report)

    monkeypatch.setattr(Spool, "finished", finished)
    said: list[str] = []
    assert served.agent(token, device_home, said=said).run(once=True).delivered == 1
    assert any("no space left" in line and "in memory" in line for line in said)
    assert len(served.results()) == 1


@pytest.mark.parametrize("served", [3.0], indirect=True)
def test_the_lease_is_renewed_while_the_model_runs(
    served: Any, scripted: Scripted, device_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, job = served.device(), served.job(scripted(hang_seconds=1.5))
    beats: list[bool] = []
    told = ControllerClient.heartbeat

    def beat(self: ControllerClient, hold: Hold) -> bool:
        beats.append(told(self, hold))
        return beats[-1]

    monkeypatch.setattr(ControllerClient, "heartbeat", beat)
    served.agent(token, device_home).run(once=True)
    assert beats and beats[0]
    assert served.queue.entry(job.id).state == "done"


def test_a_wrong_token_or_name_ends_the_agent_in_words(served: Any, device_home: Home) -> None:
    with pytest.raises(ConfigError, match="does not know this token"):
        served.agent("wrong", device_home).run(once=False)
    client = ControllerClient(served.url, served.device(), name="phone")
    with pytest.raises(ConfigError, match="belongs to device 'pi', not to 'phone'"):
        agents.Agent(client, device_home, say=lambda line: None).run(once=False)


def test_an_unreachable_controller_is_asked_again_later_and_later(
    device_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 9:
            raise KeyboardInterrupt

    client = ControllerClient("http://127.0.0.1:9", "token", timeout_s=1)
    agent = agents.Agent(client, device_home, say=lambda line: None, sleep=sleep)
    with pytest.raises(KeyboardInterrupt):
        agent.run(once=False)
    longest = [min(agents.LONGEST_WAIT_S, 2.0**number) for number in range(9)]
    assert all(most / 2 <= wait <= most for wait, most in zip(slept, longest, strict=True))
    with pytest.raises(ControllerUnreachable, match="does not answer") as raised:
        agents.Agent(client, device_home, say=lambda line: None).run(once=True)
    assert raised.value.status == 5


def test_the_least_recently_used_model_makes_room(tmp_path: Path, scripted: Scripted) -> None:
    jobs = [job_for(scripted(name), Options()) for name in ("one", "two", "three")]
    cache = ModelCache(tmp_path / "cache", max_bytes=2 * jobs[0].size_bytes + 20)
    for index, job in enumerate(jobs[:2]):
        os.utime(cache.keep(job, tmp_path / job.model), (index, index))
    assert cache.has(jobs[0])
    cache.keep(jobs[2], tmp_path / jobs[2].model)
    assert [cache.has(job) for job in jobs] == [True, False, True]
    with pytest.raises(DataError, match="did not arrive as it was sent"):
        cache.receive(jobs[1], lambda file: None)


def test_a_controller_with_a_certificate_is_trusted_by_it_alone(
    served: Any, scripted: Scripted, device_home: Home, started: Started, tmp_path: Path
) -> None:
    certificate, key = certified(tmp_path)
    token, job = served.device(), served.job(scripted())
    words = ("devices", "serve", "--port", "0", "--home", str(served.home.root))
    process = started(*words, "--certificate", certificate, "--key", key, stderr=subprocess.PIPE)
    assert process.stderr is not None
    url = process.stderr.readline().split()[2].rstrip(";")
    assert url.startswith("https://")
    with pytest.raises(ControllerUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        ControllerClient(url, token, timeout_s=20).lease("agent")
    client = ControllerClient(url, token, authority=Path(certificate), timeout_s=20)
    agents.Agent(client, device_home, say=lambda line: None).run(once=True)
    assert served.queue.entry(job.id).state == "done"


def certified(folder: Path) -> tuple[str, str]:
    """Write a certificate for 127.0.0.1 that signs itself, and its key."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "controller")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(built.public_bytes(serialization.Encoding.PEM))
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return str(files[0]), str(files[1])
