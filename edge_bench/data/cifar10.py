"""CIFAR-10 from parquet files: `train.parquet` and `test.parquet` with encoded 32-pixel images."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError

from edge_bench.data import DATA_VARIABLE, Images, ImageSource, choose_split, resize
from edge_bench.errors import DataError
from edge_bench.records.subnet import Split

IMAGE_COLUMNS = ("image_jpeg", "image_png", "image", "img")
CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()


@dataclass(frozen=True, kw_only=True)
class Cifar10(ImageSource):
    """CIFAR-10 (Krizhevsky, 2009). Selection is held out of the training file, test is its own file.

    `path` is the folder of the two files; empty means `cifar10` in the folder that EDGE_BENCH_DATA
    names. A file has the columns `label` and `image_jpeg` (or `image_png`, `image`: bytes, or the
    struct with `bytes` that Hugging Face's copies have). `train_limit` keeps the first so many rows
    of the training file (0: all), `test_limit` of the test file.
    """

    augmentation: ClassVar[str] = "crop_flip"

    path: str = ""
    train_limit: int = 0
    test_limit: int = 0
    selection_fraction: float = 0.1
    seed: int = 0

    def load(self, split: Split, *, size: int | None = None) -> Images:
        """Read one split: uint8 [n, 32, 32, 3], or resized."""
        file = self._file("test" if split == "test" else "train")
        rows = _read(file, limit=self.test_limit if split == "test" else self.train_limit)
        names = rows.column_names
        label_name = next((name for name in ("label", "labels", "fine_label") if name in names), None)
        image_name = next(
            (name for name in ("image_jpeg", "image_png", "image", "img") if name in names), None
        )
        if label_name is None or image_name is None:
            raise DataError(
                f"'{file}' has the columns {', '.join(names)}; 'image_jpeg' and 'label' are expected"
            )
        labels = np.asarray(rows[label_name].to_numpy(), np.int64)
        chosen = np.arange(len(labels))
        if split != "test":
            chosen = choose_split(
                labels, split, selection=self.selection_fraction, test=0.0, seed=self.seed
            )
        encoded = rows[image_name].take(pa.array(chosen)).to_pylist()
        pixels = np.stack(
            [_decode(item, file, int(row)) for item, row in zip(encoded, chosen, strict=True)]
        )
        return Images(
            pixels=resize(pixels, size) if size else pixels,
            labels=labels[chosen],
            class_names=tuple(CLASSES),
        )

    def channels(self) -> int:
        """Three: red, green, blue."""
        return 3

    def _file(self, name: str) -> Path:
        root = os.environ.get(DATA_VARIABLE)
        if not self.path and not root:
            raise DataError(
                '[data] kind = "cifar10" has no path',
                hint=f"name the folder of its two files: --set data.path=FOLDER or {DATA_VARIABLE}",
            )
        folder = Path(self.path).expanduser() if self.path else Path(root or "") / "cifar10"
        file = folder / f"{name}.parquet"
        if not file.is_file():
            raise DataError(
                f"there is no file '{file}'",
                hint="it must hold train.parquet and test.parquet with columns image_jpeg and label",
            )
        return file


def _read(file: Path, *, limit: int) -> pa.Table:
    try:
        rows = pq.read_table(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"'{file}' is no parquet file: {error}") from error
    return rows.slice(0, limit) if limit else rows


def _decode(item: object, file: Path, row: int) -> np.ndarray:
    encoded = item.get("bytes") if isinstance(item, dict) else item
    try:
        return np.asarray(Image.open(io.BytesIO(encoded or b"")).convert("RGB"))  # type: ignore[arg-type]
    except (UnidentifiedImageError, OSError, TypeError) as error:
        raise DataError(f"'{file}' row {row}: the image does not decode ({error})") from error
