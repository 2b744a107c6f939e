"""What a model file answers to many inputs of different shapes, in one child of the sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench import variants
from edge_bench.measure.inputs import dequantized, quantized
from edge_bench.measure.inspection import check_model
from edge_bench.measure.runtimes import RUNTIMES, Runtime
from edge_bench.measure.sandbox import run_job

Arrays = Mapping[str, npt.NDArray[Any]]
TIMEOUT_S = 600
THREADS = 1


def answers(file: Path, feeds: Sequence[Arrays], *, runtime: str) -> list[dict[str, npt.NDArray[Any]]]:
    """Return a file's outputs by name for each of `feeds`, which hold every input by its name.

    Raises:
        InvalidModel, ModelCrashed: the runtime refuses the file or what it is fed, or died of it.
    """
    check_model(file, runtime=runtime)
    names = list(feeds[0])
    arrays = {
        f"{number}-{place}": np.ascontiguousarray(one[name])
        for number, one in enumerate(feeds)
        for place, name in enumerate(names)
    }
    job = {
        "runtime": runtime,
        "model": str(file.resolve()),
        "threads": THREADS,
        "names": names,
        "count": len(feeds),
    }
    answer = run_job("converters.answering:answer", job, arrays=arrays, timeout_s=TIMEOUT_S)
    told: list[str] = answer.document["names"]
    return [
        {name: answer.arrays[f"{number}-{place}"] for place, name in enumerate(told)}
        for number in range(len(feeds))
    ]


def answer(job: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """The child's side: run the file on each of the inputs."""
    # Opened for one example a run: a file whose sides are free takes any number all the same.
    session = variants.load(Runtime, RUNTIMES, job["runtime"])().open(Path(job["model"]), threads=THREADS)
    specs = {spec.name: spec for spec in session.inputs}
    told: dict[str, npt.NDArray[Any]] = {}
    for number in range(job["count"]):
        feeds = {
            name: quantized(arrays[f"in-{number}-{place}"], specs[name])
            for place, name in enumerate(job["names"])
        }
        outputs = session.run(feeds)
        for place, spec in enumerate(session.outputs):
            told[f"{number}-{place}"] = dequantized(outputs[spec.name], spec)
    return {"names": [spec.name for spec in session.outputs]}, told
