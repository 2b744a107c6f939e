"""What is taken away is whole: one set of names, as a folder and as a zip, and a gate of the budget."""

from __future__ import annotations

import io
import json
import shlex
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import candidate

from edge_bench.choose.candidates import candidates, newest_results
from edge_bench.choose.percentiles import at_p90
from edge_bench.choose.pick import pick
from edge_bench.choose.takeaway import Known, Takeaway, gate_line, takeaway
from edge_bench.errors import NoCandidate
from edge_bench.files import Home
from edge_bench.records import (
    Artifact,
    BenchmarkResult,
    Budget,
    Generation,
    SearchSpace,
    Subnet,
    TimingBlock,
)

Make = Callable[..., Subnet]
MakeFile = Callable[..., Artifact]
MakeResult = Callable[..., BenchmarkResult]


@pytest.fixture
def known(lite: SearchSpace, subnet: Make, artifact: MakeFile, result: MakeResult, home: Home) -> Known:
    """One network in both formats and two precisions, its files on the disk; the ONNX file is faster."""
    network = subnet(lite.largest())
    files = [
        artifact(network),
        artifact(network, format="tflite", precision="int8", accuracy=0.87),
        artifact(network, format="tflite"),
    ]
    for file in files:
        path = home.absolute(file.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.id.encode())
    results = [result(files[0], 1.0), result(files[2], 2.0)]
    return Known(subnets=[network], artifacts=files, results=results)


def taken(known: Known, home: Home, budget: Budget | None = None) -> Takeaway:
    pool = candidates(known.subnets, known.artifacts, known.results, [], device="this-machine")
    return takeaway(pick(pool, budget or Budget()), known, locate=home.present)


def test_the_zip_holds_what_the_folder_does_byte_for_byte(known: Known, home: Home, tmp_path: Path) -> None:
    away = taken(known, home, Budget(max_latency_ms=1.5))
    folder = tmp_path / "picked"
    folder.mkdir()
    away.write(folder)
    with zipfile.ZipFile(io.BytesIO(away.zipped())) as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
        modes = {one.filename: one.external_attr >> 16 for one in archive.infolist()}
    assert packed == {path.name: path.read_bytes() for path in folder.iterdir()}
    names = ["model.onnx", "model.tflite", "model_card.md", "run_model.py", "check.sh", "pick.json"]
    assert list(packed) == names == list(away.names)
    assert packed["model.onnx"].decode() == known.artifacts[0].id
    assert packed["model.tflite"].decode() == known.artifacts[2].id, "the one of the same precision"
    assert stat.S_IMODE(modes["check.sh"]) == stat.S_IMODE((folder / "check.sh").stat().st_mode) == 0o755
    assert away.zipped() == away.zipped()


def test_the_card_names_the_other_format_with_its_own_quality(known: Known, home: Home) -> None:
    card = taken(known, home).texts["model_card.md"]
    assert "- `model.tflite`, TFLite fp32, 40.0 kB: 88.00 % on the test split" in card
    assert "## What would change the answer" in card


def test_the_gate_holds_the_file_to_the_budget_and_stands_in_its_script(known: Known, home: Home) -> None:
    away = taken(known, home, Budget(max_latency_ms=1.5, max_size_mb=0.1, max_peak_memory_mb=90))
    limits = "--max-latency-ms 1.5 --max-size-mb 0.1 --max-memory-mb 90"
    assert away.gate == f"edge-bench check model.onnx {limits}"
    assert f"exec {away.gate}\n" in away.texts["check.sh"]
    assert json.loads(away.texts["pick.json"])["candidate"]["chance"] == 1.0


def test_without_a_budget_the_gate_allows_what_was_measured_and_a_fifth(known: Known, home: Home) -> None:
    assert taken(known, home).gate == "edge-bench check model.onnx --max-latency-ms 1.236"


@given(st.floats(0.01, 100), st.floats(0.01, 50), st.integers(1, 100), st.none() | st.floats(0.1, 1e4))
def test_the_gate_of_a_text_model_gives_each_step_its_part(
    token_ms: float, network_ms: float, tokens: int, limit: float | None
) -> None:
    whole = network_ms + tokens * token_ms
    of = Generation(tokens=tokens, network_ms=network_ms, token_ms=token_ms, step="step")
    one = candidate("text", 0.9, whole, latency_low_ms=whole, latency_high_ms=whole, generation=of)
    budget = Budget(max_latency_ms=None if limit is None else whole + limit)
    words = shlex.split(gate_line(pick([one], budget), model="model.onnx", step="step.onnx"))
    assert words[:4] == ["edge-bench", "check", "step.onnx", "--max-latency-ms"]
    allowed = float(words[4])
    assert allowed >= token_ms * 0.99
    if limit is not None:
        assert network_ms + tokens * allowed == pytest.approx(whole + limit, rel=0.01)


def test_a_gate_of_p90_says_so(known: Known, home: Home) -> None:
    pool = candidates(known.subnets, known.artifacts, known.results, [], device="this-machine")
    tails = at_p90(pool, newest_results(known.results, "this-machine"))
    away = takeaway(pick(tails, Budget(max_latency_ms=3)), known, locate=home.present)
    assert "--max-p90-ms 3" in away.gate
    assert "P90 latency 1 ms (1 to 1) on A Processor" in away.texts["model_card.md"]


def test_p90_takes_the_medians_place_where_it_was_measured(known: Known) -> None:
    blocks = tuple(
        TimingBlock(
            latencies_ns=tuple(range(1_000_000 + shift, 1_100_000 + shift, 1000)), counted=True, off_cpu=0
        )
        for shift in range(0, 20_000, 2_000)
    )
    results = [replace(known.results[0], blocks=blocks), known.results[1]]
    theirs = replace(
        known.results[0],
        artifact=known.artifacts[1].id,
        origin="loadgen",
        blocks=(),
        reported={"p90_ms": 7.0},
    )
    pool = candidates(known.subnets, known.artifacts, [*results, theirs], [], device="this-machine")
    found = {one.artifact: one for one in at_p90(pool, newest_results([*results, theirs], "this-machine"))}
    one = found[known.artifacts[0].id]
    assert one.latency_is == "p90"
    assert one.latency_ms == pytest.approx(1.099, abs=0.003)
    assert one.latency_low_ms < one.latency_ms < one.latency_high_ms <= 1.118
    told = found[known.artifacts[1].id]
    assert (told.latency_low_ms, told.latency_ms, told.latency_high_ms) == (7.0, 7.0, 7.0)
    assert all(one.source != "predicted" for one in found.values())


def test_a_file_that_is_gone_is_told(known: Known, home: Home) -> None:
    home.absolute(known.artifacts[0].file).unlink()
    with pytest.raises(NoCandidate, match="is gone: artifacts/"):
        taken(known, home)


def test_only_an_import_takes_along_what_lies_beside_it(
    known: Known, artifact: MakeFile, result: MakeResult, home: Home
) -> None:
    for kept, expected in (
        ("artifacts/abc/theirs.onnx", {"theirs.onnx", "sub/weights.bin"}),
        ("theirs.onnx", {"model.onnx"}),
    ):
        folder = home.absolute(kept).parent
        (folder / "sub").mkdir(parents=True, exist_ok=True)
        home.absolute(kept).write_bytes(b"model")
        (folder / "sub" / "weights.bin").write_bytes(b"weights")
        theirs = replace(known.artifacts[0], id="theirs", name="theirs", subnet=None, file=kept)
        records = Known(subnets=[], artifacts=[theirs], results=[result(theirs, 1.0)])
        assert set(taken(records, home).files) == expected
