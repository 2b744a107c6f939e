"""Qualcomm AI Hub: a model's perf.yaml as published, or a CSV table with a row a model and device"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_bench.errors import DataError
from edge_bench.importers import Importer, Report, Unread, amount, number, rows_of
from edge_bench.records.artifact import Precision

_NAMES = ("model", "component", "precision", "device", "runtime")
_COLUMNS = {*_NAMES, "latency_ms", "compute_unit"}
# "float" says nothing of the arithmetic: most of these ran on an NPU.
_PRECISIONS: Mapping[str, Precision] = {"w8a8": "int8"}


class AiHub(Importer):
    """AI Hub publishes one inference time and does not say which statistic it is: it is kept as
    `latency_ms`. Peak memory is the upper end of its estimated range.
    """

    origin = "ai-hub"

    def recognises(self, text: str) -> bool:
        header = text.partition("\n")[0].strip().split(",")
        return set(header) >= _COLUMNS or (
            "performance_metrics:" in text and "inference_time_milliseconds:" in text
        )

    def read(self, text: str, path: Path) -> Sequence[Report | Unread]:
        if "performance_metrics:" in text:
            return list(_of_yaml(text, path))
        return list(rows_of(text, _of_row, latency="latency_ms", required=_NAMES))


def _of_row(row: Mapping[str, str]) -> Report:
    versions = [f"qairt={row['qairt']}" if row.get("qairt") else "", row.get("other_tools", "")]
    peak = row.get("peak_mem_max_mb")
    return _report(
        model=row["model"],
        component=row["component"],
        device=row["device"],
        runtime=row["runtime"],
        precision=row["precision"],
        latency_ms=number(row["latency_ms"], "latency_ms"),
        versions=" ".join(one for one in versions if one),
        peak_memory_mb=amount(peak, "peak_mem_max_mb") if peak else None,
        unit=row["compute_unit"],
    )


def _of_yaml(text: str, path: Path) -> Iterator[Report | Unread]:
    import yaml

    try:
        told = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"'{path}' is no YAML: {error}") from error
    for precision, by_precision in told["precisions"].items():
        for component, by_component in by_precision["components"].items():
            for device, by_device in by_component.get("performance_metrics", {}).items():
                for runtime, job in by_device.items():
                    where = f"{precision}, {component}, {device}, {runtime}"
                    try:
                        yield replace(
                            _of_job(job, path, component, device, runtime, precision), where=where
                        )
                    except _NoLatency:
                        why = "inference_time_milliseconds is empty"
                        yield Unread(where=where, why=why, kind="without_latency")
                    except (AttributeError, DataError, TypeError) as error:
                        yield Unread(where=where, why=str(error))


class _NoLatency(Exception):
    pass


def _of_job(
    job: Mapping[str, Any], path: Path, component: str, device: str, runtime: str, precision: str
) -> Report:
    latency = job.get("inference_time_milliseconds")
    if latency is None:
        raise _NoLatency
    peak = job.get("estimated_peak_memory_range_mb", {}).get("max")
    return _report(
        # A model's figures lie in the folder that is called after it.
        model=path.absolute().parent.name,
        component=component,
        device=device,
        runtime=runtime,
        precision=precision,
        latency_ms=number(latency, "inference_time_milliseconds"),
        versions=" ".join(f"{tool}={version}" for tool, version in job.get("tool_versions", {}).items()),
        peak_memory_mb=None if peak is None else amount(peak, "estimated_peak_memory_range_mb"),
        unit=str(job.get("primary_compute_unit", "")),
    )


def _report(
    *,
    model: str,
    component: str,
    device: str,
    runtime: str,
    precision: str,
    latency_ms: float,
    versions: str,
    peak_memory_mb: float | None,
    unit: str,
) -> Report:
    alone = _letters(component) == _letters(model)
    return Report(
        model=model if alone else f"{model}/{component}",
        device=device,
        statistics={"latency_ms": latency_ms},
        format=runtime,
        precision=_PRECISIONS.get(precision, "mixed" if precision.startswith("w") else None),
        runtime=runtime,
        runtime_version=versions,
        peak_memory_mb=peak_memory_mb,
        facts={"component": component, "precision": precision, "compute_unit": unit},
    )


def _letters(name: str) -> str:
    """Return a name without what spellings differ in: a model of one part has the part named after it."""
    return "".join(letter for letter in name.lower() if letter.isalnum())
