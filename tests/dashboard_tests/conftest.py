"""A store made from records: twenty subnets of a real search space, some exported and measured."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from browsing import FLAGS, PATIENCE_MS, blocked, outside, settle
from playwright.sync_api import Browser, Page, sync_playwright

from edge_bench.choose.candidates import RUNTIMES
from edge_bench.choose.features import features
from edge_bench.choose.fitting import fit_predictor
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
from edge_bench.records.artifact import Format, Precision
from edge_bench.records.subnet import Split
from edge_bench.store import Record, ResultStore
from supernet.spaces.lite_32 import LiteAt32

DEVICE = "this-machine"
CREATED = "2026-01-01T00:00:00+00:00"
SUBNETS, EXPORTED, QUANTIZED = 20, 12, (3, 12)


@pytest.fixture(scope="session")
def made() -> tuple[Record, ...]:
    """The records that every test starts from."""
    space = LiteAt32(stem_stride=2).build(input_channels=1, classes=10)
    generator = np.random.default_rng(7)
    archs = [space.smallest(), *(space.sample(generator) for _ in range(SUBNETS - 2)), space.largest()]
    subnets = sorted((_subnet(space, arch, generator) for arch in archs), key=lambda subnet: subnet.macs)
    records: list[Record] = [*subnets]
    for place in np.linspace(0, SUBNETS - 1, EXPORTED).astype(int):
        for form in RUNTIMES:
            for precision in ("fp32", "int8") if place in QUANTIZED else ("fp32",):
                artifact = _artifact(subnets[place], form, precision)
                records += [artifact, _result(artifact, space, subnets[place].arch, generator)]
    records += [_predictor(space, form, generator) for form in RUNTIMES]
    return tuple(records)


@pytest.fixture
def records(made: tuple[Record, ...]) -> list[Record]:
    """Records in a list of one's own; the records themselves are frozen."""
    return list(made)


@pytest.fixture(scope="session")
def put_in() -> Callable[[Home, Iterable[Record]], Home]:
    """A function that writes records into a home folder's store, and a small file for each artifact."""

    def write(home: Home, records: Iterable[Record]) -> Home:
        given = list(records)
        for artifact in given:
            if isinstance(artifact, Artifact):
                path = home.absolute(artifact.file)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(artifact.id.encode())
        with ResultStore(home.store_url) as store:
            store.add(*given)
        return home

    return write


@pytest.fixture
def put(home: Home, put_in: Callable[[Home, Iterable[Record]], Home]) -> Callable[[Iterable[Record]], Home]:
    """`put_in` for the test's own home folder, which pages read."""
    return partial(put_in, home)


@pytest.fixture
def filled(records: list[Record], put: Callable[[Iterable[Record]], Home]) -> Home:
    """The home folder that pages read, with the records in its store."""
    return put(records)


@pytest.fixture(scope="session")
def candidate() -> Callable[..., Candidate]:
    """A function that gives a candidate; `value` is its metric, the rest are fields."""

    def make(*, value: float = 0.9, latency_ms: float = 2.0, **changes: Any) -> Candidate:
        plain = Candidate(
            name="any",
            subnet=None,
            artifact="any",
            format="onnx",
            precision="fp32",
            device=DEVICE,
            runtime="onnxruntime",
            threads=1,
            metric=_metric(value, "selection"),
            latency_ms=latency_ms,
            latency_low_ms=0.95 * latency_ms,
            latency_high_ms=1.05 * latency_ms,
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


def _metric(value: float, split: Split) -> Metric:
    return Metric(name="accuracy", value=float(value), higher_is_better=True, split=split, examples=360)


def _artifact(subnet: Subnet, form: Format, precision: Precision) -> Artifact:
    identity = f"{subnet.id}-{form}-{precision}"
    quarter = 1 if precision == "fp32" else 4
    loss = 0.0 if precision == "fp32" else 0.004
    return Artifact(
        id=identity,
        name=identity,
        subnet=subnet.id,
        format=form,
        precision=precision,
        file=f"artifacts/{subnet.id}/{subnet.id}-{precision}.{form}",
        digest=hashlib.sha256(identity.encode()).hexdigest(),
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
    drawn = {arch.key: arch for arch in (space.sample(generator) for _ in range(60))}
    archs = [*drawn.values(), space.smallest(), space.largest()]
    latencies = [_latency_ms(space, arch, form) * generator.normal(1, 0.03) for arch in archs]
    return fit_predictor(
        space,
        archs[20:],
        latencies[20:],
        kind="non_negative",
        device=DEVICE,
        runtime=RUNTIMES[form],
        threads=1,
        held_out_archs=archs[:20],
        held_out_latencies_ms=latencies[:20],
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium without a window; skips where there is none."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the PATH (Debian: apt-get install chromium fonts-dejavu-core)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """A function that opens an address; the test fails on what went wrong on any page it opened."""
    pages: list[Page] = []
    faults: list[str] = []

    def open_page(
        address: str, *, width: int = 1280, scheme: str = "light", app: bool = True, chart: bool = True
    ) -> Page:
        page = browser.new_page(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        pages.append(page)
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
        page.on("console", lambda told: faults.extend(blocked(told)))
        page.on("request", lambda request: faults.extend(outside(request)))
        page.on("websocket", lambda socket: faults.extend(outside(socket)))
        page.goto(address)
        if app:
            settle(page, chart=chart)
        return page

    yield open_page
    for page in pages:
        faults += [f"exception: {one.inner_text()}" for one in page.get_by_test_id("stException").all()]
        page.close()
    assert not faults
