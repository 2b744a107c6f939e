"""Where does int8 pay for text models?

A classifier (SST-2), a language model (WikiText-2's characters) and a translator (Multi30k) are trained,
exported in fp32 and in int8, and judged by running the files on the whole test split; each pair of files,
the steps of those that generate too, is measured in turns. The networks are those of the benchmarks of
depths, so a `--work` folder that holds their runs is gone on from.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import layer_drop_language
import report
import text_classification_depths
import training_runs
import translation_depths

from converters import FORMATS
from converters.export import export_subnet
from edge_bench import variants
from edge_bench.choose.candidates import RUNTIMES
from edge_bench.files import Home
from edge_bench.measure.comparison import ComparisonPlan, Side, compare
from edge_bench.measure.inputs import feeding_of
from edge_bench.records import Artifact

# Quality that int8 may lose, as a share of that of fp32.
MOST_LOST = 0.02
PLANS = {
    "smoke": ComparisonPlan(max_seconds=2, min_launches=2),
    "cpu": ComparisonPlan(max_seconds=40, precision=0.02),
    "gpu": ComparisonPlan(max_seconds=60),
}
SMOKE_FORMATS = ("onnx",)


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    begun, size = time.perf_counter(), options.size
    formats = SMOKE_FORMATS if size == "smoke" else variants.names(FORMATS)
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        tables = list(runs_of(size, Path(options.work or temporary)))
        rows = [
            row
            for one in (tables[:1] if size == "smoke" else tables)
            for form in formats
            for row in rows_of(home, one, form, PLANS[size])
        ]
    print(f"{'file':26}{'format':8}{'kB':>8}{'int8':>8}{'fp32':>10}{'int8':>10}{'time':>8}")
    for row in rows:
        quality = "".join(f"{value:10.4g}" if value is not None else " " * 10 for value in row["quality"])
        sizes = "".join(f"{bytes_ / 1000:8.0f}" for bytes_ in row["size_bytes"])
        print(f"{row['file']:26}{row['format']:8}{sizes}{quality}{row['time_ratio']:7.2f}x")
    bars = [
        report.Bar(
            name=f"int8 keeps the quality, {row['file']}, {row['format']}",
            floor=MOST_LOST,
            figure=row["lost"],
            unit="share lost",
            at_most=True,
        )
        for row in rows
        if row["lost"] is not None
    ]
    facts = {"seconds": time.perf_counter() - begun, "data": "SST-2, WikiText-2, Multi30k", "seed": 0}
    return report.write("text_int8", size, {"files": rows}, bars, **facts)


def runs_of(size: str, work: Path) -> Iterator[dict[str, Any]]:
    """Yield the tables of a classifier of 3 layers, a language model of 8 and a translator of 3 and 3."""
    classifier = text_classification_depths
    dropout = classifier.DROPOUT
    yield classifier.tables(classifier.SETTINGS[size], "shallow", classifier.SHALLOW, 0, dropout)
    settings = layer_drop_language.SETTINGS[size]
    folder = training_runs.wikitext_folder(work / "text", settings.test_characters)
    yield layer_drop_language.tables_of(folder, settings, 0)
    yield translation_depths.tables_of(
        translation_depths.SETTINGS[size], "alone-3-3", (3, 3), translation_depths.DROPOUT
    )


def rows_of(
    home: Home, tables: dict[str, Any], form: str, plan: ComparisonPlan
) -> Iterator[dict[str, Any]]:
    """Train, cut and export; yield what int8 does to the network's file and to its step's."""
    run = training_runs.trained(home, tables)
    subnet = run.cut(run.space.largest(), home=home)
    whole = export_subnet(subnet, home=home, format=form, precision="fp32")
    small = export_subnet(subnet, home=home, format=form, precision="int8")
    for fp32, int8 in zip(whole, small, strict=True):
        found = compare(side(home, fp32), side(home, int8), home=home, plan=plan)
        metrics = [one.metric("test") for one in (fp32, int8)]
        quality = [metric.value if metric else None for metric in metrics]
        yield {
            "file": f"{tables['data']['kind']}{' step' if fp32.step_of else ''}",
            "format": form,
            "size_bytes": [fp32.size_bytes, int8.size_bytes],
            "metric": metrics[0].name if metrics[0] else None,
            "quality": quality,
            "lost": lost(*metrics) if all(metrics) else None,
            "time_ratio": found.ratio.middle,
            "time_ratio_low": found.ratio.low,
            "time_ratio_high": found.ratio.high,
        }


def lost(fp32: Any, int8: Any) -> float:
    """Return how much worse int8 is, as a share of fp32's value; below 0 where it is better."""
    worse = fp32.value - int8.value if fp32.higher_is_better else int8.value - fp32.value
    return float(worse / max(fp32.value, 1e-9))


def side(home: Home, artifact: Artifact) -> Side:
    runtime = RUNTIMES[artifact.format]
    return Side(model=home.absolute(artifact.file), runtime=runtime, feeding=feeding_of(artifact))


if __name__ == "__main__":
    raise SystemExit(main())
