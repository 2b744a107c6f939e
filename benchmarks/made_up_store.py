"""A store of any size, for benchmarks of what reads it: made-up networks, files and results."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edge_bench.choose.candidates import RUNTIMES
from edge_bench.choose.features import features
from edge_bench.choose.fitting import fit_predictor
from edge_bench.choose.memory import fit_memory, footprint
from edge_bench.files import Home
from edge_bench.records import (
    THIS_MACHINE,
    ArchConfig,
    Artifact,
    BenchmarkResult,
    FittedPredictor,
    Metric,
    Preprocessing,
    SearchSpace,
    Subnet,
    TensorSpec,
    TimingBlock,
)
from edge_bench.records.artifact import Format, Precision
from edge_bench.records.subnet import Split
from edge_bench.store import Record, ResultStore
from supernet.spaces.lite_32 import LiteAt32

CREATED = "2026-01-01T00:00:00+00:00"
# A network is a candidate in two formats; one that has files, both in fp32 and int8, is four.
NETWORKS, WITH_FILES_EVERY = 0.4, 4
LATENCIES = 100
FITTED, HELD_OUT = 60, 20
CHUNK = 4_000


def fill(home: Home, candidates: int, *, seed: int = 0) -> int:
    """Write records that make about `candidates` candidates into an empty store, and return how many."""
    space = LiteAt32(stem_stride=2).build(input_channels=1, classes=10)
    generator = np.random.default_rng(seed)
    written = 0
    with ResultStore(home.store_url) as store:
        waiting: list[Record] = [_predictor(space, form, generator) for form in RUNTIMES]
        for record in _records(space, round(NETWORKS * candidates), generator):
            waiting.append(record)
            if len(waiting) >= CHUNK:
                store.add(*waiting)
                written, waiting = written + len(waiting), []
        store.add(*waiting)
    return written + len(waiting)


def measure_once_more(home: Home, number: int) -> None:
    """Add a result of a file that has one, as measuring it again does."""
    with ResultStore(home.store_url) as store:
        first = store.results(digest=_digest(_name(0, "onnx", "fp32")))[0]
        store.add(replace(first, id=f"{first.id}-again-{number}"))


def _records(space: SearchSpace, networks: int, generator: np.random.Generator) -> Iterator[Record]:
    for number in range(networks):
        arch = space.sample(generator)
        subnet = _subnet(space, arch, number, generator)
        yield subnet
        if number % WITH_FILES_EVERY:
            continue
        for form in RUNTIMES:
            for precision in ("fp32", "int8"):
                file = _artifact(subnet, number, form, precision)
                yield file
                yield _result(file, generator)


def _subnet(space: SearchSpace, arch: ArchConfig, number: int, generator: np.random.Generator) -> Subnet:
    seen = features(space, arch)
    accuracy = 0.99 - 0.05 * np.exp(-seen["macs"] / 1.5e6) + generator.normal(0, 0.002)
    return Subnet(
        id=f"network-{number}",
        run="made-up-0a1b2c3d",
        technique="once_for_all",
        space=space,
        arch=arch,
        program=f"runs/made-up/{number}.pt2",
        digest=_digest(str(number)),
        params=int(sum(value for name, value in seen.items() if name.endswith(".weights"))),
        macs=int(seen["macs"]),
        task="image_classification",
        metrics=(_metric(accuracy, "selection"), _metric(accuracy - 0.002, "test")),
        class_names=tuple("0123456789"),
        preprocessing=Preprocessing(size=arch.resolution, channels=1, mean=(0.5,), std=(0.3,)),
        data={"kind": "digits"},
        created=CREATED,
    )


def _metric(value: float, split: Split) -> Metric:
    return Metric(name="accuracy", value=float(value), higher_is_better=True, split=split, examples=360)


def _artifact(subnet: Subnet, number: int, form: Format, precision: Precision) -> Artifact:
    name = _name(number, form, precision)
    loss, share = (0.0, 4) if precision == "fp32" else (0.003, 1)
    return Artifact(
        id=name,
        name=name,
        subnet=subnet.id,
        format=form,
        precision=precision,
        file=f"artifacts/{subnet.id}/{name}.{form}",
        digest=_digest(name),
        size_bytes=share * subnet.params + 20_000,
        inputs=(TensorSpec(name="input", dtype="float32", shape=(None, 1, 16, 16)),),
        outputs=(TensorSpec(name="logits", dtype="float32", shape=(None, 10)),),
        metrics=tuple(replace(metric, value=metric.value - loss) for metric in subnet.metrics),
        created=CREATED,
        macs=subnet.macs,
        params=subnet.params,
    )


def _result(file: Artifact, generator: np.random.Generator) -> BenchmarkResult:
    p50 = (0.02 + (file.macs or 0) * _ms_per_mac(file.format)) * (0.6 if file.precision == "int8" else 1.0)
    spread = 1 + generator.gamma(2.0, 0.015, LATENCIES)
    return BenchmarkResult(
        id=f"result-{file.id}",
        artifact=file.id,
        model=file.name,
        digest=file.digest,
        format=file.format,
        precision=file.precision,
        device=THIS_MACHINE,
        runtime=RUNTIMES[file.format],
        runtime_version="1.0",
        threads=1,
        batch=1,
        load_ms=12.0,
        first_ms=3 * p50,
        blocks=(
            TimingBlock(
                latencies_ns=tuple((1e6 * p50 * spread).astype(int).tolist()), counted=True, off_cpu=0.0
            ),
        ),
        p50_low_ms=1.01 * p50,
        p50_high_ms=1.04 * p50,
        peak_memory_mb=40.0 + file.size_bytes / 1e5,
        verdict="clean",
        verdict_cause="",
        stopped_by="interval",
        environment={"cpu": "made up", "os": "made up", "python": "3.11"},
        created=CREATED,
    )


def _predictor(space: SearchSpace, form: Format, generator: np.random.Generator) -> FittedPredictor:
    drawn = {arch.key: arch for arch in (space.sample(generator) for _ in range(FITTED + HELD_OUT))}
    archs = [*drawn.values(), space.smallest(), space.largest()]
    latencies = [
        (0.02 + features(space, arch)["macs"] * _ms_per_mac(form)) * generator.normal(1, 0.03)
        for arch in archs
    ]
    weighed = [footprint(space, arch) for arch in archs]
    fitted = fit_predictor(
        space,
        archs[HELD_OUT:],
        latencies[HELD_OUT:],
        kind="corrected",
        device=THIS_MACHINE,
        runtime=RUNTIMES[form],
        threads=1,
        held_out_archs=archs[:HELD_OUT],
        held_out_latencies_ms=latencies[:HELD_OUT],
    )
    peaks = [40 + one.weights_bytes / 1e5 + generator.normal(0, 0.1) for one in weighed]
    return replace(fitted, memory=fit_memory(weighed, peaks))


def _ms_per_mac(form: str) -> float:
    return 2.2e-8 if form == "onnx" else 3.1e-8


def _name(number: int, form: str, precision: str) -> str:
    return f"network-{number}-{form}-{precision}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
