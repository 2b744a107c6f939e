"""Model files kept by their SHA-256: sent to a device once, measured as often as one likes."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import IO

from edge_bench.devices.job import Job
from edge_bench.errors import DataError
from edge_bench.files import Home, atomic_path, sha256_of

# What a small board can spare; the least recently used go first.
DEVICE_BYTES = 2_000_000_000
# How long a file waits on the controller after the last job that named it.
_KEPT_S = 86_400.0


class ModelCache:
    """A folder of model files. A file in it is whole and is what its name says."""

    def __init__(self, folder: Path, *, max_bytes: int | None = None) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    @staticmethod
    def of_device(home: Home) -> ModelCache:
        """Return the files that a device was sent."""
        return ModelCache(home.cache / "models", max_bytes=DEVICE_BYTES)

    @staticmethod
    def of_controller(home: Home) -> ModelCache:
        """Return the files that wait for devices to fetch them: those of jobs that have not ended stay."""
        return ModelCache(home.root / "outgoing")

    def path(self, job: Job) -> Path:
        """Return where the job's file lies or would lie; its ending is the model's."""
        return self._folder / f"{job.digest}{Path(job.model).suffix.lower()}"

    def has(self, job: Job) -> bool:
        """Return whether the job's file is there, and note that it is used."""
        with suppress(OSError):
            os.utime(self.path(job))
            return True
        return False

    def keep(self, job: Job, model: Path) -> Path:
        """Copy a file of this machine into the folder unless it is there; return where it lies."""

        def copy(file: IO[bytes]) -> None:
            with model.open("rb") as source:
                shutil.copyfileobj(source, file)

        return self.path(job) if self.has(job) else self.receive(job, copy)

    def receive(self, job: Job, write: Callable[[IO[bytes]], None]) -> Path:
        """Keep what `write` puts into the file it is given; return where it lies.

        Raises:
            DataError: it is not the file that the job names.
            StoreError: it cannot be written.
        """
        path = self.path(job)
        with atomic_path(path) as temporary:
            with temporary.open("wb") as file:
                write(file)
            if sha256_of(temporary) != job.digest:
                raise DataError(
                    f"'{job.model}' did not arrive as it was sent ({temporary.stat().st_size} bytes, "
                    f"{job.size_bytes} expected)"
                )
        if self._max_bytes is not None:
            self._trim(self._max_bytes, spared=path)
        return path

    def find(self, digest: str) -> Path | None:
        """Return a file of this digest, whatever its ending, or None."""
        return next(iter(sorted(self._folder.glob(f"{digest}.*"))), None)

    def drop_all_but(self, digests: Collection[str]) -> None:
        """Remove files of other digests that nobody has asked for in a day."""
        for path in self._folder.glob("*.*"):
            with suppress(FileNotFoundError):
                if path.stem not in digests and path.stat().st_mtime < time.time() - _KEPT_S:
                    path.unlink()

    def _trim(self, max_bytes: int, *, spared: Path) -> None:
        files = [(path.stat(), path) for path in self._folder.glob("*.*") if path != spared]
        files.sort(key=lambda pair: pair[0].st_mtime)
        excess = spared.stat().st_size + sum(told.st_size for told, _ in files) - max_bytes
        for told, path in files:
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= told.st_size
