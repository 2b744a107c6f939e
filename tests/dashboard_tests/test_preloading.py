"""A page asks for plotly while the server computes, not when the first chart has come."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import streamlit
from browsing import served
from playwright.sync_api import Page
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from dashboard.preloading import PARTS, Preloading, scripts
from edge_bench.files import Home

PAGE = "<html><head><title>ü</title></head><body>not a </head></body></html>"
PROGRAM = Path(streamlit.__file__).with_name("static")


def answered(
    answer: Response,
    method: str = "GET",
    kind: str = "http",
    *,
    compressed: Response | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[dict[str, str], bytes]:
    """Return the header and the body of an answer, or of `compressed` where that is asked for."""
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if kind == "websocket":
            await send({"type": "websocket.accept"})
        else:
            chosen = compressed if compressed and "accept-encoding" in Headers(scope=scope) else answer
            await chosen(scope, receive, send)

    async def receive() -> Message:
        # Nobody hangs up before all of it is there.
        return await asyncio.Future()

    async def send(message: Message) -> None:
        sent.append(message)

    asked = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": kind, "method": method, "path": "/", "headers": asked, "query_string": b""}
    asyncio.run(Preloading(app)(scope, receive, send))
    header = {name.decode(): value.decode() for name, value in sent[0].get("headers", ())}
    return header, b"".join(message.get("body", b"") for message in sent)


def test_the_parts_are_asked_for_at_the_end_of_the_head_alone() -> None:
    header, body = answered(HTMLResponse(PAGE))
    head, rest = PAGE.split("</head>", 1)
    assert body == head.encode() + scripts() + b"</head>" + rest.encode()
    assert header["content-length"] == str(len(body))


def test_a_page_that_comes_in_pieces_is_one() -> None:
    pieces = (PAGE[:20].encode(), PAGE[20:30].encode(), PAGE[30:].encode())

    async def each() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    _, body = answered(StreamingResponse(each(), media_type="text/html"))
    assert body == answered(HTMLResponse(PAGE))[1]


@pytest.mark.parametrize(
    ("answer", "method"),
    [
        (JSONResponse({"a": "</head>"}), "GET"),
        (HTMLResponse(PAGE, status_code=404), "GET"),
        (Response(status_code=304, headers={"content-type": "text/html"}), "GET"),
        (HTMLResponse(PAGE), "HEAD"),
    ],
    ids=["no page", "not found", "unchanged", "only its header"],
)
def test_anything_else_is_sent_as_it_is(answer: Response, method: str) -> None:
    header, body = answered(answer, method)
    assert body == answer.body
    assert header == {name.decode(): value.decode() for name, value in answer.raw_headers}


def test_a_socket_is_left_alone() -> None:
    assert answered(HTMLResponse(PAGE), kind="websocket") == ({}, b"")


def test_each_part_is_one_file_of_streamlits_that_its_own_page_does_not_ask_for() -> None:
    asked = re.findall(r'modulepreload" crossorigin href="\./([^"]+)"', scripts().decode())
    assert len(asked) == len(PARTS)
    own = (PROGRAM / "index.html").read_text()
    for name in asked:
        assert (PROGRAM / name).is_file()
        assert name not in own and scripts().count(f'import("./{name}")'.encode()) == 1


def test_a_browser_that_takes_compressed_answers_gets_a_page_that_was_added_to() -> None:
    sent = gzip.compress(PAGE.encode())
    plain, packed = HTMLResponse(PAGE), HTMLResponse(sent, headers={"content-encoding": "gzip"})
    accepts = {"accept": "text/html,*/*", "accept-encoding": "gzip"}
    assert scripts() in answered(plain, compressed=packed, headers=accepts)[1]
    assert answered(plain, compressed=packed, headers=accepts | {"accept": "*/*"})[1] == sent


@pytest.mark.browser
def test_a_page_without_a_chart_has_read_plotly_for_the_next_one(
    home: Home, open_page: Callable[..., Page]
) -> None:
    with served(home) as address:
        page = open_page(f"{address}/families", chart=False)
        page.wait_for_function(
            "performance.getEntriesByType('resource').some((one) => one.name.includes('/PlotlyChart.'))"
        )
        assert page.locator(".js-plotly-plot").count() == 0
