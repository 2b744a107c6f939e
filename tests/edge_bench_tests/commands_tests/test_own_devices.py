"""`edge-bench devices add`, `serve`, `jobs` and `bench --device`, as one meets them on the command line."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_bench import errors
from edge_bench.cli import main
from edge_bench.devices.job import Failure, Report
from edge_bench.devices.queue import JobQueue
from edge_bench.devices.registry import Registry
from edge_bench.devices.transports.agent import Agent
from edge_bench.devices.transports.local import measure
from edge_bench.files import Home
from edge_bench.store import ResultStore

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "known.scripted"
    file.write_text('{"latencies_ms": [1.0]}', encoding="utf-8")
    return file


def told(capsys: pytest.CaptureFixture[str], *words: str, status: int = errors.OK) -> dict[str, Any]:
    assert main([*words, "--json"]) == status
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def refusal(capsys: pytest.CaptureFixture[str], *words: str, status: int = errors.USAGE) -> str:
    assert main(list(words)) == status
    said = capsys.readouterr()
    assert said.err.count("edge-bench: ") == 1
    return said.err


def test_a_token_is_shown_once_with_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    token = told(capsys, "devices", "add", "pi", "--agent")["token"]
    assert main(["devices", "list"]) == errors.OK
    listed = capsys.readouterr().out
    assert token not in listed and "never" in listed and "polls" in listed
    assert main(["devices", "add", "phone", "--agent"]) == errors.OK
    shown = capsys.readouterr().out
    assert "edge-bench agent --controller" in shown and "devices serve" in shown
    assert told(capsys, "devices", "remove", "pi")["removed"] == "pi"
    assert [one["name"] for one in told(capsys, "devices", "list")["own"]] == ["phone"]


def test_what_cannot_be_added_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "my-raspberry-pi-4" in refusal(capsys, "devices", "add", "raspberry-pi-4", "--agent")
    assert "one of --ssh USER@HOST and --agent" in refusal(capsys, "devices", "add", "pi")
    assert "needs the name" in refusal(capsys, "devices", "add", "--agent")
    assert "USER@HOST" in refusal(capsys, "devices", "add", "pi", "--ssh=-oProxyCommand=x")
    assert "is no file" in refusal(
        capsys, "devices", "add", "pi", "--ssh", "me@host", "--identity", str(tmp_path / "no")
    )
    assert "--agent does not apply to devices list" in refusal(capsys, "devices", "list", "--agent")
    assert "is no device of yours" in refusal(capsys, "devices", "remove", "nobody")


def test_serving_to_others_needs_a_device_with_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, "devices", "serve", "--host", "0.0.0.0", "--port", "0")
    assert "no device has a token" in said and "devices add NAME --agent" in said
    assert "--key belong together" in refusal(capsys, "devices", "serve", "--certificate", "x.pem")
    assert "from 1 to 86400" in refusal(capsys, "devices", "serve", "--lease-seconds", "0.5")
    main(["devices", "add", "pi", "--agent"])
    capsys.readouterr()
    assert "no address of this machine" in refusal(
        capsys, "devices", "serve", "--host", "no.such.host.invalid"
    )


def test_a_device_that_never_asks_ends_the_wait_and_keeps_the_job(
    model: Path, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Agent, "seen_within_s", 0.3)
    main(["devices", "add", "pi", "--agent", "--quiet"])
    capsys.readouterr()
    said = refusal(capsys, "bench", str(model), "--device", "pi", status=errors.UNREACHABLE)
    assert "queued for 'pi'" in said and "stays queued" in said and "devices serve" in said
    [job] = told(capsys, "devices", "jobs")["jobs"]
    assert (job["state"], job["attempts"], job["model"]) == ("queued", 0, model.name)
    # The same command waits for the same job; it queues no second one.
    refusal(capsys, "bench", str(model), "--device", "pi", status=errors.UNREACHABLE)
    assert len(told(capsys, "devices", "jobs")["jobs"]) == 1
    assert told(capsys, "devices", "cancel", job["job"])["state"] == "cancelled"
    assert "cancelled already" in refusal(capsys, "devices", "cancel", job["job"])


def test_an_interrupted_wait_leaves_the_job_and_says_how_to_take_it_back(
    model: Path, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["devices", "add", "pi", "--agent", "--quiet"])

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edge_bench.devices.transports.agent.time.sleep", interrupt)
    capsys.readouterr()
    assert main(["bench", str(model), "--device", "pi"]) == errors.INTERRUPTED
    assert "edge-bench devices cancel" in capsys.readouterr().err
    with ResultStore(home.store_url) as store:
        assert [one.state for one in JobQueue(store).entries()] == ["queued"]


@pytest.mark.parametrize("fails", [False, True])
def test_what_the_agent_reports_is_what_bench_answers(
    model: Path, home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: bool
) -> None:
    main(["devices", "add", "pi", "--agent", "--quiet"])
    capsys.readouterr()

    def device() -> None:
        with ResultStore(home.store_url) as store:
            queue = JobQueue(store)
            while (grant := queue.lease("pi", "agent")) is None:
                Registry(store).seen("pi")
            job = grant.job
            if fails:
                told = Failure(kind="RuntimeUnavailable", message="there is no litert", hint="install it")
                queue.report("pi", Report(id="r", job=job.id, lease=grant.lease, failure=told))
                return
            result = measure(job, model, device="pi", home=Home(tmp_path / "pi"), say=lambda line: None)
            queue.report("pi", Report(id=result.id, job=job.id, lease=grant.lease, result=result))

    thread = threading.Thread(target=device)
    thread.start()
    words = ["bench", str(model), "--device", "pi", "--max-seconds", "0.2"]
    if fails:
        assert "there is no litert" in refusal(capsys, *words)
    else:
        [result] = told(capsys, *words)["results"]
        assert (result["device"], result["model"]) == ("pi", model.name)
        with ResultStore(home.store_url) as store:
            assert [one.id for one in store.results()] == [result["id"]]
    thread.join(60)


def test_bench_names_the_devices_it_knows(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["devices", "add", "pi", "--agent", "--quiet"])
    capsys.readouterr()
    assert "Did you mean 'pi'?" in refusal(capsys, "bench", str(model), "--device", "pie")


def test_an_agent_needs_the_base_install_alone(base_install: Run, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret", encoding="utf-8")
    words = ("agent", "--controller", "http://127.0.0.1:9", "--token-file", str(token), "--once")
    ran = base_install(*words, "--home", str(tmp_path / "device"))
    assert ran.returncode == errors.UNREACHABLE and "does not answer" in ran.stderr
    assert "chmod 600" in ran.stderr


def test_a_token_file_that_holds_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("agent", "--controller", "http://127.0.0.1:9", "--token-file")
    assert "cannot be read" in refusal(capsys, *words, str(tmp_path / "no"))
    (tmp_path / "two").write_text("one\ntwo\n", encoding="utf-8")
    assert "holds no token" in refusal(capsys, *words, str(tmp_path / "two"))
    (tmp_path / "token").write_text("secret", encoding="utf-8")
    (tmp_path / "token").chmod(0o600)
    words = ("agent", "--token-file", str(tmp_path / "token"), "--controller")
    assert "no address of a controller" in refusal(capsys, *words, "laptop:8642")


def test_without_the_extra_ssh_and_the_controller_name_it(base_install: Run, tmp_path: Path) -> None:
    home = ("--home", str(tmp_path / "home"))
    assert base_install("devices", "add", "board", "--ssh", "me@127.0.0.1", *home).returncode == errors.OK
    listed = base_install("devices", "list", *home)
    assert listed.returncode == errors.OK and "edge-bench[ssh]" in listed.stdout
    served = base_install("devices", "serve", "--port", "0", *home)
    assert served.returncode == errors.USAGE and "edge-bench[controller]" in served.stderr
