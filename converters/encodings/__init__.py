"""What becomes of a network's zeros in its file, one file each."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch.export import ExportedProgram


class Encoding:
    """Writes the same network another way; what it answers stays, to rounding.

    `formats` and `precisions` are those it can be had in; both are read without importing the file.
    """

    formats: ClassVar[tuple[str, ...]]
    precisions: ClassVar[tuple[str, ...]]

    def prepared(self, program: ExportedProgram) -> ExportedProgram:
        """Return the program that is converted.

        Raises:
            ConversionError: the network has nothing that this encoding is for.
        """
        return program

    def encode(self, file: Path) -> None:
        """Write the converted file again, in its place.

        Raises:
            ConversionError: the file has nothing that this encoding is for.
        """
