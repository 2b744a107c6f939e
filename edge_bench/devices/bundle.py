"""Many model files as one that travels: a zip whose bytes, and so its digest, depend on them alone."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

from edge_bench.errors import DataError
from edge_bench.files import atomic_path, explained

SUFFIX = ".zip"
MAX_FILES = 256
MAX_BYTES = 2 << 30
# No path, so that nothing is written beside the folder that a bundle is unpacked into.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_]{1,16}")


def pack(files: Sequence[Path], target: Path) -> None:
    """Write `files` into the bundle `target`, by their names and uncompressed: weights do not shrink.

    Raises:
        StoreError: the disk refuses.
    """
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w") as bundle:
        for file in sorted(files):
            # Without a date of its own: the same files are the same bundle, which is sent once.
            bundle.writestr(zipfile.ZipInfo(file.name), file.read_bytes())


def unpack(bundle: Path, folder: Path) -> list[Path]:
    """Write the files of a bundle into `folder`; return them, sorted by name.

    A bundle came from another machine: what is too much, or has a name that is a path, is refused
    before anything is written.

    Raises:
        DataError: it is no bundle, or none that may be unpacked.
        StoreError: the disk refuses.
    """
    try:
        with zipfile.ZipFile(bundle) as opened:
            members = opened.infolist()
            if not 0 < len(members) <= MAX_FILES or sum(one.file_size for one in members) > MAX_BYTES:
                raise DataError(
                    f"a bundle holds 1 to {MAX_FILES} files of at most {MAX_BYTES >> 30} GiB together; "
                    f"this one has {len(members)}"
                )
            for member in members:
                if not _NAME.fullmatch(member.filename):
                    raise DataError(f"'{member.filename[:80]}' in a bundle is no name of a model file")
            with explained(folder):
                for member in members:
                    (folder / member.filename).write_bytes(opened.read(member))
    except zipfile.BadZipFile as error:
        raise DataError(f"'{bundle.name}' is no bundle of models: {error}") from error
    return sorted(folder / member.filename for member in members)
