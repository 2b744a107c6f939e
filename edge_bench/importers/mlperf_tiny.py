"""MLPerf Tiny: a runner's results.txt, or a CSV table with a row a system and benchmark"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_bench.importers import Importer, Report, Unread, number, rows_of
from edge_bench.records import Metric

# The columns that make a CSV file this table.
_NAMES = ("org", "system", "benchmark")
_COLUMNS = {"round", "division", *_NAMES, "latency_ms"}
_FACTS = (
    "round division org board soc processor processor_freq accelerator accelerator_freq os"
    " soc_memory board_memory"
).split()
# How many examples the accuracy of a benchmark is of, by the benchmark's rules.
_EXAMPLES = {"ic": 200, "kws": 1000, "vww": 1000}
_THROUGHPUT = re.compile(r"Median throughput is\s+([\d.]+) inf\./sec\.")
_ENERGY = re.compile(r"Median energy cost is\s+([\d.]+) uJ/inf\.")


class MlperfTiny(Importer):
    """A latency here is one over the median throughput of the runner's windows: a mean within a window.

    Imported figures are not official MLPerf results. A results.txt names neither system nor benchmark:
    they are taken from the submission's folders, `…/SYSTEM/BENCHMARK/performance/results.txt`.
    """

    origin = "mlperf-tiny"

    def recognises(self, text: str) -> bool:
        return set(_header(text)) >= _COLUMNS or bool(_THROUGHPUT.search(text) and "ulp-ml" in text)

    def read(self, text: str, path: Path) -> Sequence[Report | Unread]:
        if throughput := _THROUGHPUT.search(text):
            return [_of_log(text, throughput[1], path)]
        return list(rows_of(text, _of_row, latency="latency_ms", required=_NAMES))


def _header(text: str) -> list[str]:
    return text.partition("\n")[0].strip().split(",")


def _of_log(text: str, throughput: str, path: Path) -> Report:
    folders = path.absolute().parts
    in_place = len(folders) > 4 and folders[-2] in ("performance", "energy", "accuracy")
    energy = _ENERGY.search(text)
    statistics = {"mean_ms": 1000 / number(throughput, "the median throughput")}
    if energy:
        statistics["energy_uj"] = number(energy[1], "the median energy cost")
    return Report(
        model=folders[-3] if in_place else path.stem,
        device=folders[-4] if in_place else None,
        statistics=statistics,
        batch=1,
    )


def _of_row(row: Mapping[str, str]) -> Report:
    statistics = {"mean_ms": number(row["latency_ms"], "latency_ms")}
    if row.get("energy_median_uj_per_inf"):
        statistics["energy_uj"] = number(row["energy_median_uj_per_inf"], "energy_median_uj_per_inf")
    variant = row.get("variant", "")
    return Report(
        model=f"{row['benchmark']} {variant}".strip(),
        device=f"{row['org']} {row['system']}",
        statistics=statistics,
        runtime=row.get("framework", ""),
        batch=1,
        metrics=tuple(_metrics(row)),
        facts={name: row[name] for name in _FACTS if row.get(name)},
    )


def _metrics(row: Mapping[str, str]) -> list[Metric]:
    found = []
    examples = _EXAMPLES.get(row["benchmark"], 0)
    for column, name, scale in (("top1_pct", "accuracy", 100), ("auc", "auc", 1)):
        if row.get(column):
            value = number(row[column], column) / scale
            found.append(
                Metric(name=name, value=value, higher_is_better=True, split="test", examples=examples)
            )
    return found
