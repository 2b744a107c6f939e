"""Records of a real search space, made by hand: the networks are never built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge_bench.choose.candidates import RUNTIMES
from edge_bench.choose.features import features
from edge_bench.choose.fitting import fit_predictor
from edge_bench.records import (
    ArchConfig,
    Artifact,
    BenchmarkResult,
    FittedPredictor,
    Metric,
    Preprocessing,
    SearchSpace,
    Stage,
    Subnet,
    TensorSpec,
    TimingBlock,
)
from edge_bench.records.artifact import Format, Precision
from supernet.spaces.lite_32 import LiteAt32
from supernet.spaces.mobilenet_v3 import MobilenetV3

CREATED = "2026-01-01T00:00:00+00:00"


@pytest.fixture(scope="session")
def lite() -> SearchSpace:
    """A space with two resolutions."""
    return LiteAt32(stem_stride=2, widths=(8, 12), strides=(1, 2), stem_width=8, resolutions=(8, 16)).build(
        input_channels=1, classes=3
    )


@pytest.fixture(scope="session")
def subnet(lite: SearchSpace) -> Callable[..., Subnet]:
    """A function that gives the subnet of an architecture; its test accuracy is a point below."""

    def make(arch: ArchConfig, *, accuracy: float = 0.9, space: SearchSpace = lite) -> Subnet:
        return Subnet(
            id=f"digits-{arch.key[:8]}",
            run="digits-0a1b2c3d",
            technique="once_for_all",
            space=space,
            arch=arch,
            program="program.pt2",
            digest="0" * 64,
            params=1000,
            macs=int(features(space, arch)["macs"]),
            task="classification",
            metrics=metrics(accuracy),
            class_names=("zero", "one", "two"),
            preprocessing=Preprocessing(size=arch.resolution, channels=1, mean=(0.5,), std=(0.3,)),
            data={"kind": "digits"},
            created=CREATED,
        )

    return make


@pytest.fixture(scope="session")
def artifact() -> Callable[..., Artifact]:
    """A function that gives a subnet's file."""

    def make(
        of: Subnet,
        *,
        format: Format = "onnx",
        precision: Precision = "fp32",
        accuracy: float = 0.89,
        **more: Any,
    ) -> Artifact:
        identity = f"{of.id}-{format}-{precision}"
        facts: dict[str, Any] = {
            "id": identity,
            "name": identity,
            "subnet": of.id,
            "format": format,
            "precision": precision,
            "file": f"artifacts/{identity}.{format}",
            "digest": "1" * 64,
            "size_bytes": 40_000,
            "inputs": (TensorSpec(name="image", dtype="float32", shape=(None, 1, 16, 16)),),
            "outputs": (TensorSpec(name="logits", dtype="float32", shape=(None, 3)),),
            "metrics": metrics(accuracy),
            "class_names": of.class_names,
            "preprocessing": of.preprocessing,
            "created": CREATED,
        }
        return Artifact(**{**facts, **more})

    return make


@pytest.fixture(scope="session")
def result() -> Callable[..., BenchmarkResult]:
    """A function that gives a file's measurement."""

    def make(of: Artifact, p50_ms: float, **more: Any) -> BenchmarkResult:
        facts: dict[str, Any] = {
            "id": f"result-{of.id}-{p50_ms}",
            "artifact": of.id,
            "model": of.name,
            "digest": of.digest,
            "format": of.format,
            "precision": of.precision,
            "device": "this-machine",
            "runtime": RUNTIMES[of.format],
            "runtime_version": "1.2.3",
            "threads": 1,
            "batch": 1,
            "load_ms": 12.0,
            "first_ms": 3 * p50_ms,
            "blocks": (TimingBlock(latencies_ns=(int(1e6 * p50_ms),) * 20, counted=True, off_cpu=0.0),),
            "p50_low_ms": 0.98 * p50_ms,
            "p50_high_ms": 1.03 * p50_ms,
            "peak_memory_mb": 40.0,
            "verdict": "clean",
            "verdict_cause": "nothing else ran",
            "stopped_by": "interval",
            "environment": {"cpu": "A Processor"},
            "created": CREATED,
        }
        return BenchmarkResult(**{**facts, **more})

    return make


@pytest.fixture(scope="session")
def predictor(lite: SearchSpace) -> Callable[..., FittedPredictor]:
    """A function that gives a predictor: 0.1 ms and a price in ms for each multiply-accumulate."""

    def make(
        *,
        runtime: str = "onnxruntime",
        threads: int = 1,
        price_ms: float = 1e-6,
        device: str = "this-machine",
        resolutions: tuple[int, ...] = lite.resolutions,
    ) -> FittedPredictor:
        generator = np.random.default_rng(0)
        drawn = {arch.key: arch for arch in (lite.sample(generator) for _ in range(80))}
        for extreme in (lite.smallest(), lite.largest()):
            drawn.pop(extreme.key, None)
        archs = [arch for arch in drawn.values() if arch.resolution in resolutions]
        archs += [arch for arch in (lite.smallest(), lite.largest()) if arch.resolution in resolutions]
        latencies = [0.1 + price_ms * features(lite, arch)["macs"] for arch in archs]
        return fit_predictor(
            lite,
            archs[4:],
            latencies[4:],
            kind="line",
            device=device,
            runtime=runtime,
            threads=threads,
            held_out_archs=archs[:4],
            held_out_latencies_ms=latencies[:4],
        )

    return make


def metrics(accuracy: float) -> tuple[Metric, ...]:
    """Return an accuracy on the selection split, and a point less on the test split."""
    return tuple(
        Metric(name="accuracy", value=value, higher_is_better=True, split=split, examples=300)
        for split, value in (("selection", accuracy), ("test", accuracy - 0.01))
    )


@pytest.fixture(scope="session")
def small_space() -> SearchSpace:
    """A space of 1,200 architectures, its stages unlike: for each, all can be listed."""
    return SearchSpace(
        name="small",
        input_channels=1,
        classes=3,
        resolutions=(8, 16, 24),
        stem_width=8,
        stem_stride=2,
        stages=(
            Stage(width=8, stride=1, depths=(1, 2), kernels=(3, 5), expands=(2, 3)),
            Stage(width=12, stride=2, depths=(1, 3), kernels=(3,), expands=(1, 2)),
            Stage(width=16, stride=2, depths=(2,), kernels=(5,), expands=(2,), squeeze_excite=True),
        ),
        head_width=16,
    )


@pytest.fixture(scope="session")
def mobile_space() -> SearchSpace:
    """Once-for-all's space of some 10^20 architectures."""
    return MobilenetV3().build(input_channels=3, classes=1000)
