"""What a controller tells whom, and what it refuses."""

from __future__ import annotations

import hashlib
import http.client
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from edge_bench.devices import protocol
from edge_bench.devices.registry import Device, Registry
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from edge_bench.store import ResultStore
from edge_bench.tokens import new_token

HELLO = b'{"agent": "a"}'
Scripted = Callable[..., Path]


def ask(
    url: str, method: str, path: str, token: str | None, body: bytes = b"{}", **headers: str
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        given = {} if token is None else {"Authorization": f"Bearer {token}"}
        connection.request(method, path, body=body, headers={**given, **headers})
        answer = connection.getresponse()
        said = answer.read()
        return answer.status, json.loads(said) if said[:1] == b"{" else said
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", protocol.LEASE),
        ("POST", protocol.HEARTBEAT),
        ("POST", protocol.RELEASE),
        ("GET", protocol.MODEL.format(digest="0" * 64)),
        ("PUT", protocol.REPORT.format(id="x")),
    ],
)
def test_every_path_wants_a_token(served: Any, method: str, path: str) -> None:
    served.device()
    for token in (None, "wrong", new_token()):
        status, told = ask(served.url, method, path, token)
        assert status == 401 and "no such token" in told["error"]


def test_only_the_hash_of_a_token_is_kept(served: Any, home: Home) -> None:
    token = served.device()
    served.store.close()
    database = sqlite3.connect(home.root / "store.sqlite")
    kept = "\n".join(database.iterdump())
    database.close()
    assert token not in kept and hashlib.sha256(token.encode()).hexdigest() in kept
    assert len(token) >= 43, "256 bits"


def test_a_removed_device_is_let_in_no_more(served: Any) -> None:
    token = served.device()
    assert ask(served.url, "POST", protocol.LEASE, token, HELLO) == (200, {"device": "pi", "grant": None})
    Registry(served.store).remove("pi")
    assert ask(served.url, "POST", protocol.LEASE, token)[0] == 401


def test_a_device_gets_the_model_files_of_its_own_open_jobs_alone(served: Any, scripted: Scripted) -> None:
    mine, other = served.device("pi"), served.device("phone")
    model = scripted()
    job = served.job(model, "pi")
    path = protocol.MODEL.format(digest=job.digest)
    assert ask(served.url, "GET", path, mine) == (200, json.loads(model.read_bytes()))
    assert ask(served.url, "GET", path, other)[0] == 404
    assert ask(served.url, "GET", protocol.MODEL.format(digest="..%2f..%2fstore.sqlite"), mine)[0] == 404
    served.queue.cancel(job.id)
    assert ask(served.url, "GET", path, mine)[0] == 404


def test_a_body_that_is_too_large_is_refused_before_it_is_read(served: Any) -> None:
    token = served.device()
    claimed = str(protocol.MAX_REPORT_BYTES + 1)
    path = protocol.REPORT.format(id="x")
    status, told = ask(served.url, "PUT", path, token, b"{}", **{"Content-Length": claimed})
    assert status == 413 and "at most" in told["error"]
    large = b" " * (protocol.MAX_BODY_BYTES + 1)
    assert ask(served.url, "POST", protocol.LEASE, token, large)[0] == 413
    chunks: Any = iter([large[: len(large) // 2]] * 3)
    assert ask(served.url, "POST", protocol.LEASE, token, chunks)[0] == 413


def test_a_body_that_never_comes_is_given_up(served: Any) -> None:
    token = served.device()
    status, told = ask(served.url, "POST", protocol.LEASE, token, b"{", **{"Content-Length": "9"})
    assert status == 408 and "within 2 s" in told["error"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"no json", "not JSON"),
        (b"[]", "it must be a table"),
        (b'{"agent": "a", "nam": "pi"}', "Did you mean 'name'?"),
        (b"{}", "missing key 'agent'"),
        (b'{"agent": "a", "name": "phone"}', "belongs to device 'pi', not to 'phone'"),
        (b"[" * 60_000, "not JSON"),
    ],
)
def test_a_body_that_says_nothing_useful_is_answered_in_words(served: Any, body: bytes, words: str) -> None:
    status, told = ask(served.url, "POST", protocol.LEASE, served.device(), body)
    assert status == 422 and words in told["error"]


def test_other_paths_and_methods_are_answered_as_json(served: Any) -> None:
    token = served.device()
    assert ask(served.url, "GET", "/", token)[0] == 404
    status, told = ask(served.url, "GET", protocol.LEASE, token)
    assert status == 405 and "GET does not go here" in told["error"]


def test_names_are_unique_and_plain(store: ResultStore) -> None:
    registry = Registry(store)
    registry.add(Device(name="pi-4.living_room", transport="agent"), token=new_token())
    with pytest.raises(ConfigError, match="there is a device"):
        registry.add(Device(name="pi-4.living_room", transport="ssh"))
    for name in ("", "Pi", "a/b", "../x", "-x", "x" * 64, "ü"):
        with pytest.raises(ConfigError, match="cannot name a device"):
            registry.add(Device(name=name, transport="agent"))
    with pytest.raises(ConfigError, match="Did you mean 'pi-4.living_room'"):
        registry.get("pi-4.livingroom")


def test_a_token_names_its_device_and_no_other(store: ResultStore) -> None:
    registry, tokens = Registry(store), {f"device-{number}": new_token() for number in range(5)}
    for name, token in tokens.items():
        registry.add(Device(name=name, transport="agent"), token=token)
    registry.add(Device(name="by-ssh", transport="ssh", address={"host": "x"}))
    assert {name: registry.authenticate(token) for name, token in tokens.items()} == {n: n for n in tokens}
    assert registry.authenticate("") is None and registry.authenticate(new_token()) is None
