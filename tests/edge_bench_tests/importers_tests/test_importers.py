"""What others measured is read as they told it, marked as theirs, and the same however often it is read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_bench import variants
from edge_bench.cli import main
from edge_bench.errors import ConfigError, DataError
from edge_bench.files import Home
from edge_bench.importers import IMPORTERS, About, Imported, Importer, read_results
from edge_bench.records import BenchmarkResult
from edge_bench.store import ResultStore

LITERT_LOG = """
STARTING!
Num threads: [4]
Graph: [/data/local/tmp/net.tflite]
count=9 first=87112 curr=51629 min=51629 max=87112 avg=58147.4 std=11478
count=1000 first=52162 curr=49785 min=49088 max=686105 avg=6.37432e+04 p5=49620 median=51891 p95=68628
Inference timings in us: Init: 11915, First inference: 87112, Warmup (avg): 5814.4, Inference (avg): 63743.2
"""
LITERT_PROTO = """
latency_metrics {
  init_ms: 3.5
  first_inference_ms: 2.25
  avg_ms: 1.5
  median_ms: 1.25
}
memory_metrics { peak_mem_mb: 12.5 }
misc_metrics { num_runs: 50 }
"""
OPENVINO_CSV = """Command line parameters
-m;net.onnx
-lp;90

Configuration setup
batch size;1
number of parallel infer requests;2

Execution results
read model time (ms);1.5
compile model time (ms);2.5
first inference time (ms);7.0
latency (ms);0.22
avg latency;0.21
min latency;0.10
max latency;4.57
throughput;8747.43
"""
LOADGEN = """================================================
MLPerf Results Summary
================================================
SUT name : mine
Scenario : MultiStream
Mode     : PerformanceOnly
Result is : INVALID
Early Stopping Result:
 * Early stopping 99.0th percentile estimate: 5900000
Min latency (ns)                : 2057588
Mean latency (ns)               : 2262468
50.00 percentile latency (ns)   : 2119610
99.00 percentile latency (ns)   : 5759269
samples_per_query : 4
min_query_count : 100
"""
TINY = (
    "round,division,org,system,benchmark,variant,latency_ms,energy_median_uj_per_inf,top1_pct,auc,soc,framework\n"
    "1.0,closed,maker,board-1,ic,,125.5,2500,87.5,0.98,chip,micro 2.0\n"
    "1.0,closed,maker,board-2,ad,,,,,0.9,chip,micro 2.0\n"
)
TINY_LOG = """00001.000 ulp-mlperf: Performance results for window 2:
00001.000 ulp-mlperf:   Throughput   :        8.001 inf./sec.
00001.000 ulp-mlperf: Median throughput is 8.000 inf./sec.
"""
HUB = (
    "model,component,precision,device,runtime,latency_ms,peak_mem_min_mb,peak_mem_max_mb,compute_unit,qairt\n"
    "net_a,Net-A,float,Phone 1,tflite,1.5,0,33,NPU,2.4\n"
    "net_a,Decoder,w8a8,Phone 2,qnn_dlc,0.5,0,,NPU,2.4\n"
)
HUB_YAML = """
precisions:
  w8a16:
    components:
      Net-A:
        performance_metrics:
          Phone 1:
            tflite:
              inference_time_milliseconds: 2.615
              estimated_peak_memory_range_mb: {min: 0, max: 127}
              primary_compute_unit: NPU
              tool_versions: {tflite: 2.17.0}
            onnx:
              inference_time_milliseconds: null
"""
LITERT_JSON = json.dumps(
    {
        "model": "C:\\models\\net.tflite",
        "accelerators": ["CPU"],
        "fully_accelerated": True,
        "num_threads": 2,
        "latency": {
            "init_ms": 15.85,
            "warmup_first_ms": 0.37,
            "avg_ms": 1.61,
            "median_ms": 0.26,
            "p95_ms": 11.35,
            "num_runs": 30,
        },
    }
)
ALL = {
    "litert": LITERT_JSON,
    "openvino": OPENVINO_CSV,
    "loadgen": LOADGEN,
    "mlperf_tiny": TINY,
    "ai_hub": HUB,
}


def read(folder: Path, text: str, **named: Any) -> Sequence[BenchmarkResult]:
    return imported(folder, text, **named).results


def imported(folder: Path, text: str, *, name: str = "report.txt", **about: Any) -> Imported:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    about.setdefault("device", "phone")
    return read_results(path, source=None, about=About(**about))


def test_every_importer_is_tried_here() -> None:
    assert set(variants.names(IMPORTERS)) == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_a_report_is_told_by_its_content_and_by_one_importer_alone(name: str, tmp_path: Path) -> None:
    knowing = [one for one in ALL if variants.load(Importer, IMPORTERS, one)().recognises(ALL[name])]
    assert knowing == [name]


@pytest.mark.parametrize("name", ALL)
def test_what_others_measured_never_passes_for_ours(name: str, tmp_path: Path) -> None:
    for result in read(tmp_path, ALL[name]):
        assert not result.measured_here
        assert result.origin == variants.load(Importer, IMPORTERS, name).origin
        assert result.latencies_ms == () and result.p50_low_ms is result.p50_high_ms is None
        assert result.verdict == "inconclusive" and "elsewhere" in result.verdict_cause
        assert result.p50_ms > 0


@pytest.mark.parametrize("name", ALL)
def test_the_same_report_is_the_same_import_and_another_is_another(name: str, tmp_path: Path) -> None:
    once, again = read(tmp_path / "a", ALL[name]), read(tmp_path / "b", ALL[name])
    assert [one.id for one in once] == [one.id for one in again]
    elsewhere = read(tmp_path, ALL[name], device="tablet")
    assert not {one.id for one in once} & {one.id for one in elsewhere}


def test_litert_benchmark_json_is_read_as_it_is_written(tmp_path: Path) -> None:
    [one] = read(tmp_path, LITERT_JSON)
    assert (one.model, one.format, one.runtime, one.threads) == ("net.tflite", "tflite", "litert", 2)
    assert one.reported == {"p50_ms": 0.26, "mean_ms": 1.61, "p95_ms": 11.35}
    assert (one.p50_ms, one.p50_is, one.p95_ms, one.p99_ms) == (0.26, "median", 11.35, None)
    assert (one.load_ms, one.first_ms, one.precision) == (15.85, 0.37, None)


def test_benchmark_model_logs_are_read_in_microseconds_and_without_the_warm_up(tmp_path: Path) -> None:
    [one] = read(tmp_path, LITERT_LOG)
    assert (one.model, one.threads, one.load_ms, one.first_ms) == ("net.tflite", 4, 11.915, 87.112)
    assert one.reported["p50_ms"] == 51.891 and one.reported["mean_ms"] == pytest.approx(63.7432)
    assert one.reported["max_ms"] == 686.105


def test_benchmark_model_protocol_buffers_are_read_as_text(tmp_path: Path) -> None:
    [one] = read(tmp_path, LITERT_PROTO, name="net.pbtxt")
    assert (one.model, one.p50_ms, one.load_ms, one.peak_memory_mb) == ("net", 1.25, 3.5, 12.5)


def test_openvino_names_its_percentile_and_requests_at_once_are_not_one_at_a_time(tmp_path: Path) -> None:
    [one] = read(tmp_path, OPENVINO_CSV)
    assert one.reported == {"p90_ms": 0.22, "mean_ms": 0.21, "min_ms": 0.1, "max_ms": 4.57}
    assert (one.p50_ms, one.p50_is, one.p90_ms) == (0.21, "mean", 0.22)
    assert (one.load_ms, one.first_ms, one.batch) == (4.0, 7.0, 1)
    assert not one.plain, "two requests were in flight"
    [alone] = read(tmp_path, OPENVINO_CSV.replace("infer requests;2", "infer requests;1"))
    assert alone.plain


def test_loadgen_keeps_its_scenario_and_whether_it_was_valid(tmp_path: Path) -> None:
    [one] = read(tmp_path, LOADGEN)
    assert (one.scenario, one.samples_per_query, one.batch) == ("multi_stream", 4, None)
    assert one.p50_ms == 2.11961 and one.p99_ms == 5.759269 and one.p99_bound_ms == 5.9
    assert one.environment["result_is"] == "INVALID" and not one.plain


def test_mlperf_tiny_rows_become_results_and_rows_without_a_latency_are_named(tmp_path: Path) -> None:
    told = imported(tmp_path, TINY, device=None)
    [one], [other] = told.results, told.unread
    assert other.kind == "without_latency" and other.where == "line 3"
    assert other.why == "latency_ms is empty (maker, board-2, ad)"
    assert (one.device, one.model, one.runtime) == ("maker board-1", "ic", "micro 2.0")
    assert one.reported == {"mean_ms": 125.5, "energy_uj": 2500} and one.p50_is == "mean"
    accuracy, auc = one.metrics
    assert (accuracy.value, accuracy.examples, auc.value) == (0.875, 200, 0.98)


def test_an_mlperf_tiny_log_takes_its_names_from_the_submissions_folders(tmp_path: Path) -> None:
    [one] = read(tmp_path, TINY_LOG, name="board/kws/performance/results.txt", device=None)
    assert (one.device, one.model, one.p50_ms) == ("board", "kws", 125.0)


def test_ai_hub_figures_are_not_called_a_median(tmp_path: Path) -> None:
    first, second = read(tmp_path, HUB, device=None)
    assert (first.model, first.device, first.p50_ms, first.p50_is) == (
        "net_a",
        "Phone 1",
        1.5,
        "one figure",
    )
    assert (first.precision, first.batch, first.threads, first.peak_memory_mb) == (None, None, None, 33.0)
    assert (second.model, second.precision, second.peak_memory_mb) == ("net_a/Decoder", "int8", None)
    assert not first.plain


def test_ai_hub_yaml_is_read_as_it_is_published(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    told = imported(tmp_path, HUB_YAML, name="net_a/perf.yaml", device=None)
    [one], [other] = told.results, told.unread
    assert (other.kind, other.where) == ("without_latency", "w8a16, Net-A, Phone 1, onnx")
    assert (one.model, one.device, one.runtime, one.p50_ms) == ("net_a", "Phone 1", "tflite", 2.615)
    assert (one.precision, one.peak_memory_mb, one.runtime_version) == ("mixed", 127.0, "tflite=2.17.0")


MALFORMED = {
    "a word for a number": ("net_b,B,float,Phone 1,tflite,fast,0,33,NPU,2.4", "latency_ms is 'fast'"),
    "a peak that is no number": (
        "net_b,B,float,Phone 1,tflite,2,0,nan,NPU,2.4",
        "peak_mem_max_mb is 'nan'",
    ),
    "too short": ("net_b,B,float", "it has 3 values; the header names 10"),
    "too long": (
        "net_b,B,float,Phone 1,tflite,2,0,33,NPU,2.4,x,y",
        "it has 12 values; the header names 10",
    ),
    "no device": ("net_b,B,float,,tflite,2,0,33,NPU,2.4", "device is empty"),
    "a field beyond all bounds": ("x" * 200_000, "field larger than field limit"),
}


@pytest.mark.parametrize("row, why", MALFORMED.values(), ids=list(MALFORMED))
def test_a_malformed_row_is_named_and_the_others_are_imported(row: str, why: str, tmp_path: Path) -> None:
    header, first, second = HUB.splitlines()
    told = imported(tmp_path, f"{header}\n{first}\n{row}\n{second}\n", device=None)
    assert [one.model for one in told.results] == ["net_a", "net_a/Decoder"]
    [unread] = told.unread
    assert (unread.kind, unread.where) == ("malformed", "line 3") and why in unread.why


def test_a_quote_that_never_ends_names_every_line_it_swallows(tmp_path: Path) -> None:
    header, first, second = HUB.splitlines()
    told = imported(tmp_path, f'{header}\n{first}\n"net_b,B\n{second}\n{second}\n', device=None)
    [unread] = told.unread
    assert len(told.results) == 1 and unread.where == "lines 3 to 5"


def test_a_malformed_job_of_a_published_yaml_leaves_the_others(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    told = imported(tmp_path, HUB_YAML.replace("null", "[1, 2]"), name="net_a/perf.yaml", device=None)
    assert len(told.results) == 1
    assert [(one.kind, one.where) for one in told.unread] == [("malformed", "w8a16, Net-A, Phone 1, onnx")]


def test_a_repeated_row_is_one_result_and_is_named(tmp_path: Path) -> None:
    told = imported(tmp_path, HUB + HUB.splitlines()[1] + "\n", device=None)
    assert len(told.results) == 2
    assert [(one.kind, one.where) for one in told.unread] == [("repeated", "line 4")]


def test_the_command_counts_and_names_what_it_could_not_read(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "hub.csv"
    report.write_text(HUB + "torn\n" * 7 + "net_c,C,float,Phone 1,tflite,,0,33,NPU,2.4\n")
    assert main(["results", "import", str(report)]) == 0
    said = capsys.readouterr().out
    assert "warning: 7 rows not read:" in said and "  line 4: it has 1 values" in said
    assert "… and 2 more; --json names all" in said and "warning: 1 row without a latency:" in said
    assert main(["results", "import", str(report), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    counts = {kind: told[kind] for kind in ("malformed", "without_latency", "repeated")}
    assert counts == {"malformed": 7, "without_latency": 1, "repeated": 0}
    assert len(told["unread"]) == 8 and told["unread"][6]["where"] == "line 10"


def test_one_model_is_compared_across_devices_the_fastest_first(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "hub.csv"
    report.write_text(
        HUB + "net_a,Net-A,float,Phone 2,tflite,0.9,0,33,NPU,2.4\nnet_b,Net-B,float,P,onnx,1,0,3,NPU,2\n"
    )
    assert main(["results", "import", str(report), "--quiet"]) == 0
    capsys.readouterr()
    assert main(["results", "list", "--model", "NET_A"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "ai-hub" in line]
    assert [(row[0], row[-2], row[-1]) for row in rows] == [
        ("net_a", "Phone", "2"),
        ("net_a", "Phone", "1"),
        ("net_a/Decoder", "Phone", "2"),
    ]
    assert main(["results", "list", "--model", "net_q"]) == 2
    assert "no result is of a model 'net_q'. Did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no report that is known"),
        ("hello", "Known: ai-hub, litert, loadgen, mlperf-tiny, openvino"),
        (
            HUB.replace("1.5", "fast").replace(",0.5,", ",0,"),
            "line 2: latency_ms is 'fast'; a number is expected, and 1 more row",
        ),
        (TINY.replace("125.5", "-1"), "line 2: latency_ms is '-1'; a number of 0 or more is expected"),
        (LOADGEN.replace("PerformanceOnly", "AccuracyOnly"), "only PerformanceOnly tells latencies"),
        (LITERT_JSON.replace("1.61", "NaN"), "avg_ms is nan; a number of 0 or more"),
        (TINY.splitlines()[0] + "\n", "holds no result"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told.replace("(", r"\(")):
        read(tmp_path, text)


def test_a_report_that_names_no_device_asks_for_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not say on which device") as told:
        read(tmp_path, LITERT_JSON, device=None)
    assert told.value.hint == "name it: --device NAME"


def test_bytes_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00\x80")
    for path in (tmp_path / "bytes", tmp_path, tmp_path / "nothing"):
        with pytest.raises(DataError, match="expected|no file"):
            read_results(path, source=None, about=About(device="phone"))


def test_the_command_stores_once_and_lists_what_is_not_ours(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "hub.csv"
    report.write_text(HUB)
    for new in (2, 0):
        assert main(["results", "import", str(report), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["new"] == new
    assert main(["results", "list"]) == 0
    listed = capsys.readouterr().out
    assert listed.count("ai-hub") == 2 and listed.count("inconclusive") == 2
    assert "1.5 (one figure)" in listed
    for ending in ("csv", "jsonl", "parquet"):
        assert main(["results", "export", str(tmp_path / f"out.{ending}")]) == 0
    assert '"origin": "ai-hub"' in (tmp_path / "out.jsonl").read_text()
    with ResultStore(home.store_url) as store:
        assert [one.device for one in store.results()] == ["Phone 1", "Phone 2"]


def test_a_wrong_source_an_absent_model_and_a_misplaced_option_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "hub.csv"
    report.write_text(HUB)
    for arguments, told in (
        (["import"], "results import needs a file"),
        (["import", str(report), "--from", "loadgen"], "not a report of loadgen"),
        (["import", str(report), "--model", "absent"], "no file and no artifact 'absent'"),
        (["import", str(report), "--model", str(report)], "speaks of several models"),
        (["list", "--from", "ai-hub"], "belongs to results import"),
        (["list", "--model", "x", "--kind", "subnet"], "--model narrows results"),
    ):
        assert main(["results", *arguments]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.slow
def test_litert_benchmark_itself_is_understood(tiny_tflite: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert.tools.benchmark_litert_model")
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "ai_edge_litert.tools.benchmark_litert_model"]
    command += ["--model", str(tiny_tflite), "--num_runs", "20", "--result_json", str(report)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    # A network this small may take 0.00 ms by that program's two digits; then there is nothing to read.
    told = json.loads(report.read_text())
    told["latency"] |= {"median_ms": 0.01, "avg_ms": 0.01}
    [one] = read(tmp_path, json.dumps(told))
    assert (one.model, one.origin) == ("tiny.tflite", "litert-benchmark")


@pytest.mark.slow
def test_loadgen_itself_is_understood(tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen")
    script = (
        "import sys, mlperf_loadgen as lg\n"
        "done = lambda qs: lg.QuerySamplesComplete([lg.QuerySampleResponse(q.id, 0, 0) for q in qs])\n"
        "s = lg.TestSettings(); s.scenario = lg.TestScenario.SingleStream\n"
        "s.mode = lg.TestMode.PerformanceOnly; s.min_duration_ms = 50; s.min_query_count = 100\n"
        "out = lg.LogOutputSettings(); out.outdir = sys.argv[1]\n"
        "log = lg.LogSettings(); log.log_output = out\n"
        "sut = lg.ConstructSUT(done, lambda: None)\n"
        "qsl = lg.ConstructQSL(10, 10, lambda s: None, lambda s: None)\n"
        "lg.StartTestWithLogSettings(sut, qsl, s, log)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True, timeout=120
    )
    summary = (tmp_path / "mlperf_log_summary.txt").read_text()
    [one] = read(tmp_path, summary, name="summary.txt")
    assert (one.scenario, one.batch, one.plain) == ("single_stream", 1, True)
    assert 0 < one.reported["min_ms"] <= one.p50_ms <= one.reported["max_ms"]


@pytest.mark.slow
def test_benchmark_app_itself_is_understood(tiny_onnx: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    start = "from openvino.tools.benchmark.main import main; main()"
    command = [
        sys.executable,
        "-c",
        start,
        "-m",
        str(tiny_onnx),
        "-data_shape",
        "[1,4]",
        "-niter",
        "50",
        "-api",
        "sync",
    ]
    command += ["-hint", "none", "-nthreads", "1", "-nstreams", "1", "-json_stats"]
    command += ["-report_type", "no_counters", "-report_folder", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    told = json.loads((tmp_path / "benchmark_report.json").read_text())
    for name in ("latency (ms)", "avg latency", "min latency", "max latency"):
        # Two digits of a millisecond are none for a network this small.
        told["execution_results"][name] = "0.01"
    [one] = read(tmp_path, json.dumps(told))
    assert (one.model, one.threads, one.origin) == ("tiny.onnx", 1, "openvino benchmark_app")


def test_the_prepared_tables_are_read_whole(shared_data: Path) -> None:
    for name, count in (
        ("mlperf_tiny_results/results.csv", 300),
        ("qualcomm_aihub_latency/latency.csv", 5553),
    ):
        if not (shared_data / name).is_file():
            pytest.skip(f"no {name}")
        told = read_results(shared_data / name, source=None, about=About())
        assert len(told.results) == count == len({one.id for one in told.results})
        assert not told.unread
