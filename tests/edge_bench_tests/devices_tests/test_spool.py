"""The spool: what a device knows after its power went, wherever it went."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_bench.devices.job import Failure, Report
from edge_bench.devices.spool import Spool
from edge_bench.errors import ConfigError


def report(job: str) -> Report:
    failure = Failure(kind="InvalidModel", message="nö")
    return Report(id=f"report-{job}", job=job, lease="lease", failure=failure)


def known(spool: Spool) -> list[str]:
    return [one.job for one in spool.waiting]


def test_what_waits_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "agent" / "spool.jsonl"
    spool = Spool(path)
    assert known(spool) == []
    spool.finished(report("one"))
    spool.finished(report("two"))
    assert Spool(path).waiting == (report("one"), report("two"))
    spool.delivered(report("one"))
    assert known(Spool(path)) == known(spool) == ["two"]


def test_the_file_is_emptied_when_nothing_waits(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.jsonl")
    spool.finished(report("one"))
    spool.delivered(report("one"))
    assert spool.path.read_bytes() == b"" and known(spool) == []


def test_a_line_cut_off_anywhere_is_as_if_it_had_not_been_written(tmp_path: Path) -> None:
    path = tmp_path / "spool.jsonl"
    spool = Spool(path)
    states: list[tuple[int, list[str]]] = [(0, [])]
    for step in (
        lambda: spool.finished(report("one")),
        lambda: spool.finished(report("two")),
        lambda: spool.delivered(report("one")),
        lambda: spool.finished(report("three")),
    ):
        step()
        states.append((path.stat().st_size, known(spool)))
    whole = path.read_bytes()
    for cut in range(len(whole)):
        # A line is whole without its newline too.
        expected = [state for size, state in states if size <= cut + 1][-1]
        path.write_bytes(whole[:cut])
        assert known(Spool(path)) == expected, cut


def test_writing_goes_on_after_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "spool.jsonl"
    spool = Spool(path)
    spool.finished(report("one"))
    spool.finished(report("two"))
    path.write_bytes(path.read_bytes()[:-20])
    spool = Spool(path)
    assert known(spool) == ["one"]
    spool.finished(report("three"))
    assert known(Spool(path)) == ["one", "three"]


def test_a_line_of_another_version_is_not_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "spool.jsonl"
    path.write_text('{"event":"dreamt"}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="of this version"):
        Spool(path)
    assert path.read_text(encoding="utf-8") == '{"event":"dreamt"}\n'
