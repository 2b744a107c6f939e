"""the store as a table, exported to CSV, Parquet or JSON lines; or what others measured, imported"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

import device_profiles
from edge_bench import variants
from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.errors import ConfigError, did_you_mean
from edge_bench.files import atomic_path, sha256_of
from edge_bench.importers import IMPORTERS, About, Unread, changed, read_results
from edge_bench.measure.inspection import check_exists
from edge_bench.records import (
    Artifact,
    BenchmarkResult,
    FittedAccuracyPredictor,
    FittedPredictor,
    Metric,
    Subnet,
    Survey,
    TransformerSpace,
    arch_name,
)
from edge_bench.records.quality import metric_word
from edge_bench.spreadsheets import safe_cell
from edge_bench.store import Record, ResultStore, document_of, schema_of

# Every warm latency, for Parquet; a spreadsheet has no use for it.
RAW = "latencies_ms"
HINT_EMPTY = "edge-bench quickstart fills it"
# A table may report thousands.
IMPORTED_SHOWN = 20
# Rows that became no result, by kind, and how many of each are named.
UNREAD = {"malformed": "not read", "without_latency": "without a latency", "repeated": "repeated"}
UNREAD_SHOWN = 5
# Of devices where one is unknown: an imported table brings a hundred.
DEVICES_NAMED = 20
Kind = Literal["result", "artifact", "subnet", "predictor", "accuracy_predictor", "survey"]
Row = dict[str, Any]
# What the table shows of each kind; the document and the exported file hold every column.
COLUMNS: Mapping[str, str] = {
    "result": "model format runtime threads precision p50_ms interval_ms memory_mb metric origin verdict",
    "artifact": "id name format precision size_mb zstd_mb sparsity parity metric",
    "subnet": "id run technique resolution blocks params sparsity macs metric",
    "predictor": "id kind device runtime threads precision networks mape within_10_percent spearman",
    "accuracy_predictor": "id kind run networks held_out_networks kendall spearman rmse_points",
    "survey": "id device runtime threads space files created",
}


class Results(Command):
    """Every row is one stored record, and every line of JSON lines the whole of one: `schema` prints
    what it may hold. The metric is on the test split, of the exported file where
    there is one. What was imported names who measured it, and its verdict is never better than
    "inconclusive".
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "action",
            nargs="?",
            choices=("list", "export", "import", "schema"),
            default="list",
            help="default: list",
        )
        parser.add_argument(
            "file",
            metavar="FILE",
            nargs="?",
            help=f"where to export to; it ends in {_endings()}. Or the report or table to import",
        )
        parser.add_argument("--kind", choices=get_args(Kind), default="result", help="default: result")
        parser.add_argument(
            "--device",
            metavar="ID",
            help="results or predictors of this device only; with import: where it was measured",
        )
        imported = parser.add_argument_group(
            "import", "\n".join(variants.summary(IMPORTERS, name) for name in variants.names(IMPORTERS))
        )
        imported.add_argument(
            "--from",
            dest="source",
            choices=[name.replace("_", "-") for name in variants.names(IMPORTERS)],
            help="whose report it is (default: told by the content)",
        )
        imported.add_argument(
            "--model",
            metavar="FILE_OR_ARTIFACT",
            help="the file that was measured, where the report does not tell; with list and export: "
            "results of models whose name holds this, by precision, the fastest first",
        )

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        if options.action == "import":
            return _import(options, context)
        if options.source:
            raise ConfigError("--from belongs to results import")
        if options.model and (options.action == "schema" or options.kind != "result"):
            raise ConfigError("--model narrows results, and nothing else")
        if options.action == "schema":
            return _schema(options)
        write = _writer(options)
        with context.store() as store:
            records = _records(store, options.kind, options.device)
            if options.model:
                records = _of_model(store.results(device=options.device), options.model)
            # A line of JSON is a record as it is; a table's row is what can be said in columns.
            whole = write is _write_json_lines
            rows = [document_of(one) for one in records] if whole else _rows(records, store.artifacts())
        if write is None:
            return _listed(options.kind, rows, options.device)
        if not rows:
            raise ConfigError(f"{_nothing(options.kind, options.device)} to export", hint=HINT_EMPTY)
        path = Path(options.file).expanduser()
        if path.is_dir():
            raise ConfigError(f"'{path}' is a folder; a file is expected")
        if path.parent.exists() and not path.parent.is_dir():
            raise ConfigError(f"'{path.parent}' is a file, so that nothing can lie below it")
        with atomic_path(path) as temporary:
            write(rows, temporary)
        document = {"file": str(path), "kind": options.kind, "rows": len(rows)}
        counted = f"{len(rows)} {options.kind}{'s' if len(rows) > 1 else ''}"
        return Outcome(document=document, text=f"{counted} written to {path}")


def _schema(options: argparse.Namespace) -> Outcome:
    if options.file or options.device:
        raise ConfigError(
            "results schema takes --kind alone", hint="edge-bench results schema > schema.json"
        )
    schema = schema_of(options.kind)
    return Outcome(document=schema, text=json.dumps(schema, indent=1))


def _import(options: argparse.Namespace, context: Context) -> Outcome:
    if not options.file:
        raise ConfigError("results import needs a file", hint="edge-bench results import report.json")
    path = Path(options.file).expanduser()
    with context.store() as store:
        about = _about(options, store.artifacts())
        imported = read_results(path, source=options.source, about=about)
        results = imported.results
        fresh = changed(results, store.results())
        store.add(*fresh)
    rows = [_printable(_flat(_result_row(one, one.metric("test")))) for one in results]
    document = {
        "file": str(path),
        "origin": imported.origin,
        "new": len(fresh),
        **{kind: sum(one.kind == kind for one in imported.unread) for kind in UNREAD},
        "unread": [asdict(one) for one in imported.unread],
        "results": rows,
    }
    known = len(results) - len(fresh)
    shown = [_shown(row) for row in rows[:IMPORTED_SHOWN]]
    devices = sorted({one.device for one in results})
    where = f"{', '.join(devices[:4])}{' and others' if len(devices) > 4 else ''}"
    lines = [
        table(shown, columns=f"{COLUMNS['result']} device".split()),
        *([f"… and {len(rows) - len(shown)} more"] if len(rows) > len(shown) else []),
        f"{len(fresh)} imported{f', {known} known already' if known else ''}; "
        f"measured by {imported.origin} on {where}, not by edge-bench",
        *_warnings(imported.unread),
    ]
    return Outcome(document=document, text="\n".join(lines))


def _warnings(unread: Sequence[Unread]) -> list[str]:
    """Return what a user is told of rows that became no result: how many, and the first few by name."""
    lines = []
    for kind, what in UNREAD.items():
        found = [one for one in unread if one.kind == kind]
        if found:
            lines.append(f"warning: {len(found)} {'row' if len(found) == 1 else 'rows'} {what}:")
            lines += [f"  {one.where}: {one.why}" for one in found[:UNREAD_SHOWN]]
            if len(found) > UNREAD_SHOWN:
                lines.append(f"  … and {len(found) - UNREAD_SHOWN} more; --json names all")
    return lines


def _about(options: argparse.Namespace, artifacts: Sequence[Artifact]) -> About:
    given = options.model
    if given is None:
        return About(device=options.device)
    named = [artifact for artifact in artifacts if given in (artifact.id, artifact.name)]
    if named:
        return About(device=options.device, digest=named[-1].digest, artifact=named[-1])
    file = Path(given).expanduser()
    if not file.exists():
        near = did_you_mean(given, [artifact.id for artifact in artifacts])
        raise ConfigError(f"there is no file and no artifact '{given}'.{near}")
    check_exists(file)
    digest = sha256_of(file)
    artifact = next((one for one in artifacts if one.digest == digest), None)
    return About(device=options.device, model=file.name, digest=digest, artifact=artifact)


def _writer(options: argparse.Namespace) -> Callable[[Sequence[Row], Path], None] | None:
    """Return what writes the file that is asked for, or None where none is.

    Raises:
        ConfigError: no file to export to, one to list to, or an ending that is not known.
    """
    if options.action == "list":
        if options.file:
            raise ConfigError(
                f"results list takes no file, '{options.file}' was given",
                hint=f"edge-bench results export {options.file}",
            )
        return None
    if not options.file:
        raise ConfigError("results export needs a file", hint="edge-bench results export results.csv")
    ending = Path(options.file).suffix.lower()
    if ending not in WRITERS:
        given = f"ends in '{ending}'" if ending else "has no ending"
        raise ConfigError(
            f"'{options.file}' {given}; what would work is {_endings()}",
            hint=f"edge-bench results export {Path(options.file).with_suffix('.csv')}",
        )
    return WRITERS[ending]


def _records(store: ResultStore, kind: Kind, device: str | None) -> Sequence[Record]:
    if device is not None:
        _check_device(store, kind, device)
    if kind == "result":
        return store.results(device=device)
    if kind == "predictor":
        return store.predictors(device=device)
    if kind == "accuracy_predictor":
        return store.accuracy_predictors()
    if kind == "survey":
        return store.surveys(device=device)
    return store.artifacts() if kind == "artifact" else store.subnets()


def _of_model(results: Sequence[BenchmarkResult], model: str) -> Sequence[BenchmarkResult]:
    """Return the results of models whose name holds `model`, in an order to compare devices by.

    Raises:
        ConfigError: there are results, and none of such a model.
    """
    found = [one for one in results if model.lower() in one.model.lower()]
    if results and not found:
        near = did_you_mean(model, sorted({one.model for one in results}))
        raise ConfigError(f"no result is of a model '{model}'.{near}", hint="edge-bench results list")
    return sorted(found, key=lambda one: (one.model, _precision(one), one.p50_ms))


def _precision(result: BenchmarkResult) -> str:
    """Return the precision in the words of whoever measured: ours has one for several of theirs."""
    told = "" if result.measured_here else result.environment.get("precision", "")
    return str(told or result.precision or "")


def _rows(records: Sequence[Record], artifacts: Sequence[Artifact]) -> list[Row]:
    metrics = {one.id: one.metric("test") for one in artifacts}
    return [_printable(_row(one, metrics)) for one in records]


def _row(record: Record, metrics: Mapping[str, Metric | None]) -> Row:
    if isinstance(record, BenchmarkResult):
        return _result_row(record, metrics.get(record.artifact or "") or record.metric("test"))
    if isinstance(record, FittedPredictor):
        return _predictor_row(record)
    if isinstance(record, FittedAccuracyPredictor):
        return _accuracy_predictor_row(record)
    if isinstance(record, Survey):
        return _survey_row(record)
    return _artifact_row(record) if isinstance(record, Artifact) else _subnet_row(record)


def _printable(row: Row) -> Row:
    """Return a row whose texts are valid UTF-8: the name of a model's file may hold bytes that are not."""
    return {
        name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }


def _check_device(store: ResultStore, kind: Kind, device: str) -> None:
    if kind not in ("result", "predictor", "survey"):
        raise ConfigError(f"--device does not apply to {kind}s: they belong to no device")
    kept: list[BenchmarkResult | FittedPredictor | Survey] = [
        *store.results(),
        *store.predictors(),
        *store.surveys(),
    ]
    stored = {one.device for one in kept}
    known = sorted(stored | set(device_profiles.names()))
    if device not in known:
        named = ", ".join(known[:DEVICES_NAMED])
        more = f" and {len(known) - DEVICES_NAMED} more" if len(known) > DEVICES_NAMED else ""
        raise ConfigError(f"unknown device '{device}'. Known: {named}{more}.{did_you_mean(device, known)}")


def _result_row(result: BenchmarkResult, metric: Metric | None) -> Row:
    told = {"told_precision": _precision(result) or None}
    return {**result.summary(), **told, **_metric_columns(metric), RAW: list(result.latencies_ms)}


def _artifact_row(artifact: Artifact) -> Row:
    parity = artifact.parity
    return {
        "id": artifact.id,
        "name": artifact.name,
        "subnet": artifact.subnet,
        "task": artifact.task,
        "step_of": artifact.step_of,
        "format": artifact.format,
        "precision": artifact.precision,
        "encoding": artifact.encoding,
        "size_bytes": artifact.size_bytes,
        "gzip_bytes": artifact.gzip_bytes,
        "zstd_bytes": artifact.zstd_bytes,
        "weights": artifact.weights,
        "zeros": artifact.zeros,
        "sparsity": artifact.sparsity,
        "params": artifact.params,
        "macs": artifact.macs,
        "parity_max_abs_error": parity.max_abs_error if parity else None,
        "parity_border_max_abs_error": parity.border_max_abs_error if parity else None,
        "parity_tolerance": parity.tolerance if parity else None,
        **_metric_columns(artifact.metric("test")),
        "file": artifact.file,
        "digest": artifact.digest,
        "created": artifact.created,
    }


def _subnet_row(subnet: Subnet) -> Row:
    return {
        "id": subnet.id,
        "run": subnet.run,
        "technique": subnet.technique,
        "space": subnet.space.name,
        "resolution": subnet.arch.resolution,
        "blocks": len(subnet.arch.blocks),
        "layers": arch_name(subnet.space, subnet.arch)
        if isinstance(subnet.space, TransformerSpace)
        else None,
        "params": subnet.params,
        "macs": subnet.macs,
        "sparsity": subnet.sparsity,
        "task": subnet.task,
        **_metric_columns(subnet.metric("test")),
        "program": subnet.program,
        "digest": subnet.digest,
        "created": subnet.created,
    }


def _predictor_row(predictor: FittedPredictor) -> Row:
    held_out = predictor.held_out
    return {
        "id": predictor.id,
        "kind": predictor.kind,
        "device": predictor.device,
        "runtime": predictor.runtime,
        "threads": predictor.threads,
        "precision": predictor.precision,
        "unit": predictor.unit,
        "space": predictor.space,
        "fitted_networks": predictor.fitted_networks,
        "held_out_networks": held_out.networks,
        "mape": held_out.mape,
        "within_5_percent": held_out.within_5_percent,
        "within_10_percent": held_out.within_10_percent,
        "spearman": held_out.spearman,
        "kendall": held_out.kendall,
        "coverage": held_out.coverage,
        "baseline_mape": predictor.baseline.mape,
        "source": predictor.source,
        "created": predictor.created,
    }


def _survey_row(survey: Survey) -> Row:
    latencies_ms = survey.latencies_ms.values()
    return {
        "id": survey.id,
        "device": survey.device,
        "runtime": survey.runtime,
        "threads": survey.threads,
        "space": survey.space,
        "files": len(latencies_ms),
        "least_ms": min(latencies_ms),
        "most_ms": max(latencies_ms),
        "digest": survey.digest,
        "created": survey.created,
    }


def _accuracy_predictor_row(predictor: FittedAccuracyPredictor) -> Row:
    held_out = predictor.held_out
    return {
        "id": predictor.id,
        "kind": predictor.kind,
        "run": predictor.run,
        "space": predictor.space,
        "predicts": predictor.metric,
        "split": predictor.split,
        "examples": predictor.examples,
        "fitted_networks": predictor.fitted_networks,
        "held_out_networks": held_out.networks,
        "kendall": held_out.kendall,
        "spearman": held_out.spearman,
        "rmse_points": held_out.rmse_points,
        **{f"{kind}_rmse_points": errors.rmse_points for kind, errors in predictor.baselines.items()},
        "created": predictor.created,
    }


def _metric_columns(metric: Metric | None) -> Row:
    return {
        "metric": metric.name if metric else None,
        "metric_value": metric.value if metric else None,
        "metric_higher_is_better": metric.higher_is_better if metric else None,
        "metric_split": metric.split if metric else None,
        "metric_examples": metric.examples if metric else None,
    }


def _listed(kind: Kind, rows: Sequence[Row], device: str | None) -> Outcome:
    document = {f"{kind}s": [_flat(row) for row in rows]}
    if not rows:
        return Outcome(document=document, text=f"{_nothing(kind, device)}; {HINT_EMPTY}")
    # Where all is of one device, a user knows which.
    several = len({row.get("device") for row in rows}) > 1 and kind == "result"
    shown = [_shown(row) for row in rows]
    told = any(row.get("how") for row in shown)
    of_text = any(row.get("layers") for row in shown)
    columns = COLUMNS[kind].split() + ["layers"] * of_text + ["how"] * told + ["device"] * several
    return Outcome(document=document, text=table(shown, columns=columns))


def _nothing(kind: Kind, device: str | None) -> str:
    return f"the store holds no {kind}{f' of {device}' if device else ''}"


def _shown(row: Row) -> Row:
    """Return a row with the columns that only the table has, several values in one."""
    shown = dict(row)
    if row.get("metric"):
        shown["metric"] = f"{metric_word(row['metric'])} {row['metric_value']:.4g}"
    if "p50_low_ms" in row:
        low, high = row["p50_low_ms"], row["p50_high_ms"]
        shown["interval_ms"] = None if low is None else f"{low:.4g} to {high:.4g}"
        shown["memory_mb"] = row["peak_memory_mb"]
        shown["precision"] = row["told_precision"]
        shown["how"] = _how(row)
        if row["p50_is"] != "median":
            shown["p50_ms"] = f"{row['p50_ms']:.4g} ({row['p50_is']})"
    if "size_bytes" in row:
        shown["size_mb"] = row["size_bytes"] / 1e6
        shown["zstd_mb"] = row["zstd_bytes"] and row["zstd_bytes"] / 1e6
        shown["parity"] = row["parity_max_abs_error"]
    shown["networks"] = row.get("fitted_networks")
    return shown


def _how(row: Row) -> str:
    """Return what sets a latency apart from those of single inferences in turn; often nothing."""
    mode = "" if row["mode"] == "burst" else row["mode"]
    query = "" if row["scenario"] == "single_stream" else row["scenario"].replace("_", "-")
    examples = max(row["samples_per_query"], row["batch"] or 1)
    return " ".join(one for one in (mode, query, f"× {examples}" if examples > 1 else "") if one)


def _flat(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != RAW}


def _write_csv(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(_flat(rows[0])))
        writer.writeheader()
        writer.writerows({name: safe_cell(value) for name, value in _flat(row).items()} for row in rows)


def _write_json_lines(rows: Sequence[Row], path: Path) -> None:
    # The name of a model's file may hold bytes that are no UTF-8; JSON has an escape for them.
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def _write_parquet(rows: Sequence[Row], path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


WRITERS: Mapping[str, Callable[[Sequence[Row], Path], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
    ".parquet": _write_parquet,
}


def _endings() -> str:
    *others, last = WRITERS
    return f"{', '.join(others)} or {last}"
