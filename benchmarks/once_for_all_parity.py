"""Does a subnet answer the same in the supernet, cut out of it, as an ONNX and as a TFLite file?

Trains supernets on scikit-learn's digits, cuts the smallest, the largest and random subnets, exports
each and compares logits step by step, in their largest absolute difference: the elastic network with the
network cut from it (both normalising by the batch at hand, as the elastic one always does); that network
with its calibrated statistics with the stored program (batch norm folded); the program with each file, run
by its runtime one image at a time. Then the accuracy of each file, on every image of the test split, with
the accuracy that `extract` told. Every command runs as a user would run it.

Folding is exact but for rounding: beside its difference stand the same one in float64, and how far float32
alone takes the unfolded network from what it is in float64.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch

from converters.formats import Converter
from converters.parity import logits_of
from edge_bench import variants
from edge_bench.documents import to_document
from edge_bench.files import Home
from edge_bench.measure.quality import accuracy
from edge_bench.measure.sandbox import predict
from edge_bench.records import ArchConfig, Artifact, Subnet
from edge_bench.store import ResultStore
from supernet.evaluation import calibrated
from supernet.network import folded
from supernet.trained import TrainedRun

SEED = 0
# Beside the smallest and the largest.
RANDOM_SUBNETS = {"smoke": 1, "cpu": 4, "gpu": 8}
FORMATS = ("onnx", "tflite")
RUN_FILE = str(report.ROOT / "examples" / "digits.toml")
# h-swish, squeeze-excite, a stem block and a fully connected layer, at a width that 2 cores afford.
MOBILENET_V3 = 'space={kind = "mobilenet_v3_32", width_multiplier = 0.5}'


@dataclass(frozen=True, kw_only=True)
class Supernet:
    """A supernet to train: what is changed of the example run."""

    name: str
    changes: tuple[str, ...]


def supernets(size: str) -> list[Supernet]:
    """Return which supernets a size trains, and for how long."""
    lite = {"smoke": ("training.epochs=1",), "cpu": ("training.epochs=20",), "gpu": ()}[size]
    trained = [Supernet(name="lite_32", changes=lite)]
    if size != "smoke":
        epochs = {"cpu": 6, "gpu": 40}[size]
        trained.append(
            Supernet(name="mobilenet_v3_32", changes=(MOBILENET_V3, f"training.epochs={epochs}"))
        )
    return trained


def main() -> int:
    options = report.arguments(__doc__)
    rows = []
    for one in supernets(options.size):
        with tempfile.TemporaryDirectory() as folder:
            rows += compared(one, Home(Path(folder)), count=RANDOM_SUBNETS[options.size])
    bars = [
        _bar(rows, "elastic_to_plain", "elastic and cut network", 1e-5),
        _bar(rows, "plain_to_program", "cut network and stored program", 1e-5),
        _bar(rows, "program_to_onnx", "program and ONNX file", 1e-4),
        _bar(rows, "program_to_tflite", "program and TFLite file", 1e-3),
        *(
            report.Bar(
                name=f"test images by which the accuracy of {form} files differs from what extract told",
                floor=0,
                figure=max(row[f"{form}_images_off"] for row in rows),
                unit="images",
                at_most=True,
            )
            for form in FORMATS
        ),
    ]
    if options.size != "smoke":
        fewest = min(Counter(row["supernet"] for row in rows).values())
        bars.append(report.Bar(name="subnets of each supernet", floor=6, figure=fewest, unit="subnets"))
    facts = {"data": "scikit-learn digits", "seed": SEED}
    return report.write("once_for_all_parity", options.size, {"subnets": rows}, bars, **facts)


def compared(supernet: Supernet, home: Home, *, count: int) -> list[dict[str, Any]]:
    """Train, cut and export by the command line; return the differences for each subnet."""
    # On one thread other work on the machine does not slow training down many times over.
    changes = [word for one in (*supernet.changes, "training.threads=1") for word in ("--set", one)]
    run = _command(home, "train", RUN_FILE, *changes)["run"]
    trained = TrainedRun.open(home.runs / run)
    words = [word for arch in _archs(trained, home, count) for word in ("--arch", arch)]
    ids = [row["id"] for row in _command(home, "extract", run, *words)["subnets"]]
    _command(home, "export", *ids, "--format", ",".join(FORMATS))
    with ResultStore(home.store_url) as store:
        subnets = {subnet.id: subnet for subnet in store.subnets()}
        artifacts = {(one.subnet, one.format): one for one in store.artifacts()}
    rows = []
    for identity in ids:
        files = {form: artifacts[identity, form] for form in FORMATS}
        rows.append({"supernet": supernet.name, **differences(trained, subnets[identity], files, home)})
        print(json.dumps(rows[-1]))
    return rows


def differences(
    trained: TrainedRun, subnet: Subnet, files: dict[Any, Artifact], home: Home
) -> dict[str, Any]:
    """Return the largest difference of logits at each step, and of accuracy in images."""
    inputs, labels = trained.task.images.split("test", subnet.arch.resolution)
    program = torch.export.load(home.absolute(subnet.program))
    answers = logits_of(program, inputs.numpy())
    with torch.no_grad():
        trained.network.use(subnet.arch)
        elastic = trained.network(inputs)
        plain = trained.network.materialize(subnet.arch).train()(inputs)
        unfolded = calibrated(trained.network, subnet.arch, trained.task.images)
        calibrated_plain = unfolded(inputs).numpy()
        exact = copy.deepcopy(unfolded).double()
        exact_plain = exact(inputs.double()).numpy()
        exact_folded = folded(exact)(inputs.double()).numpy()
    row: dict[str, Any] = {
        "resolution": subnet.arch.resolution,
        "blocks": len(subnet.arch.blocks),
        "macs": subnet.macs,
        "largest_logit": float(np.abs(answers).max()),
        "elastic_to_plain": float((elastic - plain).abs().max()),
        "plain_to_program": float(np.abs(calibrated_plain - answers).max()),
        # What float32 alone does to the unfolded network, and what folding does without float32.
        "plain_rounding": float(np.abs(calibrated_plain - exact_plain).max()),
        "folding_in_float64": float(np.abs(exact_folded - exact_plain).max()),
    }
    told = subnet.metric("test")
    assert told is not None and told.examples == len(labels)
    row["test_accuracy"] = told.value
    for form, artifact in files.items():
        converter = variants.load(Converter, "converters.formats", form)()
        laid_out = converter.layout(inputs.numpy())
        logits = predict(home.absolute(artifact.file), laid_out, runtime=converter.runtime, batch=1)
        row[f"program_to_{form}"] = float(np.abs(answers - logits).max())
        measured = accuracy(logits, labels.numpy(), split="test")
        assert measured == artifact.metric("test")
        row[f"{form}_images_off"] = round(abs(measured.value - told.value) * len(labels))
    return row


def _archs(trained: TrainedRun, home: Home, count: int) -> list[str]:
    """Return what `--arch` is given: both ends by name, random ones as files."""
    generator = np.random.default_rng(SEED)
    words = ["smallest", "largest"]
    for number in range(count):
        path = home.root / f"arch-{number}.json"
        arch: ArchConfig = trained.space.sample(generator)
        path.write_text(json.dumps(to_document(arch)), encoding="utf-8")
        words.append(str(path))
    return words


def _command(home: Home, *words: str) -> dict[str, Any]:
    ended = report.edge_bench(*words, "--json", "--home", str(home.root))
    if ended.returncode:
        raise SystemExit(f"edge-bench {words[0]} ended with status {ended.returncode}")
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


def _bar(rows: list[dict[str, Any]], key: str, what: str, floor: float) -> report.Bar:
    worst = max(row[key] for row in rows)
    return report.Bar(name=f"{what}, largest difference", floor=floor, figure=worst, unit="", at_most=True)


if __name__ == "__main__":
    raise SystemExit(main())
