"""The controller's HTTP side: hands jobs to agents and takes their reports. No state of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from edge_bench.devices import protocol
from edge_bench.devices.job import Report
from edge_bench.devices.models import ModelCache
from edge_bench.devices.protocol import Hello, Hold
from edge_bench.devices.queue import JobQueue
from edge_bench.devices.registry import Registry
from edge_bench.documents import from_document, to_document
from edge_bench.errors import ConfigError, StoreError
from edge_bench.files import Home
from edge_bench.store import ResultStore

BODY_TIMEOUT_S = 120.0
T = TypeVar("T")
Answer = Callable[[Request, str], Awaitable[Response]]


def controller(
    store: ResultStore, home: Home, *, lease_s: float, body_timeout_s: float = BODY_TIMEOUT_S
) -> Starlette:
    """Return the ASGI application. Every request needs a device's token, and sees that device alone."""
    queue, registry = JobQueue(store, lease_s=lease_s), Registry(store)
    models = ModelCache.of_controller(home)

    async def lease(request: Request, device: str) -> Response:
        told = await _body(request, Hello)
        if told.name not in (None, device):
            raise ConfigError(f"this token belongs to device '{device}', not to '{told.name}'")
        grant = await run_in_threadpool(queue.lease, device, told.agent)
        return JSONResponse({"device": device, "grant": None if grant is None else to_document(grant)})

    async def heartbeat(request: Request, device: str) -> Response:
        hold = await _body(request, Hold)
        held = await run_in_threadpool(queue.renew, device, hold.job, hold.lease)
        return JSONResponse({"held": held})

    async def release(request: Request, device: str) -> Response:
        told = await _body(request, Hello)
        held = await run_in_threadpool(queue.release, device, told.agent)
        return JSONResponse({"held": held})

    async def model(request: Request, device: str) -> Response:
        digest = request.path_params["digest"]
        # Asked of the queue first: the path is made of a digest that it knows.
        if digest not in await run_in_threadpool(queue.wanted, device):
            return _refusal(404, "no job of this device needs such a file")
        if (path := models.find(digest)) is None:
            return _refusal(410, f"the file {digest[:12]} is gone from the controller")
        return FileResponse(path, media_type="application/octet-stream")

    async def report(request: Request, device: str) -> Response:
        told = await _body(request, Report, limit=protocol.MAX_REPORT_BYTES)
        if told.id != request.path_params["id"]:
            raise ConfigError("the report's id is not the one in the path")
        return JSONResponse(to_document(await run_in_threadpool(queue.report, device, told)))

    async def _body(request: Request, kind: type[T], *, limit: int = protocol.MAX_BODY_BYTES) -> T:
        async with asyncio.timeout(body_timeout_s):
            return from_document(kind, await _json(request, limit))

    def known(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def answered(request: Request) -> Response:
            try:
                scheme, _, token = request.headers.get("authorization", "").partition(" ")
                device = None
                if scheme.lower() == "bearer" and token:
                    device = await run_in_threadpool(registry.authenticate, token.strip())
                if device is None:
                    return _refusal(401, "no such token; edge-bench devices add NAME --agent makes one")
                await run_in_threadpool(registry.seen, device)
                return await answer(request, device)
            except _TooLarge as error:
                return _refusal(413, str(error))
            except ConfigError as error:
                return _refusal(422, error.message)
            except (TimeoutError, ClientDisconnect):
                return _refusal(408, f"the body did not arrive within {body_timeout_s:g} s")
            except StoreError as error:
                return _refusal(503, error.message)

        return answered

    return Starlette(
        routes=[
            Route(protocol.LEASE, known(lease), methods=["POST"]),
            Route(protocol.HEARTBEAT, known(heartbeat), methods=["POST"]),
            Route(protocol.RELEASE, known(release), methods=["POST"]),
            Route(protocol.MODEL, known(model), methods=["GET"]),
            Route(protocol.REPORT, known(report), methods=["PUT"]),
        ],
        exception_handlers={
            404: lambda request, error: _refusal(404, "there is nothing here"),
            405: lambda request, error: _refusal(405, f"{request.method} does not go here"),
        },
    )


class _TooLarge(Exception):
    pass


async def _json(request: Request, limit: int) -> Any:
    """Return the body, read no further than `limit` whatever its length claims to be."""
    said = request.headers.get("content-length", "")
    parts, size = [], int(said) if said.isdecimal() else 0
    if size > limit:
        raise _TooLarge(f"the body is {size} bytes; at most {limit} are read")
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _TooLarge(f"the body is larger than the {limit} bytes that are read")
        parts.append(part)
    try:
        return await run_in_threadpool(json.loads, b"".join(parts))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the body is not JSON: {error}") from error


def _refusal(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)
