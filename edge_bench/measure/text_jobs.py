"""The child's jobs of text models, named to the sandbox as `edge_bench.measure.text_jobs:run` and so on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench.errors import InvalidModel
from edge_bench.measure.inputs import dequantized, plain_name, quantized
from edge_bench.measure.runtimes import Session
from edge_bench.measure.worker import Arrays, open_model
from edge_bench.records.artifact import TensorSpec
from edge_bench.text.encoding import padded


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
        nats += surprise_of(logits[0, : len(window)][counted], targets[counted])
        tokens += int(counted.sum())
    return {"nats": nats, "tokens": tokens}, {}


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


def surprise_of(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> float:
    """Return the summed negative log likelihood, in nats, of targets [n] under logits [n, vocabulary]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(shifted).sum(axis=1))
    return float((total - np.take_along_axis(shifted, targets[:, None], axis=1)[:, 0]).sum())
