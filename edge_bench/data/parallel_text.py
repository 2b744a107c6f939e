"""Sentences and their translations: two files whose lines belong together, as Multi30k comes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from edge_bench.data import TextSource
from edge_bench.data._held_out import candidates, folder_of, held_out, split_files
from edge_bench.errors import ConfigError, DataError
from edge_bench.records.subnet import Split
from edge_bench.text.examples import SentencePairs
from edge_bench.text.files import empty_lines, read_lines, refuse_empty

Pair = tuple[Path, Path]


@dataclass(frozen=True, kw_only=True)
class ParallelText(TextSource):
    """Pairs of lines. `path` is a folder with `train.SOURCE` and `train.TARGET`, where `source` and
    `target` are the endings (languages), and so for `val` (or `selection`, `dev`, `valid`) and `test`;
    each plain or gzip. `train`, `selection` and `test` name others: what stands before the ending
    (`test = "test_2016_flickr"`), or both files (`train = ["corpus.en", "corpus.de"]`).

    A split without files is cut from the training pairs (`selection_fraction`, `test_fraction`, drawn by
    `seed`). `limit` keeps the first so many of the pairs left to train on (0: all). `skip_empty` leaves
    out pairs of which either line is empty.
    """

    task: ClassVar[str] = "translation"

    path: str
    source: str = "en"
    target: str = "de"
    train: str | tuple[str, str] = ""
    selection: str | tuple[str, str] = ""
    test: str | tuple[str, str] = ""
    selection_fraction: float = 0.1
    test_fraction: float = 0.1
    limit: int = 0
    skip_empty: bool = False
    seed: int = 0

    def load(self, split: Split) -> SentencePairs:
        """Read one split.

        Raises:
            ConfigError: the shares leave nothing to train on, or one file is named twice.
            DataError: as `TextSource`; an empty line, or files of unequal length.
        """
        if self.limit < 0:
            raise ConfigError(f"data.limit is {self.limit}; it must be at least 0")
        files = self._files()
        pair = files.get(split, files["train"])
        sources, targets, skipped = self._read(*pair)
        if pair == files["train"]:
            rows = held_out(
                np.zeros(len(sources), np.int64),
                split,
                files,
                selection=self.selection_fraction,
                test=self.test_fraction,
                seed=self.seed,
                where=pair[0],
            )
            if split == "train":
                rows = rows[: self.limit or None]
            sources, targets = [sources[row] for row in rows], [targets[row] for row in rows]
        return SentencePairs(sources=tuple(sources), targets=tuple(targets), skipped=skipped)

    def _files(self) -> dict[Split, Pair]:
        root = folder_of(self.path)
        if not root.is_dir():
            raise DataError(f"'{root}' is no folder", hint="data.path must name the folder of both files")
        if self.source == self.target:
            raise ConfigError(f"data.source and data.target are both '{self.source}'")
        named: dict[Split, Pair | None] = {
            "train": self._named(root, self.train),
            "selection": self._named(root, self.selection),
            "test": self._named(root, self.test),
        }
        files = split_files(
            root,
            named,
            lambda stem: self._found(root, stem),
            endings=f".{self.source} and train.{self.target}",
        )
        if "test" not in files and (others := sorted(root.glob(f"test*.{self.source}*"))):
            stems = sorted({file.name.partition(f".{self.source}")[0] for file in others})
            raise DataError(
                f"'{root}' holds several pairs to test on, none called 'test': {', '.join(stems)}"
                if len(stems) > 1
                else f"'{root}' holds no pair called 'test', but '{stems[0]}'",
                hint=f"name the one that is meant: --set data.test={stems[0]}",
            )
        return files

    def _named(self, root: Path, given: str | tuple[str, str]) -> Pair | None:
        if not given:
            return None
        if isinstance(given, tuple):
            return root / given[0], root / given[1]
        if (pair := self._found(root, given)) is None:
            raise DataError(f"'{root}' holds no files {given}.{self.source} and {given}.{self.target}")
        return pair

    def _found(self, root: Path, stem: str) -> Pair | None:
        both = [
            next(candidates(root, stem, (f".{language}",)), None) for language in (self.source, self.target)
        ]
        if both[0] is None and both[1] is None:
            return None
        for file, language in zip(both, (self.source, self.target), strict=True):
            if file is None:
                there = both[0] or both[1]
                raise DataError(f"there is '{there}' but no file '{root / stem}.{language}' beside it")
        assert both[0] is not None and both[1] is not None
        return both[0], both[1]

    def _read(self, source: Path, target: Path) -> tuple[list[str], list[str], int]:
        sources, targets = read_lines(source), read_lines(target)
        if len(sources) != len(targets):
            raise DataError(
                f"'{source}' has {len(sources)} lines and '{target}' has {len(targets)}",
                hint="each line of one must be the translation of the same line of the other",
            )
        empty = {source: empty_lines(sources), target: empty_lines(targets)}
        if not self.skip_empty:
            for file, numbers in empty.items():
                refuse_empty(numbers, file, of=len(sources))
        left_out = {number for numbers in empty.values() for number in numbers}
        kept = [row for row in range(len(sources)) if row + 1 not in left_out]
        if not kept:
            raise DataError(f"'{source}' and '{target}' have no line in which both hold text")
        return (
            [sources[row].strip() for row in kept],
            [targets[row].strip() for row in kept],
            len(left_out),
        )
