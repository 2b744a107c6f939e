"""Does the main job reach its figures, from an empty home folder, with one command?

Runs `edge-bench quickstart --json` as a user would. "cpu" and "gpu" train as shipped and hold every
figure to its bar; "smoke" trains for one epoch and holds only what does not depend on training. Nothing is
tuned on the test split: the pick is made on the selection split.
"""

from __future__ import annotations

import json
import tempfile
import time
from typing import Any

import report

SMOKE = ("--set", "training.epochs=1")


def main() -> int:
    options = report.arguments(__doc__)
    with tempfile.TemporaryDirectory() as home:
        changes = SMOKE if options.size == "smoke" else ()
        ended = report.edge_bench("quickstart", "--json", "--home", home, *changes)
    if ended.returncode:
        print(f"quickstart ended with status {ended.returncode}")
        return 1
    document = json.loads(ended.stdout)
    bars = [_help(), *_of_every_run(document)]
    if options.size != "smoke":
        bars += _of_a_trained_run(document)
    kept = ("front", "fit", "pick", "budget_ms", "seconds", "step_seconds", "peak_memory_mb")
    figures = {key: document[key] for key in (*kept, "subnets", "artifacts")}
    figures["pick"] = {key: figures["pick"][key] for key in ("candidate", "alternatives")}
    return report.write("quickstart", options.size, figures, bars, data="scikit-learn digits", seed=0)


def _help() -> report.Bar:
    """Return how long `--help` takes: the least of several, since other work only adds to it."""
    seconds = []
    for _ in range(7):
        begun = time.perf_counter()
        report.edge_bench("--help")
        seconds.append(time.perf_counter() - begun)
    return report.Bar(name="edge-bench --help", floor=0.5, figure=min(seconds), unit="s", at_most=True)


def _of_every_run(document: dict[str, Any]) -> list[report.Bar]:
    artifacts = document["artifacts"]
    fp32 = {(one["subnet"], one["format"]) for one in artifacts if one["precision"] == "fp32"}
    both = [one for one in document["subnets"] if {(one["id"], "onnx"), (one["id"], "tflite")} <= fp32]
    subnet = document["pick"]["candidate"]["subnet"]
    int8 = [one for one in artifacts if one["precision"] == "int8" and one["subnet"] == subnet]
    return [
        report.Bar(
            name="time, install apart", floor=480, figure=document["seconds"], unit="s", at_most=True
        ),
        report.Bar(
            name="peak memory, all processes",
            floor=1500,
            figure=document["peak_memory_mb"],
            unit="MB",
            at_most=True,
        ),
        report.Bar(name="subnets in ONNX and TFLite fp32", floor=12, figure=len(both), unit="subnets"),
        report.Bar(name="int8 files of the picked subnet", floor=2, figure=len(int8), unit="files"),
        _parity(artifacts, "onnx", 1e-4),
        _parity(artifacts, "tflite", 1e-3),
        report.Bar(
            name="batch sizes that parity was checked at",
            floor=2,
            figure=min(len(one["parity_batch_sizes"]) for one in artifacts),
            unit="sizes",
        ),
    ]


def _parity(artifacts: list[dict[str, Any]], form: str, floor: float) -> report.Bar:
    worst = max(one["parity"] for one in artifacts if (one["format"], one["precision"]) == (form, "fp32"))
    return report.Bar(
        name=f"parity of {form} fp32, worst file", floor=floor, figure=worst, unit="logit", at_most=True
    )


def _of_a_trained_run(document: dict[str, Any]) -> list[report.Bar]:
    picked = document["pick"]["candidate"]
    by_kind = {
        (one["format"], one["precision"]): one["test_accuracy"]
        for one in document["artifacts"]
        if one["subnet"] == picked["subnet"]
    }
    worst_twin = max(
        by_kind[form, "fp32"] - by_kind[form, "int8"]
        for form in ("onnx", "tflite")
        if (form, "int8") in by_kind
    )
    bars = [
        report.Bar(
            name="picked file, accuracy on test",
            floor=0.98,
            figure=picked["test_metric"]["value"],
            unit="share",
        ),
        report.Bar(
            name="int8 twin, accuracy lost on test, worse format",
            floor=0.01,
            figure=worst_twin,
            unit="share",
            at_most=True,
        ),
        report.Bar(
            name="measured front, accuracy",
            floor=2,
            figure=document["front"]["accuracy_points"],
            unit="points",
        ),
        report.Bar(
            name="measured front, latency",
            floor=4,
            figure=document["front"]["latency_ratio"],
            unit="times",
        ),
    ]
    for one in document["fit"]["predictors"]:
        runtime = one["runtime"]
        bars += [
            report.Bar(
                name=f"predictor {runtime}, Spearman", floor=0.97, figure=one["spearman"], unit="rank"
            ),
            report.Bar(
                name=f"predictor {runtime}, within ±10 %",
                floor=0.9,
                figure=one["within_10_percent"],
                unit="share",
            ),
            report.Bar(
                name=f"predictor {runtime}, MAPE",
                floor=0.05,
                figure=one["mape"],
                unit="share",
                at_most=True,
            ),
            report.Bar(
                name=f"predictor {runtime}, MAPE against a line through MACs",
                floor=one["baseline"]["mape"],
                figure=one["mape"],
                unit="share",
                at_most=True,
            ),
        ]
    return bars


if __name__ == "__main__":
    raise SystemExit(main())
