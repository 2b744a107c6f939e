"""Which file each split of a text is read from, and what part of the training file stands in for one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edge_bench.data import choose_split
from edge_bench.errors import ConfigError, DataError
from edge_bench.records.subnet import Split

F = TypeVar("F")

SPLITS: tuple[Split, ...] = ("train", "selection", "test")
# What the file of a split may be called.
STEMS: Mapping[Split, tuple[str, ...]] = {
    "train": ("train",),
    "selection": ("selection", "dev", "val", "valid", "validation"),
    "test": ("test",),
}


def folder_of(path: str) -> Path:
    """Return the folder, or file, that `path` names; a `DataError` where there is none."""
    root = Path(path).expanduser()
    if not root.exists():
        raise DataError(f"there is no file or folder '{root}'", hint="name it: --set data.path=PATH")
    return root


def split_files(
    root: Path, named: Mapping[Split, F | None], found: Callable[[str], F | None], *, endings: str
) -> dict[Split, F]:
    """Return the file (or pair of files) of each split that has one; training always has.

    Args:
        root: the folder, for messages.
        named: those that options name.
        found: returns what there is in the folder under the name of a split, or None.
        endings: what such files end in, for messages.

    Raises:
        ConfigError: one file is named for two splits.
        DataError: there is no training file.
    """
    files = {split: file for split, file in named.items() if file is not None}
    for one, other in itertools.combinations(files, 2):
        if files[one] == files[other]:
            raise ConfigError(f"data.{one} and data.{other} name the same file; splits must be disjoint")
    for split in SPLITS:
        if split not in files:
            # WikiText-2's `valid` may be what trains: a file belongs to one split.
            present = (found(stem) for stem in STEMS[split])
            free = (file for file in present if file is not None and file not in files.values())
            if (file := next(free, None)) is not None:
                files[split] = file
    if "train" not in files:
        raise DataError(
            f"'{root}' holds no training file (train{endings})",
            hint="call it so, or name it: --set data.train=FILE",
        )
    return files


def candidates(folder: Path, stem: str, endings: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files of that name and one of the endings that are there, plain ones first."""
    for compression in ("", ".gz"):
        for ending in endings:
            if (file := folder / f"{stem}{ending}{compression}").is_file():
                yield file


def held_out(
    labels: npt.NDArray[np.int64],
    split: Split,
    files: Mapping[Split, object],
    *,
    selection: float,
    test: float,
    seed: int,
    where: Path,
) -> npt.NDArray[np.int64]:
    """Return the rows of the training file that are `split`'s; splits with a file of their own take none.

    Raises:
        ConfigError: the shares leave nothing to train on.
        DataError: a class is too small to appear in each, or a split gets nothing.
    """
    shares = {"selection": selection, "test": test}
    shares = {name: 0.0 if name in files else share for name, share in shares.items()}
    needed = 1 + sum(share > 0 for share in shares.values())
    fewest = int(np.unique(labels, return_counts=True)[1].min())
    if fewest < needed:
        of_class = " of a class" if len(set(labels)) > 1 else ""
        raise DataError(
            f"'{where}' has too few examples{of_class}, {fewest}; at least {needed} are needed, one for "
            "each split that is cut from it"
        )
    rows = choose_split(labels, split, seed=seed, selection=shares["selection"], test=shares["test"])
    if not len(rows):
        raise DataError(
            f"nothing is left for the {split} split of '{where}'",
            hint=f"give it a file, or a share: --set data.{split}_fraction=0.1",
        )
    return rows
