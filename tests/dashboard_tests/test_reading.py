"""A store in memory stays in step with the one on disk, and only what is new is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboard.reading import Reading, read_ahead, reading_of
from edge_bench import store as stores
from edge_bench.files import Home
from edge_bench.records import Artifact, BenchmarkResult, FittedPredictor, Subnet
from edge_bench.store import Record, ResultStore

DEVICE = "this-machine"
Put = Callable[[Iterable[Record]], Home]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(8)), data=st.data())
def test_read_step_by_step_it_is_what_it_is_read_at_once(
    made: tuple[Record, ...],
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    data: st.DataObject,
) -> None:
    home = Home(tmp_path_factory.mktemp("steps"))
    steps: list[list[Record]] = [[] for _ in order]
    for record in made:
        steps[data.draw(st.sampled_from(order))].append(record)
    reading = Reading(home.store_url)
    for step in steps:
        with ResultStore(home.store_url) as store:
            store.add(*step)
        reading.stored()
        reading.frame(DEVICE)
        _expect_current(reading, home)


def test_what_replaces_a_record_and_what_measures_again_is_seen(records: list[Record], put: Put) -> None:
    home = put(records)
    reading = Reading(home.store_url)
    reading.stored()
    before = reading.frame(DEVICE)
    file = next(one for one in records if isinstance(one, Artifact))
    result = next(one for one in records if isinstance(one, BenchmarkResult) and one.artifact == file.id)
    faster = replace(result, id="again", blocks=(replace(result.blocks[0], latencies_ns=(7_000,) * 50),))
    put([replace(file, name="renamed"), faster])
    reading.stored()
    after = reading.frame(DEVICE)
    row = after[after["artifact"] == file.id].iloc[0]
    assert (row["name"], row["latency_ms"]) == ("renamed", 0.007)
    assert len(after) == len(before) and "renamed" not in set(before["name"])
    _expect_current(reading, home)


def test_a_new_predictor_changes_what_nobody_measured(records: list[Record], put: Put) -> None:
    fitted = [one for one in records if isinstance(one, FittedPredictor)]
    home = put(one for one in records if one not in fitted)
    reading = Reading(home.store_url)
    reading.stored()
    assert set(reading.frame(DEVICE)["source"]) == {"measured"}
    put(fitted)
    reading.stored()
    assert set(reading.frame(DEVICE)["source"]) == {"measured", "predicted"}
    _expect_current(reading, home)


def test_only_what_was_written_since_is_parsed(
    records: list[Record], put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = put(records)
    reading = Reading(home.store_url)
    reading.stored()
    reading.frame(DEVICE)
    parsed: list[str] = []
    parse: Any = stores._parse

    def counted(kind: type, name: str, identity: str, *rest: Any) -> Record:
        parsed.append(identity)
        return parse(kind, name, identity, *rest)  # type: ignore[no-any-return]

    monkeypatch.setattr(stores, "_parse", counted)
    result = next(one for one in records if isinstance(one, BenchmarkResult))
    assert reading.is_current()
    put([replace(result, id="again")])
    assert not reading.is_current()
    reading.stored()
    assert parsed == ["again"]


def test_records_that_were_removed_are_gone(records: list[Record], put: Put) -> None:
    home = put(records)
    reading = Reading(home.store_url)
    reading.stored()
    reading.frame(DEVICE)
    subnet = next(one for one in records if isinstance(one, Subnet))
    engine = sa.create_engine(home.store_url)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM records WHERE kind = 'result'"))
    engine.dispose()
    put([replace(subnet, id="new")])
    assert not reading.stored().results
    _expect_current(reading, home)


def test_the_server_reads_ahead_what_pages_begin_with(filled: Home) -> None:
    read_ahead(filled)
    reading = reading_of(filled.store_url)
    assert reading.is_current() and reading.knows(DEVICE)


def test_reading_ahead_makes_no_store_and_leaves_a_broken_one_to_the_pages(home: Home) -> None:
    read_ahead(home)
    assert not home.root.exists()
    home.root.mkdir(parents=True)
    (home.root / "store.sqlite").write_text("no database")
    read_ahead(home)


def _expect_current(reading: Reading, home: Home) -> None:
    """Check that a reading holds what is read from the store anew."""
    anew = Reading(home.store_url)
    expected = anew.stored()
    assert reading.stored() == expected
    _same(reading.frame(DEVICE), anew.frame(DEVICE))
    names = [one.name for one in anew.candidates(DEVICE)]
    assert sorted(one.name for one in reading.candidates(DEVICE)) == sorted(names)


def _same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    columns: Sequence[str] = list(other.columns)
    assert list(one.columns) == columns
    # Which texts a column may hold is no part of what it says.
    pd.testing.assert_frame_equal(one, other, check_categorical=False)
