"""Ask with each page for what its charts are drawn by, in place of when the first of them has come.

Streamlit's page loads plotly, its largest part by far, once the server has sent a chart; a browser takes
longer to read it than the server to compute a page, and could have done so meanwhile.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Of Streamlit's parts, which are called NAME.DIGEST.js.
PARTS = ("PlotlyChart", "DataFrame")
_FOLDER = Path(st.__file__).with_name("static") / "static" / "js"
_END = b"</head>"
# Once the server has been asked for the page, which would wait for what a browser is busy with.
_SCRIPT = """
const { send } = WebSocket.prototype;
WebSocket.prototype.send = function (...given) {
  WebSocket.prototype.send = send;
  setTimeout(() => { [%s]; });
  return send.apply(this, given);
};
"""


class Preloading:
    """ASGI middleware. Pages of Streamlit ask for `PARTS` early; nothing else changes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "text/html" in headers.get("accept", ""):
            # A page has to come as it is, not compressed, to be added to; it is small.
            kept = [(name, value) for name, value in headers.raw if name != b"accept-encoding"]
            scope = {**scope, "headers": kept}
        await self._app(scope, receive, _Added(send))


class _Added:
    """Sends on what is sent, a page once all of it is there."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._page = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_page(message):
            self._start = message
            return
        if self._start is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        self._page += message.get("body", b"")
        if message.get("more_body", False):
            return
        page = self._page.replace(_END, scripts() + _END, 1)
        MutableHeaders(scope=self._start)["content-length"] = str(len(page))
        await self._send(self._start)
        await self._send({**message, "body": page})


@cache
def scripts() -> bytes:
    """Return the elements that ask for the parts; none for one that this Streamlit calls otherwise."""
    found = [f"./static/js/{path.name}" for part in PARTS for path in _FOLDER.glob(f"{part}.*.js")]
    links = "".join(f'<link rel="modulepreload" crossorigin href="{name}">' for name in found)
    imports = ", ".join(f"import({json.dumps(name)})" for name in found)
    return f'{links}<script type="module">{_SCRIPT % imports}</script>'.encode()


def _is_page(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    plain = "content-encoding" not in headers
    return plain and start["status"] == 200 and headers.get("content-type", "").startswith("text/html")
