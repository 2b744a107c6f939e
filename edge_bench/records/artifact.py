"""An exported file as a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edge_bench.records.subnet import AnyStep, Metric, ObservationInput, Preprocessing, Split, TextInput

Format = Literal["onnx", "tflite"]
Precision = Literal["fp32", "fp16", "int8", "mixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output. A dimension of None may be any size; real = scale × (raw − zero_point)."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The largest absolute difference of logits between the file and the network, on real samples.

    For int8 the difference is reported and not held to `tolerance` (None): accuracy decides there.
    `border_max_abs_error` is that on images that are black but for one border, where another padding
    shows; None of a network that takes no images.
    """

    max_abs_error: float
    tolerance: float | None
    batch_sizes: tuple[int, ...]
    examples: int
    border_max_abs_error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A model file. `file` is relative to the home; `metrics` were measured by running the file.

    `subnet` is None for a file that was made elsewhere; `data` is the `[data]` table that the metrics were
    measured on, None where that is the subnet's own. A text model (`text`) that generates is two files:
    that of the network, and one whose `step_of` is the first one's id. `task` is what the file does.

    `encoding` says what became of zeros (a file of `converters/encodings`). `gzip_bytes` and `zstd_bytes`
    are the size of the file compressed, as it may be sent to a device; `weights` counts the entries of its
    matrices and filters, `zeros` those that are zero, written or not. None is not known.
    """

    id: str
    name: str
    subnet: str | None
    format: Format
    precision: Precision
    file: str
    digest: str
    size_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metrics: tuple[Metric, ...]
    created: str
    parity: Parity | None = None
    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] = ()
    macs: int | None = None
    params: int | None = None
    data: Mapping[str, Any] | None = None
    text: TextInput | None = None
    step: AnyStep | None = None
    step_of: str | None = None
    task: str = "image_classification"
    observation: ObservationInput | None = None
    encoding: str = "dense"
    gzip_bytes: int | None = None
    zstd_bytes: int | None = None
    weights: int | None = None
    zeros: int | None = None

    @property
    def compressed_bytes(self) -> int | None:
        """The smaller of the compressed sizes that are known."""
        return min((one for one in (self.gzip_bytes, self.zstd_bytes) if one is not None), default=None)

    @property
    def sparsity(self) -> float | None:
        """The share of zeros among the file's weights."""
        return self.zeros / self.weights if self.weights and self.zeros is not None else None

    def metric(self, split: Split) -> Metric | None:
        """Return the metric measured on `split`, or None."""
        return next((metric for metric in self.metrics if metric.split == split), None)
