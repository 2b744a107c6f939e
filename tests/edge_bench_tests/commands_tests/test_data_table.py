from __future__ import annotations

from pathlib import Path

import pytest

from edge_bench.commands.train import data_table
from edge_bench.errors import ConfigError


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["train.tsv", "dev.tsv"], "labelled_text"),
        (["train.csv.gz"], "labelled_text"),
        (["train.txt", "test.txt"], "running_text"),
        (["train.en.gz", "train.de.gz"], "parallel_text"),
        (["a.parquet"], "cifar10"),
        (["cats.png"], "folder"),
    ],
)
def test_a_folder_shows_its_kind_by_the_files_in_it(files: list[str], kind: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert data_table(str(tmp_path)) == {"kind": kind, "path": str(tmp_path)}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.tsv", "labelled_text"), ("a.csv.gz", "labelled_text"), ("a.TXT", "running_text")],
)
def test_a_text_file_shows_its_kind_by_its_ending(name: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert data_table(str(tmp_path / name)) == {"kind": kind, "path": str(tmp_path / name)}


def test_any_other_file_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "a.zip").touch()
    with pytest.raises(ConfigError, match="neither a folder nor a kind of data"):
        data_table(str(tmp_path / "a.zip"))
