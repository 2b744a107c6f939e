"""`fit --from-table`: a predictor from what others measured; `fit --compare`: all of them side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_bench.choose.published import Malformed, MeasuredTable, read_published
from edge_bench.choose.table_fitting import Parted, compare, fit_on_table, kinds, part
from edge_bench.commands import Context, Outcome, table
from edge_bench.commands._predictor_rows import errors_for_people
from edge_bench.documents import canonical_json
from edge_bench.errors import ConfigError, did_you_mean
from edge_bench.files import write_text
from edge_bench.records import FittedPredictor

KIND = "gradient_boosting"
# Of rows that could not be read, how many are named; all are counted.
NAMED = 3


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of published tables and of the comparison."""
    parser.add_argument(
        "--from-table", type=Path, metavar="FILE", help="fit on a published table instead of measuring"
    )
    parser.add_argument(
        "--device", help="a device of yours, with --from; of a table: which column of latencies"
    )
    parser.add_argument("--space", help="of the table, where it holds several, e.g. hat_wmt14ende")
    parser.add_argument(
        "--output", type=Path, metavar="FILE.json", help="also write the predictor of the table here"
    )
    parser.add_argument(
        "--compare", action="store_true", help="show every predictor on the same networks, baselines too"
    )


def fit_from_table(options: argparse.Namespace, context: Context) -> Outcome:
    """Fit on a table's rows, tell the error on those held out, store the predictor and write it."""
    for option in ("run", "runtimes", "threads"):
        if getattr(options, option) is not None:
            raise ConfigError(f"--{option} does not apply to a table: others have measured it")
    tables = read_published(options.from_table)
    chosen = _table(tables, options)
    parted = part(chosen, options.device, nets=options.nets, held_out=options.held_out, seed=options.seed)
    malformed = [one for each in tables for one in each.malformed]
    context.say(f"{len(parted.seen)} {chosen.unit}s to fit on, {len(parted.unseen)} to judge on")
    about = {
        "table": str(options.from_table),
        "space": chosen.space,
        "device": options.device,
        "facts": dict(chosen.facts.get(options.device, {})),
        "malformed": {"rows": len(malformed), "named": [asdict(one) for one in malformed]},
    }
    if options.compare:
        rows = compared(parted, context)
        text = f"{_head(chosen, options.device, parted)}\n{comparison_text(rows)}"
        return Outcome(document={**about, "compared": rows}, text=_with_malformed(text, malformed))
    fitted = fit_on_table(chosen, options.device, parted, kind=(options.kind or KIND).replace("-", "_"))
    with context.store() as store:
        store.add(fitted)
    if options.output:
        write_text(options.output, canonical_json(fitted) + "\n")
    row = {**_told(fitted), "output": str(options.output) if options.output else None}
    text = f"{_head(chosen, options.device, parted)}\n{_text(fitted, options.output)}"
    return Outcome(document={**about, "predictor": row}, text=_with_malformed(text, malformed))


def compared(parted: Parted, context: Context) -> list[dict[str, Any]]:
    """Return what each predictor reaches, those that err least on average first."""
    found = context.track(compare(parted), description="fit every predictor", total=len(kinds()))
    rows = [
        {
            "kind": one.kind,
            **asdict(one.held_out),
            "fit_seconds": one.fit_seconds,
            "seconds_for_100000": one.many_seconds,
        }
        for one in found
    ]
    return sorted(rows, key=lambda row: row["mape"])


def comparison_text(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows of `compared` as a table."""
    shown = [
        {
            "predictor": row["kind"],
            **errors_for_people(row),
            "fit, s": f"{row['fit_seconds']:.2f}",
            "100,000 predictions, s": f"{row['seconds_for_100000']:.2f}",
        }
        for row in rows
    ]
    return (
        f"{table(shown)}\nline knows only multiply-accumulates; ridge and forest are the plain baselines."
    )


def _table(tables: Sequence[MeasuredTable], options: argparse.Namespace) -> MeasuredTable:
    """Return the one table that is meant; `ConfigError` tells what there is."""
    spaces = [one.space or one.unit for one in tables]
    if options.space and options.space not in spaces:
        raise ConfigError(
            f"'{options.from_table}' has no space '{options.space}'. It has {', '.join(spaces)}."
            f"{did_you_mean(options.space, spaces)}"
        )
    left = [one for one in tables if options.space in (None, one.space or one.unit)]
    devices = sorted({device for one in left for device in one.latencies_ms})
    if options.device not in devices:
        given = f"no device '{options.device}'" if options.device else "several devices"
        raise ConfigError(
            f"'{options.from_table}' has {given}: {', '.join(devices)}."
            f"{did_you_mean(options.device or '', devices)}",
            hint=f"name one: --device {devices[0]}",
        )
    left = [one for one in left if options.device in one.latencies_ms]
    if len(left) > 1:
        names = ", ".join(one.space or one.unit for one in left)
        raise ConfigError(
            f"'{options.device}' has latencies of several spaces: {names}",
            hint=f"name one: --space {left[0].space or left[0].unit}",
        )
    return left[0]


def _head(chosen: MeasuredTable, device: str, parted: Parted) -> str:
    facts = "; ".join(f"{name} {value}" for name, value in chosen.facts.get(device, {}).items())
    return (
        f"{chosen.space or chosen.unit} on {device}{f' ({facts})' if facts else ''}: fitted on "
        f"{len(parted.seen)} {chosen.unit}s, judged on {len(parted.unseen)} others"
    )


def _told(fitted: FittedPredictor) -> dict[str, Any]:
    return {
        "id": fitted.id,
        "kind": fitted.kind,
        "device": fitted.device,
        "runtime": fitted.runtime,
        "batch": fitted.batch,
        "fitted": fitted.fitted_networks,
        "held_out": asdict(fitted.held_out),
        "baseline": asdict(fitted.baseline),
        "method": fitted.method,
        "source": fitted.source,
    }


def _text(fitted: FittedPredictor, output: Path | None) -> str:
    shown = [
        {"predictor": kind, **errors_for_people(errors)}
        for kind, errors in ((fitted.kind, fitted.held_out), ("line (baseline)", fitted.baseline))
    ]
    kept = f"Stored as {fitted.id}" + (f" and written to {output}" if output else "")
    return f"{table(shown)}\n{kept}.\nMeasured by: {fitted.source}."


def _with_malformed(text: str, malformed: Sequence[Malformed]) -> str:
    if not malformed:
        return text
    named = "; ".join(f"{one.where}: {one.why}" for one in malformed[:NAMED])
    more = f"; and {len(malformed) - NAMED} more" if len(malformed) > NAMED else ""
    return f"{text}\n{len(malformed)} rows could not be read: {named}{more}."
