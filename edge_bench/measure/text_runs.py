"""Text models run in the sandbox: what they answer to texts, foretell of them, and generate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench.documents import to_document
from edge_bench.errors import DataError
from edge_bench.measure.inspection import check_model
from edge_bench.measure.sandbox import Answer, run_job
from edge_bench.measure.text_jobs import Asked, split
from edge_bench.records.subnet import AnyStep, TextInput

Rows = Sequence[Sequence[int]]
# Loading a model and a first text may take this long, and each further text or window as long as that.
SETUP_S, EACH_S = 300.0, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surprise:
    """How a language model foretold a text: its summed negative log likelihood, of so many tokens."""

    nats: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """The tokens of each text, without begin and end, and what it took on one thread: medians in ms.

    `read_ms` is of reading a source, None of a language model; `token_ms` of a step, with the host's
    keeping of its cache; `text_ms` of a whole text, its source included.
    """

    rows: list[list[int]]
    read_ms: float | None
    token_ms: float
    text_ms: float


def answers(model: Path, rows: Rows, *, runtime: str, pad: int = 0) -> npt.NDArray[np.float32]:
    """Return the first output [texts, ...] of a file that is run on each text alone.

    No text is padded, except for a file of a fixed length.

    Raises:
        InvalidModel, ModelCrashed: it takes no texts, or not such long ones, or the runtime died of it.
        DataError: there are no texts.
    """
    told = _job("answers", model, _flat(rows), {"pad": pad}, runtime=runtime, count=len(rows))
    return told.arrays["outputs"]


def surprise(
    model: Path,
    inputs: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    counted: npt.NDArray[np.bool_],
    *,
    runtime: str,
    pad: int = 0,
) -> Surprise:
    """Return how a language model foretells the targets of windows, all [windows, length].

    The logits stay in the sandbox. `text.encoding.windows` makes such windows of a text.

    Raises:
        InvalidModel, ModelCrashed: it answers no logits of each token, or the runtime died of it.
    """
    arrays = {"inputs": inputs, "targets": targets, "counted": counted}
    told = _job("surprise", model, arrays, {"pad": pad}, runtime=runtime, count=len(inputs)).document
    return Surprise(nats=float(told["nats"]), tokens=int(told["tokens"]))


def generated(
    network: Path | None,
    step_model: Path,
    rows: Rows,
    *,
    step: AnyStep,
    text: TextInput,
    runtime: str,
    width: int = 1,
    length_penalty: float = 1.0,
    limit: int | None = None,
    temperature: float = 0.0,
) -> Generated:
    """Return what a translator says of sources, or what a language model writes after prompts.

    Each text is generated alone, on one thread, both files opened once and in one sandbox.

    Args:
        network: the file that reads sources; None of a language model.
        step_model: the file that generates a token.
        rows: sources between begin and end, or prompts of at least one token.
        step: the step's record.
        text: the record of how texts are read.
        runtime: what runs both files.
        width: of the beam; 1 is greedy.
        length_penalty: of the beam, see `text.decoding.beam`.
        limit: the most tokens of a text; None is as many as there is room for.
        temperature: a language model draws its tokens where it is above 0.

    Raises:
        InvalidModel, ModelCrashed: the files are no such models, or the runtime died of them.
        ConfigError: a width or limit below 1, or a prompt and a limit for which there is no room.
        DataError: there are no texts.
    """
    check_model(step_model, runtime=runtime)
    longest = max((len(row) for row in rows), default=0)
    room = text.length - 1 if network else text.length + 1 - longest
    asked = Asked(
        begin=text.begin,
        end=text.end,
        pad=text.pad,
        limit=room if limit is None else limit,
        step=step,
        width=width,
        length_penalty=length_penalty,
        temperature=temperature,
    )
    job = {
        "step_model": str(step_model.resolve()),
        "asked": to_document(asked),
        "room": text.length,
    }
    told = _job("generate", network, _flat(rows), job, runtime=runtime, count=4 * len(rows))
    document, arrays = told.document, told.arrays
    said = [row.tolist() for row in split(arrays["tokens"], arrays["lengths"])]
    return Generated(
        rows=said, read_ms=document["read_ms"], token_ms=document["token_ms"], text_ms=document["text_ms"]
    )


def _flat(rows: Rows) -> dict[str, npt.NDArray[np.int64]]:
    """Return rows of tokens one behind the other, and their lengths."""
    if not rows:
        raise DataError("there are no texts to run the model on")
    return {
        "tokens": np.array([token for row in rows for token in row], np.int64),
        "lengths": np.array([len(row) for row in rows], np.int64),
    }


def _job(
    name: str,
    model: Path | None,
    arrays: Mapping[str, npt.NDArray[Any]],
    more: Mapping[str, Any],
    *,
    runtime: str,
    count: int,
) -> Answer:
    if model is not None:
        check_model(model, runtime=runtime)
    job = {
        "runtime": runtime,
        "model": str(model.resolve()) if model else None,
        "batch": 1,
        "threads": 1,
        **more,
    }
    return run_job(
        f"edge_bench.measure.text_jobs:{name}", job, arrays=arrays, timeout_s=SETUP_S + EACH_S * count
    )
