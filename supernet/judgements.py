"""What was judged of a finished run, a line each in its folder, so that nothing is judged twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_bench.documents import from_document
from edge_bench.errors import ConfigError
from edge_bench.records import ArchConfig, Metric

JUDGED_FILE = "judged.jsonl"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A line of `judged.jsonl`: a subnet's metric on the selection split and how long that took.

    `key` is the architecture's, `weights` the digest of the checkpoint it was judged with.
    """

    key: str
    arch: ArchConfig
    metric: Metric
    seconds: float
    calibration_images: int
    weights: str


def read_judgements(folder: Path) -> Iterator[Judgement]:
    """Yield what the whole lines of a run folder's file say; nothing where there is no file."""
    path = folder / JUDGED_FILE
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            yield from_document(Judgement, json.loads(line))
        except (ConfigError, json.JSONDecodeError, UnicodeDecodeError):
            continue
