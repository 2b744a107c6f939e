"""The agent's HTTP side, with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from edge_bench import __version__
from edge_bench.devices import protocol
from edge_bench.devices.job import Report, read_job
from edge_bench.devices.protocol import Hello, Hold
from edge_bench.devices.queue import Grant, Receipt
from edge_bench.documents import canonical_json, from_document
from edge_bench.errors import ConfigError, DeviceUnreachable, EdgeBenchError
from edge_bench.files import explained

TIMEOUT_S = 20.0
_CHUNK = 1 << 20


class ControllerUnreachable(DeviceUnreachable):
    """The controller did not answer, or not in a way that says anything: it is worth another try."""


class Refused(ConfigError):
    """The controller understood and said no; asking again would not help."""


class UnreadableJob(EdgeBenchError):
    """A job that this edge-bench cannot read; `hold` is the lease that came with it."""

    def __init__(self, error: EdgeBenchError, hold: Hold) -> None:
        super().__init__(error.message, hint=error.hint)
        self.hold = hold


class ControllerClient:
    """Asks one controller in the name of one device. A redirection is not followed: it would take the
    token elsewhere.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        name: str | None = None,
        authority: Path | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`authority` is a file of the certificates to trust for https, in place of the system's."""
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ConfigError(f"'{url}' is no address of a controller, such as http://192.0.2.1:8642")
        self.url = url.rstrip("/")
        self._name = name
        self._token = token
        self._timeout_s = timeout_s
        handlers: list[urllib.request.BaseHandler] = [_NoRedirection()]
        if authority is not None:
            try:
                context = ssl.create_default_context(cafile=str(authority))
            except OSError as error:
                raise ConfigError(f"'{authority}' holds no certificates: {error}") from error
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def lease(self, agent: str) -> tuple[str, Grant | None]:
        """Ask for work; return the name that this device has at the controller, and a job or None.

        `agent` names the one that asks, as in `protocol.Hello`.

        Raises:
            UnreadableJob: there is a job, and it cannot be read here.
        """
        told = self._ask("POST", protocol.LEASE, Hello(agent=agent, name=self._name, version=__version__))
        grant = told.get("grant")
        return str(told["device"]), None if grant is None else _grant(grant)

    def heartbeat(self, hold: Hold) -> bool:
        """Say that the job is still running; False where the lease is held no longer."""
        return bool(self._ask("POST", protocol.HEARTBEAT, hold).get("held"))

    def release(self, agent: str) -> None:
        """Give back what this agent holds, on purpose."""
        self._ask("POST", protocol.RELEASE, Hello(agent=agent))

    def report(self, report: Report) -> Receipt:
        """Hand over how a job ended. Doing it again is the same as doing it once."""
        told = self._ask("PUT", protocol.REPORT.format(id=report.id), report)
        return from_document(Receipt, told)

    def download(self, digest: str, size_bytes: int, file: IO[bytes]) -> None:
        """Write a model file into `file`, and no more than `size_bytes` of it."""
        with self._answer("GET", protocol.MODEL.format(digest=digest), None) as answer:
            left = size_bytes
            while left > 0 and (part := answer.read(min(_CHUNK, left))):
                with explained(Path(file.name)):
                    file.write(part)
                left -= len(part)

    def _ask(self, method: str, path: str, document: Any) -> dict[str, Any]:
        body = canonical_json(document).encode()
        if len(body) > protocol.MAX_REPORT_BYTES:
            # The controller would answer before it has read all, which looks like a broken connection.
            raise Refused(f"a report of {len(body)} bytes is more than a controller takes")
        with self._answer(method, path, body) as answer:
            said = answer.read(protocol.MAX_BODY_BYTES + 1)
        try:
            told = json.loads(said)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise ControllerUnreachable(f"{self.url} does not answer as a controller does")
        return told

    @contextmanager
    def _answer(self, method: str, path: str, body: bytes | None) -> Iterator[http.client.HTTPResponse]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=body, headers=headers, method=method)
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from error
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", None) or error
            raise ControllerUnreachable(
                f"the controller at {self.url} does not answer: {cause}",
                hint="does `edge-bench devices serve` run there, and can this machine reach it?",
            ) from error

    def _refusal(self, error: urllib.error.HTTPError) -> EdgeBenchError:
        try:
            said = str(json.loads(error.read(protocol.MAX_BODY_BYTES))["error"])
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
            said = error.reason
        if error.code in (401, 403):
            return ConfigError(
                f"the controller at {self.url} does not know this token: {said}",
                hint="edge-bench devices add NAME --agent, on the controller, shows a new one",
            )
        if error.code in (408, 429) or error.code >= 500 or 300 <= error.code < 400:
            return ControllerUnreachable(f"the controller at {self.url} answers {error.code}: {said}")
        return Refused(f"the controller at {self.url} refuses ({error.code}): {said}")


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _grant(document: dict[str, Any]) -> Grant:
    hold = Hold(job=str(document["job"]["id"]), lease=str(document["lease"]))
    try:
        return Grant(
            job=read_job(document["job"]),
            lease=hold.lease,
            lease_s=float(document["lease_s"]),
            attempt=int(document["attempt"]),
        )
    except ConfigError as error:
        raise UnreadableJob(error, hold) from error
