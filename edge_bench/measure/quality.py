"""The quality of an exported file, measured by running the file itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench.errors import DataError
from edge_bench.measure.sandbox import predict
from edge_bench.records.subnet import Metric, Split


def accuracy(logits: npt.NDArray[Any], labels: npt.NDArray[Any], *, split: Split) -> Metric:
    """Return the share of examples whose largest logit is their label's.

    Args:
        logits: [n, classes]; of equal ones the first counts.
        labels: whole numbers [n].
        split: the split they are of.

    Raises:
        DataError: no examples, or not as many labels as logits.
    """
    if logits.ndim != 2 or len(logits) != len(labels) or not len(labels):
        raise DataError(
            f"logits of shape {logits.shape} do not fit {len(labels)} labels; "
            "[examples, classes] and one label each are expected"
        )
    right = int((logits.argmax(axis=1) == np.asarray(labels)).sum())
    return Metric(
        name="accuracy",
        value=right / len(labels),
        higher_is_better=True,
        split=split,
        examples=len(labels),
    )


def measured_accuracy(
    model: Path,
    inputs: npt.NDArray[np.float32],
    labels: npt.NDArray[Any],
    *,
    runtime: str,
    split: Split,
) -> Metric:
    """Return the accuracy of a model file on inputs [n, ...] in the file's layout, one at a time.

    A batch of 1 is what a device runs; see `sandbox.predict` for the errors.
    """
    return accuracy(predict(model, inputs, runtime=runtime, batch=1), labels, split=split)
