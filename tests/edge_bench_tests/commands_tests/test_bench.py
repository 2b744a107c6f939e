"""`edge-bench bench`: sweeps, what is kept when it is cut short, and what a terminal shows."""

from __future__ import annotations

import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from edge_bench.cli import main
from edge_bench.commands import _bench_report, bench
from edge_bench.files import Home, sha256_of
from edge_bench.measure.environment import git_revision
from edge_bench.records import Artifact, BenchmarkResult
from edge_bench.store import ResultStore

# Never steady enough to stop, and real enough to be interrupted: a block of one run every 10 ms.
ENDLESS = {"latencies_ms": [50.0, 90.0], "real_seconds": 0.01}


def script(folder: Path, name: str = "known", **document: Any) -> Path:
    file = folder / f"{name}.scripted"
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


def results(home: Home) -> list[BenchmarkResult]:
    with ResultStore(home.store_url) as store:
        return store.results()


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


@contextmanager
def started(home: Home, folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run `edge-bench bench` beside us, its temporary files under `folder`."""
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "edge_bench", "bench", *words, "--home", str(home.root), "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(there: Callable[[], bool]) -> None:
    for _ in range(1200):
        if there():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def blocks_written(folder: Path) -> bool:
    journals = list(folder.glob("edge-bench-*/journal.jsonl"))
    return any(len(one.read_text(encoding="utf-8").splitlines()) > 8 for one in journals)


def test_what_changed_since_the_last_run_is_said_aloud(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = script(tmp_path, latencies_ms=[2.0]), script(tmp_path, "other", latencies_ms=[3.0])
    assert main(["bench", str(file), "--json", "--quiet"]) == 0
    (first,) = told(capsys)["results"]
    assert first["since_last"] is None
    assert main(["bench", str(file), "--json", "--quiet"]) == 0
    (second,) = told(capsys)["results"]
    assert second["since_last"]["id"] == first["id"] and second["since_last"]["changes"] == {}
    monkeypatch.setattr(platform, "release", lambda: "9.9-other")
    # Another file, another number of threads and another batch were not run before.
    assert (
        main(["bench", str(file), str(other), "--threads", "1,2", "--batch", "1", "--json", "--quiet"]) == 0
    )
    rows = {(row["model"], row["threads"]): row["since_last"] for row in told(capsys)["results"]}
    found = rows.pop(("known.scripted", 1))
    assert (found["id"], found["p50_ms"], list(found["changes"])) == (second["id"], 2.0, ["kernel"])
    assert found["changes"]["kernel"][1] == "9.9-other"
    assert set(rows.values()) == {None}
    monkeypatch.setattr(platform, "release", lambda: "10.0")
    assert main(["bench", str(file), "--quiet"]) == 0
    assert "p50 was 2 ms: kernel 9.9-other → 10.0" in capsys.readouterr().out


def test_the_surroundings_of_a_result_name_runtime_delegate_threads_and_revision(
    tmp_path: Path, tiny_onnx: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", str(tiny_onnx), "--threads", "2", "--max-seconds", "0.1", "--quiet"]) == 0
    (result,) = results(home)
    told = result.environment
    assert (told["delegate"], told["threads"]) == ("CPUExecutionProvider", 2)
    assert told["runtime_version"] == result.runtime_version
    assert told["git_revision"] == git_revision(tmp_path) == "none"


def test_the_git_revision_is_that_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        named = ["-c", "user.name=n", "-c", "user.email=e@x", "-C", str(tmp_path)]
        return subprocess.run(["git", *named, *words], check=True, capture_output=True, text=True).stdout

    git("init", "--quiet")
    assert git_revision(tmp_path) == "none", "nothing is committed yet"
    git("commit", "--quiet", "--allow-empty", "-m", "first")
    assert git("rev-parse", "HEAD").startswith(git_revision(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert git_revision(tmp_path) == "none", "no git"


def test_every_combination_of_file_runtime_and_threads_is_one_result(
    tiny_onnx: Path, tiny_tflite: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(tiny_onnx), str(tiny_tflite)]
    options = ["--runtime", "onnxruntime,litert", "--threads", "1,2", "--max-seconds", "0.1"]
    assert main(["bench", *files, *options, "--json", "--quiet"]) == 0
    document = told(capsys)
    combinations = [(row["model"], row["runtime"], row["threads"]) for row in document["results"]]
    assert combinations == [
        ("tiny.onnx", "onnxruntime", 1),
        ("tiny.onnx", "onnxruntime", 2),
        ("tiny.tflite", "litert", 1),
        ("tiny.tflite", "litert", 2),
    ]
    # What does not go together is told once, not once a thread count, and is no failure.
    assert [(Path(one["model"]).name, one["runtime"]) for one in document["skipped"]] == [
        ("tiny.onnx", "litert"),
        ("tiny.tflite", "onnxruntime"),
    ]
    assert "failures" not in document


def test_a_runtime_that_is_not_installed_is_one_line_and_stops_no_other(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_bench.errors import MissingExtra
    from edge_bench.measure import benchmark as module

    def missing(model: Path, *, runtime: str | None, **options: Any) -> BenchmarkResult:
        if runtime == "litert":
            raise MissingExtra("ai_edge_litert", "litert")
        return module.benchmark(model, runtime=runtime, **options)

    monkeypatch.setattr(bench, "benchmark", missing)
    file = script(tmp_path, latencies_ms=[1.0])
    words = [str(file), "--runtime", "litert,scripted", "--threads", "1,2", "--quiet"]
    assert main(["bench", *words]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")]
    assert lines == [
        "left out: known.scripted: 'ai_edge_litert' is not installed; it comes with the extra 'litert'"
    ]
    assert len(results(home)) == 2


def test_a_file_that_none_of_the_runtimes_reads_is_a_failure(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    file = script(tmp_path, latencies_ms=[1.0])
    assert main(["bench", str(file), "--runtime", "onnxruntime,litert", "--json", "--quiet"]) == 2
    document = told(capsys)
    assert [one["runtime"] for one in document["failures"]] == ["onnxruntime", "litert"]
    assert "skipped" not in document


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mode", "burts"], "Did you mean 'burst'"),
        (["--scenario", "multi"], "multi_stream"),
        (["--runtime", "litert,onnxruntim"], "Did you mean 'onnxruntime'"),
        (["--interval-ms", "5"], "--interval-ms does not go with --mode burst"),
        (["--mode", "paced", "--interval-ms", "-5"], "--interval-ms must be"),
        (["--samples-per-query", "4"], "--samples-per-query does not go with --scenario single-stream"),
    ],
)
def test_options_are_checked_before_anything_is_measured(
    options: list[str], words: str, tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    file = script(tmp_path, latencies_ms=[1.0])
    assert main(["bench", str(file), *options]) == 2
    assert words in capsys.readouterr().err
    assert not results(home)


def test_all_benches_again_what_has_results_of_another_mode_or_scenario_only(
    tmp_path: Path, home: Home
) -> None:
    file = script(tmp_path, latencies_ms=[1.0])
    artifact = Artifact(
        id="ours",
        name="ours",
        subnet=None,
        format="onnx",
        precision="fp32",
        file=str(file),
        digest=sha256_of(file),
        size_bytes=1,
        inputs=(),
        outputs=(),
        metrics=(),
        created="2026-01-01T00:00:00+00:00",
    )
    with ResultStore(home.store_url) as store:
        store.add(artifact)
    for words in ([], ["--mode", "paced", "--max-seconds", "1"], ["--scenario", "offline"]):
        assert main(["bench", "--all", "--quiet", *words]) == 0
        assert main(["bench", "--all", "--quiet", *words]) == 0
    assert [(one.mode, one.scenario) for one in results(home)] == [
        ("burst", "single_stream"),
        ("paced", "single_stream"),
        ("burst", "offline"),
    ]


def test_interrupted_bench_keeps_its_blocks(tmp_path: Path, home: Home) -> None:
    done = script(tmp_path, "done", latencies_ms=[1.0])
    endless = script(tmp_path, "endless", **ENDLESS)
    never = script(tmp_path, "never", latencies_ms=[1.0])
    words = [str(done), str(endless), str(never), "--json", "--max-seconds", "3600"]
    with started(home, tmp_path / "tmp", *words) as process:
        until(lambda: len(results(home)) == 1 and blocks_written(tmp_path / "tmp"))
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    document = json.loads(out)
    assert document["interrupted"] is True
    kept = results(home)
    assert [one.model for one in kept] == ["done.scripted", "endless.scripted"]
    assert [row["id"] for row in document["results"]] == [one.id for one in kept]
    assert (kept[1].verdict, kept[1].verdict_cause) == ("inconclusive", "interrupted")
    assert kept[1].stopped_by == "interrupted"
    assert kept[1].runs >= 8 and kept[1].p50_ms in (50.0, 90.0) and kept[1].first_ms == 50.0
    assert not list((tmp_path / "tmp").iterdir())


def test_interrupted_before_any_block_stores_nothing(tmp_path: Path, home: Home) -> None:
    file = script(tmp_path, latencies_ms=[1.0], hang_seconds=120)
    with started(home, tmp_path / "tmp", str(file)) as process:
        until(lambda: bool(psutil.Process(process.pid).children()))
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert not results(home) and not list((tmp_path / "tmp").iterdir())


def test_a_killed_bench_takes_its_child_along_and_leaves_nothing_half_written(
    tmp_path: Path, home: Home
) -> None:
    file = script(tmp_path, **ENDLESS)
    with started(home, tmp_path / "tmp", str(file), "--max-seconds", "3600") as process:
        until(lambda: blocks_written(tmp_path / "tmp"))
        (child,) = psutil.Process(process.pid).children()
        process.kill()
    child.wait(30)
    until(lambda: not list((tmp_path / "tmp").iterdir()))
    assert not results(home)
    # The lock went with the process: the next one does not wait.
    assert main(["bench", str(script(tmp_path, latencies_ms=[1.0])), "--quiet"]) == 0


def test_a_child_that_dies_late_is_a_failure_whose_blocks_are_stored(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    file = script(tmp_path, latencies_ms=[50.0, 90.0], crash="SIGSEGV", crash_at=30)
    assert main(["bench", str(file), "--json", "--quiet"]) == 6
    document = told(capsys)
    assert document["results"][0]["verdict"] == "inconclusive"
    assert "SIGSEGV" in document["failures"][0]["message"]
    assert [one.runs for one in results(home)] == [27]


def test_a_store_that_takes_nothing_is_told_before_anything_is_measured(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results(home)
    with sqlite3.connect(home.root / "store.sqlite") as database:
        database.execute(
            "create trigger full before insert on records begin select raise(abort, 'disk full'); end"
        )
    database.close()
    monkeypatch.setattr(bench, "benchmark", lambda *_, **__: pytest.fail("it was measured"))
    assert main(["bench", str(script(tmp_path, latencies_ms=[1.0])), "--quiet"]) == 1
    assert "disk full" in capsys.readouterr().err


def test_looking_whether_the_store_takes_records_leaves_none(home: Home) -> None:
    with ResultStore(home.store_url) as store:
        store.check_writable()
        assert not store.documents("probe") and store.revision() == 0


def test_json_with_standard_output_closed_is_told_before_anything_is_measured(
    tmp_path: Path, home: Home
) -> None:
    file = script(tmp_path, latencies_ms=[1.0])
    command = f'"{sys.executable}" -m edge_bench bench "{file}" --json --home "{home.root}" >&-'
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "standard output is closed" in ended.stderr
    assert "Traceback" not in ended.stderr and not results(home)


def test_a_sustained_result_shows_its_curve_and_says_how_the_end_differs(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    file = script(
        tmp_path,
        latencies_ms=[10.0] * 1500 + [12.0] * 1500,
        temperature_c=[40.0 + index for index in range(60)],
    )
    words = ["bench", str(file), "--mode", "sustained", "--max-seconds", "30", "--quiet"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "at the end +20.0% of the start (+20.0% to +20.0%)" in text
    assert "▁" in text and "█" in text and "temperature_c" in text
    assert "clock: unavailable on this machine" in text
    assert main([*words, "--json"]) == 0
    row = told(capsys)["results"][0]
    assert row["drift"]["ratio"] == 1.2
    assert len(row["curve"]) >= 28 and row["curve"][0]["temperature_c"] == 40.0


def test_a_sustained_result_of_a_few_seconds_says_that_it_cannot_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = script(tmp_path, latencies_ms=[10.0])
    assert main(["bench", str(file), "--mode", "sustained", "--max-seconds", "3", "--quiet"]) == 0
    assert "too few points count" in capsys.readouterr().out


def test_data_may_be_named_by_its_kind_and_its_path(tmp_path: Path) -> None:
    from edge_bench.commands.train import data_table

    assert data_table(f"cifar10:{tmp_path}") == {"kind": "cifar10", "path": str(tmp_path)}
    assert data_table("digits") == {"kind": "digits"}


def test_a_sparkline_has_a_bar_a_value_and_does_not_blow_up_what_is_flat() -> None:
    assert _bench_report.sparkline([1.0, 2.0, 3.0]) == "▁▅█"
    assert _bench_report.sparkline([10.0, 10.01, 10.0]) == "▁▁▁"
    assert len(_bench_report.sparkline([float(index) for index in range(1000)])) == 60


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_table_fits_the_terminal_and_keeps_what_matters(
    columns: int, tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_bench.commands import table

    file = script(tmp_path, "a-name-of-a-model-that-is-long", latencies_ms=[1.0])
    assert main(["bench", str(file), "--quiet"]) == 0
    found = results(home)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    names = _bench_report.columns(found)
    drawn = table([_bench_report.row(one) for one in found], columns=names)
    assert {"model", "p50_ms", "verdict", "±"} <= set(names)
    assert all(len(line) <= columns for line in drawn.splitlines())
    # The name alone may be folded.
    assert sum("clean" in line for line in drawn.splitlines()) == 1


def test_a_profiled_bench_tells_what_of_the_peak_is_the_models(
    home: Home, tiny_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", str(tiny_onnx), "--max-seconds", "0.2", "--quiet"]
    assert main([*words, "--profile", "--json"]) == 0
    assert told(capsys)["results"][0]["footprint"] == {"weights_bytes": 48, "activations_bytes": 28}
    (profiled,) = results(home)
    (line,) = _bench_report.weighed(profiled)
    assert "at the peak: weights 4.8e-05 MB, activations 2.8e-05 MB, Python and the runtime" in line
    assert main([*words, "--json"]) == 0
    assert told(capsys)["results"][0]["footprint"] is None
