"""What every script in `benchmarks/` shares: `--size`, the bars it is held to, and its JSON file.

A script is run as `python benchmarks/NAME.py --size smoke|cpu|gpu` and leaves
`benchmarks/results/NAME-SIZE.json`: its figures, each bar with the figure that met or missed it,
the versions and the machine. It exits with status 1 where a bar is missed; at size smoke, whose figures
mean nothing, only where something breaks.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
# "smoke" shows that the script works, "cpu" gives the recorded figure on 2 cores, "gpu" is the same on
# a machine whose GPU torch sees.
SIZES = ("smoke", "cpu", "gpu")
# What installs the packages that benchmarks compare with, and where those lie that nothing else may see.
INSTALL_PEERS = "make peers"
PEERS = Path(sys.prefix) / "peers"
LIBRARIES = (
    "edge-bench",
    "numpy",
    "torch",
    "transformers",
    "onnx",
    "onnxruntime",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "litert-torch",
    "scikit-learn",
)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A figure and what it must reach: at least `floor`, or at most where `at_most`."""

    name: str
    floor: float
    figure: float
    unit: str
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.figure <= self.floor if self.at_most else self.figure >= self.floor


def arguments(description: str | None, **extra: Mapping[str, Any]) -> argparse.Namespace:
    """Read the command line: `--size`, and `extra` options given as `name={add_argument options}`."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="smoke", help="default: smoke")
    for name, options in extra.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **options)
    return parser.parse_args()


def data_folder() -> Path:
    """Return the folder of real data: `EDGE_BENCH_DATA`, or `shared/data` beside the checkout."""
    return Path(os.environ.get("EDGE_BENCH_DATA", ROOT.parent / "shared" / "data"))


def edge_bench(*command: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would, in a process of its own; stderr passes through."""
    return subprocess.run(
        [sys.executable, "-m", "edge_bench", *command], stdout=subprocess.PIPE, text=True, check=False
    )


def write(name: str, size: str, figures: Mapping[str, Any], bars: Sequence[Bar], **facts: Any) -> int:
    """Write `results/<name>-<size>.json`, print the bars, and return the exit status.

    Args:
        name: the script's name.
        size: one of `SIZES`.
        figures: what was measured, as JSON can say it.
        bars: what the figures are held to.
        facts: more that a reader should know (data set, settings, seconds …).
    """
    document = {
        "name": name,
        "size": size,
        "bars": [{**asdict(bar), "met": bar.met} for bar in bars],
        "figures": dict(figures),
        **facts,
        "versions": versions(),
        "machine": machine(),
        "revision": revision(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = RESULTS / f"{name}-{size}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for bar in bars:
        relation = "at most" if bar.at_most else "at least"
        answer = "met" if bar.met else "MISSED"
        print(f"{answer:7}{bar.name}: {bar.figure:.5g} {bar.unit} ({relation} {bar.floor:g})")
    print(f"written: {path.relative_to(ROOT)}")
    return 0 if size == "smoke" or all(bar.met for bar in bars) else 1


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries a figure may depend on."""
    installed = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            installed[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return installed


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    from edge_bench.measure.environment import fingerprint

    facts = dict(fingerprint())
    facts["load_average"] = list(psutil.getloadavg())
    return facts


def revision() -> str:
    """Return the checkout's git revision, with "+changes" where files differ from it."""
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty=+changes"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "unknown"
