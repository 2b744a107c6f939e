"""The form that a network's file takes: format, precision, and what becomes of zeros."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from converters import ENCODINGS, zeros
from converters.encodings import Encoding
from converters.formats import Converter
from edge_bench import variants
from edge_bench.errors import ConfigError
from edge_bench.measure.compression import gzip_bytes, zstd_bytes


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a network is written. `encoding` is a file of `converters/encodings`."""

    converter: Converter
    precision: str
    encoding: str

    def __post_init__(self) -> None:
        kind = variants.load(Encoding, ENCODINGS, self.encoding)
        if self.converter.format not in kind.formats or self.precision not in kind.precisions:
            raise ConfigError(
                f"the encoding '{self.encoding}' is of {' and '.join(kind.precisions)} files in "
                f"{' and '.join(kind.formats)}, not of {self.precision} in {self.converter.format}"
            )

    @property
    def ending(self) -> str:
        """What stands behind the precision in names; nothing of a dense file."""
        return "" if self.encoding == "dense" else f"-{self.encoding}"

    def identity(self, name: str) -> str:
        """Return the id of the artifact of a network called `name`."""
        return f"{name}-{self.converter.format}-{self.precision}{self.ending}"

    def file_name(self, name: str) -> str:
        """Return what its file is called."""
        return f"{name}-{self.precision}{self.ending}.{self.converter.format}"

    def prepared(self, program: ExportedProgram) -> ExportedProgram:
        """Return the program that is converted; `program` itself where nothing is cut out of it.

        Raises:
            ConversionError: the encoding finds nothing to cut.
        """
        return self._encoding.prepared(program)

    def finish(self, file: Path, program: ExportedProgram, sparsity: float) -> dict[str, Any]:
        """Encode a converted file in its place; return what its record tells of its weights and sizes.

        Args:
            file: as the converter wrote it.
            program: the network.
            sparsity: the share of zeros that its record tells, which the file must hold.

        Raises:
            ConversionError: the encoding finds nothing to do, or zeros are missing in the file.
        """
        self._encoding.encode(file)
        weights, zero = self.converter.count_weights(file)
        if self.precision == "fp32" and self.encoding != "compact":
            zeros.check(zero, program, sparsity)
        return {
            "encoding": self.encoding,
            "gzip_bytes": gzip_bytes(file),
            "zstd_bytes": zstd_bytes(file),
            "weights": weights,
            "zeros": zero,
        }

    @property
    def _encoding(self) -> Encoding:
        return variants.load(Encoding, ENCODINGS, self.encoding)()
