"""Who is answered: without a token this machine alone, with one whoever has it; and nobody uploads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.guard import Attempts, Guard
from edge_bench.tokens import new_token

TOKEN = new_token()
HERE = {"host": "localhost:8501"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass
class Answer:
    """What came back; `reached` says whether the pages were asked."""

    status: int
    headers: dict[str, str]
    body: str
    reached: bool


def guard(**options: Any) -> Guard:
    return Guard(_pages, **{"token": None, "port": 8501} | options)


def ask(
    guarded: Guard,
    path: str = "/",
    *,
    headers: Mapping[str, str] | None = None,
    query: str = "",
    method: str = "GET",
    body: bytes = b"",
    client: str = "127.0.0.1",
    kind: str = "http",
) -> Answer:
    given_headers = HERE | dict(headers or {})
    scope = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given_headers.items()],
        "client": (client, 40_000),
        "scheme": "http" if kind == "http" else "ws",
    }
    scope |= {"method": method} if kind == "http" else {}
    told: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        told.append(message)

    asyncio.run(guarded(scope, receive, send))
    start = told[0]
    if start["type"].startswith("websocket"):
        return Answer(0, {}, start["type"], start["type"] == "websocket.accept")
    names = {name.decode(): value.decode() for name, value in start["headers"]}
    text = b"".join(message.get("body", b"") for message in told[1:]).decode()
    return Answer(start["status"], names, text, text == "a page")


def admitted(answer: Answer) -> dict[str, str]:
    """Return the header that a browser sends from then on."""
    (morsel,) = SimpleCookie(answer.headers["set-cookie"]).values()
    return {"cookie": f"{morsel.key}={morsel.value}"}


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9000", "127.0.0.1:8501", "127.1.2.3", "[::1]:8501"]
)
def test_without_a_token_this_machines_own_names_are_answered(host: str) -> None:
    assert ask(guard(), headers={"host": host}).reached
    assert ask(guard(), headers={"host": host, "origin": f"http://{host}"}, kind="websocket").reached


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8501",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "",
    ]
    + ["evil@localhost@evil.example", "[", "[::1", "127.0.0.1:8501\\.evil.example"],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_name_that_was_made_to_mean_this_machine_is_refused(host: str, kind: str) -> None:
    """DNS rebinding: the browser sends the name of the page that asks."""
    assert not ask(guard(), headers={"host": host}, kind=kind).reached


@pytest.mark.parametrize("token", [None, TOKEN], ids=["open", "token"])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://localhost:8502", "http://localhost", "null", "", "http://["]
)
def test_a_page_of_another_site_is_refused_even_of_this_machine(origin: str, token: str | None) -> None:
    guarded = guard(token=token)
    cookie = admitted(ask(guarded, query=f"token={TOKEN}")) if token else {}
    for kind in ("http", "websocket"):
        assert not ask(guarded, headers={"origin": origin, **cookie}, kind=kind).reached


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/_stcore/upload_file/session/file", "/_stcore/agent/interact", "/"])
def test_nothing_is_uploaded(path: str, method: str) -> None:
    answer = ask(guard(), path, method=method, body=b"\x7fELF")
    assert (answer.status, answer.reached) == (405, False)


def test_a_browser_is_told_to_load_nothing_from_elsewhere_and_to_frame_nothing() -> None:
    headers = ask(guard()).headers
    policy = dict(
        part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'self'" and policy["frame-ancestors"] == "'none'"
    assert not any("http" in part or "*" in part for part in policy.values())
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/pick", "/_stcore/health", "/_stcore/host-config", "/media/a.onnx"])
def test_nothing_is_answered_without_the_token(path: str) -> None:
    guarded = guard(token=TOKEN)
    for headers in ({}, {"cookie": "edge_bench_8501="}, {"cookie": f"edge_bench_8501={TOKEN}"}):
        answer = ask(guarded, path, headers=headers)
        assert (answer.status, answer.reached) == (401, False)
        assert not ask(guarded, path, headers=headers, kind="websocket").reached


@pytest.mark.parametrize("host", ["edge.example", "192.168.0.7:8501", "localhost:8501"])
def test_the_token_lets_in_under_any_name(host: str) -> None:
    guarded = guard(token=TOKEN)
    cookie = admitted(ask(guarded, query=f"token={TOKEN}", headers={"host": host}))
    assert ask(guarded, "/pick", headers={"host": host, **cookie}).reached
    assert ask(
        guarded,
        "/_stcore/stream",
        headers={"host": host, "origin": f"http://{host}", **cookie},
        kind="websocket",
    ).reached


def test_the_cookie_is_kept_from_scripts_and_other_sites_and_is_not_the_token() -> None:
    for secure in (False, True):
        given_cookie = ask(guard(token=TOKEN, secure=secure), query=f"token={TOKEN}").headers["set-cookie"]
        assert "HttpOnly" in given_cookie and "samesite=strict" in given_cookie.lower()
        assert ("Secure" in given_cookie) == secure
        assert TOKEN not in given_cookie


def test_two_servers_of_one_machine_have_cookies_of_their_own() -> None:
    names = {
        next(iter(admitted(ask(guard(token=TOKEN, port=port), query=f"token={TOKEN}")).values())).partition(
            "="
        )[0]
        for port in (8501, 8502)
    }
    assert len(names) == 2


def test_a_link_with_the_token_goes_on_without_it_to_what_it_named() -> None:
    answer = ask(guard(token=TOKEN), "/pick", query=f"budget=2&token={TOKEN}&name=a%26b")
    assert answer.status == 200
    assert 'url=/pick?budget=2&amp;name=a%26b"' in answer.body
    assert TOKEN not in answer.body + json.dumps(answer.headers)


@given(path=st.text(max_size=30), query=st.text(max_size=30))
def test_a_link_never_leads_to_another_host_nor_writes_the_page(path: str, query: str) -> None:
    link = urlencode({"token": TOKEN, "q": query})
    form = ask(
        guard(token=TOKEN),
        f"/{path}",
        query=link,
        method="POST",
        headers=FORM,
        body=f"token={TOKEN}".encode(),
    )
    onward = form.headers["location"]
    assert onward.startswith("/") and not onward.startswith(("//", "/\\"))
    assert "\n" not in onward and "\r" not in onward
    page = ask(guard(token=TOKEN), f"/{path}", query=link).body
    assert page.count("<") == ask(guard(token=TOKEN), query=f"token={TOKEN}").body.count("<")


def test_the_form_lets_in_and_a_wrong_token_is_told() -> None:
    guarded = guard(token=TOKEN)
    shown = ask(guarded, headers={"accept": "text/html"})
    assert shown.status == 401 and 'type="password"' in shown.body
    wrong = ask(guarded, method="POST", headers=FORM, body=b"token=other")
    assert wrong.status == 401 and "not the token" in wrong.body and "set-cookie" not in wrong.headers
    right = ask(guarded, "/pick", method="POST", headers=FORM, body=f"token={TOKEN}".encode())
    assert (right.status, right.headers["location"]) == (303, "/pick")
    assert ask(guarded, headers=admitted(right)).reached


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/json", ""])
def test_only_a_form_is_read_and_only_a_short_one(kind: str) -> None:
    guarded = guard(token=TOKEN)
    body = f"token={TOKEN}".encode()
    assert ask(guarded, method="POST", headers={"content-type": kind}, body=body).status == 401
    assert ask(guarded, method="POST", headers=FORM, body=body + b"&x=" + b"a" * 10_000).status == 401


def test_who_gives_wrong_tokens_has_to_wait_and_nobody_else() -> None:
    now = [0.0]
    guarded = guard(token=TOKEN, attempts=Attempts(most=3, within_s=60, clock=lambda: now[0]))
    before = admitted(ask(guarded, query=f"token={TOKEN}", client="10.0.0.9"))
    for _ in range(3):
        assert ask(guarded, query="token=wrong", client="10.0.0.9").status == 401
    blocked = ask(guarded, query=f"token={TOKEN}", client="10.0.0.9")
    assert blocked.status == 429 and int(blocked.headers["retry-after"]) == 60
    assert ask(guarded, headers=before, client="10.0.0.9").reached, "who was in, stays in"
    assert ask(guarded, query=f"token={TOKEN}", client="10.0.0.8").status == 200
    now[0] = 61
    assert ask(guarded, query=f"token={TOKEN}", client="10.0.0.9").status == 200


def test_all_addresses_of_one_network_of_ipv6_count_as_one() -> None:
    attempts = Attempts(most=2)
    for last in range(2):
        attempts.failed(f"2001:db8::{last}")
    assert not attempts.may_try("2001:db8::99")
    assert attempts.may_try("2001:db8:0:1::1")


def test_attempts_from_everywhere_fill_no_memory() -> None:
    attempts = Attempts()
    for number in range(5_000):
        attempts.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(attempts._wrong) <= 1_000


async def _pages(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
    messages: Iterable[Mapping[str, Any]] = (
        [{"type": "websocket.accept"}]
        if scope["type"] == "websocket"
        else [
            {"type": "http.response.start", "status": 200, "headers": []},
            {"type": "http.response.body", "body": b"a page"},
        ]
    )
    for message in messages:
        await send(message)
