"""Texts with a label: TSV or CSV, one file or a folder with one for each split, as SST-2 comes."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edge_bench.data import TextSource
from edge_bench.data._held_out import candidates, folder_of, held_out, split_files
from edge_bench.errors import ConfigError, DataError
from edge_bench.records.subnet import Split
from edge_bench.text.examples import LabelledTexts
from edge_bench.text.files import read_lines, refuse_empty

ENDINGS = (".tsv", ".csv")


@dataclass(frozen=True, kw_only=True)
class LabelledText(TextSource):
    """Rows of a text and its label. `path` is a file, or a folder with `train.tsv`, `dev.tsv` (or
    `selection`, `val`, `valid`) and `test.tsv`, or the same in CSV; each may be gzip, `.tsv.gz`.

    A column is a number from 0, or a name; where one is a name, the first row of each file is its
    header. `delimiter` is a tab, or in files called `.csv` a comma. Where it is no tab, cells may be
    quoted as in CSV.

    Classes are the labels of the training file, in the order of their numbers or of the alphabet; or
    `class_names`, of which a label is one, or its number from 0. A split without a file is cut from the
    training file (`selection_fraction`, `test_fraction` of each class, drawn by `seed`).
    """

    task: ClassVar[str] = "text_classification"

    path: str
    text_column: int | str = 0
    label_column: int | str = 1
    delimiter: str = ""
    class_names: tuple[str, ...] = ()
    skip_empty: bool = False
    selection_fraction: float = 0.1
    test_fraction: float = 0.1
    seed: int = 0

    def load(self, split: Split) -> LabelledTexts:
        """Read one split.

        Raises:
            ConfigError: a delimiter of more than one character, or class names that repeat.
            DataError: as `TextSource`; an empty line, a row of another width, a label of no class.
        """
        if len(self.delimiter) > 1:
            raise ConfigError(f"data.delimiter is {self.delimiter!r}; it must be one character")
        if len(set(self.class_names)) < len(self.class_names) or len(self.class_names) == 1:
            raise ConfigError(
                f"data.class_names is {', '.join(self.class_names)}; it must list at least 2 different ones"
            )
        root = folder_of(self.path)
        files: dict[Split, Path] = {"train": root}
        if root.is_dir():
            files = split_files(
                root,
                {},
                lambda stem: next(candidates(root, stem, ENDINGS), None),
                endings=".tsv or .csv",
            )
        file = files.get(split, files["train"])
        rows = self._read(file)
        if self.class_names:
            classes = _Classes.given(self.class_names)
        else:
            classes = _Classes.of(rows if file == files["train"] else self._read(files["train"]))
        labels = classes.numbered(rows)
        chosen = np.arange(len(labels))
        if file == files["train"]:
            chosen = held_out(
                labels,
                split,
                files,
                selection=self.selection_fraction,
                test=self.test_fraction,
                seed=self.seed,
                where=file,
            )
        return LabelledTexts(
            texts=tuple(rows.texts[row] for row in chosen),
            labels=labels[chosen],
            class_names=classes.names,
            skipped=rows.skipped,
        )

    def _read(self, file: Path) -> _Rows:
        columns = (self.text_column, self.label_column)
        headed = any(isinstance(column, str) for column in columns)
        rows = _Rows(file=file, headed=headed)
        width, text_at, label_at = 0, 0, 0
        empty: list[int] = []
        for line, cells in self._cells(file):
            if not any(cell.strip() for cell in cells):
                empty.append(line)
                continue
            if not width:
                width = len(cells)
                text_at, label_at = (_place(column, cells, file) for column in columns)
                if headed:
                    continue
            if len(cells) != width:
                raise DataError(
                    f"'{file}' line {line} has {len(cells)} column{'s' if len(cells) > 1 else ''}; "
                    f"the first row has {width}",
                    hint="quote texts that hold the delimiter (CSV), or name another: data.delimiter",
                )
            if not cells[text_at].strip():
                empty.append(line)
                continue
            if not cells[label_at].strip():
                raise DataError(f"'{file}' line {line} has no label")
            rows.lines.append(line)
            rows.texts.append(cells[text_at].strip())
            rows.labels.append(cells[label_at].strip())
        if not self.skip_empty:
            refuse_empty(empty, file, of=len(rows.lines) + len(empty))
        if not rows.lines:
            raise DataError(f"'{file}' holds no row with a text")
        rows.skipped = len(empty)
        return rows

    def _cells(self, file: Path) -> Iterator[tuple[int, list[str]]]:
        """Yield each row with the number, from 1, of its first line."""
        lines = read_lines(file)
        delimiter = self.delimiter or ("," if ".csv" in file.suffixes[-2:] else "\t")
        if delimiter == "\t":
            for number, line in enumerate(lines, start=1):
                yield number, line.split("\t")
            return
        reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, strict=True)
        while True:
            first = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(f"'{file}' line {first} is no row of CSV: {error}") from error
            yield first, cells


@dataclass(kw_only=True)
class _Rows:
    """What a file holds, with the number of each row's line; `headed` where its first row is a header."""

    file: Path
    headed: bool
    lines: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    skipped: int = 0


@dataclass(frozen=True, kw_only=True)
class _Classes:
    """The classes, and the number of each label that means one."""

    names: tuple[str, ...]
    numbers: dict[str, int]

    @classmethod
    def given(cls, names: tuple[str, ...]) -> _Classes:
        # Where names are numbers themselves, a label "1" is the class of that name and no other.
        numbers = {name: number for number, name in enumerate(names)}
        if not any(map(_is_whole, names)):
            numbers |= {str(number): number for number in range(len(names))}
        return cls(names=names, numbers=numbers)

    @classmethod
    def of(cls, rows: _Rows) -> _Classes:
        """Return the classes of a training file; what looks like a header without being told is refused."""
        labels = list(map(_plain, rows.labels))
        counts = Counter(labels)
        whole = [_is_whole(label) for label in labels]
        odd = whole.index(False) if any(whole) and not all(whole) else None
        if odd is None and not rows.headed and counts[labels[0]] == 1 and len(counts) < len(labels) - 1:
            odd = 0
        if odd is not None:
            raise DataError(
                f"'{rows.file}' line {rows.lines[odd]}: label '{rows.labels[odd]}' is not like the others",
                hint="where it is a header, name its columns (data.text_column, data.label_column); "
                "where it is right, list data.class_names",
            )
        if len(counts) < 2:
            raise DataError(f"'{rows.file}' has the label '{labels[0]}' only; at least 2 are needed")
        names = tuple(sorted(counts, key=int) if all(whole) else sorted(counts))
        return cls(names=names, numbers={name: number for number, name in enumerate(names)})

    def numbered(self, rows: _Rows) -> npt.NDArray[np.int64]:
        """Return the number of each row's class; a `DataError` names the first label that is none."""
        labels = np.empty(len(rows.labels), np.int64)
        for row, label in enumerate(rows.labels):
            found = self.numbers.get(label, self.numbers.get(_plain(label)))
            if found is None:
                told = ", ".join(self.names[:10]) + (", …" if len(self.names) > 10 else "")
                counted = f", or 0 to {len(self.names) - 1}" if len(self.numbers) > len(self.names) else ""
                raise DataError(
                    f"'{rows.file}' line {rows.lines[row]}: label '{label}' is none of the classes "
                    f"{told}{counted}"
                )
            labels[row] = found
        return labels


def _place(column: int | str, cells: list[str], file: Path) -> int:
    if isinstance(column, str):
        header = [cell.strip() for cell in cells]
        if column not in header:
            raise DataError(f"'{file}' has the columns {', '.join(header)}; '{column}' is expected")
        return header.index(column)
    if not 0 <= column < len(cells):
        raise DataError(
            f"'{file}' has {len(cells)} column{'s' if len(cells) > 1 else ''}; column {column}, counted "
            "from 0, is asked for",
            hint="name the delimiter (data.delimiter) or the columns (data.text_column, data.label_column)",
        )
    return column


def _is_whole(label: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]{1,9}", label) is not None


def _plain(label: str) -> str:
    return str(int(label)) if _is_whole(label) else label
