"""The child's jobs of text models, named to the sandbox as `edge_bench.measure.text_jobs:run` and so on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench.documents import from_document
from edge_bench.errors import InvalidModel
from edge_bench.measure.inputs import (
    CACHE,
    POSITION,
    STATE,
    TOKEN,
    dequantized,
    plain_name,
    quantized,
)
from edge_bench.measure.runtimes import Session
from edge_bench.measure.worker import Arrays, open_model
from edge_bench.records.artifact import TensorSpec
from edge_bench.records.subnet import AnyStep, RecurrentStep
from edge_bench.statistics import percentile
from edge_bench.text import decoding
from edge_bench.text.encoding import padded
from edge_bench.text.stepping import Feeds, FileStepper, RecurrentStepper, stepper_of


def run(job: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Run a model once on `in-0` and so on, called `names`; answer its outputs and their names."""
    session = open_model(job, Path(job["model"]))
    given = {name: arrays[f"in-{place}"] for place, name in enumerate(job["names"])}
    specs = {name: spec for spec in session.inputs for name in (spec.name, plain_name(spec.name))}
    missing = [one.name for one in session.inputs if not {one.name, plain_name(one.name)} & given.keys()]
    if missing or given.keys() - specs.keys():
        takes = ", ".join(spec.name for spec in session.inputs)
        raise InvalidModel(f"the model takes the inputs {takes}; given are {', '.join(given)}")
    feeds = {specs[name].name: quantized(array, specs[name]) for name, array in given.items()}
    outputs = session.run(feeds)
    told = {str(place): dequantized(outputs[one.name], one) for place, one in enumerate(session.outputs)}
    return {"names": [spec.name for spec in session.outputs]}, told


def answers(job: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Run a model on each text alone; answer its first output [texts, ...].

    `in-tokens` are the texts' tokens one behind the other, `in-lengths` how many each has. A file of a
    fixed length gets them padded with `pad`.
    """
    session = open_model(job, Path(job["model"]))
    taken, given = one_input(session), session.outputs[0]
    parts = []
    for row in split(arrays["in-tokens"], arrays["in-lengths"]):
        tokens = quantized(fitted(row, taken, int(job["pad"])), taken)
        parts.append(dequantized(session.run({taken.name: tokens})[given.name], given))
    return {}, {"outputs": np.concatenate(parts)}


def surprise(job: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Run a language model on windows; answer its summed surprise at the targets that count, in nats.

    `in-inputs`, `in-targets` and `in-counted` are [windows, length]; the model answers logits
    [1, length, vocabulary] to one window.
    """
    session = open_model(job, Path(job["model"]))
    taken, given = one_input(session), session.outputs[0]
    nats, tokens = 0.0, 0
    rows = (arrays[f"in-{name}"] for name in ("inputs", "targets", "counted"))
    for window, targets, counted in zip(*rows, strict=True):
        row = quantized(fitted(window, taken, int(job["pad"])), taken)
        logits = dequantized(session.run({taken.name: row})[given.name], given)
        if logits.ndim != 3 or logits.shape[:2] != row.shape:
            raise InvalidModel(
                f"the model answers {logits.shape} to tokens {row.shape}; logits of each token are expected"
            )
        nats += _surprise(logits[0, : len(window)][counted], targets[counted])
        tokens += int(counted.sum())
    return {"nats": nats, "tokens": tokens}, {}


def generate(job: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Generate a text for each row of tokens, one after the other; answer them and how long they took.

    `in-tokens` and `in-lengths` are sources, where `model` is the network that reads them, or prompts of
    a language model. `step_model` is the step's file. What is answered, `tokens` and
    `lengths`, has neither the begin nor the end. Milliseconds are medians: of reading a source, of a step
    and of a whole text.
    """
    writer = _Writer(job)
    rows = list(split(arrays["in-tokens"], arrays["in-lengths"]))
    # Unheard: what a first run does once is no part of how long a text takes.
    writer.write(rows[0])
    writer.forget()
    texts = [writer.write(row) for row in rows]
    return {
        "read_ms": percentile(writer.read_ms, 50) if writer.read_ms else None,
        "token_ms": percentile(writer.stepper.took_ms, 50),
        "text_ms": percentile(writer.text_ms, 50),
    }, {
        "tokens": np.array([token for one in texts for token in one], np.int64),
        "lengths": np.array([len(one) for one in texts], np.int64),
    }


def one_input(session: Session) -> TensorSpec:
    """Return the input of a model that takes tokens [batch, length] and nothing else."""
    if len(session.inputs) != 1 or len(session.inputs[0].shape) != 2:
        names = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in session.inputs)
        raise InvalidModel(f"the model takes the inputs {names}; one of tokens [batch, length] is expected")
    return session.inputs[0]


def fitted(row: npt.NDArray[np.int64], spec: TensorSpec, pad: int) -> npt.NDArray[np.int64]:
    """Return tokens as a batch of one, padded to the length that the file is fixed at, if it is."""
    length = spec.shape[1]
    if length is not None and len(row) > length:
        raise InvalidModel(f"the model takes {length} tokens; a text has {len(row)}")
    return padded([row.tolist()], pad, length)


def split(tokens: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the texts again that lie one behind the other."""
    yield from np.split(tokens, np.cumsum(lengths)[:-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How texts are generated; `limit` is the most tokens of one, `step` the record of what generates. A
    `width` of 1 is greedy decoding.

    A language model draws its tokens at a `temperature` above 0, always the same ones.
    """

    begin: int
    end: int
    pad: int
    limit: int
    step: AnyStep
    width: int = 1
    length_penalty: float = 1.0
    temperature: float = 0.0


class _Timed:
    """A stepper, and how long each of its steps took."""

    def __init__(self, inner: FileStepper | RecurrentStepper) -> None:
        self.inner = inner
        self.took_ms: list[float] = []

    def step(self, tokens: npt.NDArray[np.int64], position: int) -> npt.NDArray[np.float32]:
        started = time.perf_counter_ns()
        logits = self.inner.step(tokens, position)
        self.took_ms.append((time.perf_counter_ns() - started) / 1e6)
        return logits

    def reorder(self, rows: npt.NDArray[np.int64]) -> None:
        self.inner.reorder(rows)


class _Writer:
    """The opened files of a text model, what they write, and how long each text took."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        self._asked = from_document(Asked, job["asked"])
        self._network = open_model(job, Path(job["model"])) if job["model"] else None
        # Only ONNX Runtime takes another batch than the one that a file was opened for.
        any_batch = self._asked.width == 1 or job["runtime"] == "onnxruntime"
        steps = open_model(job, Path(job["step_model"]))
        self.stepper = _stepper(steps, self._asked.step, int(job["room"]), any_batch=any_batch)
        self.read_ms: list[float] = []
        self.text_ms: list[float] = []

    def forget(self) -> None:
        """Forget how long it took until now."""
        for took_ms in (self.read_ms, self.text_ms, self.stepper.took_ms):
            took_ms.clear()

    def write(self, row: npt.NDArray[np.int64]) -> list[int]:
        """Return the translation of a source, or what comes after a prompt."""
        started = time.perf_counter_ns()
        said = self._continued(row) if self._network is None else self._translated(row, self._network)
        self.text_ms.append((time.perf_counter_ns() - started) / 1e6)
        return said

    def _continued(self, row: npt.NDArray[np.int64]) -> list[int]:
        asked = self._asked
        self.stepper.inner.start(1)
        [said] = decoding.generate(
            self.stepper, [row.tolist()], limit=asked.limit, end=asked.end, temperature=asked.temperature
        )
        return said

    def _translated(self, row: npt.NDArray[np.int64], network: Session) -> list[int]:
        asked = self._asked
        started = time.perf_counter_ns()
        taken, given = one_input(network), network.outputs[0]
        source = fitted(row, taken, asked.pad)
        memory = dequantized(network.run({taken.name: quantized(source, taken)})[given.name], given)
        self.read_ms.append((time.perf_counter_ns() - started) / 1e6)
        self.stepper.inner.start(1, memory=memory, source=source)
        if asked.width == 1:
            [said] = decoding.greedy(self.stepper, 1, begin=asked.begin, end=asked.end, limit=asked.limit)
        else:
            [said] = decoding.beam(
                self.stepper,
                1,
                width=asked.width,
                begin=asked.begin,
                end=asked.end,
                limit=asked.limit,
                length_penalty=asked.length_penalty,
            )
        return said


def _stepper(session: Session, step: AnyStep, most: int, *, any_batch: bool) -> _Timed:
    """Return the stepper of an opened step graph, fed and heard by the names of its record."""
    inputs = {plain_name(spec.name): spec for spec in session.inputs}
    recurrent = isinstance(step, RecurrentStep)
    needed = (TOKEN, STATE) if recurrent else (TOKEN, POSITION, CACHE)
    if set(needed) - inputs.keys():
        takes = ", ".join(spec.name for spec in session.inputs)
        raise InvalidModel(f"a step takes {', '.join(needed)}; the file takes {takes}")

    def run(feeds: Feeds) -> dict[str, npt.NDArray[Any]]:
        outputs = session.run(
            {
                inputs[name].name: quantized(array, inputs[name])
                for name, array in feeds.items()
                if name in inputs
            }
        )
        return {plain_name(spec.name): dequantized(outputs[spec.name], spec) for spec in session.outputs}

    room = None if recurrent else inputs[CACHE].shape[4]
    one_by_one = inputs[STATE].shape[0] is not None if recurrent else room is not None
    return _Timed(stepper_of(run, step, room=room or most, fixed=one_by_one or not any_batch))


def _surprise(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> float:
    """Return the summed negative log likelihood, in nats, of targets [n] under logits [n, vocabulary]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(shifted).sum(axis=1))
    return float((total - np.take_along_axis(shifted, targets[:, None], axis=1)[:, 0]).sum())
