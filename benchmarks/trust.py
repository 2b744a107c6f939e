"""Can a measurement be trusted: verdicts under load and at rest, the store under writers, time to answer?

Quiet and disturbed runs of a 100 kB model take turns; in a disturbed one a second process burns a core.
A quiet run counts only if the machine's own counters showed no other load for a second before and after
it, while nothing of ours ran. Then many processes write results at once, and the command is timed from
shell to answer, at its default precision.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import report

from edge_bench.commands import table
from edge_bench.files import Home
from edge_bench.measure.benchmark import benchmark
from edge_bench.measure.witness import Observed, between, witness
from edge_bench.records import BenchmarkResult
from edge_bench.records.result import Verdict
from edge_bench.statistics import percentile
from edge_bench.store import ResultStore

PROBE_S = 1.0
# While nothing of ours runs, so much of the CPUs, or of the time with a task that waits, is other load.
OTHER_LOAD = 0.05
BURN = "import time\nend = time.monotonic() + 120\nwhile time.monotonic() < end: pass"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is run. A quiet run that does not count is tried again, `tries` times a trial in all."""

    trials: int
    tries: int
    writers: int
    each: int
    starts: int


SIZES = {
    "smoke": Size(trials=2, tries=1, writers=8, each=10, starts=2),
    "cpu": Size(trials=100, tries=2, writers=50, each=40, starts=15),
}
SIZES["gpu"] = SIZES["cpu"]


def main() -> int:
    options = report.arguments(__doc__)
    size = SIZES[options.size]
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        model = write_model(Path(folder) / "small.onnx")
        print(f"{model.name}: {model.stat().st_size} bytes")
        verdicts, example = judge_runs(model, home, size)
        store = load_store(example, Home(Path(folder) / "loaded"), size)
        seconds = [time_command(model, Home(Path(folder) / "timed")) for _ in range(size.starts)]
    print(table([_row(name, one) for name, one in verdicts.items()]))
    print(f"{store['stored']} of {store['wanted']} stored, p99 of a write {store['p99_write_s']:.3g} s")
    print(f"from shell to answer: median {percentile(seconds, 50):.3g} s of {len(seconds)}")
    figures = {"verdicts": verdicts, "store": store, "shell_to_answer_s": seconds}
    held = [*at_rest(verdicts, size, options.size), *in_any_case(verdicts, store, seconds, size)]
    return report.write("trust", options.size, figures, held, model="24,000 weights as ONNX")


def _row(runs: str, figures: dict[str, Any]) -> dict[str, Any]:
    counted = {name: figures["verdicts"].get(name, 0) for name in get_args(Verdict)}
    left_out = ", ".join(f"{count} {why}" for why, count in figures.get("left_out", {}).items())
    return {"runs": runs, **counted, "left out": left_out}


def share(verdicts: dict[str, Any], runs: str, verdict: str) -> float:
    counted = verdicts[runs]["verdicts"]
    return float(counted.get(verdict, 0)) / max(1, sum(counted.values()))


def at_rest(verdicts: dict[str, Any], size: Size, name: str) -> list[report.Bar]:
    """Return the bars of quiet runs; a smoke run on a busy machine, where none counts, has none."""
    counted = sum(verdicts["quiet"]["verdicts"].values())
    if name == "smoke" and not counted:
        print("no quiet run counts: this machine is busy")
        return []
    return [
        report.Bar(name="quiet runs that count", floor=size.trials, figure=counted, unit="runs"),
        report.Bar(name="clean at rest", floor=0.9, figure=share(verdicts, "quiet", "clean"), unit="share"),
    ]


def in_any_case(
    verdicts: dict[str, Any], store: dict[str, Any], seconds: Sequence[float], size: Size
) -> list[report.Bar]:
    return [
        report.Bar(
            name="noisy beside a burnt core",
            floor=0.95,
            figure=share(verdicts, "disturbed", "noisy"),
            unit="share",
        ),
        report.Bar(
            name=f"results stored by {size.writers} processes",
            floor=store["wanted"],
            figure=store["stored"],
            unit="results",
        ),
        report.Bar(name="p99 of a write", floor=1.0, figure=store["p99_write_s"], unit="s", at_most=True),
        report.Bar(
            name="bench of a 100 kB model, shell to answer, median",
            floor=3.0,
            figure=percentile(seconds, 50),
            unit="s",
            at_most=True,
        ),
    ]


def judge_runs(model: Path, home: Home, size: Size) -> tuple[dict[str, Any], BenchmarkResult]:
    """Return verdicts of quiet and disturbed runs, in turns, and one result."""
    quiet: list[BenchmarkResult] = []
    disturbed: list[BenchmarkResult] = []
    left_out: list[str] = []
    for _ in range(size.trials * size.tries):
        if len(quiet) < size.trials:
            before = other_load()
            result = benchmark(model, home=home)
            why = before or other_load()
            if why:
                left_out.append(why)
            else:
                quiet.append(result)
        if len(disturbed) < size.trials:
            with burnt_core():
                disturbed.append(benchmark(model, home=home))
    verdicts = {
        "quiet": {**_told(quiet, "clean"), "left_out": dict(Counter(left_out))},
        "disturbed": _told(disturbed, "noisy"),
    }
    return verdicts, disturbed[-1]


def _told(results: Sequence[BenchmarkResult], right: str) -> dict[str, Any]:
    return {
        "verdicts": dict(Counter(one.verdict for one in results)),
        "p50_ms": [round(one.p50_ms, 5) for one in results],
        "causes_of_others": [
            f"{one.verdict}: {one.verdict_cause}" for one in results if one.verdict != right
        ],
    }


def other_load() -> str:
    """Return what the machine's counters show of others' load while we sleep, or nothing."""
    before = witness()
    time.sleep(PROBE_S)
    seen: Observed = between(before, witness())
    if seen.pressure is None or seen.others is None:
        return "this machine's counters tell nothing"
    loads = {
        "tasks waited": seen.pressure,
        "other work": seen.others,
        "stolen by the host": seen.steal or 0.0,
    }
    return next((name for name, share in loads.items() if share > OTHER_LOAD), "")


@contextmanager
def burnt_core() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", BURN]) as burner:
        time.sleep(0.3)
        try:
            yield
        finally:
            burner.kill()


def load_store(example: BenchmarkResult, home: Home, size: Size) -> dict[str, Any]:
    """Let processes that start at the same moment write results one by one; return what came of it."""
    spawn = multiprocessing.get_context("spawn")
    gate, told = spawn.Barrier(size.writers), spawn.Queue()
    writers = [
        spawn.Process(target=_write, args=(number, size.each, example, home.store_url, gate, told))
        for number in range(size.writers)
    ]
    for writer in writers:
        writer.start()
    seconds = [second for _ in writers for second in told.get(timeout=600)]
    for writer in writers:
        writer.join()
    with ResultStore(home.store_url) as store:
        kept = {one.id for one in store.results() if one.blocks == example.blocks}
    wanted = {f"{number}-{count}" for number in range(size.writers) for count in range(size.each)}
    return {
        "wanted": len(wanted),
        "stored": len(kept & wanted),
        "p50_write_s": percentile(seconds, 50),
        "p99_write_s": percentile(seconds, 99),
        "longest_write_s": max(seconds),
    }


def _write(number: int, each: int, example: BenchmarkResult, url: str, gate: Any, told: Any) -> None:
    with ResultStore(url) as store:
        gate.wait(600)
        seconds = []
        for count in range(each):
            begun = time.perf_counter()
            store.add(replace(example, id=f"{number}-{count}"))
            seconds.append(time.perf_counter() - begun)
    told.put(seconds)


def time_command(model: Path, home: Home) -> float:
    """Return the seconds of `edge-bench bench` in a process of its own."""
    begun = time.perf_counter()
    ended = report.edge_bench("bench", str(model), "--json", "--quiet", "--home", str(home.root))
    seconds = time.perf_counter() - begun
    (result,) = json.loads(ended.stdout)["results"]
    if ended.returncode or math.isnan(result["p50_ms"]):
        raise RuntimeError(f"bench ended with status {ended.returncode}")
    return seconds


def write_model(path: Path) -> Path:
    """Write a convolutional network of 24,000 float32 weights as ONNX: images [1, 3, 32, 32], 10 logits."""
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    nodes, weights, before, channels = [], [], "images", 3
    for index, width in enumerate((16, 32, 64)):
        kernel = generator.normal(0, 0.1, (width, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"kernel{index}"))
        nodes += [
            helper.make_node(
                "Conv", [before, f"kernel{index}"], [f"sum{index}"], strides=[2, 2], pads=[1] * 4
            ),
            helper.make_node("Relu", [f"sum{index}"], [f"map{index}"]),
        ]
        before, channels = f"map{index}", width
    weights.append(numpy_helper.from_array(generator.normal(0, 0.1, (64, 10)).astype(np.float32), "head"))
    nodes += [
        helper.make_node("GlobalAveragePool", [before], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


if __name__ == "__main__":
    raise SystemExit(main())
