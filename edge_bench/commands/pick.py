"""choose the best model within a budget, say why, and write it with a card and a script that runs it"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import device_profiles
from device_profiles import ProfileError
from edge_bench.choose import pick as choosing
from edge_bench.choose.candidates import candidates, newest_results
from edge_bench.choose.card import model_card
from edge_bench.choose.shipped import shipped
from edge_bench.choose.snippets import TOKENIZER, Picked, run_script
from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.commands.export import export_subnets, subnets_of
from edge_bench.commands.train import data_table
from edge_bench.data import data_name
from edge_bench.errors import ConfigError, NoCandidate, did_you_mean
from edge_bench.files import explained
from edge_bench.records import (
    THIS_MACHINE,
    Artifact,
    BenchmarkResult,
    Budget,
    Candidate,
    FittedPredictor,
    Metric,
    Subnet,
)

PRESETS = get_args(choosing.Preset)


class Pick(Command):
    """Decides on the selection split and tells the quality on the test split.

    Latencies, sizes and peaks of memory are measured ones where there are, else predicted. A pick that
    has no file yet is exported first. Of a text model that generates, latency is that of a whole text.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--device", default=THIS_MACHINE, help=f"default: {THIS_MACHINE}")
        parser.add_argument("--max-latency-ms", type=float, metavar="MS", help="budget for the median")
        parser.add_argument(
            "--max-size-mb",
            type=float,
            metavar="MB",
            help="budget for the file; predicted where there is none yet",
        )
        parser.add_argument(
            "--max-peak-memory-mb",
            type=float,
            metavar="MB",
            help="budget for the whole process, as measured, else as predicted",
        )
        parser.add_argument(
            "--preset",
            choices=PRESETS,
            default="accuracy",
            help="accuracy: the best by its metric; balanced: the fastest within a point of that; "
            "speed: the fastest",
        )
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
        budget = Budget(
            max_latency_ms=_positive("--max-latency-ms", options.max_latency_ms),
            max_size_mb=_positive("--max-size-mb", options.max_size_mb),
            max_peak_memory_mb=_positive("--max-peak-memory-mb", options.max_peak_memory_mb),
        )
        data = data_name(data_table(options.data)) if options.data else None
        known = _Known.read(context, options.run, data, options.device)
        if known.left_out:
            context.say(f"left out, with no quality known on {known.data}: {', '.join(known.left_out)}")
        picked = choosing.pick(known.candidates(), budget, preset=options.preset)
        while picked.recommended.artifact is None:
            # The file's own accuracy may differ from the network's, and then another one may win.
            _export(picked.recommended, known, context)
            known = _Known.read(context, options.run, data, options.device)
            picked = choosing.pick(known.candidates(), budget, preset=options.preset)
        folder = options.output or context.home.picks / picked.recommended.name
        document = {
            "candidate": {**_row(picked.recommended), "reasons": list(picked.reasons)},
            "alternatives": [_row(one) for one in picked.alternatives],
            "budget": asdict(budget),
            "preset": options.preset,
        }
        files = _write(folder.absolute(), picked, known, document, context)
        document["files"] = [str(file) for file in files]
        return Outcome(document=document, text=_text(picked, budget, files))


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What the store holds of one device, and of one run or what was measured on the same data.

    `left_out` names the files whose quality on that data is not known.
    """

    device: str
    data: str
    left_out: Sequence[str]
    subnets: Sequence[Subnet]
    artifacts: Sequence[Artifact]
    results: Sequence[BenchmarkResult]
    predictors: Sequence[FittedPredictor]

    @classmethod
    def read(cls, context: Context, run: str | None, data: str | None, device: str) -> _Known:
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
        return found

    def subnet(self, identity: str | None) -> Subnet | None:
        return next((subnet for subnet in self.subnets if subnet.id == identity), None)


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


def _write(
    folder: Path, picked: choosing.Pick, known: _Known, document: Mapping[str, Any], context: Context
) -> list[Path]:
    """Write the pick's folder, whole or not at all; an older pick of that name is replaced."""
    by_id = {one.id: one for one in known.artifacts}
    artifact = by_id[picked.recommended.artifact or ""]
    generation = picked.recommended.generation
    step = by_id[generation.step or ""] if generation else None
    subnet = known.subnet(artifact.subnet)
    result = None
    if picked.recommended.source != "predicted":
        runtime = picked.recommended.runtime
        of_runtime = [one for one in known.results if one.runtime == runtime]
        result = newest_results(of_runtime, known.device).get(artifact.id)
    if folder.exists() and not (folder / "pick.json").is_file():
        raise ConfigError(f"'{folder}' is there and holds no pick", hint="name another folder: --output")
    with explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pick-", dir=folder.parent) as named:
            fresh, old = Path(named) / "new", Path(named) / "old"
            fresh.mkdir()
            model = _copied(context.home.absolute(artifact.file), artifact, fresh)
            step_file = f"step.{artifact.format}" if step else ""
            if step:
                shutil.copyfile(context.home.absolute(step.file), fresh / step_file)
            run = Picked.of(artifact, subnet, file=model, step_file=step_file)
            if run.text:
                shutil.copyfile(context.home.absolute(run.text.tokenizer), fresh / TOKENIZER)
            texts = {
                "model_card.md": model_card(picked, artifact, subnet, result, step),
                "run_model.py": run_script(run),
                "pick.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n",
            }
            for name, text in texts.items():
                (fresh / name).write_text(text, encoding="utf-8")
            if folder.exists():
                folder.rename(old)
            fresh.rename(folder)
    models = [model, *([step_file] if step else []), *([TOKENIZER] if run.text else [])]
    return [folder / name for name in (*models, *texts)]


def _copied(file: Path, artifact: Artifact, folder: Path) -> str:
    """Copy the model, and the weights that lie beside it under names it knows; return its name there."""
    beside = [one for one in file.parent.rglob("*") if one.is_file() and one != file]
    if artifact.subnet is not None or not beside:
        model = f"model.{artifact.format}"
        shutil.copyfile(file, folder / model)
        return model
    shutil.copytree(file.parent, folder, dirs_exist_ok=True)
    return file.name


def _row(candidate: Candidate) -> dict[str, Any]:
    document = asdict(candidate)
    document["metric"] = _metric(candidate.metric)
    document["test_metric"] = _metric(candidate.test_metric) if candidate.test_metric else None
    return document


def _metric(metric: Metric) -> dict[str, Any]:
    return {
        "name": metric.name,
        "value": metric.value,
        "higher_is_better": metric.higher_is_better,
        "split": metric.split,
        "examples": metric.examples,
    }


def _positive(name: str, value: float | None) -> float | None:
    if value is not None and not 0 < value < float("inf"):
        raise ConfigError(f"{name} is {value:g}; a number above 0 is expected")
    return value


def _text(picked: choosing.Pick, budget: Budget, files: Sequence[Path]) -> str:
    lines = [f"Picked {picked.recommended.name}"]
    lines += [f"  · {reason}" for reason in picked.reasons]
    if picked.alternatives:
        shown = [
            {
                "alternative": one.name,
                "selection": choosing.told_quality(one),
                "median ms": one.latency_ms,
                "from": one.latency_low_ms,
                "to": one.latency_high_ms,
                "": one.source,
                **_room(one, budget),
            }
            for one in picked.alternatives
        ]
        lines.append(table(shown))
    lines += ["Files:", *(f"  {file}" for file in files)]
    return "\n".join(lines)


def _room(one: Candidate, budget: Budget) -> dict[str, str | None]:
    """Return what a candidate takes of each limit on size and memory, marked where it is predicted."""
    told = {}
    if budget.max_size_mb is not None:
        told["size MB"] = _marked(one.size_bytes and one.size_bytes / 1e6, one.size_source)
    if budget.max_peak_memory_mb is not None:
        told["peak MB"] = _marked(one.peak_memory_mb, one.memory_source)
    return told


def _marked(value: float | None, source: str | None) -> str | None:
    if value is None:
        return None
    return f"{value:.4g}{' (predicted)' if source == 'predicted' else ''}"
