"""What stands before the pages: whose questions are answered, and what a browser may do with an answer.

Streamlit asks nobody who he is, takes files, and lets any page of this machine speak to it. So each
request passes here first.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from urllib.parse import parse_qs, quote

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard import login
from edge_bench.network import is_loopback
from edge_bench.tokens import is_token, sha256_of_token

TOKEN = "token"
# A page loads nothing from elsewhere, whatever a name in the store makes of itself, and stands in no frame.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none';"
    " base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # Without any, a form of our own would be sent as if from nowhere.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
FORM_BYTES = 4_096
# A name or address, and a port.
_HOST = re.compile(r"(\[[\da-fA-F:.]+\]|[\w.-]+)(?::\d+)?")
_LOG = logging.getLogger(__name__)


class Attempts:
    """How often each address gave a wrong token lately; after `most` in `within_s` it has to wait."""

    def __init__(
        self, *, most: int = 5, within_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.most = most
        self.within_s = within_s
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def may_try(self, address: str) -> bool:
        times = self._wrong.get(_network(address), deque())
        while times and times[0] <= self._clock() - self.within_s:
            times.popleft()
        return len(times) < self.most

    def failed(self, address: str) -> None:
        times = self._wrong.setdefault(_network(address), deque(maxlen=self.most))
        times.append(self._clock())
        self._wrong.move_to_end(_network(address))
        # Nobody fills the memory by coming from everywhere.
        if len(self._wrong) > 1_000:
            self._wrong.popitem(last=False)
        if not self.may_try(address):
            _LOG.warning(
                "%s gave %d wrong tokens and has to wait %.0f s", address, self.most, self.within_s
            )


class Guard:
    """ASGI middleware. Nothing of the pages, nor of their socket, is reached by whom it does not know.

    Without a token only those are answered that ask for this machine by a name of its own, so that no other
    name can be made to mean it. A token is given once, by the form or as `?token=`, and answered with a
    cookie; it holds until the server ends.

    Args:
        app: what is guarded.
        token: who gives it is let in; None lets all in that reach this machine's own address.
        port: of the server; cookies are of a host, so that two servers need two names.
        secure: whether the server speaks https.
        attempts: counts wrong tokens.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        port: int,
        secure: bool = False,
        attempts: Attempts | None = None,
    ) -> None:
        self._app = app
        self._token_sha256 = None if token is None else sha256_of_token(token)
        self._cookie = f"edge_bench_{port}"
        # Random, not made from the token: who guesses cookies guesses 256 bits.
        self._session = secrets.token_urlsafe(32)
        self._secure = secure
        self._attempts = attempts or Attempts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = await self._refusal(scope, receive)
        if refusal is None:
            await self._app(scope, receive, _hardened(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, _hardened(send))

    async def _refusal(self, scope: Scope, receive: Receive) -> Response | None:
        """Return what is answered in place of the page, None where the page may answer."""
        asked = HTTPConnection(scope)
        method = scope.get("method", "GET")
        told = _unasked(asked.headers, any_name=self._token_sha256 is not None)
        if told:
            return PlainTextResponse(told, status_code=403)
        if self._token_sha256 is not None and scope["type"] == "http":
            given = await _given(Request(scope, receive), method)
            if given is not None:
                return self._answer_token(scope, given, method)
        if self._token_sha256 is not None and not self._knows(asked):
            return _ask(asked.headers)
        if method not in ("GET", "HEAD"):
            return PlainTextResponse(
                "Nothing is uploaded here.",
                status_code=405,
                headers={"Allow": "GET, HEAD"},
            )
        return None

    def _knows(self, asked: HTTPConnection) -> bool:
        return secrets.compare_digest(asked.cookies.get(self._cookie, "").encode(), self._session.encode())

    def _answer_token(self, scope: Scope, given: str, method: str) -> Response:
        address = str((scope.get("client") or ("unknown",))[0])
        if not self._attempts.may_try(address):
            wait = f"{self._attempts.within_s:.0f}"
            told = f"Too many wrong tokens came from {address}. Wait {wait} seconds."
            return _html(login.form(told), 429, {"Retry-After": wait})
        if not is_token(given, self._token_sha256 or ""):
            self._attempts.failed(address)
            return _html(login.form("This is not the token."), 401)
        onward = _without_token(scope)
        answer: Response
        if method == "POST":
            answer = RedirectResponse(onward, status_code=303)
        else:
            # Of a link in a mail, which begins on another site, no redirection would carry the cookie.
            answer = _html(login.onward(onward), 200)
        answer.set_cookie(
            self._cookie, self._session, httponly=True, samesite="strict", secure=self._secure, path="/"
        )
        return answer


def _unasked(headers: Headers, *, any_name: bool) -> str:
    """Say why a request is refused that a page of another site may have caused; "" where it is none."""
    host = headers.get("host", "")
    known = _HOST.fullmatch(host)
    name = known[1].strip("[]") if known else ""
    if not any_name and not is_loopback(name):
        return (
            f"This dashboard answers to 'localhost' and '127.0.0.1', and was asked for {host!r}. "
            "Started with --token-file it answers to any name."
        )
    origin = headers.get("origin")
    # Schemes may differ: a proxy before us may speak https.
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return "This was asked by a page of another site."
    return ""


async def _given(request: Request, method: str) -> str | None:
    """Return the token in the address, or in the form that was sent; None where there is none."""
    if method == "GET":
        return request.query_params.get(TOKEN)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if method != "POST" or kind != "application/x-www-form-urlencoded":
        return None
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > FORM_BYTES:
            return None
    return next(iter(parse_qs(body.decode("latin-1")).get(TOKEN, ())), None)


def _ask(headers: Headers) -> Response:
    if "text/html" in headers.get("accept", ""):
        return _html(login.form(), 401)
    return PlainTextResponse("This dashboard asks for a token.", status_code=401)


def _html(page: str, status: int, headers: dict[str, str] | None = None) -> Response:
    strict = {"Content-Security-Policy": login.POLICY, "Cache-Control": "no-store"}
    return HTMLResponse(page, status_code=status, headers={**strict, **(headers or {})})


def _without_token(scope: Scope) -> str:
    """Return the address that was asked for without its token; on this host, whatever its path is."""
    path = "/" + quote(scope["path"].lstrip("/\\"))
    kept = [(name, one) for name, one in QueryParams(scope["query_string"]).multi_items() if name != TOKEN]
    return f"{path}?{QueryParams(kept)}" if kept else path


def _hardened(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sent


def _network(address: str) -> str:
    """Return what counts as one address: of IPv6 the 64 bits that one network has."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network(f"{address}/64", strict=False)) if known.version == 6 else address
