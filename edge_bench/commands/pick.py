"""choose the best model within a budget, say why, and write it with a card and a script that runs it"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import device_profiles
from device_profiles import ProfileError
from edge_bench.choose import pick as choosing
from edge_bench.choose.candidates import candidates, newest_results
from edge_bench.choose.chances import chance, told_chance
from edge_bench.choose.percentiles import P90, at_p90
from edge_bench.choose.reasons import told_quality
from edge_bench.choose.shipped import shipped
from edge_bench.choose.takeaway import DOCUMENT, Known, Takeaway, pick_document, takeaway
from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.commands._limits import add_limits, budget_of
from edge_bench.commands.export import export_subnets, subnets_of
from edge_bench.commands.train import data_table
from edge_bench.data import data_name
from edge_bench.errors import ConfigError, NoCandidate, did_you_mean
from edge_bench.files import explained
from edge_bench.records import (
    THIS_MACHINE,
    Budget,
    Candidate,
    FittedPredictor,
)


class Pick(Command):
    """Decides on the selection split and tells the quality on the test split.

    Latencies, sizes and peaks of memory are measured ones where there are, else predicted. A pick that
    has no file yet is exported first. Of a text model that generates, latency is that of a whole text.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--device", default=THIS_MACHINE, help=f"default: {THIS_MACHINE}")
        add_limits(parser)
        parser.add_argument("--run", help="the run to choose from (default: the newest)")
        parser.add_argument(
            "--data",
            metavar="KIND_OR_FOLDER",
            help="choose among what was measured on this data (default: the run's)",
        )
        parser.add_argument(
            "--output", type=Path, metavar="FOLDER", help="default: picks/<name> under the home folder"
        )

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        budget = budget_of(options)
        data = data_name(data_table(options.data)) if options.data else None
        known = _Known.read(context, options, data)
        if known.left_out:
            context.say(f"left out, with no quality known on {known.data}: {', '.join(known.left_out)}")
        picked = choosing.pick(known.candidates(), budget, preset=options.preset)
        while picked.recommended.artifact is None:
            # The file's own accuracy may differ from the network's, and then another one may win.
            _export(picked.recommended, known, context)
            known = _Known.read(context, options, data)
            picked = choosing.pick(known.candidates(), budget, preset=options.preset)
        folder = options.output or context.home.picks / picked.recommended.name
        away = takeaway(picked, known, locate=context.home.present)
        files = _write(folder.absolute(), away)
        document = {**pick_document(picked), "files": [str(file) for file in files], "gate": away.gate}
        return Outcome(document=document, text=_text(picked, away, files))


@dataclass(frozen=True, kw_only=True)
class _Known(Known):
    """What the store holds of one device, and of one run or what was measured on the same data.

    `left_out` names the files whose quality on that data is not known.
    """

    device: str
    percentile: str
    data: str
    left_out: Sequence[str]
    predictors: Sequence[FittedPredictor]

    @classmethod
    def read(cls, context: Context, options: argparse.Namespace, data: str | None) -> _Known:
        run, device = options.run, options.device
        with context.store() as store:
            subnets, artifacts = store.subnets(), store.artifacts()
            results, predictors = store.results(), store.predictors()
        predictors = [*shipped(device), *predictors]
        strangers = [artifact for artifact in artifacts if artifact.subnet is None]
        judged = [artifact for artifact in strangers if artifact.data]
        alike = [one for one in subnets if data in (None, data_name(one.data))]
        if not subnets and not judged:
            raise NoCandidate(
                "there is nothing to pick from", hint="edge-bench quickstart, or import --data"
            )
        of_run = subnets_of(alike, run) if alike or run else []
        told = data or data_name(of_run[-1].data if of_run else judged[-1].data or {})
        fitting = [one.id for one in judged if data_name(one.data or {}) == told]
        own = {THIS_MACHINE} | {one.device for one in results} | {one.device for one in predictors}
        if device not in own:
            raise _unknown(device, sorted(own))
        ids = {subnet.id for subnet in of_run}
        otherwise = [
            one for one in artifacts if one.subnet in ids and one.data and data_name(one.data) != told
        ]
        return cls(
            device=device,
            percentile=options.percentile,
            data=told,
            left_out=[one.name for one in (*strangers, *otherwise) if one.id not in fitting],
            subnets=of_run,
            artifacts=[one for one in artifacts if one.subnet in ids or one.id in fitting],
            results=[result for result in results if result.device == device],
            predictors=[one for one in predictors if one.device == device],
        )

    def candidates(self) -> list[Candidate]:
        found = [
            one
            for one in candidates(
                self.subnets, self.artifacts, self.results, self.predictors, device=self.device
            )
            if one.data == self.data
        ]
        if not found:
            batches = sorted({one.batch for one in self.predictors})
            if batches and 1 not in batches:
                raise NoCandidate(
                    f"on '{self.device}' latency is predicted for {batches[0]} images at once, and files "
                    "run with one",
                    hint=f"edge-bench devices show {self.device}",
                )
            raise NoCandidate(
                f"no latency is known on '{self.device}': nothing is measured and nothing is predicted",
                hint="edge-bench bench --all, or edge-bench fit",
            )
        if self.percentile == P90:
            found = at_p90(found, newest_results(self.results, self.device))
            if not found:
                raise NoCandidate(
                    f"no p90 is known on '{self.device}': it is of files that were measured, not predicted",
                    hint="edge-bench bench --all",
                )
        return found


def _unknown(device: str, own: Sequence[str]) -> ConfigError:
    """Return the error for a device of which no latency is known, be it a known device or none."""
    predicted = device_profiles.predicted_devices()
    if device in device_profiles.names():
        return ConfigError(
            f"no latency of networks of ours is known on '{device}'; it is known by {len(predicted)} other "
            f"devices, such as {', '.join(predicted[:3])}",
            hint=f"edge-bench devices show {device}",
        )
    near = did_you_mean(device, own)
    try:
        device_profiles.load(device)
    except ProfileError as error:
        # Device names are abbreviated boldly, and the profiles know how.
        _, found, name = str(error).partition(" Did you mean")
        near = near or found + name
    return ConfigError(
        f"nothing is known of latencies on device '{device}'. Known: {', '.join(own)}, and "
        f"{len(predicted)} that come with edge-bench.{near}",
        hint="edge-bench devices list",
    )


def _export(candidate: Candidate, known: _Known, context: Context) -> None:
    subnets = [one for one in known.subnets if one.id == candidate.subnet]
    _, failures = export_subnets(
        context, subnets, formats=[candidate.format], precisions=[candidate.precision]
    )
    for error in failures.values():
        raise error


def _write(folder: Path, away: Takeaway) -> list[Path]:
    """Write the pick's folder, whole or not at all; an older pick of that name is replaced."""
    if folder.exists() and not (folder / DOCUMENT).is_file():
        raise ConfigError(f"'{folder}' is there and holds no pick", hint="name another folder: --output")
    with explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pick-", dir=folder.parent) as named:
            fresh, old = Path(named) / "new", Path(named) / "old"
            fresh.mkdir()
            away.write(fresh)
            if folder.exists():
                folder.rename(old)
            fresh.rename(folder)
    return [folder / name for name in away.names]


def _text(picked: choosing.Pick, away: Takeaway, files: Sequence[Path]) -> str:
    lines = [f"Picked {picked.recommended.name}"]
    lines += [f"  · {reason}" for reason in picked.reasons]
    lines += ["What would change the answer:", *(f"  · {change}" for change in picked.changes)]
    if picked.alternatives:
        shown = [
            {
                "alternative": one.name,
                "selection": told_quality(one),
                f"{one.latency_is} ms": one.latency_ms,
                "from": one.latency_low_ms,
                "to": one.latency_high_ms,
                "": one.source,
                **_room(one, picked.budget),
            }
            for one in picked.alternatives
        ]
        lines.append(table(shown))
    lines += ["Files:", *(f"  {file}" for file in files), f"In CI: {away.gate}"]
    return "\n".join(lines)


def _room(one: Candidate, budget: Budget) -> dict[str, str | None]:
    """Return what a candidate takes of each limit on size and memory, marked where it is predicted, and how
    likely it meets the budget.
    """
    told: dict[str, str | None] = {}
    if budget.max_size_mb is not None:
        told["size MB"] = _marked(one.size_bytes and one.size_bytes / 1e6, one.size_source)
    if budget.max_peak_memory_mb is not None:
        told["peak MB"] = _marked(one.peak_memory_mb, one.memory_source)
    probability = chance(one, budget)
    if probability is not None:
        told["in budget"] = told_chance(probability)
    return told


def _marked(value: float | None, source: str | None) -> str | None:
    if value is None:
        return None
    return f"{value:.4g}{' (predicted)' if source == 'predicted' else ''}"
