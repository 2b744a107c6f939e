"""cut subnets out of a trained run: those on its front, or one architecture"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.documents import from_document
from edge_bench.errors import ConfigError
from edge_bench.records import ArchConfig, Subnet


class Extract(Command):
    """Adds `Subnet` records to the store, each with its program under `artifacts/`."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "run", metavar="RUN", help="a run folder, or a run's name under the home folder"
        )
        parser.add_argument("--count", type=int, default=16, help="how many to keep (default: 16)")
        parser.add_argument(
            "--screen", type=int, default=60, help="how many random ones to judge first (default: 60)"
        )
        parser.add_argument(
            "--arch", metavar="FILE.json", type=Path, help="cut this architecture instead (an ArchConfig)"
        )

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        from supernet.extraction import extract_arch, extract_front
        from supernet.progress import shown
        from supernet.run import find_run

        folder = find_run(options.run, context.home)
        if options.arch:
            subnets = [extract_arch(folder, read_arch(options.arch), home=context.home)]
        else:
            judged = options.screen + 2
            with shown(
                f"extract {folder.name}",
                done=0,
                total=judged + min(options.count, judged),
                say=context.say,
                interactive=context.interactive and not context.quiet,
            ) as advance:
                subnets = extract_front(
                    folder,
                    home=context.home,
                    count=options.count,
                    screened=options.screen,
                    report=lambda what, done, total: advance(done, what),
                )
        with context.store() as store:
            store.add(*subnets)
        rows = [subnet_row(subnet) for subnet in subnets]
        text = f"{len(rows)} subnets of {folder.name}\n{table(_for_people(rows))}\nnext: edge-bench export"
        return Outcome(document={"subnets": rows}, text=text)


def read_arch(path: Path) -> ArchConfig:
    """Read an architecture from JSON: `space`, `resolution`, `blocks` of `source`, `kernel`, `expand`.

    Raises:
        ConfigError: no such file, no JSON, or a key or value that does not fit.
    """
    try:
        return from_document(ArchConfig, json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{path}' is not JSON: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from error


def subnet_row(subnet: Subnet) -> dict[str, Any]:
    """Return what is told of a subnet: a flat document."""
    return {
        "id": subnet.id,
        "arch": subnet.arch.key,
        "resolution": subnet.arch.resolution,
        "blocks": len(subnet.arch.blocks),
        "params": subnet.params,
        "macs": subnet.macs,
        "metrics": [
            {"name": m.name, "value": m.value, "split": m.split, "examples": m.examples}
            for m in subnet.metrics
        ],
        "program": subnet.program,
    }


def _for_people(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    shown = []
    for row in rows:
        accuracies = {f"{m['split']} {m['name']}": m["value"] for m in row["metrics"]}
        flat = {key: value for key, value in row.items() if key not in ("metrics", "program", "arch")}
        shown.append({**flat, **accuracies})
    return shown
