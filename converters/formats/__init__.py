"""Formats, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from torch.export import ExportedProgram

from converters.zeros import Counts


class Converter(ABC):
    """Writes a `torch.export` program as a model file: of a network that takes one float32 image
    [batch, channels, size, size] and answers logits [batch, classes], or of one with any other named
    inputs and outputs (`converters.programs` says how they are called).

    `runtime` is the runtime that reads the format back; `tolerance` is the largest absolute
    difference that an fp32 file may show against the program; `free_sides` tells whether a file with
    token inputs takes any batch and length.
    """

    format: ClassVar[str]
    runtime: ClassVar[str]
    tolerance: ClassVar[float]
    free_sides: ClassVar[bool]

    @abstractmethod
    def convert(self, program: ExportedProgram, target: Path, *, length: int = 1) -> None:
        """Write an fp32 file to `target`.

        Args:
            program: the network.
            target: where the file is written.
            length: how many tokens a text, and a cache, has in a format whose shapes are fixed.

        Raises:
            ConversionError: the network has no form in this format.
        """

    @abstractmethod
    def quantize(self, source: Path, target: Path, calibration: npt.NDArray[np.float32]) -> None:
        """Write a static int8 file from this converter's fp32 file `source` of a network for images.

        Args:
            source: the fp32 file.
            target: where the int8 file is written.
            calibration: prepared inputs [n, channels, size, size] that set the ranges.
        """

    @abstractmethod
    def quantize_weights(self, source: Path, target: Path) -> None:
        """Write a file with int8 weights from the fp32 file `source`; what runs through the network is
        quantized with ranges found as it runs (dynamic range), so inputs and outputs stay as they are.
        """

    @abstractmethod
    def layout(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return prepared inputs [n, channels, size, size] in the layout that the file takes."""

    @abstractmethod
    def count_weights(self, file: Path) -> Counts:
        """Return how many weights a file of this format holds, and how many of them are zero.

        Weights are constants of two or more sides, in floats or in int8 whose zero is 0; biases and norms
        have one side. Zeros that a sparse tensor does not write count too.
        """
