"""Strict reading of text files, plain or gzip: what is not UTF-8 is told with its line and byte."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_bench.errors import DataError

BYTE_ORDER_MARK = "\ufeff"


def read_text(path: Path) -> str:
    """Return a file's text. A byte-order mark is dropped, and lines end in "\\n" however they did.

    Raises:
        DataError: no such file, no gzip file though it is called `.gz`, or bytes that are not UTF-8.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except FileNotFoundError:
        raise DataError(f"there is no file '{path}'") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"'{path}' is no whole gzip file ({error})") from error
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}") from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = error.start - content.rfind(b"\n", 0, error.start)
        raise DataError(
            f"'{path}' line {line} is not UTF-8: byte {byte} of it is 0x{content[error.start]:02x}",
            hint="save the file as UTF-8, or mend that line",
        ) from error
    return text.removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n")


def read_lines(path: Path) -> list[str]:
    """Return a file's lines without their ends; the end of the last one begins no further line.

    Only a line feed ends a line, so that line numbers are those of every other program and files that
    are aligned line by line stay so.

    Raises:
        DataError: as `read_text`, or a file without a line.
    """
    text = read_text(path)
    if not text:
        raise DataError(f"'{path}' holds nothing")
    return text.removesuffix("\n").split("\n")


def refuse_empty(empty: Sequence[int], path: Path, *, of: int) -> None:
    """Raise a `DataError` that names the first of the lines `empty` (from 1), unless there is none."""
    if not empty:
        return
    others = f", as {'is' if len(empty) == 2 else 'are'} {len(empty) - 1} more" if len(empty) > 1 else ""
    raise DataError(
        f"'{path}' line {empty[0]} is empty{others}, of {of}",
        hint="mend the file, or leave such lines out: --set data.skip_empty=true",
    )


def empty_lines(lines: Iterable[str]) -> list[int]:
    """Return the numbers, from 1, of the lines that hold nothing but white space."""
    return [number for number, line in enumerate(lines, start=1) if not line.strip()]
