"""Writing that is whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edge_bench.errors import StoreError
from edge_bench.files import Home, atomic_path, write_text


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    target = tmp_path / "model.bin"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half of the new")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_names_the_file_and_another_place(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"model\.bin.*no space") as raised:
        with atomic_path(tmp_path / "model.bin"):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert "--home" in raised.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("file/model.bin", "a part of the path is a file"),
        ("file/deeper/model.bin", "a part of the path is not a folder"),
        ("folder", "it is a folder"),
        ("n" * 300, "the name is too long"),
        pytest.param(
            "/proc/model.bin",
            "its folder takes no files",
            marks=pytest.mark.skipif(not Path("/proc").is_dir(), reason="no such folder on this system"),
        ),
    ],
)
def test_a_path_that_cannot_be_a_file_is_told_in_words(tmp_path: Path, target: str, words: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=f"{target}': {words}"):
        write_text(tmp_path / target, "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "mine"


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "text")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "text"


def test_kept_paths_find_their_files_again(tmp_path: Path) -> None:
    home = Home(tmp_path)
    file = home.artifacts / "x" / "y.onnx"
    assert home.relative(file) == "artifacts/x/y.onnx"
    assert home.absolute("artifacts/x/y.onnx") == file
