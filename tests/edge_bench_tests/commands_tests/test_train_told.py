"""What `edge-bench train` tells at the end: in the unit and by the metric of what was learned."""

from __future__ import annotations

from typing import Any

import pytest

from edge_bench.commands.train import _told


def summary(unit: str, metric: str) -> dict[str, Any]:
    return {
        "run": "any-0011",
        "epochs": 2,
        f"{unit}_per_second": 300.4,
        "seconds": 21.7,
        f"training_{unit}": 600,
        f"skipped_{unit}": 3,
        "architectures": 49,
        f"largest_{metric}": 0.5,
        f"smallest_{metric}": 0.25,
        "folder": "runs/any-0011",
    }


@pytest.mark.parametrize(
    ("unit", "metric", "said"),
    [
        ("images", "accuracy", ("600 images", "3 files were left out", "accuracy: largest 50.00 %")),
        ("pairs", "bleu", ("600 pairs", "300 pairs/s", "3 pairs were left out", "BLEU: largest 0.5")),
        ("windows", "perplexity", ("600 windows", "perplexity: largest 0.50, smallest 0.25")),
    ],
)
def test_a_run_is_told_in_its_own_unit_and_metric(unit: str, metric: str, said: tuple[str, ...]) -> None:
    told = _told({**summary(unit, metric), "unit": unit})
    assert all(one in told for one in said)


def test_a_summary_of_an_older_version_is_of_images() -> None:
    assert "600 images" in _told(summary("images", "accuracy"))
