"""What every kind of data promises: disjoint, fixed splits in which each class appears."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_bench import variants
from edge_bench.data import open_data, prepare
from edge_bench.errors import ConfigError, DataError, UnknownVariant
from edge_bench.records import Preprocessing

SPLITS = ("train", "selection", "test")


def make_folder(root: Path, *, classes: int = 3, images: int = 12) -> Path:
    """Write small images of different shapes, one colour a class with noise."""
    generator = np.random.default_rng(0)
    for label in range(classes):
        (root / f"class {label}").mkdir(parents=True)
        for index in range(images):
            height, width = generator.integers(20, 60, size=2)
            pixels = generator.integers(0, 80, size=(height, width, 3), dtype=np.uint8)
            pixels[..., label % 3] += 120
            ending = "png" if index % 2 else "jpg"
            Image.fromarray(pixels).save(root / f"class {label}" / f"{index}.{ending}")
    return root


@pytest.fixture
def tables(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    made = {
        "digits": {"kind": "digits"},
        "folder": {"kind": "folder", "path": str(make_folder(tmp_path / "images")), "image_size": 16},
    }
    if request.node.callspec.params["kind"] == "cifar10":
        folder = request.getfixturevalue("shared_data") / "cifar10"
        made["cifar10"] = {"kind": "cifar10", "path": str(folder), "train_limit": 1000, "test_limit": 200}
    return made


@pytest.mark.parametrize("kind", variants.names("edge_bench.data"))
def test_splits_are_disjoint_fixed_and_hold_every_class(kind: str, tables: dict[str, Any]) -> None:
    source, again = open_data(tables[kind]), open_data(tables[kind])
    seen: set[bytes] = set()
    for split in SPLITS:
        images = source.load(split)
        np.testing.assert_array_equal(images.pixels, again.load(split).pixels)
        assert images.pixels.dtype == np.uint8 and images.pixels.shape[3] == source.channels()
        assert set(images.labels) == set(range(len(images.class_names)))
        own = {image.tobytes() for image in images.pixels}
        # Digits holds a few identical scans; nothing else may appear in two splits.
        assert len(own & seen) <= 2
        seen |= own


@pytest.mark.parametrize("kind", variants.names("edge_bench.data"))
def test_any_size_may_be_asked_for(kind: str, tables: dict[str, Any]) -> None:
    assert open_data(tables[kind]).load("test", size=20).pixels.shape[1:3] == (20, 20)


def test_prepared_inputs_are_normalised_channel_first() -> None:
    pixels = np.full((2, 4, 4, 3), 255, np.uint8)
    preprocessing = Preprocessing(size=8, channels=3, mean=(0.5, 0.0, 1.0), std=(0.5, 1.0, 2.0))
    inputs = prepare(pixels, preprocessing)
    assert inputs.shape == (2, 3, 8, 8) and inputs.dtype == np.float32
    np.testing.assert_allclose(inputs[0, :, 0, 0], [1.0, 1.0, 0.0])


def test_an_image_that_does_not_decode_is_named_or_counted(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "images")
    bad = root / "class 1" / "3.png"
    bad.write_bytes(b"\x89PNG no more")
    table = {"kind": "folder", "path": str(root), "image_size": 16}
    with pytest.raises(DataError, match="3.png") as raised:
        for split in SPLITS:
            open_data(table).load(split)
    assert "--skip-bad" in raised.value.hint
    skipping = open_data({**table, "skip_bad": True})
    assert sum(skipping.load(split).skipped for split in SPLITS) == 1
    assert sum(len(skipping.load(split).labels) for split in SPLITS) == 35


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "images")
    (root / "empty class").mkdir()
    with pytest.raises(DataError, match="empty class"):
        open_data({"kind": "folder", "path": str(root)}).load("train")


def test_given_splits_are_kept(tmp_path: Path) -> None:
    for split, count in (("train", 9), ("val", 4), ("test", 5)):
        make_folder(tmp_path / "images" / split, images=count)
    source = open_data({"kind": "folder", "path": str(tmp_path / "images"), "grey": True})
    assert [len(source.load(split).labels) for split in SPLITS] == [27, 12, 15]


def test_a_missing_folder_or_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="nowhere"):
        open_data({"kind": "folder", "path": str(tmp_path / "nowhere")}).load("train")
    with pytest.raises(DataError, match="train.parquet"):
        open_data({"kind": "cifar10", "path": str(tmp_path)}).load("train")
    (tmp_path / "train.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="no parquet file"):
        open_data({"kind": "cifar10", "path": str(tmp_path)}).load("train")
    monkeypatch.delenv("EDGE_BENCH_DATA", raising=False)
    with pytest.raises(DataError, match="no path"):
        open_data({"kind": "cifar10"}).load("train")


def test_unknown_kinds_and_options_name_the_nearest() -> None:
    with pytest.raises(UnknownVariant, match="Did you mean 'digits'"):
        open_data({"kind": "digit"})
    with pytest.raises(ConfigError, match="Did you mean 'skip_bad'"):
        open_data({"kind": "folder", "path": "x", "skipbad": True})
    with pytest.raises(ConfigError, match="kind"):
        open_data({})
