"""Whether an exported file answers as the network does, on real samples, at batch 1 and more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.export import ExportedProgram

from converters.answering import Arrays, answers
from converters.programs import Named
from edge_bench.errors import ParityError
from edge_bench.measure.sandbox import predict
from edge_bench.records import Parity

Floats = npt.NDArray[np.float32]

# No whole number of batches fits the examples, so the last batch is a padded one.
BATCH = 8
EXAMPLES_IN_BATCHES = 5 * BATCH + 3
_CHUNK = 64
HINT = "an operator was converted wrongly: take another format, and report the subnet's arch"


def logits_of(program: ExportedProgram, inputs: Floats) -> Floats:
    """Return the network's own logits [n, classes] for prepared inputs [n, channels, size, size]."""
    network = program.module()
    with torch.inference_mode():
        parts = [
            network(torch.from_numpy(inputs[start : start + _CHUNK])).numpy()
            for start in range(0, len(inputs), _CHUNK)
        ]
    answer: Floats = np.concatenate(parts)
    return answer


def compared(
    file: Path,
    inputs: Floats,
    expected: Floats,
    alone: Floats,
    *,
    runtime: str,
    tolerance: float | None,
) -> Parity:
    """Return the largest absolute difference between a file's logits and the network's.

    Args:
        file: the exported file.
        inputs: [n, ...] in the file's layout.
        expected: the network's logits [n, classes].
        alone: the file's logits [n, classes], run one example at a time.
        runtime: what runs the file in batches, in the sandbox.
        tolerance: the largest difference allowed; None only reports it, as for int8.

    Raises:
        ParityError: a logit differs by more than `tolerance`, or is no number.
        InvalidModel, ModelCrashed: the runtime refuses the file, or died of it.
    """
    some = inputs[:EXAMPLES_IN_BATCHES]
    batched = predict(file, some, runtime=runtime, batch=BATCH)
    worst = 0.0
    for batch, given in ((1, alone), (BATCH, batched)):
        error = float(np.abs(given - expected[: len(given)]).max())
        _check(error, file, where=f"a logit at batch {batch}", tolerance=tolerance)
        worst = max(worst, error)
    return Parity(max_abs_error=worst, tolerance=tolerance, batch_sizes=(1, BATCH), examples=len(inputs))


def compared_by_name(
    file: Path,
    cases: Mapping[int, Sequence[Arrays]],
    program: Named,
    *,
    runtime: str,
    tolerance: float | None,
) -> Parity:
    """Return the largest absolute difference between a file's outputs and a program's, of any shapes.

    Args:
        file: the exported file.
        cases: by how many examples they hold at once, inputs by name; they may differ in shape.
        program: what the file was made of.
        runtime: what runs the file, in the sandbox.
        tolerance: the largest difference allowed; None only reports it, as for int8.

    Raises:
        ParityError: an output differs by more than `tolerance`, is no number, or of another shape.
        InvalidModel, ModelCrashed: the runtime refuses the file, or died of it.
    """
    worst = 0.0
    for batch, feeds in cases.items():
        for given, answered in zip(feeds, answers(file, feeds, runtime=runtime), strict=True):
            for name, expected in program.answers(given).items():
                if name not in answered or answered[name].shape != expected.shape:
                    raise ParityError(
                        f"'{file.suffix[1:]}' does not answer '{name}' of shape {expected.shape} at "
                        f"batch {batch}",
                        hint=HINT,
                    )
                error = float(np.abs(answered[name] - expected).max())
                _check(error, file, where=f"'{name}' at batch {batch}", tolerance=tolerance)
                worst = max(worst, error)
    examples = sum(batch * len(feeds) for batch, feeds in cases.items())
    return Parity(max_abs_error=worst, tolerance=tolerance, batch_sizes=tuple(cases), examples=examples)


def _check(error: float, file: Path, *, where: str, tolerance: float | None) -> None:
    if not np.isfinite(error) or (tolerance is not None and error > tolerance):
        raise ParityError(
            f"'{file.suffix[1:]}' differs from the network by {error:.3g} in {where}; "
            f"at most {tolerance or float('inf'):.3g} is allowed",
            hint=HINT,
        )
