"""cut subnets out of a trained run: those on its front, or named architectures"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_bench import variants
from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.documents import from_document
from edge_bench.errors import ConfigError, did_you_mean
from edge_bench.files import Home
from edge_bench.records import AnySpace, ArchConfig, Subnet, TransformerSpace
from edge_bench.records.notation import FORMS, NAMES, arch_name, parse_arch
from edge_bench.records.quality import metric_word

KEEP_LISTS = "supernet.keep_lists"
ARCH_HELP = (
    f"ARCH is {FORMS}; FILE.json with `space`, `resolution` and `blocks`; or a stored subnet's id or key"
)


class Extract(Command):
    """Adds `Subnet` records to the store, each with its program under `artifacts/`."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "run",
            metavar="RUN",
            nargs="?",
            help="a run folder, or a run's name under the home folder (default: the newest run)",
        )
        parser.add_argument("--count", type=int, default=16, help="how many to keep (default: 16)")
        parser.add_argument(
            "--screen", type=int, default=60, help="how many random ones to judge first (default: 60)"
        )
        parser.add_argument(
            "--arch",
            metavar="ARCH",
            action="append",
            default=[],
            help=f"cut this architecture instead; may be given again. {ARCH_HELP}",
        )

        parser.add_argument(
            "--depth",
            metavar="N[/N]",
            type=_depths,
            help="cut a text model to so many layers instead (of encoder and decoder, e.g. 3/1)",
        )
        parser.add_argument(
            "--keep-list",
            choices=variants.names(KEEP_LISTS),
            default="every_other",
            help="how --depth chooses layers: at even distances, by search on the selection split, or by "
            "learned drop rates (default: every_other)",
        )

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        from supernet.extraction import depths_of, extract_arch, extract_depth, extract_front
        from supernet.progress import shown
        from supernet.run import find_run, read_record

        folder = find_run(options.run, context.home) if options.run else _newest_run(context.home)
        if options.depth:
            if options.arch:
                raise ConfigError("--depth and --arch are both given; give one of them")
            subnets = [
                extract_depth(
                    folder,
                    options.depth,
                    chosen_by=options.keep_list,
                    home=context.home,
                    report=lambda what, done, total: (
                        context.say(f"{what} {done} of {total}") if done in (1, total) else None
                    ),
                )
            ]
        elif options.arch:
            with context.store() as store:
                stored = store.subnets()
            record = read_record(folder)
            archs = [
                arch_of(given, record.search_space, stored, only=record.arch) for given in options.arch
            ]
            unique = list(dict.fromkeys(archs))
            subnets = [
                extract_arch(folder, arch, home=context.home)
                for arch in context.track(unique, description="cut", total=len(unique))
            ]
        else:
            record = read_record(folder)
            space = record.search_space
            # Of a transformer its depths are judged, and no others.
            judged = len(depths_of(space)) if isinstance(space, TransformerSpace) else options.screen + 2
            judged = 1 if record.arch else judged
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


def _depths(given: str) -> tuple[int, ...]:
    try:
        return tuple(int(one) for one in given.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{given}' is no depth; e.g. 3, or 3/1") from None


def arch_of(
    given: str, space: AnySpace, stored: Sequence[Subnet], *, only: ArchConfig | None = None
) -> ArchConfig:
    """Return the architecture of `space` that a word on the command line means.

    Args:
        given: a short name (`records.notation`), a JSON file, or a stored subnet's id or its
            architecture's key.
        space: the search space of the run to cut it from.
        stored: the subnets in the store.
        only: the network of a run that trained no others.

    Raises:
        ConfigError: it means none of these, or the file cannot be read.
        InvalidArch: `space` does not contain it.
    """
    arch = parse_arch(given, space, only=only)
    if arch is not None:
        return arch
    known = {name: one.arch for one in stored for name in (one.id, one.arch.key)}
    path = Path(given).expanduser()
    if given in known:
        arch = known[given]
    elif path.suffix == ".json" or path.is_file():
        arch = read_arch(path)
    else:
        raise ConfigError(
            f"'{given}' is no architecture.{did_you_mean(given, (*NAMES, *known))}",
            hint=f"name {FORMS}; or an .json file; or a stored subnet (edge-bench results list)",
        )
    space.check(arch)
    return arch


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
    """Return what is told of a subnet: a flat document.

    `layers` are those that a text model keeps, as `--arch` takes them; its `resolution` is in tokens.
    """
    space = subnet.space
    return {
        "id": subnet.id,
        "arch": subnet.arch.key,
        "resolution": subnet.arch.resolution,
        "blocks": len(subnet.arch.blocks),
        "layers": arch_name(space, subnet.arch) if isinstance(space, TransformerSpace) else None,
        "params": subnet.params,
        "macs": subnet.macs,
        "metrics": [
            {
                "name": m.name,
                "value": m.value,
                "higher_is_better": m.higher_is_better,
                "split": m.split,
                "examples": m.examples,
            }
            for m in subnet.metrics
        ],
        "program": subnet.program,
    }


def _newest_run(home: Home) -> Path:
    from supernet.run import RUN_FILE

    files = sorted(home.runs.glob(f"*/{RUN_FILE}"), key=lambda file: file.stat().st_mtime)
    if not files:
        raise ConfigError("there is no run yet", hint="edge-bench train RUN.toml makes one")
    return files[-1].parent


def _for_people(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of one run for a table: of images their pixels and blocks, of texts tokens and layers."""
    of_text = any(row["layers"] for row in rows)
    words = {"resolution": "tokens"} if of_text else {}
    hidden = {"metrics", "program", "arch", "blocks" if of_text else "layers"}
    shown = []
    for row in rows:
        flat = {words.get(key, key): value for key, value in row.items() if key not in hidden}
        metrics = {
            f"{m['split']} {metric_word(m['name'])}" + " (less is better)" * (not m["higher_is_better"]): m[
                "value"
            ]
            for m in row["metrics"]
        }
        shown.append({**flat, **metrics})
    return shown
