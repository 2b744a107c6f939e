"""A folder of one's own images: one sub-folder a class, PNG or JPEG, any size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from edge_bench.data import Images, ImageSource, choose_split
from edge_bench.errors import DataError
from edge_bench.records.subnet import Split

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
FEWEST = 3


@dataclass(frozen=True, kw_only=True)
class Folder(ImageSource):
    """Images by class: `path/CLASS/*.png`. Or, where `path` holds the folders `train`, `selection`
    (or `val`) and `test`, the splits as given.

    Images are scaled so that the shorter side is `image_size` pixels and cropped about the middle.
    `grey` reads one channel. `skip_bad` leaves out what does not decode, and counts it.
    """

    augmentation: ClassVar[str] = "crop_flip"

    path: str
    image_size: int = 64
    grey: bool = False
    skip_bad: bool = False
    selection_fraction: float = 0.15
    test_fraction: float = 0.15
    seed: int = 0

    def load(self, split: Split, *, size: int | None = None) -> Images:
        """Read one split: uint8 [n, side, side, channels] with side = `size` or `image_size`.

        Raises:
            DataError: no such folder, a class without images, a file that does not decode.
        """
        root = Path(self.path).expanduser()
        if not root.is_dir():
            raise DataError(
                f"there is no folder '{root}'", hint="[data] path must name a folder of class folders"
            )
        given = _given_split(root, split)
        names, files, labels = _listed(given or root)
        if given is None:
            chosen = choose_split(
                labels,
                split,
                selection=self.selection_fraction,
                test=self.test_fraction,
                seed=self.seed,
            )
            files, labels = [files[index] for index in chosen], labels[chosen]
        return self._read(files, labels, names, size or self.image_size)

    def channels(self) -> int:
        """One where `grey`, else three."""
        return 1 if self.grey else 3

    def _read(self, files: list[Path], labels: np.ndarray, names: tuple[str, ...], side: int) -> Images:
        pixels = np.empty((len(files), side, side, self.channels()), np.uint8)
        kept: list[int] = []
        for index, file in enumerate(files):
            try:
                pixels[len(kept)] = _opened(file, side, self.grey)
            except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
                if not self.skip_bad:
                    raise DataError(
                        f"'{file}' does not decode as an image",
                        hint="mend or remove it, or go on without such files: --skip-bad",
                    ) from error
                continue
            kept.append(index)
        if not kept:
            raise DataError(f"none of the {len(files)} images decodes")
        return Images(
            pixels=pixels[: len(kept)],
            labels=labels[kept],
            class_names=names,
            skipped=len(files) - len(kept),
        )


def _given_split(root: Path, split: Split) -> Path | None:
    if not (root / "train").is_dir():
        return None
    accepted = {"train": ("train",), "selection": ("selection", "val", "valid"), "test": ("test",)}
    for name in accepted[split]:
        if (root / name).is_dir():
            return root / name
    raise DataError(
        f"'{root}' holds a folder 'train' but none called {' or '.join(accepted[split])}",
        hint="give all three splits, or put the class folders directly under the path",
    )


def _listed(root: Path) -> tuple[tuple[str, ...], list[Path], np.ndarray]:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
    if len(folders) < 2:
        raise DataError(
            f"'{root}' has {len(folders)} class folders; at least 2 are needed",
            hint="put the images of each class in a sub-folder of its own",
        )
    files: list[Path] = []
    labels: list[int] = []
    for number, folder in enumerate(folders):
        images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
        if len(images) < FEWEST:
            raise DataError(
                f"class folder '{folder}' has {len(images)} images; at least {FEWEST} are needed",
                hint="add PNG or JPEG files to it, or remove the folder",
            )
        files += images
        labels += [number] * len(images)
    return tuple(folder.name for folder in folders), files, np.asarray(labels, np.int64)


def _opened(file: Path, side: int, grey: bool) -> np.ndarray:
    with Image.open(file) as image:
        image.draft("L" if grey else "RGB", (side, side))
        converted = image.convert("L" if grey else "RGB")
    scale = side / min(converted.size)
    width, height = (max(side, round(length * scale)) for length in converted.size)
    left, top = (width - side) // 2, (height - side) // 2
    scaled = converted.resize((width, height), Image.Resampling.BILINEAR)
    cropped = np.asarray(scaled.crop((left, top, left + side, top + side)))
    return cropped[..., None] if grey else cropped
