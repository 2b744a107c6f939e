"""Candidates with chosen qualities and latencies, and pools of them drawn at random."""

from __future__ import annotations

from hypothesis import strategies as st

from edge_bench.choose.presets import Preset
from edge_bench.records import Candidate, Metric

PRESETS: tuple[Preset, ...] = ("accuracy", "balanced", "speed")


def candidate(name: str, accuracy: float, latency_ms: float, **more: object) -> Candidate:
    metric = Metric(name="accuracy", value=accuracy, higher_is_better=True, split="selection", examples=300)
    facts: dict[str, object] = {
        "name": name,
        "subnet": name,
        "artifact": f"{name}-onnx-fp32",
        "format": "onnx",
        "precision": "fp32",
        "device": "this-machine",
        "runtime": "onnxruntime",
        "threads": 1,
        "metric": metric,
        "latency_ms": latency_ms,
        "latency_low_ms": latency_ms * 0.9,
        "latency_high_ms": latency_ms * 1.1,
        "source": "measured",
        "verdict": "clean",
    }
    return Candidate(**{**facts, **more})  # type: ignore[arg-type]


pools = st.lists(
    st.tuples(st.integers(0, 20).map(lambda n: n / 200), st.integers(1, 50).map(lambda n: n / 10)),
    min_size=1,
    max_size=25,
).map(lambda rows: [candidate(f"net{i}", *row) for i, row in enumerate(rows)])
