"""Kinds of data, one file each: training, calibration and the quality of a file all read it here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edge_bench.documents import from_document
from edge_bench.episodes import Environments, Episodes
from edge_bench.errors import ConfigError
from edge_bench.records.subnet import Preprocessing, Split
from edge_bench.text.examples import LabelledTexts, RunningText, SentencePairs
from edge_bench.variants import load

DATA_VARIABLE = "EDGE_BENCH_DATA"

Texts = LabelledTexts | RunningText | SentencePairs


@dataclass(frozen=True, kw_only=True)
class Images:
    """Labelled images of one split: `pixels` uint8 [n, height, width, channels], `labels` int64 [n].

    All images of a split have one size; `skipped` counts files that `skip_bad` left out.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    skipped: int = 0


@dataclass(frozen=True, kw_only=True)
class DataSource(ABC):
    """A data set. A variant's fields are the options of its `[data]` table.

    Splits are disjoint and fixed by the options alone: the same in every process and on every machine.
    Choices are made on "selection"; "test" is told.
    """

    task: ClassVar[str]

    @abstractmethod
    def load(self, split: Split) -> Images | Texts | Episodes:
        """Read one split.

        Raises:
            DataError: a file, line or row that cannot be read, named.
        """


@dataclass(frozen=True, kw_only=True)
class ImageSource(DataSource):
    """Labelled images; each class appears in each split.

    `augmentation` names what training may do to an image: "none", "crop", "crop_flip".
    """

    task: ClassVar[str] = "image_classification"
    augmentation: ClassVar[str] = "none"

    @abstractmethod
    def load(self, split: Split, *, size: int | None = None) -> Images:
        """Read one split; images are resized to `size` pixels square where it is given.

        Raises:
            DataError: a file or row that cannot be read, named.
        """

    @abstractmethod
    def channels(self) -> int:
        """Return how many channels each image has."""


@dataclass(frozen=True, kw_only=True)
class TextSource(DataSource):
    """Text. A variant says which sort of examples its splits are, and so which task they teach.

    What has no file of its own, selection or test, is held out of the training file, always the same
    part of it.
    """

    @abstractmethod
    def load(self, split: Split) -> Texts:
        """Read one split.

        Raises:
            DataError: a file that is missing or not UTF-8, or a line that cannot be used; file and line
                are named.
        """


@dataclass(frozen=True, kw_only=True)
class ControlSource(DataSource):
    """An environment to act in, by its id; in training so many `environments` go on side by side, in an
    epoch `epoch_frames` steps in all.
    """

    task: ClassVar[str] = "control"

    environment: str
    environments: int
    epoch_frames: int

    @abstractmethod
    def open(self, count: int) -> Environments:
        """Return so many environments side by side.

        Raises:
            ConfigError: there is no such environment, or not of this sort.
            MissingExtra: it needs a library that is not installed.
        """

    @abstractmethod
    def load(self, split: Split) -> Episodes:
        """Return the episodes that a policy is judged on; "train" has none."""

    @abstractmethod
    def check(self) -> None:
        """Raise a `ConfigError` that names the first option that cannot be used; opens nothing."""


def open_data(table: Mapping[str, Any]) -> DataSource:
    """Return the data set that a `[data]` table describes: `kind` and that kind's options.

    Raises:
        UnknownVariant, ConfigError: no such kind, or an option it does not have.
    """
    options = dict(table)
    kind = options.pop("kind", None)
    if not isinstance(kind, str):
        raise ConfigError('[data] must name a kind, e.g. kind = "digits"')
    return from_document(load(DataSource, "edge_bench.data", kind), options, where="data")


def open_images(table: Mapping[str, Any]) -> ImageSource:
    """Return what `open_data` returns where it is images.

    Raises:
        ConfigError: it is text, or as `open_data`.
    """
    source = open_data(table)
    if not isinstance(source, ImageSource):
        raise ConfigError(f"data of kind '{table['kind']}' is {_sort(source)}; images are needed here")
    return source


def open_texts(table: Mapping[str, Any]) -> TextSource:
    """Return what `open_data` returns where it is text.

    Raises:
        ConfigError: it is images, or as `open_data`.
    """
    source = open_data(table)
    if not isinstance(source, TextSource):
        raise ConfigError(f"data of kind '{table['kind']}' is {_sort(source)}; text is needed here")
    return source


def open_control(table: Mapping[str, Any]) -> ControlSource:
    """Return what `open_data` returns where it is environments.

    Raises:
        ConfigError: it is images or text, or as `open_data`.
    """
    source = open_data(table)
    if not isinstance(source, ControlSource):
        raise ConfigError(
            f"data of kind '{table['kind']}' is {_sort(source)}; environments are needed here"
        )
    return source


def _sort(source: DataSource) -> str:
    sorts = {ImageSource: "images", TextSource: "text", ControlSource: "environments"}
    return next(name for sort, name in sorts.items() if isinstance(source, sort))


def data_name(table: Mapping[str, Any]) -> str:
    """Return what people call the data set of a `[data]` table: its kind, and its folder's name."""
    kind, path = str(table.get("kind", "other")), str(table.get("path", ""))
    return f"{kind} {path.rstrip('/').rpartition('/')[2]}".strip()


def resize(pixels: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Return images uint8 [n, h, w, c] resized to [n, size, size, c], bilinear with antialiasing.

    Training, evaluation and the exported file's users share this one resize (Pillow's).
    """
    from PIL import Image

    if pixels.shape[1:3] == (size, size):
        return pixels
    channels = pixels.shape[3]
    resized = np.empty((len(pixels), size, size, channels), np.uint8)
    for index, image in enumerate(pixels):
        opened = Image.fromarray(image[..., 0] if channels == 1 else image)
        scaled = np.asarray(opened.resize((size, size), Image.Resampling.BILINEAR))
        resized[index] = scaled[..., None] if channels == 1 else scaled
    return resized


def prepare(pixels: npt.NDArray[np.uint8], preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """Return network inputs float32 [n, channels, size, size] from images uint8 [n, h, w, c]."""
    resized = resize(pixels, preprocessing.size).astype(np.float32) / 255
    mean = np.asarray(preprocessing.mean, np.float32)
    std = np.asarray(preprocessing.std, np.float32)
    return np.ascontiguousarray(((resized - mean) / std).transpose(0, 3, 1, 2))


def choose_split(
    labels: npt.NDArray[np.int64], split: Split, *, selection: float, test: float, seed: int
) -> npt.NDArray[np.int64]:
    """Return the row numbers of one split, ascending; each class gives its share to each split.

    A share above 0 takes at least one example of each class, and training keeps at least one.

    Raises:
        ConfigError: the shares leave nothing to train on.
    """
    if not (0 <= selection < 1 and 0 <= test < 1 and selection + test < 1):
        raise ConfigError(
            f"selection {selection} and test {test} must be shares that leave some to train on"
        )
    generator = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        first = max(round(len(rows) * test), int(test > 0))
        second = first + max(round(len(rows) * selection), int(selection > 0))
        parts = {"test": rows[:first], "selection": rows[first:second], "train": rows[second:]}
        chosen.append(parts[split])
    return np.sort(np.concatenate(chosen))
