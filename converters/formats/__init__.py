"""Formats, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from torch.export import ExportedProgram


class Converter(ABC):
    """Writes a `torch.export` program (one float32 input [batch, channels, size, size], logits
    [batch, classes], dynamic batch) as a model file.

    `runtime` is the runtime that reads the format back; `tolerance` is the largest absolute
    difference of logits that an fp32 file may show against the program.
    """

    format: ClassVar[str]
    runtime: ClassVar[str]
    tolerance: ClassVar[float]

    @abstractmethod
    def convert(self, program: ExportedProgram, target: Path) -> None:
        """Write an fp32 file to `target`.

        Raises:
            ConversionError: the network has no form in this format.
        """

    @abstractmethod
    def quantize(self, source: Path, target: Path, calibration: npt.NDArray[np.float32]) -> None:
        """Write a static int8 file from this converter's fp32 file `source`.

        Args:
            source: the fp32 file.
            target: where the int8 file is written.
            calibration: prepared inputs [n, channels, size, size] that set the ranges.
        """

    @abstractmethod
    def layout(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return prepared inputs [n, channels, size, size] in the layout that the file takes."""
