"""Qualities are told the way their field does, and compared in their own scale."""

from __future__ import annotations

import pytest

from edge_bench.records import Metric
from edge_bench.records.quality import gap_text, margin, margin_text, told


def metric(name: str, value: float) -> Metric:
    return Metric(
        name=name, value=value, higher_is_better=name != "perplexity", split="selection", examples=1
    )


@pytest.mark.parametrize(
    ("name", "value", "text", "gap"),
    [
        ("accuracy", 0.831, "83.10 %", "10.00 points"),
        ("bleu", 33.42, "33.4 BLEU", "0.1 BLEU"),
        ("perplexity", 6.8712, "perplexity 6.87", "0.1 of perplexity"),
        ("f1", 0.51234, "0.5123 f1", "0.1 f1"),
    ],
)
def test_a_quality_is_told_as_its_field_does(name: str, value: float, text: str, gap: str) -> None:
    assert told(metric(name, value)) == text
    assert gap_text(metric(name, value), metric(name, value - 0.1)) == gap


def test_a_point_is_of_the_metrics_own_scale() -> None:
    assert margin(metric("accuracy", 0.9)) == 0.01
    assert margin(metric("bleu", 30.0)) == 1.0
    assert margin(metric("perplexity", 250.0)) == pytest.approx(2.5)
    assert [margin_text(name) for name in ("accuracy", "bleu", "perplexity")] == [
        "a point",
        "one BLEU",
        "1 %",
    ]
