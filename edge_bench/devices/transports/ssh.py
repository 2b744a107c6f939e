"""ssh: the model is copied once by its SHA-256, the job runs there, the whole record comes back."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh

from edge_bench.devices import remote
from edge_bench.devices.job import Failure, Job, Measured, SurveyOptions
from edge_bench.devices.transports import Reach, Transport
from edge_bench.documents import canonical_json, from_document, to_document
from edge_bench.errors import ConfigError, DeviceUnreachable, EdgeBenchError
from edge_bench.records import BenchmarkResult, Survey

CONNECT_S = 10
REACH_S = 5
# A cable that was pulled is noticed within three of them.
KEEP_ALIVE_S = 10
# Everything a run may answer; a measurement with every raw latency stays far below.
MAX_ANSWER_BYTES = 64_000_000
_CHUNK = 1 << 18
_NOT_FOUND = 127


class Ssh(Transport):
    """The address holds `host`, and where given `user`, `port`, `python` and `identity`.

    Host keys are checked against known_hosts, and `~/.ssh/config` is read, as ssh itself does it. The
    far end stops measuring when the connection is cut, and nothing of it is kept.
    """

    name = "ssh"

    def run(self, job: Job, model: Path, *, say: Callable[[str], None]) -> Measured:
        return asyncio.run(self._measure(job, model, say))

    def reach(self) -> Reach:
        try:
            told = asyncio.run(self._greet())
        except TimeoutError:
            return Reach(reachable=False, detail=f"no answer within {2 * REACH_S} s")
        except EdgeBenchError as error:
            return Reach(reachable=False, detail=error.message)
        return Reach(reachable=True, detail=f"edge-bench {told['edge_bench']}")

    async def _measure(self, job: Job, model: Path, say: Callable[[str], None]) -> Measured:
        document = {"job": to_document(job), "device": self.device.name}
        async with self._connected(CONNECT_S) as connection:
            if not (await self._checked_greeting(connection, document))["has"]:
                say(f"copying {job.model} to '{self.device.name}' ({job.size_bytes / 1e6:.1f} MB)")
                await self._ask(connection, "put", document, send=model)
            say(f"running on '{self.device.name}': {job.model}")
            told = await self._ask(connection, "run", document, say=say)
        kind: type[Measured] = Survey if isinstance(job.options, SurveyOptions) else BenchmarkResult
        result = from_document(kind, told["result"], where="result")
        if (result.device, result.digest) != (self.device.name, job.digest):
            raise DeviceUnreachable(f"'{self.device.name}' answered with the result of another job")
        return result

    async def _greet(self) -> dict[str, Any]:
        async with asyncio.timeout(2 * REACH_S), self._connected(REACH_S) as connection:
            return await self._checked_greeting(connection, {})

    async def _checked_greeting(
        self, connection: asyncssh.SSHClientConnection, document: dict[str, Any]
    ) -> dict[str, Any]:
        told = await self._ask(connection, "hello", document)
        if told.get("version") != remote.VERSION:
            raise ConfigError(
                f"'{self.device.name}' has edge-bench {told.get('edge_bench')}, which answers otherwise",
                hint="pip install --upgrade edge-bench, on both",
            )
        return told

    @asynccontextmanager
    async def _connected(self, timeout_s: int) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """Give a connection; what cuts it, before or during the block, is told as one line."""
        address = self.device.address
        given = {name: address[name] for name in ("port",) if name in address}
        given |= {"username": address["user"]} if "user" in address else {}
        given |= (
            {"client_keys": [str(Path(address["identity"]).expanduser())]} if "identity" in address else {}
        )
        try:
            async with asyncssh.connect(
                address["host"],
                **given,
                connect_timeout=timeout_s,
                login_timeout=timeout_s,
                keepalive_interval=KEEP_ALIVE_S,
            ) as connection:
                yield connection
        except asyncssh.HostKeyNotVerifiable as error:
            port = f"-p {address['port']} " if "port" in address else ""
            raise DeviceUnreachable(
                f"the host key of '{self.device.name}' ({address['host']}) is not in known_hosts",
                hint=f"ssh {port}{address['host']} once and compare the fingerprint with the device's own",
            ) from error
        except asyncssh.PermissionDenied as error:
            raise DeviceUnreachable(
                f"'{self.device.name}' lets nobody in with these keys: {error.reason}",
                hint="ssh-copy-id to the device, or name the key: devices add … --identity FILE",
            ) from error
        except (asyncssh.Error, asyncssh.KeyImportError, OSError, TimeoutError) as error:
            cause = getattr(error, "reason", "") or getattr(error, "strerror", "") or str(error)
            raise DeviceUnreachable(
                f"the connection to '{self.device.name}' ({address['host']}) failed or was cut: "
                f"{cause or type(error).__name__}",
                hint="is it on and in this network? Nothing was counted: run the same command again",
            ) from error

    async def _ask(
        self,
        connection: asyncssh.SSHClientConnection,
        action: str,
        document: dict[str, Any],
        *,
        send: Path | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> dict[str, Any]:
        """Do one action there; return the last document of its answer, and `say` those before."""
        python = str(self.device.address.get("python", "python3")).removeprefix("~/")
        command = f"{shlex.quote(python)} -m edge_bench.devices.remote {action}"
        async with connection.create_process(command, encoding=None) as process:
            process.stdin.write(f"{canonical_json(document)}\n".encode())
            if send is not None:
                await _send(process.stdin, send)
            answer: dict[str, Any] | None = None
            async for line in _lines(process.stdout):
                answer = json.loads(line)
                if "says" in answer:
                    say(str(answer["says"]))
            complained = (await process.stderr.read(_CHUNK)).decode(errors="replace").strip()
            # Its end is awaited with the input open: closing it means "stop".
            await process.wait_closed()
        if answer is None:
            raise self._silence(process, python, complained)
        if "failure" in answer:
            raise from_document(Failure, answer["failure"], where="failure").error()
        return answer

    def _silence(self, process: Any, python: str, complained: str) -> EdgeBenchError:
        """Return the error for a far end that ended without an answer."""
        last = complained.splitlines()[-1][:300] if complained else "it said nothing"
        if process.exit_status is None:
            return DeviceUnreachable(
                f"the connection to '{self.device.name}' was cut",
                hint="nothing was counted: run the same command again",
            )
        if process.exit_status == _NOT_FOUND or "No module named" in last:
            return ConfigError(
                f"'{python}' on '{self.device.name}' has no edge-bench: {last}",
                hint="pip install 'edge-bench[onnxruntime]' there, or devices add … --python PATH",
            )
        return DeviceUnreachable(
            f"edge-bench on '{self.device.name}' ended with status {process.exit_status}: {last}"
        )


async def _send(stdin: Any, model: Path) -> None:
    with model.open("rb") as file:
        while part := file.read(_CHUNK):
            stdin.write(part)
            await stdin.drain()


async def _lines(stdout: Any) -> AsyncIterator[bytes]:
    """Yield whole lines, of no more than `MAX_ANSWER_BYTES` in all; a part at the end is no line."""
    begun: list[bytes] = []
    size = 0
    while part := await stdout.read(_CHUNK):
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise DeviceUnreachable(f"the device answers more than {MAX_ANSWER_BYTES} bytes")
        *ends, rest = part.split(b"\n")
        for end in ends:
            yield b"".join([*begun, end])
            begun = []
        begun.append(rest)
