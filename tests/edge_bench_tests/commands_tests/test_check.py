"""The gate for CI as its user meets it, on scripts whose latencies are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from edge_bench.cli import main
from edge_bench.commands import check
from edge_bench.files import Home
from edge_bench.measure.comparison import Comparison, ComparisonPlan, Side, compare
from edge_bench.records import BenchmarkResult
from edge_bench.store import ResultStore


def script(folder: Path, name: str = "model", **document: Any) -> str:
    file = folder / f"{name}.scripted"
    file.write_text(json.dumps({"latencies_ms": [1.0], **document}), encoding="utf-8")
    return str(file)


def results(home: Home) -> list[BenchmarkResult]:
    with ResultStore(home.store_url) as store:
        return store.results()


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_all_limits_hold_is_status_0_and_the_measurement_is_stored(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = "--max-latency-ms 2 --max-p90-ms 2 --max-p99-ms 2 --max-memory-mb 4000 --max-size-mb 1".split()
    assert main(["check", script(tmp_path), *limits, "--json", "--quiet"]) == 0
    told = document(capsys)
    assert told["outcome"] == "passed" and told["tries"] == 1
    latencies = ["latency p50", "latency p90", "latency p99"]
    assert [one["name"] for one in told["checks"]] == ["size", *latencies, "peak memory"]
    assert results(home)[0].id == told["result"]["id"]
    assert results(home)[0].runs >= 662, "fewer have no bound of p99"


def test_a_broken_limit_is_status_3_with_both_reports(tmp_path: Path) -> None:
    xml, summary = tmp_path / "new" / "junit.xml", tmp_path / "summary.md"
    options = ["--max-latency-ms", "0.5", "--junit", str(xml), "--markdown", str(summary), "--quiet"]
    assert main(["check", script(tmp_path), *options]) == 3
    failure = ElementTree.parse(xml).find("testsuite/testcase/failure")
    assert failure is not None and "latency p50 1 ms" in failure.get("message", "")
    assert "❌" in summary.read_text() and "0.5 ms" in summary.read_text()


def test_a_straddled_limit_is_tried_again_and_then_status_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = script(tmp_path, latencies_ms=[1.0, 2.0, 3.0, 4.0])
    options = "--max-latency-ms 2 --max-seconds 0.1 --retries 1 --json".split()
    assert main(["check", file, *options]) == 4
    said = capsys.readouterr()
    assert json.loads(said.out)["tries"] == 2
    assert "trying again (1 of 1)" in said.err


def test_on_a_noisy_machine_a_limit_may_hold_but_not_be_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = script(tmp_path, off_cpu=[0.5])
    options = "--max-seconds 0.1 --retries 0 --json --quiet".split()
    assert main(["check", file, "--max-latency-ms", "1000", *options]) == 0, "noise only makes it slower"
    capsys.readouterr()
    assert main(["check", file, "--max-latency-ms", "0.1", *options]) == 4
    assert document(capsys)["checks"][0]["reason"].startswith("noisy: ")


def test_size_alone_opens_no_model(tmp_path: Path, home: Home) -> None:
    file = tmp_path / "no-model.onnx"
    file.write_bytes(bytes(2_000_000))
    assert main(["check", str(file), "--max-size-mb", "1", "--quiet"]) == 3
    assert main(["check", str(file), "--max-size-mb", "2", "--quiet"]) == 0
    assert results(home) == []


def test_a_model_that_crashes_is_status_6_and_still_leaves_its_reports(tmp_path: Path) -> None:
    xml = tmp_path / "junit.xml"
    file = script(tmp_path, crash="SIGABRT")
    assert main(["check", file, "--max-latency-ms", "1", "--junit", str(xml), "--quiet"]) == 6
    error = ElementTree.parse(xml).find("testsuite/testcase/error")
    assert error is not None and "SIGABRT" in error.get("message", "")


@pytest.mark.parametrize(("milliseconds", "status"), [(1.0, 0), (1.2, 3)])
def test_a_baseline_model_is_measured_in_turns(
    milliseconds: float, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(a: Side, b: Side, *, home: Home, plan: ComparisonPlan, waiting: Any) -> Comparison:
        assert (a.model.name, b.model.name) == ("old.scripted", "new.scripted")
        return compare(a, b, home=home, plan=ComparisonPlan(min_launches=6, rounds=2, max_seconds=300))

    monkeypatch.setattr(check, "compare", short)
    old = script(tmp_path, "old")
    new = script(tmp_path, "new", latencies_ms=[milliseconds])
    assert main(["check", new, "--baseline", old, "--quiet"]) == status


def test_a_stored_result_is_a_baseline_by_id_by_name_and_as_json_lines(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two results of one second: the one stored last is the newest.
    monkeypatch.setattr("edge_bench.measure.benchmark.now", lambda: "2026-01-01T00:00:00+00:00")
    file, lines = script(tmp_path), tmp_path / "results.jsonl"
    assert main(["bench", file, "--quiet"]) == 0
    assert main(["results", "export", str(lines)]) == 0
    script(tmp_path, latencies_ms=[1.2])
    for baseline in (results(home)[0].id, str(lines)):
        assert main(["check", file, "--baseline", baseline, "--quiet"]) == 3
    assert main(["check", file, "--baseline", "model.scripted", "--quiet"]) == 0, "the newest of that name"
    assert "1.2 ms" in capsys.readouterr().out


def test_a_baseline_of_another_machine_is_refused_unless_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, lines = script(tmp_path), tmp_path / "results.jsonl"
    assert main(["bench", file, "--quiet"]) == 0
    assert main(["results", "export", str(lines)]) == 0
    row = json.loads(lines.read_text())
    row["environment"]["cpu"] = "Another CPU"
    lines.write_text(json.dumps(row))
    assert main(["check", file, "--baseline", str(lines), "--quiet"]) == 2
    assert "another machine: cpu Another CPU there" in capsys.readouterr().err
    assert main(["check", file, "--baseline", str(lines), "--quiet", "--force-baseline"]) == 0
    assert "changed since the baseline: cpu: Another CPU →" in capsys.readouterr().out
    row["environment"] = {}
    lines.write_text(json.dumps(row))
    assert main(["check", file, "--baseline", str(lines), "--quiet"]) == 2
    assert "does not say which machine" in capsys.readouterr().err
    lines.write_text("{}")
    assert main(["check", file, "--baseline", str(lines), "--quiet"]) == 2
    assert "line 1 of" in capsys.readouterr().err


def test_a_baseline_of_other_settings_is_refused(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    file = script(tmp_path)
    assert main(["bench", file, "--quiet"]) == 0
    options = ["--baseline", results(home)[0].id, "--threads", "2", "--quiet"]
    assert main(["check", file, *options]) == 2
    assert "not in scripted with 2" in capsys.readouterr().err


def test_markdown_is_printed_by_a_dash_and_added_to_githubs_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = script(tmp_path)
    assert main(["check", file, "--max-size-mb", "1", "--markdown", "-"]) == 0
    assert capsys.readouterr().out.startswith("### ✅")
    summary = tmp_path / "summary.md"
    summary.write_text("said before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert main(["check", file, "--max-size-mb", "1", "--markdown", str(summary), "--quiet"]) == 0
    assert summary.read_text().startswith("said before\n### ✅")
    other = tmp_path / "other.md"
    other.write_text("an older report\n")
    assert main(["check", file, "--max-size-mb", "1", "--markdown", str(other), "--quiet"]) == 0
    assert "an older report" not in other.read_text()


def test_a_measurement_that_ctrl_c_cut_short_is_kept(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = check.benchmark

    def cut(*given: Any, **options: Any) -> BenchmarkResult:
        result = real(*given, **options)
        raise check.CutShort(result, "interrupted") from KeyboardInterrupt()

    monkeypatch.setattr(check, "benchmark", cut)
    assert main(["check", script(tmp_path), "--max-latency-ms", "2", "--quiet"]) == 130
    assert len(results(home)) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "no limit is given"),
        (["--max-latency-ms", "0"], "--max-latency-ms"),
        (["--max-size-mb", "1", "--max-regression", "-1"], "--max-regression"),
        (["--max-size-mb", "1", "--threads", "0"], "--threads"),
        (["--max-size-mb", "1", "--retries", "-1"], "--retries"),
        (["--max-size-mb", "1", "--max-seconds", "0"], "--max-seconds"),
        (["--max-size-mb", "1", "--compare-seconds", "0"], "--compare-seconds"),
        (["--max-size-mb", "1", "--markdown", "-", "--json"], "--markdown -"),
        (["--baseline", "nothing"], "no file, artifact or stored result 'nothing'"),
    ],
)
def test_options_that_cannot_be_meant_are_usage_errors(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", script(tmp_path), *options]) == 2
    assert words in capsys.readouterr().err
