"""The bytes of a file as a sequence that is read where it is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import overload

from edge_bench.errors import InvalidModel

_PAGE = 1 << 16
# 16 MiB: files are walked from place to place, and seldom back.
_KEPT_PAGES = 256


class FileBytes:
    """Indexed and sliced like `bytes`, without negative places or steps.

    A file that becomes shorter meanwhile, as a download that starts anew, raises `InvalidModel` here;
    through a memory map it would end the process by a signal.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        self._size = os.fstat(descriptor).st_size
        self._pages: dict[int, bytes] = {}
        self._number, self._page = -1, b""

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, where: int) -> int: ...

    @overload
    def __getitem__(self, where: slice) -> bytes: ...

    def __getitem__(self, where: int | slice) -> int | bytes:
        if isinstance(where, int):
            number, place = divmod(where, _PAGE)
            if number != self._number:
                self._turn_to(number)
            return self._page[place]
        begin, end, _ = where.indices(self._size)
        number, place = divmod(begin, _PAGE)
        if end <= begin:
            return b""
        if end - begin > _PAGE - place:
            return self._read(begin, end - begin)
        if number != self._number:
            self._turn_to(number)
        return self._page[place : place + end - begin]

    def _turn_to(self, number: int) -> None:
        if number not in self._pages:
            if len(self._pages) == _KEPT_PAGES:
                del self._pages[next(iter(self._pages))]
            begin = number * _PAGE
            if not 0 <= begin < self._size:
                raise IndexError(f"byte {begin} of {self._size}")
            self._pages[number] = self._read(begin, min(_PAGE, self._size - begin))
        self._number, self._page = number, self._pages[number]

    def _read(self, begin: int, length: int) -> bytes:
        parts: list[bytes] = []
        while length:
            part = os.pread(self._descriptor, length, begin)
            if not part:
                raise InvalidModel(
                    f"'{self._path}' became shorter while it was read",
                    hint="wait until it is written, then give it again",
                )
            parts.append(part)
            begin, length = begin + len(part), length - len(part)
        return b"".join(parts)


@contextmanager
def opened(path: Path) -> Iterator[FileBytes]:
    """Open a file for reading by place."""
    with path.open("rb") as file:
        yield FileBytes(path, file.fileno())
