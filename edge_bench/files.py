"""Writing that is whole or not at all, digests, and where things lie under the home folder."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_bench.errors import StoreError

HOME_VARIABLE = "EDGE_BENCH_HOME"


@dataclass(frozen=True, slots=True)
class Home:
    """The one folder under which all state lies: runs, artifacts, the store.

    Making a `Home` touches no disk. Paths that records keep are relative to `root`.
    """

    root: Path

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def picks(self) -> Path:
        return self.root / "picks"

    @property
    def probes(self) -> Path:
        return self.root / "probes"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def store_url(self) -> str:
        return f"sqlite:///{self.root / 'store.sqlite'}"

    @property
    def has_store(self) -> bool:
        """Whether a store was ever opened here; looking makes none."""
        return (self.root / "store.sqlite").exists()

    def relative(self, path: Path) -> str:
        """Return `path` as records keep it: relative to the home folder, with forward slashes."""
        return path.resolve().relative_to(self.root.resolve()).as_posix()

    def absolute(self, kept: str) -> Path:
        """Return where the file that a record names lies; an absolute path stays as it is."""
        return self.root / kept

    def present(self, kept: str) -> Path | None:
        """Return where the file that a record names lies; None where it is not there."""
        path = self.absolute(kept)
        return path if path.is_file() else None


def default_home() -> Home:
    """Return `EDGE_BENCH_HOME`, or `~/.local/share/edge-bench`."""
    given = os.environ.get(HOME_VARIABLE)
    return Home(Path(given).expanduser() if given else Path("~/.local/share/edge-bench").expanduser())


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it into place when the block ends well.

    A reader sees the old file or the new one, never a part. What a failed block wrote is removed.

    Raises:
        StoreError: the disk is full, read-only, or the folder may not be written.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        except FileNotFoundError as error:
            # The folder is there, so this is how the likes of /proc refuse; of a file that is read it would
            # be something else.
            told = f"cannot write '{path}': its folder takes no files"
            raise StoreError(told, hint=HINT_OTHER_PLACE) from error
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            # mkstemp makes private files; give the result the mode any new file would get.
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def locked(path: Path, *, taken: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of the file `path` during the block; where another process has it, call `taken`
    (which may raise) and wait.

    The kernel lets go of the lock when the process ends, however it ends.

    Raises:
        StoreError: the folder may not be written.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            taken()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the disk's refusals inside the block into a `StoreError` that names `path`."""
    try:
        yield
    except OSError as error:
        if (refusal := refused(error)) is None:
            raise
        raise StoreError(f"cannot write '{path}': {refusal}", hint=HINT_OTHER_PLACE) from error


HINT_OTHER_PLACE = "free some space or name another folder: --home FOLDER or EDGE_BENCH_HOME"


def refused(error: OSError) -> str | None:
    """Say in words why the disk refused, or None where `error` is of another kind."""
    return {
        errno.ENOSPC: "no space left on the disk",
        errno.EDQUOT: "the disk quota is used up",
        errno.EFBIG: "the file is larger than this process may write",
        errno.EROFS: "the disk is read-only",
        errno.EACCES: "no permission",
        errno.EPERM: "not permitted",
        errno.ENOTDIR: "a part of the path is not a folder",
        errno.EEXIST: "a part of the path is a file",
        errno.EISDIR: "it is a folder",
        errno.ENAMETOOLONG: "the name is too long",
    }.get(error.errno or 0)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def runs_called(name: str, folders: Sequence[str]) -> list[str]:
    """Return the run folders that `name` means: the one of that very name, else `<name>-<digest>`."""
    exact = [folder for folder in folders if folder == name]
    return exact or [folder for folder in folders if folder.rpartition("-")[0] == name]
