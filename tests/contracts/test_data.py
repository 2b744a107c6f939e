"""What every kind of data promises: disjoint, fixed splits; of images, that each class appears in each;
of environments, that equal seeds begin equal episodes.
"""

from __future__ import annotations

import ast
import gzip
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_bench import variants
from edge_bench.data import (
    ControlSource,
    DataSource,
    ImageSource,
    TextSource,
    open_control,
    open_images,
    open_texts,
    prepare,
)
from edge_bench.errors import ConfigError, DataError, UnknownVariant
from edge_bench.records import Preprocessing
from edge_bench.records.subnet import Split
from edge_bench.text.examples import LabelledTexts, RunningText, SentencePairs

SPLITS: tuple[Split, ...] = ("train", "selection", "test")
SORTS = {
    "text_classification": LabelledTexts,
    "language_modelling": RunningText,
    "translation": SentencePairs,
}


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
        "labelled_text": {"kind": "labelled_text", "path": str(request.getfixturevalue("reviews"))},
        "running_text": {"kind": "running_text", "path": str(request.getfixturevalue("story"))},
        "gymnasium": {"kind": "gymnasium", "episodes": 3, "step_limit": 20},
        "parallel_text": {"kind": "parallel_text", "path": str(request.getfixturevalue("pairs"))},
    }
    if request.node.callspec.params["kind"] == "cifar10":
        folder = request.getfixturevalue("shared_data") / "cifar10"
        made["cifar10"] = {"kind": "cifar10", "path": str(folder), "train_limit": 1000, "test_limit": 200}
    return made


def of_role(role: type[DataSource]) -> list[str]:
    """The kinds of data of one sort, as their files say it, importing none."""
    package = "edge_bench.data"
    return [
        name
        for name in variants.names(package)
        for node in ast.walk(variants.syntax(package, name, role="kind"))
        if isinstance(node, ast.ClassDef) and role.__name__ in map(ast.unparse, node.bases)
    ]


def told(examples: Any) -> list[str]:
    """Each example as a text; of running text each character."""
    if isinstance(examples, LabelledTexts):
        return [f"{text} {label}" for text, label in zip(examples.texts, examples.labels, strict=True)]
    if isinstance(examples, SentencePairs):
        return [" = ".join(pair) for pair in zip(examples.sources, examples.targets, strict=True)]
    return list(examples.text)


def test_every_kind_is_of_images_of_text_or_of_environments() -> None:
    sorts = (ImageSource, TextSource, ControlSource)
    kinds = sorted(kind for sort in sorts for kind in of_role(sort))
    assert kinds == list(variants.names("edge_bench.data"))


@pytest.mark.parametrize("kind", of_role(TextSource))
def test_splits_of_text_are_disjoint_fixed_and_of_their_task(kind: str, tables: dict[str, Any]) -> None:
    source, again = open_texts(tables[kind]), open_texts(tables[kind])
    seen: set[str] = set()
    for split in SPLITS:
        examples = source.load(split)
        assert type(examples) is SORTS[source.task]
        np.testing.assert_equal(vars(examples), vars(again.load(split)))
        own = {examples.text} if isinstance(examples, RunningText) else set(told(examples))
        assert own and not own & seen
        seen |= own


@pytest.mark.parametrize("kind", of_role(TextSource))
def test_a_split_without_a_file_is_cut_from_the_training_file(
    kind: str, tables: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "alone"
    folder.mkdir()
    for file in Path(tables[kind]["path"]).glob("train.*"):
        shutil.copy(file, folder)
    table = {**tables[kind], "path": str(folder)}
    whole = open_texts({**table, "selection_fraction": 0, "test_fraction": 0})
    cut = open_texts({**table, "selection_fraction": 0.2, "test_fraction": 0.3})
    parts = {split: told(cut.load(split)) for split in SPLITS}
    expected = told(whole.load("train"))
    assert len(parts["selection"]) == round(0.2 * len(expected))
    assert len(parts["test"]) == round(0.3 * len(expected))
    assert sorted(parts["train"] + parts["selection"] + parts["test"]) == sorted(expected)
    with pytest.raises(DataError, match="test"):
        whole.load("test")
    with pytest.raises(ConfigError, match="to train on"):
        open_texts({**table, "test_fraction": 1.0}).load("train")


@pytest.mark.parametrize("kind", of_role(TextSource))
def test_a_line_that_is_not_utf_8_is_named(kind: str, tables: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tables[kind]["path"], folder)
    file = sorted(folder.glob("train.*"))[0]
    lines = file.read_bytes().splitlines(keepends=True)
    lines[6] = b"gr\xfcn" + lines[6]
    file.write_bytes(b"".join(lines))
    with pytest.raises(DataError, match=rf"{file.name}' line 7 is not UTF-8: byte 3 of it is 0xfc"):
        open_texts({**tables[kind], "path": str(folder)}).load("train")


@pytest.mark.parametrize("kind", of_role(TextSource))
def test_windows_line_ends_a_byte_order_mark_and_gzip_change_nothing(
    kind: str, tables: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "others"
    folder.mkdir()
    for file in Path(tables[kind]["path"]).iterdir():
        content = b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n")
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(content))
    source, same = open_texts(tables[kind]), open_texts({**tables[kind], "path": str(folder)})
    for split in SPLITS:
        np.testing.assert_equal(vars(source.load(split)), vars(same.load(split)))


@pytest.mark.parametrize("kind", of_role(TextSource))
def test_a_missing_text_is_named(kind: str, tables: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        open_texts({**tables[kind], "path": str(tmp_path / "nowhere")}).load("train")
    with pytest.raises(DataError, match="holds no training file"):
        (tmp_path / "empty").mkdir()
        open_texts({**tables[kind], "path": str(tmp_path / "empty")}).load("train")


@pytest.mark.parametrize("kind", of_role(ControlSource))
def test_episodes_of_a_split_are_always_the_same_and_those_of_another_others(
    kind: str, tables: dict[str, Any]
) -> None:
    pytest.importorskip("gymnasium")
    source, again = open_control(tables[kind]), open_control(tables[kind])
    first = [
        one.load(split).environments.begin(one.load(split).seed)
        for one in (source, again)
        for split in ("selection", "test")
    ]
    np.testing.assert_equal(first[:2], first[2:])
    assert not np.isin(first[0], first[1]).all(axis=1).any()
    with pytest.raises(DataError, match="drawn as it goes on"):
        source.load("train")


@pytest.mark.parametrize("kind", of_role(ControlSource))
def test_what_happens_in_environments_is_shaped_as_it_is_told_and_begins_anew_by_itself(
    kind: str, tables: dict[str, Any]
) -> None:
    pytest.importorskip("gymnasium")
    environments = open_control(tables[kind]).open(4)
    observed = environments.begin(7)
    over = np.zeros(4, np.bool_)
    seen = 0
    for _ in range(60):
        assert observed.shape == (4, environments.size) and observed.dtype == np.float32
        happened = environments.step(np.zeros(4, np.int64))
        assert happened.rewards.shape == happened.ended.shape == happened.cut.shape == (4,)
        # A step that only begins an episode counts nothing and ends nothing.
        assert not happened.rewards[over].any() and not (happened.ended | happened.cut)[over].any()
        over, observed = happened.ended | happened.cut, happened.observations
        seen += int(over.sum())
    assert seen > 4


def test_images_text_and_environments_are_told_apart() -> None:
    with pytest.raises(ConfigError, match="'labelled_text' is text; images are needed"):
        open_images({"kind": "labelled_text", "path": "x"})
    with pytest.raises(ConfigError, match="'digits' is images; text is needed"):
        open_texts({"kind": "digits"})
    with pytest.raises(ConfigError, match="'digits' is images; environments are needed"):
        open_control({"kind": "digits"})


@pytest.mark.parametrize("kind", of_role(ImageSource))
def test_splits_are_disjoint_fixed_and_hold_every_class(kind: str, tables: dict[str, Any]) -> None:
    source, again = open_images(tables[kind]), open_images(tables[kind])
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


@pytest.mark.parametrize("kind", of_role(ImageSource))
def test_any_size_may_be_asked_for(kind: str, tables: dict[str, Any]) -> None:
    assert open_images(tables[kind]).load("test", size=20).pixels.shape[1:3] == (20, 20)


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
            open_images(table).load(split)
    assert "--skip-bad" in raised.value.hint
    skipping = open_images({**table, "skip_bad": True})
    assert sum(skipping.load(split).skipped for split in SPLITS) == 1
    assert sum(len(skipping.load(split).labels) for split in SPLITS) == 35


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "images")
    (root / "empty class").mkdir()
    with pytest.raises(DataError, match="empty class"):
        open_images({"kind": "folder", "path": str(root)}).load("train")


def test_given_splits_are_kept(tmp_path: Path) -> None:
    for split, count in (("train", 9), ("val", 4), ("test", 5)):
        make_folder(tmp_path / "images" / split, images=count)
    source = open_images({"kind": "folder", "path": str(tmp_path / "images"), "grey": True})
    assert [len(source.load(split).labels) for split in SPLITS] == [27, 12, 15]


def test_a_missing_folder_or_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="nowhere"):
        open_images({"kind": "folder", "path": str(tmp_path / "nowhere")}).load("train")
    with pytest.raises(DataError, match="train.parquet"):
        open_images({"kind": "cifar10", "path": str(tmp_path)}).load("train")
    (tmp_path / "train.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="no parquet file"):
        open_images({"kind": "cifar10", "path": str(tmp_path)}).load("train")
    monkeypatch.delenv("EDGE_BENCH_DATA", raising=False)
    with pytest.raises(DataError, match="no path"):
        open_images({"kind": "cifar10"}).load("train")


def test_unknown_kinds_and_options_name_the_nearest() -> None:
    with pytest.raises(UnknownVariant, match="Did you mean 'digits'"):
        open_images({"kind": "digit"})
    with pytest.raises(ConfigError, match="Did you mean 'skip_bad'"):
        open_images({"kind": "folder", "path": "x", "skipbad": True})
    with pytest.raises(ConfigError, match="kind"):
        open_images({})
