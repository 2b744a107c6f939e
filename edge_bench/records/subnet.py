"""A trained network as a record, and what is said of its quality and its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from edge_bench.records.arch import ArchConfig, SearchSpace

Split = Literal["train", "selection", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A quality on one split of the data. Accuracy is a fraction between 0 and 1."""

    name: str
    value: float
    higher_is_better: bool
    split: Split
    examples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How an image becomes the network's input: resize (bilinear, antialiased, as Pillow does) to a
    square of `size` pixels, divide by 255, subtract `mean` and divide by `std` channel by channel.
    """

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A network cut from a supernet. `program` is its `torch.export` file, relative to the home.

    `data` is the `[data]` table (kind and options) that finds its examples again; `params` counts
    the module's parameters as trained, `macs` the multiply-accumulates for one image.
    """

    id: str
    run: str
    technique: str
    space: SearchSpace
    arch: ArchConfig
    program: str
    digest: str
    params: int
    macs: int
    task: str
    metrics: tuple[Metric, ...]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    data: Mapping[str, Any]
    created: str
    sparsity: float = 0.0
    notes: Mapping[str, Any] = field(default_factory=dict)

    def metric(self, split: Split) -> Metric | None:
        """Return the metric measured on `split`, or None."""
        return next((metric for metric in self.metrics if metric.split == split), None)
