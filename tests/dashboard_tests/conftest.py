"""A store made from records: twenty subnets of a real search space, some exported and measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from edge_bench.choose.features import features
from edge_bench.choose.fitting import fit_predictor
from edge_bench.choose.pick import RUNTIMES
from edge_bench.files import Home
from edge_bench.records import (
    ArchConfig,
    Artifact,
    BenchmarkResult,
    Candidate,
    FittedPredictor,
    Metric,
    Preprocessing,
    SearchSpace,
    Subnet,
    TensorSpec,
    TimingBlock,
)
from edge_bench.store import ResultStore
from supernet.spaces.lite import Lite

DEVICE = "this-machine"
CREATED = "2026-01-01T00:00:00+00:00"
SUBNETS, EXPORTED, QUANTIZED = 20, 12, (3, 7)


@dataclass(kw_only=True)
class Records:
    """What a test puts into a store; a test may change it before `put`."""

    subnets: list[Subnet] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    results: list[BenchmarkResult] = field(default_factory=list)
    predictors: list[FittedPredictor] = field(default_factory=list)

    def put(self, home: Home) -> Home:
        """Write the records and a small file for each artifact."""
        for artifact in self.artifacts:
            path = home.absolute(artifact.file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(artifact.id.encode())
        with ResultStore(home.store_url) as store:
            store.add(*self.subnets, *self.artifacts, *self.results, *self.predictors)
        return home


@pytest.fixture(scope="session")
def made() -> Records:
    """The records that every test starts from; use `records` to change some."""
    space = Lite().build(input_channels=1, classes=10)
    generator = np.random.default_rng(7)
    archs = [space.smallest(), *(space.sample(generator) for _ in range(SUBNETS - 2)), space.largest()]
    subnets = [_subnet(space, arch, generator) for arch in archs]
    subnets.sort(key=lambda subnet: subnet.macs)
    records = Records(subnets=subnets)
    for place in np.linspace(0, SUBNETS - 1, EXPORTED).astype(int):
        for form in RUNTIMES:
            for precision in ("fp32", "int8") if place in QUANTIZED else ("fp32",):
                artifact = _artifact(subnets[place], form, precision)
                records.artifacts.append(artifact)
                records.results.append(_result(artifact, space, subnets[place].arch, generator))
    records.predictors = [_predictor(space, form, generator) for form in RUNTIMES]
    return records


@pytest.fixture
def records(made: Records) -> Records:
    """Records of one's own: lists may be changed, the records in them are frozen."""
    return Records(
        subnets=list(made.subnets),
        artifacts=list(made.artifacts),
        results=list(made.results),
        predictors=list(made.predictors),
    )


@pytest.fixture
def filled(records: Records, home: Home) -> Home:
    """The home folder that pages read, with the records in its store."""
    return records.put(home)


@pytest.fixture
def candidate() -> Callable[..., Candidate]:
    """A function that gives a candidate with some fields changed; `metric` and `test` are values."""

    def make(name: str = "a", *, metric: float = 0.9, **changes: object) -> Candidate:
        latency = changes.get("latency_ms", 2.0)
        assert isinstance(latency, float)
        plain = Candidate(
            name=name,
            subnet=None,
            artifact=name,
            format="onnx",
            precision="fp32",
            device=DEVICE,
            runtime="onnxruntime",
            threads=1,
            metric=_metric(metric, "selection"),
            latency_ms=latency,
            latency_low_ms=0.95 * latency,
            latency_high_ms=1.05 * latency,
            source="measured",
        )
        return replace(plain, **changes)

    return make


def _subnet(space: SearchSpace, arch: ArchConfig, generator: np.random.Generator) -> Subnet:
    macs = features(space, arch)["macs"]
    accuracy = 0.995 - 0.06 * np.exp(-macs / 1.5e6) + generator.normal(0, 0.003)
    return Subnet(
        id=f"digits-{arch.key[:8]}",
        run="digits-0a1b2c3d",
        technique="once_for_all",
        space=space,
        arch=arch,
        program=f"runs/digits/{arch.key}.pt2",
        digest="0" * 64,
        params=int(features(space, arch)["pointwise.weights"]),
        macs=int(macs),
        task="classification",
        metrics=(_metric(accuracy, "selection"), _metric(accuracy - 0.002, "test")),
        class_names=tuple("0123456789"),
        preprocessing=Preprocessing(size=arch.resolution, channels=1, mean=(0.5,), std=(0.3,)),
        data={"kind": "digits"},
        created=CREATED,
    )


def _metric(value: float, split: str, name: str = "accuracy") -> Metric:
    return Metric(
        name=name,
        value=float(min(value, 1.0)),
        higher_is_better=True,
        split=split,  # type: ignore[arg-type]
        examples=360,
    )


def _artifact(subnet: Subnet, form: str, precision: str) -> Artifact:
    identity = f"{subnet.id}-{form}-{precision}"
    quarter = 1 if precision == "fp32" else 4
    loss = 0.0 if precision == "fp32" else 0.004
    return Artifact(
        id=identity,
        name=identity,
        subnet=subnet.id,
        format=form,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        file=f"artifacts/{subnet.id}/{subnet.id}-{precision}.{form}",
        digest="0" * 64,
        size_bytes=4 * subnet.params // quarter + 20_000,
        inputs=(TensorSpec(name="input", dtype="float32", shape=(None, 1, 16, 16)),),
        outputs=(TensorSpec(name="logits", dtype="float32", shape=(None, 10)),),
        metrics=tuple(replace(metric, value=metric.value - loss) for metric in subnet.metrics),
        created=CREATED,
        macs=subnet.macs,
        params=subnet.params,
    )


def _latency_ms(space: SearchSpace, arch: ArchConfig, form: str) -> float:
    seen = features(space, arch)
    blocks = seen["pointwise.count"]
    return 0.02 + 0.004 * blocks + seen["macs"] * (2.2e-8 if form == "onnx" else 3.1e-8)


def _result(
    artifact: Artifact, space: SearchSpace, arch: ArchConfig, generator: np.random.Generator
) -> BenchmarkResult:
    p50 = _latency_ms(space, arch, artifact.format) * (0.6 if artifact.precision == "int8" else 1.0)
    spread = generator.gamma(2.0, 0.015, 50)
    latencies = tuple(int(1e6 * p50 * (1 + noise - np.median(spread))) for noise in spread)
    return BenchmarkResult(
        id=f"result-{artifact.id}",
        artifact=artifact.id,
        model=artifact.name,
        digest=artifact.digest,
        format=artifact.format,
        precision=artifact.precision,
        device=DEVICE,
        runtime=RUNTIMES[artifact.format],
        runtime_version="1.0",
        threads=1,
        batch=1,
        load_ms=12.0,
        first_ms=3 * p50,
        blocks=(TimingBlock(latencies_ns=latencies, counted=True, off_cpu=0.0),),
        p50_low_ms=0.98 * p50,
        p50_high_ms=1.03 * p50,
        peak_memory_mb=40.0 + artifact.size_bytes / 1e5,
        verdict="clean",
        verdict_cause="",
        stopped_by="interval",
        environment={},
        created=CREATED,
    )


def _predictor(space: SearchSpace, form: str, generator: np.random.Generator) -> FittedPredictor:
    archs = list({arch.key: arch for arch in (space.sample(generator) for _ in range(60))}.values())
    archs += [space.smallest(), space.largest()]
    latencies = [_latency_ms(space, arch, form) * generator.normal(1, 0.03) for arch in archs]
    return _fitted(space, form, archs, latencies)


def _fitted(
    space: SearchSpace, form: str, archs: Sequence[ArchConfig], latencies_ms: Sequence[float]
) -> FittedPredictor:
    return fit_predictor(
        space,
        archs[20:],
        latencies_ms[20:],
        kind="non_negative",
        device=DEVICE,
        runtime=RUNTIMES[form],
        threads=1,
        held_out_archs=archs[:20],
        held_out_latencies_ms=latencies_ms[:20],
    )
