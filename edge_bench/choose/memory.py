"""Peak memory of a process that runs a network, and the size of its file, before either is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_bench.choose.costs import live_bytes
from edge_bench.errors import NotFittedError
from edge_bench.records import ArchConfig, FittedMemory, Footprint, PlainSpace, SearchSpace, operators

Floats = npt.NDArray[np.float64]
MB = 1e6
LEAST_MEASURED = 4
# Bytes that an exported file holds beside its weights: in all, for each operator, and for a squeeze-excite.
# Least squares on 20 files of each format, of two spaces; the worst is off by 0.14 % of its size.
_FILE_BYTES = {"onnx": 312, "tflite": 1875}
_NODE_BYTES = {"onnx": 320, "tflite": 370}
_SQUEEZE_BYTES = {"onnx": 932, "tflite": 1980}
# Of a float32 value's four bytes.
_SHARES = {"fp32": 1.0, "fp16": 0.5, "int8": 0.25}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakMemory:
    """A predicted peak of resident memory in MB (10⁶ bytes) with a 90 % interval.

    `warning` is not empty where the network is larger than those that were measured.
    """

    peak_mb: float
    low_mb: float
    high_mb: float
    warning: str = ""


def footprint(space: SearchSpace | PlainSpace, arch: ArchConfig, *, precision: str = "fp32") -> Footprint:
    """Return the weights and live activations of a network for one image, from its operators.

    Where a file is there, `measure.footprint` reads the same off the file.
    """
    listed = operators(space, arch)
    return footprint_of(
        weights=sum(operator.weights for operator in listed),
        live_bytes=max(live_bytes(listed)),
        precision=precision,
    )


def footprint_of(*, weights: int, live_bytes: int, precision: str) -> Footprint:
    """Return the footprint of so many weights, and so many bytes of live activations in float32."""
    share = _SHARES.get(precision, 1.0)
    return Footprint(weights_bytes=round(4 * share * weights), activations_bytes=round(share * live_bytes))


def fit_memory(seen: Sequence[Footprint], peaks_mb: Sequence[float]) -> FittedMemory:
    """Fit what the runtime itself takes, and how often it holds each byte of weights and activations.

    A runtime may hold weights twice (as read, and packed for its kernels) and gets memory for activations
    in pieces larger than needed: least squares tell by how much, with no factor below 0. The interval
    and `mape` come from each network predicted by a fit on the others.

    Raises:
        NotFittedError: fewer than four networks, or one whose activations are not known.
    """
    if len(seen) < LEAST_MEASURED or any(one.activations_bytes is None for one in seen):
        raise NotFittedError(
            f"peak memory is fitted on {LEAST_MEASURED} or more networks of known shapes, not {len(seen)}"
        )
    table, peaks = np.array([_row(one) for one in seen]), np.asarray(peaks_mb, np.float64)
    base, weights, activations = _least_squares(table, peaks).tolist()
    left_out = np.array(
        [
            table[place] @ _least_squares(np.delete(table, place, 0), np.delete(peaks, place))
            for place in range(len(peaks))
        ]
    )
    errors = np.abs(left_out - peaks)
    return FittedMemory(
        base_mb=base,
        per_weight=weights,
        per_activation=activations,
        # The rank that holds 90 % of exchangeable errors, the largest of fewer than ten.
        half_width_mb=float(np.sort(errors)[min(len(errors), int(np.ceil(0.9 * (len(errors) + 1)))) - 1]),
        networks=len(peaks),
        mape=float((errors / peaks).mean()),
        largest_weights_mb=float(table[:, 1].max()),
        largest_activations_mb=float(table[:, 2].max()),
    )


def peak_memory(fitted: FittedMemory, of: Footprint) -> PeakMemory:
    """Return the predicted peak of a process that runs a model of this footprint.

    Raises:
        NotFittedError: its activations are not known.
    """
    if of.activations_bytes is None:
        raise NotFittedError("the peak of a model cannot be told where its activations are not known")
    _, weights, activations = _row(of)
    peak = fitted.base_mb + fitted.per_weight * weights + fitted.per_activation * activations
    return PeakMemory(
        peak_mb=peak,
        low_mb=max(weights + activations, peak - fitted.half_width_mb),
        high_mb=peak + fitted.half_width_mb,
        warning=_outside(fitted, weights, activations),
    )


def file_bytes(space: SearchSpace | PlainSpace, arch: ArchConfig, *, form: str) -> int:
    """Return the predicted size of a float32 file: its weights, and what each operator adds to the graph.

    `benchmarks/peak_memory.py` tells how far off it is on files that took no part in that.
    """
    listed = operators(space, arch)
    return file_bytes_of(
        weights=sum(one.weights for one in listed),
        operators=len(listed),
        squeezes=sum(one.kind == "squeeze_excite" for one in listed),
        form=form,
    )


def file_bytes_of(*, weights: int, operators: int, squeezes: int, form: str) -> int:
    """Return the predicted size of a file of so many weights and operators, squeeze-excites among them."""
    graph = _NODE_BYTES[form] * (operators - squeezes) + _SQUEEZE_BYTES[form] * squeezes
    return 4 * weights + _FILE_BYTES[form] + graph


def _row(of: Footprint) -> list[float]:
    return [1.0, of.weights_bytes / MB, (of.activations_bytes or 0) / MB]


def _least_squares(table: Floats, peaks: Floats) -> Floats:
    """Return the coefficients [3] of the best fit; no factor of weights or activations is negative."""
    best, least = np.zeros(3), np.inf
    for columns in ([0, 1, 2], [0, 1], [0, 2], [0]):
        solved = np.zeros(3)
        solved[columns] = np.linalg.lstsq(table[:, columns], peaks)[0]
        error = float(((table @ solved - peaks) ** 2).sum())
        if solved[1:].min() >= 0 and error < least:
            best, least = solved, error
    return best


def _outside(fitted: FittedMemory, weights_mb: float, activations_mb: float) -> str:
    for what, value, largest in (
        ("weights", weights_mb, fitted.largest_weights_mb),
        ("activations", activations_mb, fitted.largest_activations_mb),
    ):
        # A tenth beyond is no extrapolation worth a warning.
        if value > 1.1 * largest:
            return f"its {what} take {value:.3g} MB, at most {largest:.3g} MB were measured"
    return ""
