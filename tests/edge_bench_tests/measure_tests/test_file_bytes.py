"""A file read by place: what `bytes` would say, and one that shrinks meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bench.errors import InvalidModel
from edge_bench.measure.file_bytes import opened

CONTENT = np.random.default_rng(5).bytes(3 * 65536 + 17)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bytes") / "file"
    path.write_bytes(CONTENT)
    return path


@given(places=st.lists(st.tuples(st.integers(0, len(CONTENT) + 9), st.integers(0, 70000)), max_size=9))
def test_slices_and_bytes_are_those_of_the_file(file: Path, places: list[tuple[int, int]]) -> None:
    with opened(file) as data:
        assert len(data) == len(CONTENT)
        for place, length in places:
            assert data[place : place + length] == CONTENT[place : place + length]
            if place < len(CONTENT):
                assert data[place] == CONTENT[place]


def test_a_place_behind_the_end_is_an_index_error(file: Path) -> None:
    with opened(file) as data, pytest.raises(IndexError):
        data[len(CONTENT)]


def test_a_file_larger_than_what_is_kept_is_read_whole(tmp_path: Path) -> None:
    path, size = tmp_path / "large", 300 * 65536
    with path.open("wb") as written:
        written.truncate(size)
        written.seek(size - 1)
        written.write(b"\x07")
    with opened(path) as data:
        assert [data[place] for place in range(0, size, 65536)] == [0] * 300
        assert data[size - 1] == 7 and data[0] == 0


def test_a_file_that_becomes_shorter_is_refused_and_ends_no_process(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(CONTENT)
    with opened(path) as data:
        assert data[0] == CONTENT[0]
        with path.open("r+b") as shrunk:
            shrunk.truncate(100)
        assert data[70:80] == CONTENT[70:80]
        with pytest.raises(InvalidModel, match="became shorter while it was read"):
            data[2 * 65536]
