"""The dashboard as it is served: who gets in, with a browser or without, and that nothing is uploaded."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

import pytest
from browsing import LOOKS, served, settle
from playwright.sync_api import Page, expect

from edge_bench.files import Home
from edge_bench.store import Record
from edge_bench.tokens import new_token

TOKEN = new_token()
SOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
PutIn = Callable[[Home, Iterable[Record]], Home]


@pytest.fixture(scope="module")
def home_of_all(tmp_path_factory: pytest.TempPathFactory, made: tuple[Record, ...], put_in: PutIn) -> Home:
    return put_in(Home(tmp_path_factory.mktemp("served")), made)


@pytest.fixture(scope="module")
def open_to_all(home_of_all: Home) -> Iterator[str]:
    """The address of a dashboard as it is by default."""
    with served(home_of_all) as address:
        yield address


@pytest.fixture(scope="module")
def asking(home_of_all: Home) -> Iterator[str]:
    """The address of a dashboard that asks for a token."""
    with served(home_of_all, token=TOKEN) as address:
        yield address


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_the_endpoint_for_uploads_refuses_a_program(method: str, open_to_all: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.sh"\r\n\r\n#!/bin/sh\r\n--x--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert _status(open_to_all, "/_stcore/upload_file/any/any", headers, method=method, body=body) == 405


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "http://localhost:1"}],
)
def test_pages_of_other_sites_reach_neither_page_nor_socket(
    headers: dict[str, str], open_to_all: str
) -> None:
    assert _status(open_to_all, "/", headers) == 403
    assert _status(open_to_all, "/_stcore/stream", SOCKET | headers) == 403


def test_this_machine_reaches_the_socket(open_to_all: str) -> None:
    same = {"Origin": open_to_all}
    assert _status(open_to_all, "/_stcore/stream", SOCKET | same) == 101


def test_page_and_socket_are_refused_without_the_token(asking: str) -> None:
    for path in ("/", "/pick", "/_stcore/health", "/_stcore/host-config", "/static/index.html"):
        assert _status(asking, path, {}) == 401
    assert _status(asking, "/_stcore/stream", SOCKET) == 403
    assert _status(asking, "/_stcore/stream", SOCKET | {"Cookie": "edge_bench=wrong"}) == 403


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_a_browser_is_asked_for_the_token_and_then_shown_the_page_it_wanted(
    scheme: str, width: int, asking: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{asking}/pick?preset=speed", width=width, scheme=scheme, app=False)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_label("Token").fill("not this one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This is not the token.")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Open the dashboard").click()
    settle(page)
    expect(page.get_by_text("it is the fastest")).to_be_visible()
    assert urlsplit(page.url).path == "/pick"


@pytest.mark.browser
def test_a_link_with_the_token_leaves_it_in_neither_address_nor_history_nor_script(
    asking: str, open_page: Callable[..., Page]
) -> None:
    page = open_page("about:blank", app=False)
    page.goto(f"{asking}/?token={TOKEN}")
    page.wait_for_url(re.compile(r"/$"))
    settle(page)
    assert TOKEN not in page.url and TOKEN not in page.content()
    assert page.evaluate("document.cookie").find("edge_bench") == -1, "scripts read no cookie of ours"
    (cookie,) = [one for one in page.context.cookies() if one["name"].startswith("edge_bench")]
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and TOKEN not in cookie["value"]
    page.go_back()
    assert page.url == "about:blank"


@pytest.mark.browser
def test_a_page_of_another_site_cannot_frame_the_dashboard(
    open_to_all: str, open_page: Callable[..., Page]
) -> None:
    page = open_page("about:blank", app=False)
    page.set_content(f'<iframe src="{open_to_all}"></iframe>')
    page.wait_for_timeout(1_000)
    assert "stApp" not in (page.frames[1].content() if len(page.frames) > 1 else "")


def _status(
    address: str, path: str, headers: dict[str, str], *, method: str = "GET", body: bytes | None = None
) -> int:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    try:
        connection.request(method, path, body=body, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()
