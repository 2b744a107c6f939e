"""Every file in `measure/peers`: it measures a tiny model in the sandbox, or names what it misses."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_bench import variants
from edge_bench.documents import from_document, to_document
from edge_bench.errors import BenchmarkError, MissingExtra
from edge_bench.measure.peers import PEERS, Assignment, Report
from edge_bench.measure.sandbox import describe, run_job

OURS = {"onnx": "onnxruntime", "tflite": "litert"}


def measured(peer: str, model: Path) -> Report:
    inputs, _ = describe(model, runtime=OURS[model.suffix[1:]])
    assignment = Assignment(model=str(model), threads=1, seconds=0.1, runs=50, inputs=inputs)
    job = {"peer": peer, "threads": 1, "assignment": to_document(assignment)}
    try:
        told = run_job("peer", job, timeout_s=300).document
    except MissingExtra as error:
        pytest.skip(error.message)
    return from_document(Report, told["report"], where="report")


@pytest.mark.parametrize("peer", variants.names(PEERS))
@pytest.mark.parametrize("ending", ["onnx", "tflite"])
def test_a_peer_measures_what_it_reads(peer: str, ending: str, tiny_onnx: Path, tiny_tflite: Path) -> None:
    if ending not in variants.stated(PEERS, peer, "formats"):
        pytest.skip(f"{peer} reads no .{ending}")
    report = measured(peer, {"onnx": tiny_onnx, "tflite": tiny_tflite}[ending])
    # A file of some hundred bytes may well take less than the step that a peer rounds to.
    assert 0 <= report.p50_ms < 100
    assert report.runs > 0 and report.said and report.version
    assert report.p50_ms > 0 or report.resolution_ms > 0


@pytest.mark.parametrize("peer", variants.names(PEERS))
def test_a_peer_that_refuses_a_file_is_an_error_and_no_number(peer: str, tmp_path: Path) -> None:
    ending = variants.stated(PEERS, peer, "formats")[0]
    broken = tmp_path / f"broken.{ending}"
    broken.write_bytes(b"no model")
    assignment = Assignment(model=str(broken), threads=1, seconds=0.1, runs=5, inputs=())
    job = {"peer": peer, "threads": 1, "assignment": to_document(assignment)}
    with pytest.raises(BenchmarkError):
        try:
            run_job("peer", job, timeout_s=300)
        except MissingExtra as error:
            pytest.skip(error.message)
