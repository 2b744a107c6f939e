"""Loading a model file safely: always in a child process with limits, never in this one.

The child gets one job as a JSON file and `.npy` files in a temporary folder that is also its working
folder, a nearly empty environment, and limits on memory, CPU time and file size. It dies with this
process. What it dies of becomes an error that names the signal.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edge_bench
from edge_bench import errors
from edge_bench.documents import from_document
from edge_bench.errors import ModelCrashed
from edge_bench.measure.inspection import check_model, memory_limit_bytes
from edge_bench.records.artifact import Precision, TensorSpec

Floats = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]
Specs = tuple[TensorSpec, ...]

# How the temporary folders begin in which children work.
FOLDER = "edge-bench-"
MAX_FILE_BYTES = 4 << 30
# Threads and processes that a child may add to those this user has; runtimes start one a core.
MAX_PROCESSES = 512

# -I keeps the user's folder and environment off the child's path; what is appended, last, is only
# the place this package was imported from, for a checkout that is not installed.
_START = (
    "import sys; from pathlib import Path; sys.path.append(sys.argv[1]); "
    "from edge_bench.measure.isolation import leave_network; leave_network(); "
    "from edge_bench.measure import worker; worker.main(Path(sys.argv[2]))"
)
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a job answered: a document, and arrays by name."""

    document: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """The inputs and outputs of a model file, and the precision of its arithmetic."""

    inputs: Specs
    outputs: Specs
    precision: Precision


def predict(
    model: Path,
    inputs: Floats | Tokens,
    *,
    runtime: str,
    batch: int,
    threads: int = 1,
    timeout_s: float = 600,
) -> Floats:
    """Return the first output float32 [n, ...] for inputs [n, ...] in the file's own layout.

    Inputs are real numbers, or the integers that the file takes. The file runs on exactly `batch`
    examples at a time; the last batch is padded by repeating its last example and the padding cut off.
    Where the file's tensors are quantized, real inputs are too, and outputs dequantized, by their scale
    and zero point. Keys and values, of six sides, are joined along the third, which counts examples.

    Raises:
        InvalidModel, ModelCrashed: the runtime refuses the file, or died of it.
        ConfigError: no such file, or a file whose batch is fixed at another size.
    """
    check_model(model, runtime=runtime)
    if not len(inputs):
        raise errors.DataError("there are no inputs to run the model on")
    job = {"runtime": runtime, "model": str(model.resolve()), "batch": batch, "threads": threads}
    given = {"inputs": _kept_whole(inputs)}
    return run_job("predict", job, arrays=given, timeout_s=timeout_s).arrays["outputs"]


def run(
    model: Path,
    feeds: Mapping[str, npt.NDArray[Any]],
    *,
    runtime: str,
    batch: int = 1,
    threads: int = 1,
    timeout_s: float = 600,
) -> dict[str, npt.NDArray[Any]]:
    """Run a model file once and return all its outputs by name, as real numbers where they are quantized.

    Args:
        model: the file.
        feeds: an array for each of its inputs, by the name in the file or as `inputs.plain_name` tells.
        runtime: what runs it.
        batch: how many examples the feeds hold.
        threads: intra-operator threads.
        timeout_s: how long it may take.

    Raises:
        InvalidModel, ModelCrashed: the runtime refuses the file or these feeds, or died of them.
        ConfigError: no such file, or a file whose batch is fixed at another size.
    """
    check_model(model, runtime=runtime)
    job = {"runtime": runtime, "model": str(model.resolve()), "batch": batch, "threads": threads}
    names = list(feeds)
    arrays = {str(place): _kept_whole(feeds[name]) for place, name in enumerate(names)}
    answer = run_job(
        "edge_bench.measure.text_jobs:run", {**job, "names": names}, arrays=arrays, timeout_s=timeout_s
    )
    return {name: answer.arrays[str(place)] for place, name in enumerate(answer.document["names"])}


def describe(model: Path, *, runtime: str) -> tuple[Specs, Specs]:
    """Return the inputs and outputs that a model file states; `stated` tells the precision too."""
    told = stated(model, runtime=runtime)
    return told.inputs, told.outputs


def stated(model: Path, *, runtime: str) -> Stated:
    """Return what a model file states of itself.

    Raises:
        InvalidModel, ModelCrashed: the runtime refuses the file, or died of it.
        ConfigError: no such file.
    """
    check_model(model, runtime=runtime)
    job = {"runtime": runtime, "model": str(model.resolve()), "batch": 1, "threads": 1}
    return from_document(Stated, run_job("describe", job, timeout_s=120).document, where="the answer")


def survey(
    models: Sequence[Path],
    *,
    runtime: str,
    threads: int = 1,
    rounds: int = 6,
    round_ms: float = 12,
) -> list[float]:
    """Return the latency in ms of each model: the least of its `rounds` medians, taken in turns.

    All models are open in one child and take turns of `round_ms`, so that a disturbance meets all
    alike; the least median of several rounds repeats within about 1 % where one long measurement
    of each in turn does not. For many small files made by edge-bench itself.

    Raises:
        InvalidModel, ModelCrashed: the runtime refuses a file, or died of one.
    """
    for model in models:
        check_model(model, runtime=runtime)
    if not models:
        return []
    job = {
        "runtime": runtime,
        "models": [str(model.resolve()) for model in models],
        "batch": 1,
        "threads": threads,
        "rounds": rounds,
        "round_ms": round_ms,
    }
    # A slow board may take a second a run, and runs each model at least five times a round.
    timeout_s = 120 + len(models) * (2 + rounds * (5 + round_ms / 100))
    latencies: list[float] = run_job("survey", job, timeout_s=timeout_s).document["latencies_ms"]
    return latencies


def weigh(model: Path, *, runtime: str, threads: int = 1, timeout_s: float) -> float:
    """Return the peak resident memory in MB (10⁶ bytes) of a fresh process that runs a model a few times.

    Raises:
        InvalidModel, ModelCrashed: the runtime refuses the file, or died of it.
    """
    check_model(model, runtime=runtime)
    job = {"runtime": runtime, "model": str(model.resolve()), "batch": 1, "threads": threads}
    return float(run_job("memory", job, timeout_s=timeout_s).document["peak_memory_mb"])


def run_job(
    name: str,
    job: Mapping[str, Any],
    *,
    arrays: Mapping[str, npt.NDArray[Any]] | None = None,
    journal: list[dict[str, Any]] | None = None,
    timeout_s: float,
) -> Answer:
    """Do one job of `worker.JOBS`, or `package.module:function` of another, in a child; return its answer.

    Args:
        name: which job.
        job: its document.
        arrays: its inputs by name.
        journal: takes the lines that the child wrote, however it ends, Ctrl-C included.
        timeout_s: how long it may take.

    Raises:
        EdgeBenchError: what the child raised, of the same class.
        ModelCrashed: it died of a signal, or did not answer within `timeout_s`.
    """
    with _job_folder(name, job, arrays or {}, timeout_s) as (folder, limits):
        try:
            with _child(folder) as child:
                status = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise _silence(timeout_s) from None
        finally:
            if journal is not None:
                journal += _journal(folder)
        if status != 0:
            raise _death(status, folder, limits)
        return _read(folder)


class Conversation:
    """A job that answers question after question, each one line of JSON."""

    def __init__(
        self, child: subprocess.Popen[bytes], line: socket.socket, folder: Path, limits: Mapping[str, int]
    ) -> None:
        self._child = child
        self._line = line
        self._lines = line.makefile("rwb")
        self._folder = folder
        self._limits = limits

    def ask(self, question: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Return the child's answer.

        Raises:
            EdgeBenchError: what the child raised, of the same class.
            ModelCrashed: it died of a signal, or did not answer within `timeout_s`.
        """
        self._line.settimeout(timeout_s)
        try:
            self._lines.write(json.dumps(question).encode() + b"\n")
            self._lines.flush()
            answer = self._lines.readline()
        except TimeoutError:
            raise _silence(timeout_s) from None
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
        if answer.endswith(b"\n"):
            told: dict[str, Any] = json.loads(answer)
            return told
        if status := self._child.wait(timeout_s):
            raise _death(status, self._folder, self._limits)
        _read(self._folder)
        raise ModelCrashed("the runtime ended before it was asked to")


@contextmanager
def conversation(name: str, job: Mapping[str, Any], *, timeout_s: float) -> Iterator[Conversation]:
    """Start a job that answers questions (`turns` of `worker.JOBS`); it is ended with the block.

    `timeout_s` bounds the CPU time it may use; while it waits for a question it uses none.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        document = {**job, "socket": theirs.fileno()}
        with (
            _job_folder(name, document, {}, timeout_s) as (folder, limits),
            _child(folder, passing=[theirs.fileno()]) as child,
        ):
            # Held by the child alone, so that its end is heard.
            theirs.close()
            yield Conversation(child, ours, folder, limits)


@contextmanager
def _job_folder(
    name: str, job: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], timeout_s: float
) -> Iterator[tuple[Path, dict[str, int]]]:
    """Lay out a job in a temporary folder; give the folder and the limits that the job states."""
    with tempfile.TemporaryDirectory(prefix=FOLDER, ignore_cleanup_errors=True) as named:
        folder = Path(named)
        for key, array in arrays.items():
            np.save(folder / f"in-{key}.npy", array, allow_pickle=False)
        limits = _limits(timeout_s, int(job["threads"]))
        document = {**job, "job": name, "limits": limits}
        (folder / "job.json").write_text(json.dumps(document), encoding="utf-8")
        yield folder, limits


@contextmanager
def _child(folder: Path, *, passing: Sequence[int] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Start the child that does the job in `folder`, handing it open files; end it with the block."""
    root = Path(edge_bench.__file__).resolve().parents[1]
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    folders = {"PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder)}
    # What libraries report of their use to their makers (OpenVINO: each import) they do not of CI.
    environment = {**folders, "LC_ALL": "C", "CI": "true", **kept}
    with (folder / "said.txt").open("wb") as said:
        child = subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", "-c", _START, str(root), str(folder)],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            cwd=folder,
            env=environment,
            # A session of its own: Ctrl-C reaches this process alone, which then ends the child.
            start_new_session=True,
            pass_fds=passing,
        )
        try:
            yield child
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            if child.stdin:
                child.stdin.close()


def _kept_whole(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return whole numbers as they are and others as float32."""
    return np.ascontiguousarray(array, None if array.dtype.kind in "iu" else np.float32)


def _silence(timeout_s: float) -> ModelCrashed:
    return ModelCrashed(
        f"the model did not answer within {timeout_s:g} s and was stopped",
        hint="allow more seconds, or try a smaller batch",
    )


def _limits(timeout_s: float, threads: int) -> dict[str, int]:
    """Return limits by `resource` name. Runtimes reserve more address space than they use."""
    limits = {
        "RLIMIT_AS": memory_limit_bytes(),
        "RLIMIT_CPU": int(timeout_s * max(threads, 2)) + 10,
        "RLIMIT_FSIZE": MAX_FILE_BYTES,
        "RLIMIT_CORE": 0,
    }
    used = _threads_of_user()
    return {**limits, "RLIMIT_NPROC": used + MAX_PROCESSES} if used else limits


def _threads_of_user(root: Path = Path("/proc")) -> int:
    """Return how many threads this user has, which is what the kernel counts; 0 where it is untold."""
    used = 0
    for folder in root.glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            if folder.stat().st_uid == os.getuid():
                # After the name, which ends with the last bracket, the 18th field.
                used += int((folder / "stat").read_text().rpartition(")")[2].split()[17])
    return used


def _death(status: int, folder: Path, limits: Mapping[str, int]) -> ModelCrashed:
    if status < 0:
        named = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        if named == "SIGXCPU":
            return ModelCrashed(f"the model used up {limits['RLIMIT_CPU']} s of CPU time and was stopped")
        if named == "SIGKILL":
            hint = "the system ends processes when memory runs out: try a smaller batch"
            return ModelCrashed("the model crashed the runtime (SIGKILL)", hint=hint)
        return ModelCrashed(f"the model crashed the runtime ({named})", hint="is the file complete?")
    said = (folder / "said.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = _one_line(said[-1].strip()[:300]) if said else "it said nothing"
    return ModelCrashed(f"the runtime ended with status {status}: {last}")


def _read(folder: Path) -> Answer:
    try:
        told = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelCrashed("the runtime ended without an answer") from error
    if "error" in told:
        raise errors.error_of(**{key: _one_line(text) for key, text in told["error"].items()})
    arrays = {
        path.stem.removeprefix("out-"): np.load(path, allow_pickle=False)
        for path in folder.glob("out-*.npy")
    }
    return Answer(told["answer"], arrays)


def _journal(folder: Path) -> list[dict[str, Any]]:
    """Return the whole lines of the child's journal; it may have died within the last one."""
    try:
        text = (folder / "journal.jsonl").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _one_line(text: str) -> str:
    """Return a child's text as one line without control characters: a model names tensors as it likes."""
    return "".join(one if one.isprintable() else " " for one in text)
