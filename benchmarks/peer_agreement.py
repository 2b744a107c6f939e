"""Does our median agree with others', what does our harness cost, how often does it see what is not there?

Models made by others are measured by us and by `litert-benchmark` (TFLite) or a bare ONNX Runtime loop
(ONNX), and by LoadGen and OpenVINO's `benchmark_app` where installed, in turns, each turn a process of its
own; rounds in which other work ran are left out and counted. The cost of the harness is the difference per
call between our blocks and a bare loop, around a session that does nothing. False alarms are counted by
`edge-bench compare --self-test`.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report

from edge_bench.documents import to_document
from edge_bench.files import Home
from edge_bench.measure.inspection import runtime_for
from edge_bench.measure.parity import parity
from edge_bench.measure.runtimes.scripted import Scripted
from edge_bench.measure.timing import Plan, measure

# Slow enough that the step of 0.01 ms to which litert-benchmark rounds is small beside the bar.
MODELS = (
    "coral/mobilenet_v2_1.0_224_quant.tflite",
    "coral/tf2_mobilenet_v2_1.0_224_ptq.tflite",
    "coral/mobilenet_v1_0.75_192_quant.tflite",
    "mlperf_tiny_onnx/vww_K1_mobilenet_v1.onnx",
    "mlperf_tiny_onnx/ic_K1_resnet.onnx",
)
ORACLES = ("litert-benchmark", "onnxruntime loop")
AGREEMENT = 0.03
OVERHEAD_US, OVERHEAD_SHARE = 2.0, 0.005
FALSE_ALARMS = 0.05


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is measured: rounds and seconds of the models, rounds of nothing, comparisons."""

    models: int
    rounds: int
    seconds: float
    null_rounds: int
    trials: int


EFFORTS = {
    "smoke": Effort(models=1, rounds=1, seconds=0.5, null_rounds=20, trials=2),
    "cpu": Effort(models=5, rounds=9, seconds=2.0, null_rounds=400, trials=100),
    "gpu": Effort(models=5, rounds=9, seconds=2.0, null_rounds=400, trials=100),
}


def main() -> int:
    options = report.arguments(__doc__)
    effort = EFFORTS[options.size]
    folder = report.data_folder() / "external_models"
    files = [folder / name for name in MODELS[: effort.models]]
    if missing := [str(file) for file in files if not file.is_file()]:
        print(f"no {', '.join(missing)}; name the folder of data by EDGE_BENCH_DATA")
        return 2
    overhead = null_overhead_us(effort.null_rounds)
    print(f"harness: {overhead['median_us']:.3f} µs a call more than a bare loop")
    with tempfile.TemporaryDirectory() as home:
        rows = [row for file in files for row in agreement(file, Home(Path(home)), effort)]
        alarms = self_test(Path(home), effort.trials)
    oracles = [row for row in rows if row["name"] in ORACLES]
    worst = max(abs(row["ratio"]["middle"] - 1) for row in oracles)
    allowed_us = OVERHEAD_US + OVERHEAD_SHARE * overhead["bare_us"]
    bars = [
        bar("p50 against litert-benchmark or a bare loop, worst model", AGREEMENT, worst, "of p50"),
        bar(
            "harness overhead a call",
            allowed_us,
            overhead["median_us"],
            "µs",
        ),
        bar("A/A false alarms", FALSE_ALARMS, alarms["false_alarm_rate"], "of comparisons"),
        report.Bar(name="models compared", floor=effort.models, figure=len(oracles), unit="models"),
    ]
    disturbed = sum(row["disturbed"] for row in rows)
    if disturbed:
        print(f"{disturbed} of {len(rows)} figures had no quiet round: measure again on a quiet machine")
    figures = {"agreement": rows, "overhead": overhead, "self_test": alarms, "figures_disturbed": disturbed}
    return report.write("peer_agreement", options.size, figures, bars, effort=to_document(effort))


def agreement(file: Path, home: Home, effort: Effort) -> list[dict[str, Any]]:
    """Measure one file by everybody; return and print a row for each program, ours included."""
    found = parity(file, home=home, runtime=runtime_for(file), rounds=effort.rounds, seconds=effort.seconds)
    for name, reason in found.absent.items():
        print(f"{file.name:42} {name} took no part: {reason}")
    rows = []
    for figure in found.figures:
        print(
            f"{file.name:42} {figure.name:18} p50 {figure.p50_ms:8.4f} ms  × {figure.ratio.middle:.4f}  "
            f"{figure.rounds} rounds, {figure.rounds_left_out} left out; says {', '.join(figure.said)}"
        )
        rows.append({"file": file.name, **to_document(figure)})
    return rows


def null_overhead_us(rounds: int) -> dict[str, Any]:
    """Return what a call costs in our blocks above a bare loop, around a session that does nothing, in µs.

    Both loops run in this process in turns; a round is some hundred calls of each, of which the mean
    counts; of the rounds it is the median.
    """
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "one-sine.scripted"
        script.write_text(json.dumps({"sines": 1}), encoding="utf-8")
        session = Scripted().open(script, threads=1)
    feeds = {"input": np.zeros((1, 4), np.float32)}
    session.prepare(feeds)
    plan = Plan(block_ms=2.0, warmup_ms=1.0, max_seconds=0.0, min_blocks=0)
    differences, bare = [], []
    for _ in range(rounds):
        (block,) = measure(session, feeds, plan, threads=1).blocks
        bare.append(bare_us(session.invoke, len(block.latencies_ns)))
        differences.append(sum(block.latencies_ns) / len(block.latencies_ns) / 1e3 - bare[-1])
    low, middle, high = np.percentile(differences, [25, 50, 75])
    return {
        "median_us": float(middle),
        "quartiles_us": [float(low), float(high)],
        "bare_us": float(np.median(bare)),
        "rounds": rounds,
    }


def bare_us(invoke: Any, runs: int) -> float:
    """Return microseconds a call of a loop with no clock inside."""
    begun = time.perf_counter_ns()
    for _ in range(runs):
        invoke()
    return (time.perf_counter_ns() - begun) / runs / 1e3


def self_test(home: Path, trials: int) -> dict[str, Any]:
    """Return what `edge-bench compare --self-test` says; without the single ratios."""
    command = f"compare --self-test --trials {trials} --max-seconds 30 --json --home {home}"
    ended = report.edge_bench(*command.split())
    told: dict[str, Any] = json.loads(ended.stdout)
    if "error" in told:
        print(f"self-test: {told['error']['message']}")
        return {"false_alarm_rate": 1.0, "error": told["error"]["message"]}
    print(
        f"self-test: {told['false_alarms']} of {told['trials']} saw a difference, "
        f"{told['intervals_without_1']} intervals without 1, verdicts {told['verdicts']}"
    )
    del told["ratios"]
    return told


def bar(name: str, most: float, figure: float, unit: str) -> report.Bar:
    return report.Bar(name=name, floor=most, figure=figure, unit=unit, at_most=True)


if __name__ == "__main__":
    raise SystemExit(main())
