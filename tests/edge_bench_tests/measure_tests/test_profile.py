"""Where the time of an inference goes, and which operators fell back from what was wanted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_bench import variants
from edge_bench.commands import _bench_report
from edge_bench.errors import InvalidModel, MissingExtra
from edge_bench.files import Home
from edge_bench.measure import litert_profile
from edge_bench.measure.benchmark import benchmark
from edge_bench.measure.inspection import RUNTIMES, formats
from edge_bench.measure.interpreter import BUILTIN, placements_of
from edge_bench.measure.runtimes import Runtime, by_share
from edge_bench.measure.runtimes.onnxruntime import profile_of
from edge_bench.measure.sandbox import run_job
from edge_bench.records.result import OperatorTime, Placement

# The form of LiteRT's summary, as version 2.3 prints it, with figures of our own: 4 runs, 1 ms in all.
SUMMARY = """
======================== Run Order ========================
      [node type]    [start]    [first]   [avg ms]   [%]   [cdf%]   [mem KB] [times called]   [Name]
      Delegate/Convolution (NHWC, F32) IGEMM   0.000  0.2  0.150  60.000%  60.000%  0.000  4  [Delegate]:0
      SOFTMAX   0.000  0.1  0.075  30.000%  90.000%  0.000  4  [Builtin]:30
      Delegate/Add (ND)  0.000  0.0  0.025  10.000%  100.000%  0.000  8  [Delegate]:0

======================== Top by Computation Time ========================
      Delegate/Convolution (NHWC, F32) IGEMM   0.000  0.2  0.150  60.000%  60.000%  0.000  4  [Delegate]:0

Timings (microseconds): count=3 curr=1000
"""


def operator(name: str, mean_ms: float, share: float = 0.0) -> OperatorTime:
    return OperatorTime(name=name, kind="Conv", mean_ms=mean_ms, share=share, where="here")


def node(index: int, name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"index": index, "op_name": name, "inputs": inputs, "outputs": outputs}


def kernel(
    name: str, kind: str, microseconds: float, provider: str = "CPUExecutionProvider"
) -> dict[str, Any]:
    told = {"op_name": kind, "provider": provider}
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": microseconds, "args": told}


def test_shares_add_up_and_the_largest_comes_first() -> None:
    shared = by_share([operator("a", 1.0), operator("b", 3.0)])
    assert [(one.name, one.share) for one in shared] == [("b", 0.75), ("a", 0.25)]
    assert by_share([operator("a", 0.0)])[0].share == 0.0


def test_litert_summary_is_read_to_the_last_operator() -> None:
    found = litert_profile.operators(SUMMARY, runs=4)
    assert [(one.kind, one.where, one.calls) for one in found] == [
        ("Convolution (NHWC, F32) IGEMM", "XNNPACK", 1),
        ("SOFTMAX", BUILTIN, 1),
        ("Add (ND)", "XNNPACK", 2),
    ]
    assert [one.mean_ms for one in found] == pytest.approx([0.15, 0.075, 0.025])


def test_rounds_of_litert_are_told_apart_though_its_summary_goes_on_adding() -> None:
    # Rounds of 1, 1, 1 and 7 ms in all, of which the first operator takes 60 %.
    def after(total_us: int, rounds: int) -> str:
        calls = f"  0.000  {litert_profile.RUNS * rounds}  ["
        text = SUMMARY.replace("  0.000  4  [", calls).replace("  0.000  8  [", calls)
        return text.replace("curr=1000", f"curr={total_us}")

    sums_us = [1000, 2000, 3000, 10_000]
    found = litert_profile.of_rounds([after(total, number) for number, total in enumerate(sums_us, 1)])
    assert found[0].mean_ms == pytest.approx(0.6 / litert_profile.RUNS)
    assert [one.calls for one in found] == [1, 1, 1]
    # Of a model that takes less than a tick, most rounds show nothing.
    tiny = litert_profile.of_rounds([after(total, number) for number, total in enumerate([0, 0, 0, 8], 1)])
    assert tiny[0].mean_ms == pytest.approx(0.6 * 0.008 / (4 * litert_profile.RUNS))


def test_a_summary_of_another_form_is_an_error_and_no_empty_table() -> None:
    with pytest.raises(InvalidModel, match="told nothing of the operators"):
        litert_profile.operators("nothing here", runs=4)


def test_a_trace_of_onnxruntime_tells_times_without_the_first_run_and_providers() -> None:
    events = [
        {"cat": "Session", "name": "model_run", "dur": 9999},
        *[kernel("conv", "Conv", us, "SomeProvider") for us in (900, 100, 120, 100)],
        *[kernel("loop", "Add", us) for us in (50, 50, 10, 20, 10, 20, 10, 20)],
    ]
    profile = profile_of(events, runs=4)
    assert [(one.name, one.calls) for one in profile.operators] == [("conv", 1), ("loop", 2)]
    assert [one.mean_ms for one in profile.operators] == pytest.approx([0.1, 0.03])
    assert {(one.where, one.wanted) for one in profile.placements} == {
        ("SomeProvider", False),
        ("CPUExecutionProvider", True),
    }


def test_what_lies_between_a_delegates_inputs_and_outputs_is_what_it_took() -> None:
    # 0 -conv-> 2 -pool-> 3 -conv-> 5 -softmax-> 6; two parts are delegated, pool and softmax are not.
    nodes = [
        node(0, "CONV_2D", [0, 1], [2]),
        node(1, "AVERAGE_POOL_2D", [2], [3]),
        node(2, "CONV_2D", [3, 4], [5]),
        node(3, "SOFTMAX", [5], [6]),
        node(4, "DELEGATE", [0, 1], [2]),
        node(5, "DELEGATE", [3, 4], [5]),
    ]
    assert placements_of(nodes) == (
        Placement(where="XNNPACK", operators={"CONV_2D": 2}),
        Placement(where=BUILTIN, operators={"AVERAGE_POOL_2D": 1, "SOFTMAX": 1}, wanted=False),
    )
    assert placements_of(nodes[:4])[0].wanted is False


@pytest.mark.parametrize("name", variants.names(RUNTIMES))
def test_every_runtime_tells_its_operators_or_says_that_it_does_not(
    name: str, tiny_onnx: Path, tiny_tflite: Path, tmp_path: Path
) -> None:
    script = tmp_path / "tiny.scripted"
    script.write_text(json.dumps({"latencies_ms": [1.0]}), encoding="utf-8")
    files = {"onnx": tiny_onnx, "tflite": tiny_tflite, "scripted": script}
    file = next(files[ending] for ending in formats(name) if ending in files)
    job = {"runtime": name, "model": str(file), "threads": 1, "batch": 3}
    try:
        variants.load(Runtime, RUNTIMES, name)
    except (MissingExtra, ModuleNotFoundError) as error:
        pytest.skip(str(error))
    profile = run_job("profile", job, timeout_s=120).document["profile"]
    if name == "scripted":
        assert "tells neither" in profile["notes"][0] and not profile["operators"]
        return
    assert profile["operators"] or "times of" in profile["notes"][0]
    if profile["operators"]:
        # All runs of this tiny file together may take less than a tick of LiteRT's profiler.
        total_ms = sum(one["mean_ms"] for one in profile["operators"])
        assert sum(one["share"] for one in profile["operators"]) == pytest.approx(float(total_ms > 0))
        assert all(one["where"] and one["mean_ms"] >= 0 for one in profile["operators"])


@pytest.mark.parametrize(
    ("runtime", "where"), [("onnxruntime", "CPUExecutionProvider"), ("litert", "XNNPACK")]
)
def test_a_profiled_result_carries_operators_and_their_places_and_is_timed_without(
    runtime: str, where: str, tiny_onnx: Path, tiny_tflite: Path, home: Home
) -> None:
    file = {"onnxruntime": tiny_onnx, "litert": tiny_tflite}[runtime]
    result = benchmark(file, home=home, max_seconds=0.1, profiled=True)
    # XNNPACK makes a reshape and a product of the one operator.
    assert {one.where for one in result.operators} == {where}
    assert [(one.where, sum(one.operators.values())) for one in result.placements] == [(where, 1)]
    assert result.runs > 0 and result.notes == ()


def test_a_file_that_cannot_be_watched_is_measured_all_the_same(shared_data: Path, home: Home) -> None:
    # It keeps a state between runs, which the interface with the profiler refuses.
    file = shared_data / "external_models" / "tflite_micro" / "trained_lstm.tflite"
    result = benchmark(file, home=home, max_seconds=0.1, profiled=True)
    assert result.runs > 0 and not result.operators
    assert "times of operators are not told" in result.notes[0]
    back = next(one for one in result.placements if not one.wanted)
    assert back.operators == {"UNIDIRECTIONAL_SEQUENCE_LSTM": 1}


def test_the_fallback_report_names_what_fell_back() -> None:
    placements = [
        Placement(where="XNNPACK", operators={"CONV_2D": 38}),
        Placement(where=BUILTIN, operators={"SOFTMAX": 1, "ABS": 2}, wanted=False),
    ]
    assert _bench_report.placed(placements) == [
        "wanted XNNPACK: 3 of 41 operators fell back to built-in kernels: 2 ABS, 1 SOFTMAX"
    ]
    assert _bench_report.placed(placements[:1]) == ["wanted XNNPACK: none of 38 operators fell back"]


def test_the_table_of_operators_is_sorted_by_share_and_sums_up_the_rest() -> None:
    operators = by_share(operator(f"n{number}", float(number)) for number in range(1, 21))
    lines = _bench_report.profiled(operators)
    assert lines[0].startswith("20 operators take 210 ms")
    assert [line.split()[0] for line in lines if "Conv" in line][:2] == ["9.5%", "9.0%"]
    assert lines[-1] == "and 8 more with 17.1%"
