"""What `edge-bench search` reports was cut and measured; impossible budgets are answered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_bench import cli
from edge_bench.choose.accuracy_fitting import Measured, fit_accuracy
from edge_bench.choose.costs import macs_table, peak_memory_table, size_table
from edge_bench.choose.encoding import Encoding
from edge_bench.choose.fitting import fit_predictor
from edge_bench.commands import search
from edge_bench.errors import GATE_FAILED, OK, USAGE
from edge_bench.files import Home
from edge_bench.records import BenchmarkResult, Metric, SearchSpace
from edge_bench.store import ResultStore

Answer = tuple[int, dict[str, Any], str]


@pytest.fixture
def run(trained: tuple[Path, Home], home: Home) -> str:
    """A finished tiny run in the test's own home, without predictors; its name."""
    shutil.copytree(trained[0], home.runs / trained[0].name)
    return trained[0].name


@pytest.fixture
def space(run: str, home: Home) -> SearchSpace:
    from supernet.run import read_record

    return read_record(home.runs / run).search_space


@pytest.fixture
def predicted(run: str, space: SearchSpace, home: Home) -> Encoding:
    """Predictors in the store: accuracy and latency both grow with MACs; 1 ms for the smallest network."""
    encoding = Encoding(space)
    rows = np.unique(encoding.sample(200, np.random.default_rng(0)), axis=0)[:60]
    rows = np.concatenate([rows, encoding.encode([space.smallest(), space.largest()])])
    rows = np.unique(rows, axis=0)
    macs = macs_table(encoding)
    times = macs(rows) / macs(encoding.encode([space.smallest()]))
    metrics = [
        Metric(
            name="accuracy",
            value=float(value),
            higher_is_better=True,
            split="selection",
            examples=100,
        )
        for value in 0.2 + 0.1 * np.log(times)
    ]
    half = len(rows) // 2
    fitted = fit_accuracy(
        encoding,
        Measured(rows=rows[::2], metrics=tuple(metrics[::2])),
        Measured(rows=rows[1::2], metrics=tuple(metrics[1::2])),
        run=run,
        kind="additive",
    )
    archs = encoding.decode(rows)
    latency = fit_predictor(
        space,
        archs[:half],
        times[:half].tolist(),
        kind="line",
        device="this-machine",
        runtime="onnxruntime",
        threads=1,
        held_out_archs=archs[half:],
        held_out_latencies_ms=times[half:].tolist(),
    )
    with ResultStore(home.store_url) as store:
        store.add(fitted, latency)
    return encoding


@pytest.fixture
def searched(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """A function that runs the command and gives its status, its document and what it told on stderr.

    It measures latency, but not for long.
    """
    quick = partial(search.bench_artifacts, precision=0.5, max_seconds=0.2)
    monkeypatch.setattr(search, "bench_artifacts", quick)

    def run_it(*words: str) -> Answer:
        capsys.readouterr()
        status = cli.main(["search", *words, "--json", "--quiet"])
        told = capsys.readouterr()
        return status, json.loads(told.out) if status == OK else {}, told.err

    return run_it


def test_what_is_reported_was_cut_and_measured_and_is_in_the_store(
    run: str, predicted: Encoding, home: Home, searched: Callable[..., Answer]
) -> None:
    status, document, _ = searched("tiny", "--count", "2", "--max-latency-ms", "3")
    assert status == OK
    assert document["method"] == "exact merge"
    assert document["considered"] == document["space_size"] == predicted.space.size()
    with ResultStore(home.store_url) as store:
        subnets = {one.id: one for one in store.subnets()}
        results = {one.artifact: one for one in store.results()}
    assert {row["subnet"] for row in document["candidates"]} == subnets.keys() and len(subnets) == 2
    assert document["recommended"] in subnets
    for row in document["candidates"]:
        subnet, measured = subnets[row["subnet"]], row["measured"]
        selection = subnet.metric("selection")
        assert selection is not None and measured["accuracy"] == selection.value
        assert measured["latency_ms"] == results[row["artifact"]].p50_ms
        assert row["predicted"]["latency_ms"] <= 3
        assert row["predicted"]["macs"] == measured["macs"] == subnet.macs
    best = max(document["candidates"], key=lambda row: row["measured"]["accuracy"])
    assert document["recommended"] == best["subnet"]
    accuracies = [point["accuracy"] for point in document["front"]]
    assert accuracies == sorted(accuracies)
    assert all(point["latency_ms"] <= 3 for point in document["front"])


def test_every_budget_is_kept_at_once(
    run: str, predicted: Encoding, searched: Callable[..., Answer]
) -> None:
    limits = {"macs": 0.06, "size_bytes": 0.014, "peak_memory_bytes": 0.011}
    options = ("--max-macs-m", "0.06", "--max-size-mb", "0.014", "--max-peak-memory-mb", "0.011")
    status, document, _ = searched("tiny", "--count", "1", *options)
    assert status == OK and document["front"]
    everything = np.concatenate(list(predicted.enumerate()))
    for table in (macs_table(predicted), size_table(predicted), peak_memory_table(predicted)):
        limit = 1e6 * limits[table.name]
        assert (table(everything) > limit).any()
        assert all(point[table.name] <= limit for point in document["front"])
    assert document["candidates"][0]["measured"]["size_bytes"] <= 1e6 * limits["size_bytes"]


def test_an_impossible_budget_is_answered_by_the_nearest_architecture(
    run: str, predicted: Encoding, searched: Callable[..., Answer]
) -> None:
    status, _, told = searched("tiny", "--max-latency-ms", "0.5")
    assert status == GATE_FAILED
    smallest = predicted.space.smallest()
    assert f"the nearest is {smallest.key}" in told and "no architecture is nearer" in told
    assert "at most 0.5 (2 times that)" in told
    # The hint is a search that can be answered.
    words = told[told.index("edge-bench search") :].split()[2:]
    assert searched(*words, "--count", "1")[0] == OK


@pytest.mark.slow
def test_predictors_that_told_too_little_are_not_believed(
    run: str,
    predicted: Encoding,
    home: Home,
    searched: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = search.bench_artifacts

    def slower(context: Any, artifacts: Any) -> list[BenchmarkResult]:
        """Latencies of twice what is predicted."""
        with context.store() as store:
            macs = {one.id: one.macs for one in store.subnets()}
        least = float(macs_table(predicted)(predicted.encode([predicted.space.smallest()]))[0])
        results = []
        for artifact, result in zip(artifacts, quick(context, artifacts), strict=True):
            latency = round(2e6 * macs[artifact.subnet] / least)
            blocks = tuple(
                replace(block, latencies_ns=(latency,) * len(block.latencies_ns)) for block in result.blocks
            )
            results.append(replace(result, blocks=blocks))
        return results

    monkeypatch.setattr(search, "bench_artifacts", slower)
    status, document, _ = searched("tiny", "--count", "1", "--max-latency-ms", "4")
    assert status == OK
    assert document["searched_with"]["latency_ms"] == pytest.approx(2, rel=0.05)
    assert document["candidates"][0]["measured"]["latency_ms"] <= 4
    status, _, told = searched("tiny", "--count", "1", "--max-latency-ms", "1.2")
    assert status == GATE_FAILED
    assert "all that was predicted to fit measured more" in told and "against at most 1.2" in told


def test_missing_predictors_are_told_with_the_command_that_fits_them(
    run: str, searched: Callable[..., Answer]
) -> None:
    status, _, told = searched("tiny")
    assert status == USAGE and f"edge-bench fit accuracy --run {run}" in told


def test_a_latency_budget_needs_a_latency_predictor(
    run: str, predicted: Encoding, searched: Callable[..., Answer]
) -> None:
    status, _, told = searched("tiny", "--max-latency-ms", "3", "--runtime", "litert")
    assert status == USAGE and f"edge-bench fit --run {run} --runtimes litert" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-macs-m", "-1"], "--max-macs-m is -1; a number above 0 is expected"),
        (["--count", "0"], "--count is 0"),
        (["--runtime", "onnx"], "unknown runtime 'onnx'"),
    ],
)
def test_options_that_cannot_be_are_refused(
    run: str, searched: Callable[..., Answer], words: list[str], said: str
) -> None:
    status, _, told = searched("tiny", *words)
    assert status == USAGE and said in told


def test_a_published_device_is_searched_by_its_prices_and_says_so(
    run: str,
    predicted: Encoding,
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words = ["search", run, "--device", "raspberry-pi-4", "--max-latency-ms", "50", "--count", "1"]
    assert cli.main(words) == USAGE
    assert "--runtime litert" in capsys.readouterr().err
    assert cli.main([*words, "--runtime", "litert", "--quiet"]) == OK
    shown = capsys.readouterr().out
    assert "from what others measured: Li et al. HW-NAS-Bench" in shown
    assert "Mind: it lies outside what was measured" in shown
    assert cli.main(["pick", "--device", "raspberry-pi-4", "--run", run, "--json"]) == OK
    candidate = json.loads(capsys.readouterr().out)["candidate"]
    assert candidate["source"] == "predicted" and "HW-NAS-Bench" in candidate["origin"]
    assert candidate["latency_low_ms"] < candidate["latency_ms"] < candidate["latency_high_ms"]
    assert candidate["warning"]
    assert cli.main(["pick", "--device", "rpi4", "--run", run]) == USAGE
    assert "Did you mean 'raspberry-pi-4'?" in capsys.readouterr().err
