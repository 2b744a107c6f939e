"""The timing loop on scripted latencies: every nanosecond is known, so every one is checked."""

from __future__ import annotations

import gc
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from edge_bench.measure.inputs import random_feeds
from edge_bench.measure.runtimes.scripted import Scripted
from edge_bench.measure.timing import Plan, Timing, measure


def timed(folder: Path, plan: Plan, **script: Any) -> Timing:
    file = folder / "known.scripted"
    file.write_text(json.dumps(script), encoding="utf-8")
    session = Scripted().open(file, threads=1)
    return measure(session, random_feeds(session.inputs, batch=1), plan, threads=1)


def test_first_and_warm_up_are_apart_and_the_rest_is_counted_to_the_nanosecond(tmp_path: Path) -> None:
    plan = Plan(min_runs=6, min_blocks=3, block_ms=10, warmup_ms=100, precision=0.5)
    timing = timed(tmp_path, plan, latencies_ms=[90.0, 80.0, 20.000001, *[5.0, 5.000003, 5.000007] * 40])
    assert timing.first_ns == 90_000_000
    # 80 and 20.000001 ms fill the warm-up of 100 ms; what follows is measured, in blocks of
    # round(10 ms / 20.000001 ms), at least one run.
    measured = [latency for block in timing.blocks for latency in block.latencies_ns]
    assert measured == [5_000_000, 5_000_003, 5_000_007] * 2
    assert all(block.counted and block.off_cpu == 0 for block in timing.blocks)


def test_it_stops_as_soon_as_the_interval_is_narrow_enough(tmp_path: Path) -> None:
    timing = timed(tmp_path, Plan(), latencies_ms=[1.0])
    assert len(timing.blocks) == 10
    assert {len(block.latencies_ns) for block in timing.blocks} == {20}
    assert timing.stopped_by == "the interval of p50 is within ±2.0%"


def test_it_goes_on_until_min_runs(tmp_path: Path) -> None:
    timing = timed(tmp_path, Plan(min_runs=500), latencies_ms=[1.0])
    assert sum(len(block.latencies_ns) for block in timing.blocks) == 500


def test_unsteady_latencies_use_up_the_seconds_and_no_more_than_one_block_beyond(tmp_path: Path) -> None:
    timing = timed(tmp_path, Plan(max_seconds=0.5), latencies_ms=[1.0] * 33 + [9.0] * 33)
    total = sum(sum(block.latencies_ns) for block in timing.blocks)
    assert timing.stopped_by == "the 0.5 s allowed were used up"
    assert 0.5e9 <= total <= 0.5e9 + 20 * 9e6


def test_it_never_runs_more_than_max_runs(tmp_path: Path) -> None:
    timing = timed(tmp_path, Plan(max_runs=130, min_runs=1000), latencies_ms=[1.0])
    assert sum(len(block.latencies_ns) for block in timing.blocks) == 130
    assert timing.stopped_by == "the 130 runs allowed were used up"


def test_latencies_of_nothing_end_too(tmp_path: Path) -> None:
    timing = timed(tmp_path, Plan(max_runs=2000), latencies_ms=[0.0])
    assert timing.first_ns == 0


def test_a_polluted_block_is_measured_again_and_kept_with_its_reason(tmp_path: Path) -> None:
    plan = Plan(min_runs=10, block_ms=1, warmup_ms=1)
    off_cpu = [0.0] * 2 + [0.0] * 4 + [0.34] + [0.0] * 400
    timing = timed(tmp_path, plan, latencies_ms=[1.0] * 407, off_cpu=off_cpu)
    polluted = [block for block in timing.blocks if not block.counted]
    assert [block.reason for block in polluted] == ["off the CPU for 34% of the block"]
    assert polluted[0].off_cpu == pytest.approx(0.34)
    assert sum(block.counted for block in timing.blocks) == 10


def test_if_every_block_is_polluted_the_least_polluted_count(tmp_path: Path) -> None:
    plan = Plan(max_runs=60, block_ms=1, warmup_ms=1)
    shares = [0.2 + index / 1000 for index in range(62)]
    timing = timed(tmp_path, plan, latencies_ms=[1.0] * 62, off_cpu=shares)
    counted = [block.off_cpu for block in timing.blocks if block.counted]
    assert len(counted) == 10
    assert counted == pytest.approx(list(islice(shares, 2, 12)))


def test_the_garbage_collector_rests_only_while_measuring(tmp_path: Path) -> None:
    timed(tmp_path, Plan(), latencies_ms=[1.0])
    assert gc.isenabled()
