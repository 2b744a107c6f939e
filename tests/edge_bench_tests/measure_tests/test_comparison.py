"""Two models in turns, on scripts whose truth is known, and the command around it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_bench.cli import main
from edge_bench.commands import Context
from edge_bench.commands.compare import told
from edge_bench.errors import ConfigError, ModelCrashed
from edge_bench.files import Home
from edge_bench.measure.comparison import Comparison, ComparisonPlan, Side, compare
from edge_bench.measure.ratios import Ratio
from edge_bench.measure.sandbox import conversation
from edge_bench.store import ResultStore

# As short as a comparison can be that has an interval.
SHORT = ComparisonPlan(min_launches=6, rounds=2, max_seconds=300)


def script(folder: Path, name: str, **document: Any) -> Side:
    file = folder / f"{name}.scripted"
    file.write_text(json.dumps(document), encoding="utf-8")
    return Side(model=file, runtime="scripted")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A model of 1.00 ms and one of 1.05 ms, every latency exactly so."""
    folder = tmp_path_factory.mktemp("compared")
    a, b = script(folder, "old", latencies_ms=[1.0]), script(folder, "new", latencies_ms=[1.05])
    return compare(a, b, home=Home(folder / "home"), plan=SHORT)


def test_known_latencies_give_the_known_ratio_and_answer(compared: Comparison) -> None:
    assert compared.answer == "slower"
    assert compared.ratio.low == compared.ratio.high == pytest.approx(1.05)
    assert (compared.p50_a_ms, compared.p50_b_ms) == (1.0, 1.05)
    assert (compared.verdict, len(compared.launches), compared.rounds) == ("clean", 6, 12)
    assert "the interval of the ratio is within" in compared.stopped_by


def test_models_go_first_equally_often(compared: Comparison) -> None:
    order = [one.a_first for launch in compared.launches for one in launch.rounds]
    assert order.count(True) == order.count(False)
    assert all(first != second for first, second in zip(order[::2], order[1::2], strict=True))


def test_every_raw_block_is_kept(compared: Comparison) -> None:
    blocks = [block for launch in compared.launches for one in launch.rounds for block in (one.a, one.b)]
    assert len(blocks) == 24
    assert {len(block.latencies_ns) for block in blocks} == {19, 20}


def test_a_crash_is_laid_on_the_model_that_crashed(tmp_path: Path, home: Home) -> None:
    a = script(tmp_path, "fine", latencies_ms=[1.0])
    b = script(tmp_path, "bad", latencies_ms=[1.0], crash="SIGABRT")
    for one, other in ((a, b), (b, a)):
        with pytest.raises(ModelCrashed, match=r"'bad\.scripted': .*SIGABRT"):
            compare(one, other, home=home, plan=SHORT)


def test_a_model_that_dies_between_turns_is_named(tmp_path: Path, home: Home) -> None:
    a = script(tmp_path, "fine", latencies_ms=[1.0])
    b = script(tmp_path, "dies", latencies_ms=[1.0], crash="SIGSEGV", crash_at=150)
    with pytest.raises(ModelCrashed, match=r"'dies\.scripted': .*SIGSEGV"):
        compare(a, b, home=home, plan=replace(SHORT, rounds=8))


def test_an_interrupted_comparison_compares_what_there_is(tmp_path: Path, home: Home) -> None:
    a, b = script(tmp_path, "a", latencies_ms=[2.0]), script(tmp_path, "b", latencies_ms=[1.0])

    def interrupt(launches: int, ratio: Ratio) -> None:
        if launches == 2:
            raise KeyboardInterrupt

    found = compare(a, b, home=home, plan=SHORT, heard=interrupt)
    assert found.interrupted and len(found.launches) == 2
    assert found.ratio.middle == pytest.approx(0.5) and found.ratio.low is None
    assert found.answer == "no difference seen", "two launches hold no interval"


def test_polluted_rounds_are_measured_again_and_kept(tmp_path: Path, home: Home) -> None:
    # Blocks are of 20 runs of 1 ms: about every third of them holds 10 runs that were off the CPU.
    off_cpu = [0.0] * 60 + [0.5] * 10
    a, b = (
        script(tmp_path, "a", latencies_ms=[1.0], off_cpu=off_cpu),
        script(tmp_path, "b", latencies_ms=[1.0]),
    )
    found = compare(a, b, home=home, plan=replace(SHORT, rounds=6))
    assert found.rounds_left_out > 0
    assert all(len(launch.counted) == 6 for launch in found.launches)
    left_out = [one for launch in found.launches for one in launch.rounds if not one.counted]
    assert all("off the CPU" in one.a.reason for one in left_out)
    assert found.verdict == "clean"


def test_where_every_round_is_polluted_some_are_counted_and_the_verdict_is_noisy(
    tmp_path: Path, home: Home
) -> None:
    side = script(tmp_path, "a", latencies_ms=[1.0], off_cpu=[0.5])
    found = compare(side, side, home=home, plan=SHORT)
    assert found.verdict == "noisy"
    assert found.rounds == 6 * 3


def test_a_model_that_does_not_answer_in_time_is_stopped(tmp_path: Path) -> None:
    side = script(tmp_path, "hangs", latencies_ms=[1.0], hang_seconds=60)
    job = {"runtime": "scripted", "model": str(side.model), "batch": 1, "threads": 1}
    with conversation("turns", job, timeout_s=60) as talk:
        with pytest.raises(ModelCrashed, match=r"within 0\.2 s"):
            talk.ask({"block_ms": 20, "warmup_ms": 1}, timeout_s=0.2)


def test_a_file_that_is_no_model_is_refused_before_anything_runs(tmp_path: Path, home: Home) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        compare(
            script(tmp_path, "a", latencies_ms=[1.0]),
            Side(model=tmp_path / "none.onnx", runtime="onnxruntime"),
            home=home,
            plan=SHORT,
        )


def test_the_command_prints_one_document_with_both_models_and_stores_nothing(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = script(tmp_path, "a", latencies_ms=[2.0]), script(tmp_path, "b", latencies_ms=[1.0])
    assert main(["compare", str(a.model), str(b.model), "--json", "--quiet", "--max-seconds", "300"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["answer"], said["a"]["model"], said["b"]["model"]) == (
        "faster",
        "a.scripted",
        "b.scripted",
    )
    assert said["ratio_low"] == pytest.approx(0.5) and said["rounds_left_out"] == 0
    assert said["launches"][0]["rounds"][0]["a"]["latencies_ns"][0] == 2_000_000
    with ResultStore(home.store_url) as store:
        assert store.results() == []


def test_a_difference_within_the_margin_is_none(compared: Comparison) -> None:
    assert told(compared).startswith("new.scripted is slower than old.scripted")
    tiny = Ratio(middle=1.005, low=1.003, high=1.007)
    said = told(replace(compared, ratio=tiny, answer=tiny.answer(0.01)))
    assert (
        "no difference seen between old.scripted and new.scripted: if there is one, it is below 1.0%"
        in said
    )
    few = Ratio(middle=0.5, low=None, high=None)
    assert told(replace(compared, ratio=few)).startswith("too few launches to say")
    wide = replace(tiny, high=1.07)
    assert "if there is one" not in told(replace(compared, ratio=wide, answer=wide.answer(0.01)))


def test_ctrl_c_ends_the_command_with_130_and_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: Context, text: str) -> None:
        if "launch 1" in text:
            raise KeyboardInterrupt

    monkeypatch.setattr(Context, "say", interrupt)
    side = script(tmp_path, "a", latencies_ms=[1.0])
    assert main(["compare", str(side.model), str(side.model), "--json"]) == 130
    said = json.loads(capsys.readouterr().out)
    assert said["interrupted"] and said["ratio_low"] is None and said["rounds"] >= 1
    assert said["answer"] is None, "one launch says nothing"


def test_too_little_time_for_an_interval_is_status_4_with_the_seconds_that_would_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    side = script(tmp_path, "a", latencies_ms=[1.0])
    assert main(["compare", str(side.model), str(side.model), "--quiet", "--max-seconds", "0.01"]) == 4
    said = capsys.readouterr().err
    assert "6 are needed" in said and "--max-seconds" in said


def test_threads_and_runtimes_may_differ_between_two_runs_of_one_file(
    tiny_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", str(tiny_onnx), str(tiny_onnx), "--threads", "1,2", "--max-seconds", "1"]
    assert main([*arguments, "--runtime", "onnxruntime", "--json", "--quiet"]) in (0, 4)
    said = json.loads(capsys.readouterr().out)
    assert "error" in said or [said[end]["threads"] for end in "ab"] == [1, 2]


@pytest.mark.slow
def test_the_self_test_tells_the_rate_with_an_interval(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(
        ["compare", "--self-test", "--trials", "1", "--max-seconds", "60", "--json", "--quiet"]
    ) in (0, 3)
    said = json.loads(capsys.readouterr().out)
    assert (said["model"], said["trials"]) == ("sines.scripted", 1)
    assert said["false_alarms"] in (0, 1)
    assert said["rate_low"] <= said["false_alarm_rate"] <= said["rate_high"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "compare takes two models, 0 given"),
        (["a.onnx"], "compare takes two models, 1 given"),
        (["a.onnx", "b.onnx"], "no file and no artifact 'a.onnx'"),
        (["--self-test", "a.onnx", "b.onnx"], "one model at most"),
        (["--self-test", "--trials", "0"], "--trials"),
        (["--self-test", "--threads", "0"], "--threads"),
        (["--self-test", "--threads", "1,2,3"], "one each"),
        (["--self-test", "--threads", "one"], "one each"),
        (["a.onnx", "b.onnx", "--precision", "0"], "--precision"),
        (["a.onnx", "b.onnx", "--margin", "-1"], "--margin"),
        (["a.onnx", "b.onnx", "--max-seconds", "0"], "--max-seconds"),
    ],
)
def test_options_that_cannot_be_meant_are_usage_errors(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *options]) == 2
    assert words in capsys.readouterr().err
