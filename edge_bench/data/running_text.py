"""Running text for language models: a text file, or a folder with one for each split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edge_bench.data import TextSource
from edge_bench.data._held_out import candidates, folder_of, split_files
from edge_bench.errors import ConfigError, DataError
from edge_bench.records.subnet import Split
from edge_bench.text.examples import RunningText as Examples
from edge_bench.text.files import read_text

ENDINGS = (".txt",)


@dataclass(frozen=True, kw_only=True)
class RunningText(TextSource):
    """One long text a split. `path` is a file, or a folder with `train.txt`, `valid.txt` (or
    `selection`, `dev`, `val`) and `test.txt`, each plain or gzip; `train`, `selection` and `test` name
    other files of that folder.

    A split without a file is cut from the training file, in one piece: its last `test_fraction` is test,
    the `selection_fraction` before that selection. Of each split the first `limit_characters` are read
    (0: all). Empty lines are part of a text; one of nothing but white space is an error.
    """

    task: ClassVar[str] = "language_modelling"

    path: str
    train: str = ""
    selection: str = ""
    test: str = ""
    selection_fraction: float = 0.1
    test_fraction: float = 0.1
    limit_characters: int = 0

    def load(self, split: Split) -> Examples:
        """Read one split.

        Raises:
            ConfigError: the shares leave nothing to train on, or one file is named twice.
            DataError: as `TextSource`; nothing but white space.
        """
        if self.limit_characters < 0:
            raise ConfigError(f"data.limit_characters is {self.limit_characters}; it must be at least 0")
        files = self._files()
        file = files.get(split, files["train"])
        text = read_text(file)
        if file == files["train"]:
            text = text[self._piece(split, files, len(text))]
        if not text.strip():
            raise DataError(
                f"'{file}' holds no text for the {split} split",
                hint=f"name another file, --set data.{split}=FILE, or a larger share of the training file",
            )
        return Examples(text=text[: self.limit_characters or None])

    def _files(self) -> dict[Split, Path]:
        root = folder_of(self.path)
        named: dict[Split, str] = {"train": self.train, "selection": self.selection, "test": self.test}
        if root.is_file():
            if given := next((split for split, name in named.items() if name), None):
                raise ConfigError(
                    f"data.path is the file '{root}' and data.{given} names another",
                    hint="let data.path name the folder of both",
                )
            return {"train": root}
        return split_files(
            root,
            {split: root / name if name else None for split, name in named.items()},
            lambda stem: next(candidates(root, stem, ENDINGS), None),
            endings=".txt",
        )

    def _piece(self, split: Split, files: dict[Split, Path], length: int) -> slice:
        """Return which characters of the training file are `split`'s."""
        selection = 0.0 if "selection" in files else self.selection_fraction
        test = 0.0 if "test" in files else self.test_fraction
        if not (0 <= selection < 1 and 0 <= test < 1 and selection + test < 1):
            raise ConfigError(
                f"selection_fraction {selection} and test_fraction {test} must be shares that leave some "
                "to train on"
            )
        second = length - round(length * test)
        first = second - round(length * selection)
        pieces: dict[Split, slice] = {
            "train": slice(0, first),
            "selection": slice(first, second),
            "test": slice(second, length),
        }
        return pieces[split]
