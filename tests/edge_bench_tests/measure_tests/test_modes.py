"""When inferences are issued and what one latency is of, on scripted latencies."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench import variants
from edge_bench.errors import ConfigError, ModelCrashed
from edge_bench.files import Home
from edge_bench.measure.benchmark import CutShort, benchmark
from edge_bench.measure.clock import Clock
from edge_bench.measure.drift import drift
from edge_bench.measure.modes import Mode, Told
from edge_bench.measure.modes.cold import Cold
from edge_bench.measure.modes.paced import Paced
from edge_bench.measure.modes.sustained import POINTS, Sustained
from edge_bench.measure.runtimes import Session, Tensors
from edge_bench.measure.scenarios import Scenario
from edge_bench.measure.scenarios.multi_stream import MultiStream
from edge_bench.measure.scenarios.offline import Offline
from edge_bench.measure.timing import Plan, measure
from edge_bench.measure.witness import Observed, combined
from edge_bench.records.result import BenchmarkResult, TimingBlock
from edge_bench.statistics import percentile

MODES = "edge_bench.measure.modes"
SCENARIOS = "edge_bench.measure.scenarios"


def script(folder: Path, **document: Any) -> Path:
    file = folder / "known.scripted"
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


def told(load_ms: float, first_ms: float) -> Told:
    first = TimingBlock(latencies_ns=(round(first_ms * 1e6),), counted=False, off_cpu=0.5, reason="off")
    observed = Observed(pressure=first_ms / 100)
    return Told(
        load_ms=load_ms,
        first=first,
        precision="fp32",
        runtime_version="1",
        delegate="CPU",
        input_shapes={"input": (1, 4)},
        observed=observed,
    )


def sustained_result(medians_ms: list[float]) -> BenchmarkResult:
    blocks = tuple(
        TimingBlock(latencies_ns=(round(one * 1e6),) * 3, counted=True, off_cpu=0.0, at_s=float(at))
        for at, one in enumerate(medians_ms)
    )
    return BenchmarkResult(
        id="r",
        artifact=None,
        model="m",
        digest="d",
        format="scripted",
        precision="fp32",
        device="this-machine",
        runtime="scripted",
        runtime_version="1",
        threads=1,
        batch=1,
        load_ms=1.0,
        first_ms=1.0,
        blocks=blocks,
        p50_low_ms=1.0,
        p50_high_ms=1.0,
        peak_memory_mb=1.0,
        verdict="clean",
        verdict_cause="",
        stopped_by="",
        environment={},
        created="2026-01-01T00:00:00+00:00",
        mode="sustained",
    )


@pytest.mark.parametrize("name", variants.names(MODES))
def test_a_mode_is_named_as_its_file_and_says_what_it_is(name: str) -> None:
    mode = variants.load(Mode, MODES, name)
    assert mode.name == name and mode.max_seconds > 0 and mode.min_runs > 0
    assert variants.summary(MODES, name) and mode.__doc__


@pytest.mark.parametrize("name", variants.names(SCENARIOS))
def test_a_scenario_is_named_as_its_file_and_its_figure_is_one_of_a_results(name: str) -> None:
    scenario = variants.load(Scenario, SCENARIOS, name)
    assert scenario.name == name and scenario().samples_per_query >= 1
    assert scenario.figure in sustained_result([1.0]).summary()


def test_the_gaps_of_paced_are_no_part_of_a_latency_and_do_not_count_as_being_kept_waiting(
    tmp_path: Path, home: Home
) -> None:
    file = script(tmp_path, latencies_ms=[5.0])
    result = benchmark(file, home=home, mode=Paced(interval_ms=200), max_seconds=20)
    assert set(result.latencies_ms) == {5.0}
    assert (result.mode, result.interval_ms, result.verdict) == ("paced", 200, "clean")
    assert all(block.counted and block.off_cpu == 0 for block in result.blocks)
    # The fake clock knows of the gaps: a run every 205 ms.
    steps = np.diff([block.at_s for block in result.blocks])
    assert steps == pytest.approx(0.205)
    assert result.samples_per_second is None


def test_a_paced_run_that_was_kept_waiting_is_still_seen(tmp_path: Path, home: Home) -> None:
    file = script(tmp_path, latencies_ms=[5.0], off_cpu=[0.4])
    result = benchmark(file, home=home, mode=Paced(), max_seconds=3)
    assert result.verdict == "noisy" and result.blocks[0].off_cpu == pytest.approx(0.4)


def test_cold_measures_the_first_inference_of_fresh_processes(tmp_path: Path, home: Home) -> None:
    # A process that had run before would answer with the second or third latency.
    file = script(tmp_path, latencies_ms=[40.0, 1.0, 2.0])
    result = benchmark(file, home=home, mode=Cold(), min_runs=3, max_seconds=2)
    assert set(result.latencies_ms) == {40.0} and result.first_ms == 40.0
    assert len(result.loads_ms) == result.runs >= 1
    assert result.load_ms == percentile(result.loads_ms, 50)
    assert [block.at_s for block in result.blocks] == sorted(block.at_s for block in result.blocks)


def test_cold_keeps_the_distribution_of_loading_and_of_first_inferences() -> None:
    answers = [told(100 + index, 10 + index) for index in range(12)]
    waiting = iter(answers)
    plans: list[Plan] = []

    def child(plan: Plan) -> Told:
        plans.append(plan)
        return next(waiting)

    result = Cold().measure(child, Plan(min_runs=12, precision=0.9))
    assert result.loads_ms == tuple(100.0 + index for index in range(12))
    assert [block.latencies_ns[0] for block in result.blocks] == [(10 + i) * 10**6 for i in range(12)]
    assert all(block.counted for block in result.blocks), "none of a few is thrown away"
    assert (result.load_ms, result.first.latencies_ns) == (105.0, (15_000_000,))
    assert result.observed.pressure == pytest.approx(0.155)
    assert {plan.max_runs for plan in plans} == {0}


def test_of_several_stretches_shares_are_averaged_and_throttling_is_summed() -> None:
    parts = [Observed(pressure=0.2, throttled=1), Observed(pressure=0.4, throttled=2), Observed()]
    assert combined(parts) == Observed(pressure=pytest.approx(0.3), throttled=3)


def test_sustained_goes_on_to_the_end_and_tells_heat_and_clock_over_time(
    tmp_path: Path, home: Home
) -> None:
    file = script(
        tmp_path,
        latencies_ms=[10.0] * 2011 + [13.0] * 2000,
        temperature_c=[40 + index for index in range(100)],
        frequency_mhz=[2000 - index for index in range(100)],
    )
    result = benchmark(file, home=home, mode=Sustained(), max_seconds=46)
    last = result.blocks[-1]
    assert 44 < last.at_s < 46 and "46 s" in result.stopped_by
    assert [block.temperature_c for block in result.blocks] == [40 + i for i in range(len(result.blocks))]
    assert last.frequency_mhz == 2000 - len(result.blocks) + 1
    moved = drift(result)
    assert moved is not None
    assert (moved.start_ms, moved.end_ms, moved.ratio) == (10.0, 13.0, 1.3)
    assert (moved.low, moved.high) == (1.3, 1.3)


def test_a_tiny_model_is_kept_running_between_the_runs_that_sustained_times(
    tmp_path: Path, home: Home
) -> None:
    file = script(tmp_path, latencies_ms=[0.1])
    result = benchmark(file, home=home, mode=Sustained(), max_seconds=5)
    assert [len(block.latencies_ns) for block in result.blocks] == [500] * 5
    assert np.diff([block.at_s for block in result.blocks]) == pytest.approx(1.0)


def test_a_sustained_curve_has_so_many_points_at_most_however_long_it_takes() -> None:
    plans: list[Plan] = []

    def child(plan: Plan) -> Told:
        plans.append(plan)
        return told(1, 1)

    Sustained().measure(child, Plan(max_seconds=3600))
    assert 3600e3 / plans[0].block_ms <= POINTS and not plans[0].stops_early


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 2.0), st.integers(10, 60), st.integers(0, 2**32 - 1))
def test_the_interval_of_a_drift_holds_its_ratio_and_grows_with_the_noise(
    ratio: float, count: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    ramp = np.linspace(1, ratio, count)
    quiet = drift(sustained_result(list(10 * ramp)))
    noisy = drift(sustained_result(list(10 * ramp * generator.lognormal(0, 0.2, count))))
    assert quiet is not None and noisy is not None
    for one in (quiet, noisy):
        assert one.low <= one.ratio <= one.high
    assert noisy.high - noisy.low >= 0


def test_a_drift_needs_enough_blocks_and_a_sustained_measurement() -> None:
    assert drift(sustained_result([1.0] * 9)) is None
    assert drift(sustained_result([1.0] * 10)) is not None
    assert drift(replace(sustained_result([1.0] * 10), mode="burst")) is None


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_a_query_is_one_batch_where_the_file_takes_it(
    runtime: str, tiny_onnx: Path, tiny_tflite: Path, home: Home
) -> None:
    file = {"onnxruntime": tiny_onnx, "litert": tiny_tflite}[runtime]
    result = benchmark(file, home=home, scenario=MultiStream(samples_per_query=3), max_seconds=0.1)
    assert (result.batch, result.samples_per_query, result.notes) == (3, 3, ())
    assert result.environment["input_shapes"] == {"inputs": [3, 4]}
    assert (result.scenario, result.plain) == ("multi_stream", False)


def test_a_query_is_as_many_invocations_where_the_file_takes_no_such_batch(
    tmp_path: Path, home: Home
) -> None:
    file = script(tmp_path, latencies_ms=[1.0, 2.0, 3.0, 4.0], batch=1)
    result = benchmark(file, home=home, scenario=MultiStream(samples_per_query=4))
    assert (result.batch, result.samples_per_query) == (1, 4)
    assert set(result.latencies_ms) == {10.0} and result.first_ms == 10.0
    assert "4 invocations with a batch of 1" in result.notes[0]


def test_a_batch_that_is_named_splits_the_query(tmp_path: Path, home: Home) -> None:
    file = script(tmp_path, latencies_ms=[1.0])
    result = benchmark(file, home=home, batch=2, scenario=Offline(samples_per_query=6))
    assert (result.batch, result.samples_per_query, set(result.latencies_ms)) == (2, 6, {3.0})
    with pytest.raises(ConfigError, match="no whole number of batches of 4"):
        benchmark(file, home=home, batch=4, scenario=Offline(samples_per_query=6))


def test_offline_tells_samples_a_second(tmp_path: Path, home: Home) -> None:
    file = script(tmp_path, latencies_ms=[50.0])
    result = benchmark(file, home=home, scenario=Offline(samples_per_query=100))
    assert result.samples_per_second == pytest.approx(2000)
    assert result.summary()["samples_per_second"] == result.samples_per_second


def test_a_child_that_dies_late_leaves_what_it_had_measured(tmp_path: Path, home: Home) -> None:
    file = script(tmp_path, latencies_ms=[50.0, 90.0], crash="SIGSEGV", crash_at=30)
    with pytest.raises(CutShort, match="SIGSEGV") as cut:
        benchmark(file, home=home)
    assert isinstance(cut.value.__cause__, ModelCrashed)
    result = cut.value.result
    # One is the first, two warm up, and the thirtieth from zero on is the one that dies.
    assert sum(len(block.latencies_ns) for block in result.blocks) == 27
    assert (result.verdict, result.first_ms) == ("inconclusive", 50.0)
    assert "SIGSEGV" in result.verdict_cause


def test_a_child_that_dies_before_any_block_is_a_plain_error(tmp_path: Path, home: Home) -> None:
    file = script(tmp_path, latencies_ms=[50.0], crash="SIGSEGV", crash_at=3)
    with pytest.raises(ModelCrashed):
        benchmark(file, home=home)


class Nothing(Session):
    """Does nothing, so that all that is called in a block is the harness."""

    inputs = outputs = ()
    precision = "fp32"

    def run(self, feeds: Tensors) -> dict[str, np.ndarray]:
        return {}

    def prepare(self, feeds: Tensors) -> None:
        pass

    def invoke(self) -> None:
        pass

    def clock(self, threads: int) -> Clock:
        return Counted()


class Counted(Clock):
    """A millisecond passes with every look."""

    looks = 0

    def wall_ns(self) -> int:
        Counted.looks += 1
        return Counted.looks * 1_000_000

    def away_ns(self) -> int:
        return 0

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody asked to sleep")

    def thermals(self) -> tuple[float | None, float | None]:
        return None, None


def test_a_run_carries_one_look_at_the_clock_and_no_other_call() -> None:
    """The overhead a call: counted, since this machine's own noise is larger than what it takes."""
    calls: list[str] = []

    def watch(frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            calls.append(frame.f_code.co_name if event == "call" else argument.__name__)

    plan = Plan(max_runs=1000, min_runs=5000, block_runs=1000, block_ms=1e6, warmup_ms=1)
    sys.setprofile(watch)
    try:
        timing = measure(Nothing(), {}, plan, threads=1)
    finally:
        sys.setprofile(None)
    runs = 1000 + 2
    assert len(timing.blocks[0].latencies_ns) == 1000
    assert calls.count("invoke") == runs
    assert set(timing.blocks[0].latencies_ns) == {1_000_000}, "one look between two runs"
    # What is called a few times a block does not grow with its runs.
    often = {name for name in calls if calls.count(name) > 100} - {"<genexpr>"}
    assert often == {"invoke", "wall_ns"}
    assert calls.count("wall_ns") < runs + 20
