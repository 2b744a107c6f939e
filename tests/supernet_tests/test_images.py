"""Images reach training and judging as the same pixels, and augmentation only shifts and mirrors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from edge_bench.data import Images, ImageSource
from edge_bench.errors import DataError
from edge_bench.records.subnet import Split
from supernet.images import Augmentation, JudgingImages, training_images


@dataclass(frozen=True, kw_only=True)
class Noise(ImageSource):
    """Colour noise whose channels differ in brightness; images of one number are equal everywhere."""

    augmentation: ClassVar[str] = "crop"
    count: int = 40

    def load(self, split: Split, *, size: int | None = None) -> Images:
        generator = np.random.default_rng(len(split))
        pixels = generator.integers(0, (64, 128, 256), (self.count, size or 16, size or 16, 3))
        labels = np.arange(self.count) % 4
        return Images(pixels=pixels.astype(np.uint8), labels=labels, class_names=("a", "b", "c", "d"))

    def channels(self) -> int:
        return 3


def test_prepared_training_images_have_mean_zero_and_deviation_one() -> None:
    images = training_images(Noise(), (8, 16), "none")
    inputs, _ = images.batch(np.arange(40), 16, np.random.default_rng(0))
    assert inputs.mean((0, 2, 3)).abs().max() < 1e-3
    assert (inputs.std((0, 2, 3)) - 1).abs().max() < 2e-3
    assert inputs.is_contiguous(memory_format=torch.channels_last)


def test_training_and_judging_see_the_same_pixels() -> None:
    images = training_images(Noise(), (8, 16), "none")
    judging = JudgingImages(
        source=Noise(), preprocessing=images.preprocessing, calibration_images=1000, seed=0
    )
    inputs, labels = images.batch(np.arange(40), 8, np.random.default_rng(0))
    judged, judged_labels = judging.split("train", 8)
    assert sorted(inputs.sum((1, 2, 3)).tolist()) == pytest.approx(sorted(judged.sum((1, 2, 3)).tolist()))
    assert sorted(labels.tolist()) == sorted(judged_labels.tolist())


def test_calibration_takes_a_fixed_draw_of_training_images() -> None:
    preprocessing = training_images(Noise(), (8,), "none").preprocessing
    draws = [
        JudgingImages(source=Noise(), preprocessing=preprocessing, calibration_images=10, seed=seed)
        for seed in (0, 0, 1)
    ]
    first, again, other = (images.split("train", 8)[0] for images in draws)
    assert len(first) == 10
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_data_says_what_augmentation_may_do_unless_the_run_does() -> None:
    assert training_images(Noise(), (8,), "as_data").augmentation == "crop"
    assert training_images(Noise(), (8,), "none").augmentation == "none"


def test_a_crop_is_a_shift_over_black() -> None:
    pixels = np.zeros((200, 16, 16, 1), np.uint8)
    pixels[:, 8, 8] = 200
    shifted = _augmented(pixels, "crop")
    rows, columns = np.nonzero(shifted[..., 0].max(0))
    assert shifted.shape == pixels.shape and shifted.dtype == np.uint8
    assert set(rows) == set(range(6, 11)) and set(columns) == set(range(6, 11))
    assert (shifted.reshape(200, -1).sum(1) == 200).all()


def test_a_flip_mirrors_about_half_of_the_images() -> None:
    pixels = np.zeros((400, 16, 16, 1), np.uint8)
    pixels[:, :, :4] = 255
    flipped = _augmented(pixels, "crop_flip")
    mirrored = flipped[:, 8, 8:].any((1, 2))
    assert 150 < mirrored.sum() < 250
    assert not _augmented(pixels, "crop")[:, 8, 8:].any()


def test_data_with_one_class_is_refused() -> None:
    with pytest.raises(DataError, match="at least 2 of each"):
        training_images(Noise(count=1), (8,), "none")


def _augmented(pixels: np.ndarray, kind: str) -> np.ndarray:
    count, side = pixels.shape[:2]
    return Augmentation.draw(kind, count, side, np.random.default_rng(0)).apply(pixels)
