"""What benchmarks that train share: training a run of tables, and its networks' quality on test."""

from __future__ import annotations

import gzip
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import report

from edge_bench.documents import from_document
from edge_bench.files import Home
from edge_bench.records import ArchConfig
from supernet.run import RunConfig
from supernet.trained import TrainedRun
from supernet.trainer import train


def trained(home: Home, tables: Mapping[str, Any]) -> TrainedRun:
    """Train the run that `tables` describe, unless it lies under `home` whole, and open it."""
    config = from_document(RunConfig, dict(tables))
    begun = time.perf_counter()
    folder = train(config, home=home, say=lambda line: None, interactive=False)
    print(f"  {folder.name}: {time.perf_counter() - begun:.0f} s", flush=True)
    return TrainedRun.open(folder)


def wikitext_folder(folder: Path, test_characters: int) -> Path:
    """Write WikiText-2's validation text, to train on, and the first part of its test text as a user would
    have them.
    """
    source = report.data_folder() / "text" / "wikitext2"
    folder.mkdir(parents=True, exist_ok=True)
    for name, file, limit in (("train", "valid", None), ("test", "test", test_characters)):
        text = gzip.decompress((source / f"{file}.txt.gz").read_bytes()).decode("utf-8")
        (folder / f"{name}.txt").write_text(text[:limit], encoding="utf-8", newline="")
    return folder


def on_test(run: TrainedRun, arch: ArchConfig) -> float:
    """Return the value of the network's metric on the test split, which no choice looks at."""
    return run.task.judge(run.network, arch, "test").value


def home_of(work: str, temporary: str) -> Home:
    """Return where runs are trained: `--work`, which a later call goes on from, or a temporary folder."""
    return Home(Path(work or temporary).absolute())


WIKITEXT = "WikiText-2: validation text to train, test text to judge"
WORK = {
    "default": "",
    "metavar": "FOLDER",
    "help": "train there, and go on from what is there (default: a temporary folder)",
}
