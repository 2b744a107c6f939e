"""The child's side of the sandbox: reads one job, loads the model, does the job, writes one answer.

Nothing here runs in the parent. The working folder holds `job.json` and the inputs as `.npy` files;
the answer is `answer.json` and `.npy` files, written last and at once. What is measured goes into
`journal.jsonl` as it comes, a line a block, so that a child that is cut short has not worked for nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench import variants
from edge_bench.documents import from_document, to_document
from edge_bench.errors import EdgeBenchError, InvalidModel
from edge_bench.measure.inputs import Feeding, batch_axis, dequantized, quantized, random_feeds
from edge_bench.measure.peers import PEERS, Assignment, Peer
from edge_bench.measure.runtimes import RUNTIMES, Runtime, Session, refusal
from edge_bench.measure.timing import Plan, measure, undisturbed
from edge_bench.measure.turns import take_turns
from edge_bench.measure.witness import Observed, between, witness
from edge_bench.statistics import percentile

Arrays = Mapping[str, npt.NDArray[Any]]
JOB, ANSWER, JOURNAL = "job.json", "answer.json", "journal.jsonl"
MEMORY_RUNS = 3


def main(folder: Path) -> None:
    """Do the job in `folder` and end the process, without running the libraries' destructors.

    A published model is known that corrupts the heap by running: what it computed is good, and
    what tidying up would do is not.
    """
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    document = json.loads((folder / JOB).read_text(encoding="utf-8"))
    _limit(document["limits"])
    try:
        arrays = {path.stem: np.load(path, allow_pickle=False) for path in folder.glob("in-*.npy")}
        answer, results = _job(document["job"])(document, arrays)
        for name, array in results.items():
            np.save(folder / f"out-{name}.npy", array, allow_pickle=False)
        _answer(folder, {"answer": answer})
    except EdgeBenchError as error:
        kind = type(error).__name__
        _answer(folder, {"error": {"kind": kind, "message": error.message, "hint": error.hint}})
    except ModuleNotFoundError as error:
        explained = variants.explain(error)
        if not isinstance(explained, EdgeBenchError):
            raise
        _answer(folder, {"error": {"kind": "MissingExtra", **_told(explained)}})
    except MemoryError:
        message = "the model asks for more memory than the sandbox allows"
        _answer(folder, {"error": {"kind": "InvalidModel", "message": message, "hint": ""}})
    except Exception:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def describe(job: Mapping[str, Any], _: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Return what the file says of its tensors."""
    session = open_model(job, Path(job["model"]))
    return {
        "inputs": to_document(session.inputs),
        "outputs": to_document(session.outputs),
        "precision": session.precision,
    }, {}


def predict(job: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Run the model on `in-inputs` [n, ...] in batches; answer the first output of all of them."""
    session = open_model(job, Path(job["model"]))
    inputs, batch = arrays["in-inputs"], int(job["batch"])
    if len(session.inputs) != 1:
        names = ", ".join(spec.name for spec in session.inputs)
        raise InvalidModel(f"the model takes {len(session.inputs)} inputs ({names}); one is expected")
    taken, given = session.inputs[0], session.outputs[0]
    fits = len(taken.shape) == inputs.ndim and all(
        side in (None, have) for side, have in zip(taken.shape[1:], inputs.shape[1:], strict=True)
    )
    if not fits:
        raise InvalidModel(f"the model takes inputs of shape {taken.shape}, not {inputs.shape}")
    parts = []
    for start in range(0, len(inputs), batch):
        part = inputs[start : start + batch]
        padded = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
        answer = session.run({taken.name: quantized(padded, taken)})[given.name]
        axis = batch_axis(answer.shape)
        if answer.ndim == 0 or answer.shape[axis] != batch:
            raise InvalidModel(f"the model answers {answer.shape} to a batch of {batch}")
        parts.append(dequantized(answer, given).take(range(len(part)), axis))
    return {}, {"outputs": np.concatenate(parts, axis)}


def time_model(job: Mapping[str, Any], _: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Measure load, first and warm queries on random inputs, of a model that `memory` has checked."""
    threads, batch = int(job["threads"]), int(job["batch"])
    runtime = _runtime(job)
    started = time.perf_counter_ns()
    session = runtime.open(Path(job["model"]), threads=threads, batch=batch)
    load_ns = time.perf_counter_ns() - started
    feeds = random_feeds(session.inputs, batch=batch, feeding=_feeding(job))
    opened = {
        "load_ms": load_ns / 1e6,
        "precision": session.precision,
        "runtime_version": runtime.version(),
        "delegate": runtime.delegate,
        "input_shapes": {name: list(array.shape) for name, array in feeds.items()},
    }
    with Path(JOURNAL).open("w", encoding="utf-8") as journal:

        def write(**line: Any) -> None:
            # Out of the process at once: what kills it must not take this along.
            journal.write(json.dumps(line) + "\n")
            journal.flush()

        before = witness()
        timing = measure(
            session,
            feeds,
            from_document(Plan, job["plan"]),
            threads=threads,
            invocations=int(job["invocations"]),
            begun=lambda first: write(**opened, first=to_document(first)),
            written=lambda block: write(block=to_document(block)),
        )
    of_this_machine = session.clock(threads).of_this_machine
    observed = between(before, witness(), threads=threads) if of_this_machine else Observed()
    return {
        **opened,
        "first": to_document(timing.first),
        "blocks": to_document(timing.blocks),
        "stopped_by": timing.stopped_by,
        "observed": to_document(observed),
    }, {}


def check_and_weigh(job: Mapping[str, Any], _: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Check what the model answers, run it a few times, and answer the process' peak memory.

    `batched` tells whether each output has as many rows as the batch has examples.
    """
    session, batch = open_model(job, Path(job["model"])), int(job["batch"])
    feeds = random_feeds(session.inputs, batch=batch, feeding=_feeding(job))
    outputs = session.run(feeds)
    check_outputs(outputs)
    session.prepare(feeds)
    for _run in range(MEMORY_RUNS):
        session.invoke()
    batched = all(
        array.ndim and array.shape[batch_axis(array.shape)] == batch for array in outputs.values()
    )
    return {"peak_memory_mb": peak_memory_mb(), "batched": bool(batched)}, {}


def profile(job: Mapping[str, Any], _: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Answer where the time of an inference goes, as far as the runtime tells."""
    threads, batch = int(job["threads"]), int(job["batch"])
    told = _runtime(job).profile(Path(job["model"]), threads=threads, batch=batch, feeding=_feeding(job))
    return {"profile": to_document(told)}, {}


def survey(job: Mapping[str, Any], _: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Measure many small models in turns; answer the least of each one's round medians, in ms.

    Time in which other work had the CPU is taken off: it is asked how long a model takes, not how
    often it was interrupted.
    """
    sessions = [open_model(job, Path(model)) for model in job["models"]]
    for session in sessions:
        feeds = random_feeds(session.inputs, batch=1)
        check_outputs(session.run(feeds))
        session.prepare(feeds)
    best = [float("inf")] * len(sessions)
    with undisturbed():
        for _round in range(int(job["rounds"])):
            for index, session in enumerate(sessions):
                best[index] = min(best[index], _round_median_ms(session, float(job["round_ms"]), job))
    return {"latencies_ms": best}, {}


def turns(job: Mapping[str, Any], _: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Check what the model answers, then measure a block whenever the parent asks for one."""
    session = open_model(job, Path(job["model"]))
    feeds = random_feeds(session.inputs, batch=int(job["batch"]), feeding=_feeding(job))
    check_outputs(session.run(feeds))
    take_turns(session, feeds, threads=int(job["threads"]), line=int(job["socket"]))
    return {}, {}


def peer(job: Mapping[str, Any], _: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Let another program measure the model; what it and its own children use is no other work."""
    cls = variants.load(Peer, PEERS, job["peer"])
    before = witness()
    report = cls().measure(from_document(Assignment, job["assignment"]))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    after = witness()
    after = replace(after, own_s=after.own_s + used.ru_utime + used.ru_stime)
    return {"report": to_document(report), "observed": to_document(between(before, after))}, {}


def check_outputs(outputs: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise `InvalidModel` unless there are outputs and all of them are finite numbers."""
    if not outputs:
        raise InvalidModel("the model answers nothing")
    for name, array in outputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InvalidModel(f"output '{name}' is not finite for random inputs between 0 and 1")


def peak_memory_mb(status: Path = Path("/proc/self/status")) -> float:
    """Return this process' peak resident memory in MB (10⁶ bytes).

    Linux hands the parent's `ru_maxrss` down to a child, so there the kernel's own high-water mark
    of this address space is read. macOS counts `ru_maxrss` in bytes, others in KiB.
    """
    with contextlib.suppress(OSError):
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else 1024) / 1e6


Job = Callable[[Mapping[str, Any], Arrays], tuple[dict[str, Any], Arrays]]
JOBS: dict[str, Job] = {
    "describe": describe,
    "predict": predict,
    "time": time_model,
    "memory": check_and_weigh,
    "profile": profile,
    "survey": survey,
    "turns": turns,
    "peer": peer,
}


def _job(name: str) -> Job:
    """Return a job of `JOBS`, or one of another package, named as `package.module:function`."""
    if name in JOBS:
        return JOBS[name]
    module, _, function = name.partition(":")
    job: Job = getattr(importlib.import_module(module), function)
    return job


def _round_median_ms(session: Session, round_ms: float, job: Mapping[str, Any]) -> float:
    clock = session.clock(int(job["threads"]))
    # The caches are another model's: two runs bring this one's back.
    session.invoke()
    session.invoke()
    latencies: list[int] = []
    begun = clock.wall_ns()
    while len(latencies) < 3 or (clock.wall_ns() - begun < round_ms * 1e6 and len(latencies) < 10_000):
        away, before = clock.away_ns(), clock.wall_ns()
        session.invoke()
        took, away_after = clock.wall_ns() - before, clock.away_ns()
        told = away is not None and away_after is not None
        latencies.append(took - max(0, away_after - away) if told else took)  # type: ignore[operator]
    return percentile(latencies, 50) / 1e6


def _feeding(job: Mapping[str, Any]) -> Feeding:
    return from_document(Feeding, job.get("feeding", {}))


def _runtime(job: Mapping[str, Any]) -> Runtime:
    return variants.load(Runtime, RUNTIMES, job["runtime"])()


def open_model(job: Mapping[str, Any], model: Path) -> Session:
    """Open a model in the job's runtime, with its threads and its batch."""
    try:
        return _runtime(job).open(model, threads=int(job["threads"]), batch=int(job["batch"]))
    except RuntimeError as error:
        raise refusal(job["runtime"], model, error) from error


def _limit(limits: Mapping[str, int]) -> None:
    """Set this process' resource limits; a system that does not know one goes without it."""
    for name, value in limits.items():
        with contextlib.suppress(ValueError, OSError, AttributeError):
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (allowed, allowed))


def _end_with_parent(folder: Path) -> None:
    # The parent holds the other end of standard input and never writes: it ends when the parent does,
    # and then nobody else is left to remove the folder.
    os.read(0, 1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _answer(folder: Path, document: Mapping[str, Any]) -> None:
    part = folder / f"{ANSWER}.part"
    part.write_text(json.dumps(document), encoding="utf-8")
    part.replace(folder / ANSWER)


def _told(error: EdgeBenchError) -> dict[str, str]:
    return {"message": error.message, "hint": error.hint}
