"""What a policy's file returns in the episodes of a split: it acts in the sandbox, and so do they."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench.data import open_control
from edge_bench.documents import from_document, to_document
from edge_bench.episodes import Observations
from edge_bench.errors import InvalidModel
from edge_bench.measure.inputs import dequantized, fixed_batch_of, quantized
from edge_bench.measure.inspection import check_model
from edge_bench.measure.runtimes import Session
from edge_bench.measure.sandbox import run_job
from edge_bench.measure.worker import Arrays, open_model
from edge_bench.records.subnet import Metric, Split

# Of all episodes of a split, some hundreds of steps each in Python.
TIMEOUT_S = 1800.0


def played(model: Path, data: Mapping[str, Any], split: Split, *, runtime: str) -> Metric:
    """Return the mean return of a policy's file, the likeliest action done in every step.

    Args:
        model: the file; it takes observations [batch, numbers] and answers logits [batch, actions].
        data: the `[data]` table of the environments.
        split: whose episodes.
        runtime: what runs the file.

    Raises:
        ConfigError, MissingExtra: the environments cannot be opened.
        InvalidModel, ModelCrashed: the file is no such policy, or the runtime died of it.
    """
    check_model(model, runtime=runtime)
    # What is missing is told before a child is started.
    open_control(data).open(1)
    job = {
        "runtime": runtime,
        "model": str(model.resolve()),
        "batch": 1,
        "threads": 1,
        "data": dict(data),
        "split": split,
    }
    told = run_job("edge_bench.measure.playing:play", job, timeout_s=TIMEOUT_S).document
    return from_document(Metric, told["metric"])


def play(job: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Do `played` in the child."""
    session = open_model(job, Path(job["model"]))
    episodes = open_control(job["data"]).load(job["split"])
    [taken, *more], [given, *_] = session.inputs, session.outputs
    if more or len(taken.shape) != 2 or taken.shape[1] not in (None, episodes.environments.size):
        names = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in session.inputs)
        raise InvalidModel(
            f"the model takes the inputs {names}; one of [batch, {episodes.environments.size}] is expected"
        )
    if given.shape[1:] != (episodes.environments.actions,):
        raise InvalidModel(
            f"the model answers {list(given.shape)}; the environment has {episodes.environments.actions} "
            "actions"
        )
    alone = fixed_batch_of(taken) is not None

    def logits(observed: Observations) -> npt.NDArray[np.float32]:
        rows = observed[:, None] if alone else [observed]
        return np.concatenate([_answer(session, row) for row in rows])

    metric = episodes.metric(logits, job["split"])
    return {"metric": to_document(metric)}, {}


def _answer(session: Session, observed: Observations) -> npt.NDArray[np.float32]:
    [taken], given = session.inputs, session.outputs[0]
    outputs = session.run({taken.name: quantized(observed, taken)})
    return dequantized(outputs[given.name], given)
