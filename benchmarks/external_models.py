"""Do trained models made by others bench, each with exit status 0?

Runs `edge-bench bench` on every .tflite and .onnx file under the folder of real data, one process a
file as a user would; how long a user waits for the slowest small file stands beside it.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import report

# Small enough that starting and loading, not running, is what a user waits for.
SMALL_BYTES = 100_000


def main() -> int:
    options = report.arguments(__doc__)
    folder = report.data_folder() / "external_models"
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".tflite", ".onnx"))
    if not files:
        print(f"no models under {folder}; name the folder of data by EDGE_BENCH_DATA")
        return 2
    seconds = "1" if options.size == "smoke" else "5"
    with tempfile.TemporaryDirectory() as home:
        rows = [bench(path, folder, home, seconds) for path in files]
    passed = sum(row["exit"] == 0 for row in rows)
    verdicts = Counter(row["verdict"] for row in rows)
    small = max(row["wall_s"] for row in rows if row["bytes"] <= SMALL_BYTES)
    bars = [
        report.Bar(name="models that bench with exit 0", floor=len(files), figure=passed, unit="files"),
    ]
    figures = {"models": rows, "verdicts": verdicts, "slowest_small_model_s": small}
    return report.write("external_models", options.size, figures, bars, max_seconds=seconds)


def bench(path: Path, folder: Path, home: str, seconds: str) -> dict[str, Any]:
    """Bench one file by the command line; return its figures and print them."""
    begun = time.perf_counter()
    ended = report.edge_bench(
        "bench", str(path), "--home", home, "--json", "--quiet", "--max-seconds", seconds
    )
    wall = time.perf_counter() - begun
    row: dict[str, Any] = {
        "file": path.relative_to(folder).as_posix(),
        "bytes": path.stat().st_size,
        "exit": ended.returncode,
        "wall_s": round(wall, 3),
        "verdict": "failed",
    }
    if ended.returncode == 0:
        row |= json.loads(ended.stdout)["results"][0]
    print(
        f"{row['file']:52} exit {row['exit']}  {wall:5.2f} s {row.get('p50_ms', float('nan')):9.4f} ms  "
        f"{row.get('peak_memory_mb', float('nan')):6.1f} MB  {row.get('precision', '–'):6} {row['verdict']}"
    )
    return row


if __name__ == "__main__":
    raise SystemExit(main())
