"""The images of a run at every resolution, as batches for training and as tensors for judging."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edge_bench.data import Images, ImageSource, prepare, resize
from edge_bench.errors import DataError
from edge_bench.records import Preprocessing
from edge_bench.records.subnet import Split

# Training images are kept at every resolution where that takes no more; else the largest is resized.
KEPT_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class TrainingImages:
    """The training split at the resolutions of a space. `augmentation` as in `ImageSource`."""

    source: ImageSource
    resolutions: tuple[int, ...]
    augmentation: str
    preprocessing: Preprocessing
    images: Images
    _kept: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images.labels)

    def batch(
        self,
        rows: npt.NDArray[np.int64],
        resolution: int,
        generator: np.random.Generator,
        *,
        share: slice = slice(None),
    ) -> tuple[Tensor, Tensor]:
        """Return augmented inputs [n, channels, r, r] (channels last in memory) and labels [n].

        Of a batch of `rows` those of `share`; an image's augmentation does not depend on the share.
        """
        drawn = Augmentation.draw(self.augmentation, len(rows), resolution, generator)
        own = rows[share]
        pixels = drawn.of(share).apply(self._pixels(own, resolution))
        inputs = prepare(pixels, replace(self.preprocessing, size=resolution))
        labels = torch.from_numpy(self.images.labels[own])
        return torch.from_numpy(inputs).contiguous(memory_format=torch.channels_last), labels

    def _pixels(self, rows: npt.NDArray[np.int64], resolution: int) -> npt.NDArray[np.uint8]:
        if resolution == self.resolutions[-1]:
            return self.images.pixels[rows]
        area = sum(r * r for r in self.resolutions[:-1])
        if len(self) * self.images.pixels.shape[3] * area > KEPT_BYTES:
            return resize(self.images.pixels[rows], resolution)
        if resolution not in self._kept:
            # The same pixels as at evaluation: resized from the source, not from a resized image.
            self._kept[resolution] = self.source.load("train", size=resolution).pixels
        return self._kept[resolution][rows]


def training_images(
    source: ImageSource, space_resolutions: tuple[int, ...], augmentation: str
) -> TrainingImages:
    """Read the training split; mean and deviation of its channels become the preprocessing.

    Raises:
        DataError: a file that cannot be read, or fewer than 2 images or classes.
    """
    largest = space_resolutions[-1]
    images = source.load("train", size=largest)
    if len(images.labels) < 2 or len(images.class_names) < 2:
        raise DataError(
            f"the training split has {len(images.labels)} images of {len(images.class_names)} classes; "
            "at least 2 of each are needed"
        )
    scaled = images.pixels.reshape(-1, images.pixels.shape[3])
    mean = scaled.mean(0, dtype=np.float64) / 255
    deviation = np.sqrt(np.maximum(_mean_of_squares(scaled) - mean**2, 0))
    preprocessing = Preprocessing(
        size=largest,
        channels=images.pixels.shape[3],
        mean=tuple(round(float(value), 4) for value in mean),
        # A channel that never varies must not be divided by zero.
        std=tuple(max(round(float(value), 4), 0.01) for value in deviation),
    )
    return TrainingImages(
        source=source,
        resolutions=space_resolutions,
        augmentation=source.augmentation if augmentation == "as_data" else augmentation,
        preprocessing=preprocessing,
        images=images,
    )


@dataclass(frozen=True, kw_only=True)
class JudgingImages:
    """Inputs and labels of any split at any resolution, read once each."""

    source: ImageSource
    preprocessing: Preprocessing
    calibration_images: int
    seed: int
    _read: dict[tuple[Split, int], tuple[Tensor, Tensor]] = field(default_factory=dict)

    def split(self, split: Split, resolution: int) -> tuple[Tensor, Tensor]:
        """Return inputs [n, channels, r, r] and labels [n]; of "train" a fixed draw for calibration."""
        key = (split, resolution)
        if key not in self._read:
            images = self.source.load(split, size=resolution)
            rows = np.arange(len(images.labels))
            if split == "train":
                generator = np.random.default_rng([self.seed, len(rows)])
                rows = generator.permutation(rows)[: self.calibration_images]
            inputs = prepare(images.pixels[rows], replace(self.preprocessing, size=resolution))
            laid_out = torch.from_numpy(inputs).contiguous(memory_format=torch.channels_last)
            self._read[key] = laid_out, torch.from_numpy(images.labels[rows])
        return self._read[key]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is done to each image of a batch: a shift [n] each way, and whether it is mirrored [n].

    `None` leaves the images as they are.
    """

    edge: int
    down: npt.NDArray[np.int64] | None = None
    right: npt.NDArray[np.int64] | None = None
    mirrored: npt.NDArray[np.bool_] | None = None

    @classmethod
    def draw(cls, kind: str, count: int, side: int, generator: np.random.Generator) -> Augmentation:
        """Draw for `count` images: shifts by up to an eighth of their side over a black border
        ("crop"), and each second one mirrored as well ("crop_flip"); nothing for "none".
        """
        edge = max(1, side // 8)
        if kind == "none":
            return cls(edge=edge)
        down, right = generator.integers(0, 2 * edge + 1, size=(2, count))
        mirrored = generator.random(count) < 0.5 if kind == "crop_flip" else None
        return cls(edge=edge, down=down, right=right, mirrored=mirrored)

    def of(self, share: slice) -> Augmentation:
        """Return what is done to a part of the batch."""
        if self.down is None or self.right is None:
            return self
        mirrored = None if self.mirrored is None else self.mirrored[share]
        return Augmentation(
            edge=self.edge, down=self.down[share], right=self.right[share], mirrored=mirrored
        )

    def apply(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return images [n, s, s, c], augmented."""
        if self.down is None or self.right is None:
            return pixels
        count, side = pixels.shape[:2]
        edge = self.edge
        padded = np.pad(pixels, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
        columns = np.broadcast_to(np.arange(side), (count, side))
        if self.mirrored is not None:
            columns = np.where(self.mirrored[:, None], columns[:, ::-1], columns)
        rows = self.down[:, None] + np.arange(side)
        columns = self.right[:, None] + columns
        shifted: npt.NDArray[np.uint8] = padded[
            np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]
        ]
        return shifted


def _mean_of_squares(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    # From the histogram of each channel: exact, and no float copy of all pixels.
    levels = (np.arange(256) / 255) ** 2
    counts = [np.bincount(values[:, channel], minlength=256) for channel in range(values.shape[1])]
    return np.array([count @ levels / count.sum() for count in counts])
