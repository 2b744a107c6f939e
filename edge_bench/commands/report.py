"""write charts, picks, devices, benchmarks and families as one HTML file that needs nothing else"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from edge_bench.choose.shipped import shipped
from edge_bench.commands import Command, Context, Outcome
from edge_bench.commands._limits import add_limits, budget_of
from edge_bench.commands.export import subnets_of
from edge_bench.errors import ConfigError, NoCandidate, did_you_mean
from edge_bench.files import write_text
from edge_bench.records import Artifact, BenchmarkResult, FittedPredictor, Subnet
from edge_bench.runs import run_names

R = TypeVar("R", Artifact, BenchmarkResult)


class Report(Command):
    """The same figures as the dashboard's. It opens offline, in any browser, and on paper."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "-o", "--html", type=Path, metavar="FILE", required=True, help="the file to write"
        )
        parser.add_argument(
            "--device",
            action="append",
            metavar="NAME",
            help="report this device; may be given several times (default: all that anything is known of)",
        )
        parser.add_argument("--run", help="report the networks of this run alone (default: all networks)")
        add_limits(parser)

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        from dashboard.launch import require

        require("plotly", "pandas")
        from dashboard.frames import devices as known_devices
        from dashboard.report.contents import Reported, report

        file = options.html.expanduser()
        budget = budget_of(options)
        _check_replaceable(file)
        subnets, artifacts, results, predictors = _records(context)
        if options.run:
            if not subnets:
                raise NoCandidate("the store holds no network", hint="edge-bench extract RUN")
            subnets = subnets_of(subnets, options.run)
            artifacts, results = _of(subnets, artifacts, results)
        devices = _devices(options.device, known_devices(results, predictors))
        for device in devices:
            predictors = [*shipped(device), *predictors]
        runs = run_names(context.home)
        html = report(
            Reported(
                home=context.home,
                subnets=subnets,
                artifacts=artifacts,
                results=results,
                predictors=predictors,
                devices=devices,
                runs=[name for name in runs if not options.run or name == subnets[0].run],
                budget=budget,
                preset=options.preset,
                percentile=options.percentile,
                made=f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by edge-bench {version('edge-bench')}",
            )
        )
        write_text(file, html)
        size = file.stat().st_size
        document = {"file": str(file.absolute()), "size_bytes": size, "devices": list(devices)}
        told = f"{', '.join(devices[:5])}{' and others' if len(devices) > 5 else ''}"
        return Outcome(document=document, text=f"{file}: {size / 1e6:.1f} MB, devices {told}")


def _check_replaceable(file: Path) -> None:
    """Raise `ConfigError` where something lies there that is no report."""
    from dashboard.report.page import MARK

    if not file.exists():
        return
    try:
        with file.open("rb") as opened:
            is_report = MARK.encode() in opened.read(1_000)
    except OSError as error:
        raise ConfigError(f"'{file}' cannot be replaced: {error.strerror}") from error
    if not is_report:
        raise ConfigError(f"'{file}' is there and is no report", hint="name another file: --html")


def _records(
    context: Context,
) -> tuple[Sequence[Subnet], Sequence[Artifact], Sequence[BenchmarkResult], Sequence[FittedPredictor]]:
    if not context.home.has_store:
        raise NoCandidate("there is nothing to report", hint="edge-bench quickstart fills the store")
    with context.store() as store:
        return store.subnets(), store.artifacts(), store.results(), store.predictors()


def _of(
    subnets: Iterable[Subnet], artifacts: Iterable[Artifact], results: Iterable[BenchmarkResult]
) -> tuple[list[Artifact], list[BenchmarkResult]]:
    ids = {one.id for one in subnets}
    files = [one for one in artifacts if one.subnet in ids]
    names = {one.id for one in files}
    return files, [one for one in results if one.artifact in names]


def _devices(asked: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """Return the devices to report; those that come with edge-bench only where they are named."""
    if not asked:
        if not known:
            raise NoCandidate(
                "there is nothing to report: no latency is known on any device",
                hint="edge-bench bench --all, or edge-bench fit",
            )
        return list(known)
    for name in asked:
        if name not in known and not shipped(name):
            raise ConfigError(
                f"nothing is known of latencies on device '{name}'. Known: {', '.join(known)}, and those "
                f"that come with edge-bench.{did_you_mean(name, known)}",
                hint="edge-bench devices list",
            )
    return list(dict.fromkeys(asked))
