"""Our figure beside those of others: rounds that count, programs that took no part."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_bench.cli import main
from edge_bench.errors import BenchmarkError, MissingExtra
from edge_bench.measure import parity as module
from edge_bench.measure.parity import Parity, Turn
from edge_bench.measure.peers import Report
from edge_bench.measure.sandbox import Answer


def turn(p50_ms: float, reason: str = "", said: str = "nothing") -> Turn:
    return Turn(report=Report(p50_ms=p50_ms, runs=10, said=said, version="1"), reason=reason)


def test_ratios_are_of_the_same_round_so_that_drift_cancels() -> None:
    found = Parity(rounds=[{"edge-bench": turn(ms), "loop": turn(1.02 * ms)} for ms in (1, 2, 3, 4, 5, 6)])
    ours, loop = found.figures
    assert (ours.name, ours.ratio.middle) == ("edge-bench", 1.0)
    assert loop.ratio.middle == pytest.approx(1.02) and loop.ratio.low == pytest.approx(1.02)


def test_a_round_in_which_either_was_disturbed_is_left_out_and_counted() -> None:
    found = Parity(
        rounds=[
            {"edge-bench": turn(1.0), "loop": turn(1.0)},
            {"edge-bench": turn(1.0), "loop": turn(9.0, "other work")},
            {"edge-bench": turn(5.0, "other work"), "loop": turn(1.0)},
        ]
    )
    loop = found.figures[1]
    assert (loop.ratio.middle, loop.rounds, loop.rounds_left_out, loop.disturbed) == (1.0, 1, 2, False)
    assert found.figures[0].rounds == 2


def test_where_every_round_was_disturbed_all_count_and_it_is_said() -> None:
    found = Parity(rounds=[{"edge-bench": turn(1.0, "other work"), "loop": turn(2.0)}])
    assert [figure.disturbed for figure in found.figures] == [True, True]


def test_a_peer_that_is_missing_or_fails_is_named_and_asked_once(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def run_job(name: str, job: Mapping[str, Any], *, timeout_s: float) -> Answer:
        if name != "peer":
            return real(name, job, timeout_s=timeout_s)
        asked.append(job["peer"])
        if job["peer"] == "loadgen":
            raise MissingExtra("mlperf_loadgen", "loadgen")
        if job["peer"] == "benchmark_app":
            raise BenchmarkError("benchmark_app ended with status 1: no such operator")
        report = {"p50_ms": 0.01, "runs": 5, "said": "nothing", "version": "1"}
        return Answer({"report": report, "observed": {}}, {})

    real = module.run_job
    monkeypatch.setattr(module, "run_job", run_job)
    arguments = [
        "bench",
        "parity",
        str(tiny_onnx),
        "--rounds",
        "2",
        "--seconds",
        "0.05",
        "--json",
        "--quiet",
    ]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in told["programs"]] == ["edge-bench", "onnxruntime loop"]
    assert told["absent"]["loadgen"] == "not installed: pip install 'edge-bench[loadgen]'"
    assert "no such operator" in told["absent"]["benchmark_app"]
    assert sorted(asked) == ["benchmark_app", "loadgen", "onnxruntime_loop", "onnxruntime_loop"]


def test_a_file_called_parity_is_benched_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("parity").write_text("x", encoding="utf-8")
    assert main(["bench", "./parity"]) == 2
    assert "no runtime reads 'parity'" in capsys.readouterr().err
    assert main(["bench", "parity"]) == 2
    assert "FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--threads", "0"], "--threads"),
        (["--rounds", "0"], "--rounds"),
        (["--seconds", "0"], "--seconds"),
        ([], "no file and no artifact 'x.onnx'"),
    ],
)
def test_options_that_cannot_be_meant_are_usage_errors(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "parity", "x.onnx", *options]) == 2
    assert words in capsys.readouterr().err
