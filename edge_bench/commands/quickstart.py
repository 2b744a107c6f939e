"""the main job on scikit-learn's digits: train, extract, fit, export, bench, pick"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from edge_bench import errors
from edge_bench.choose.candidates import RUNTIMES, candidates
from edge_bench.choose.fitting import space_key
from edge_bench.commands import Command, Context, Outcome
from edge_bench.commands._predictor_rows import predictor_row
from edge_bench.commands.export import accuracies, artifact_row
from edge_bench.errors import EdgeBenchError
from edge_bench.records import THIS_MACHINE, Artifact, Candidate, FittedPredictor, Frontier, Subnet

RUN_FILE = Path(__file__).with_suffix(".toml")
EXTRACTED, EXPORTED = 20, 14


class Quickstart(Command):
    """Runs the other commands one after another, each in a process of its own.

    What is in the store already is not done again, so a second run is quick and an interrupted one
    goes on. Choices are made on the selection split; the accuracy told is that on the test split.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--max-latency-ms",
            type=float,
            help="the budget (default: two thirds of the slowest fp32 median)",
        )
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="change a value of the run, e.g. training.epochs=2",
        )

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        started = time.monotonic()
        job = _Job(context=context)
        with _peak_memory() as memory:
            changes = [word for change in options.set for word in ("--set", change)]
            run = job.step("train", str(RUN_FILE), *changes)["run"]
            name = Path(run).name
            if len(job.subnets(name)) < EXTRACTED:
                job.step("extract", name, "--count", str(EXTRACTED))
            if not set(RUNTIMES.values()) <= set(job.predictors(name)):
                job.step("fit", "--run", name)
            job.step("export", *job.worth_exporting(name), "--format", "onnx,tflite")
            job.step("bench", "--all")
            budget = options.max_latency_ms or job.shown_budget_ms(name)
            limit = ("--run", name, "--device", THIS_MACHINE, "--max-latency-ms", f"{budget:.4g}")
            first = job.step("pick", *limit)
            job.step("export", _subnet_of(first, job), "--format", "onnx,tflite", "--precision", "int8")
            job.step("bench", "--all")
            picked = job.step("pick", *limit)
        document = {
            "run": run,
            "subnets": [_subnet_row(subnet) for subnet in job.subnets(name)],
            "artifacts": [artifact_row(artifact) for artifact in job.artifacts(name)],
            "fit": {"predictors": [predictor_row(one) for one in job.predictors(name).values()]},
            "pick": picked,
            "budget_ms": budget,
            "front": _span(job.measured(name)),
            "seconds": time.monotonic() - started,
            "step_seconds": job.seconds,
            "peak_memory_mb": memory.peak_mb,
        }
        return Outcome(document=document, text=_told(document, context))


@dataclass(kw_only=True)
class _Job:
    """The steps so far, and what the store holds after them."""

    context: Context
    seconds: dict[str, float] = field(default_factory=dict)

    def step(self, command: str, *arguments: str) -> dict[str, Any]:
        """Run a command in a child and return its document; its progress goes to our stderr."""
        shown = " ".join(["edge-bench", command, *arguments])
        self.context.say(f"▸ {shown if len(shown) < 120 else shown[:119] + '…'}")
        started = time.monotonic()
        words = [sys.executable, "-m", "edge_bench", command, *arguments]
        words += ["--json", "--home", str(self.context.home.root)]
        words += ["--quiet"] if self.context.quiet else []
        child = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
        self.seconds[command] = self.seconds.get(command, 0.0) + time.monotonic() - started
        if child.returncode == errors.INTERRUPTED or child.returncode == -2:
            raise KeyboardInterrupt
        document: dict[str, Any] = _parsed(child.stdout)
        if child.returncode != errors.OK:
            raise _StepFailed(command, child.returncode, document.get("error", {}))
        return document

    def subnets(self, run: str) -> list[Subnet]:
        with self.context.store() as store:
            return [subnet for subnet in store.subnets() if subnet.run == run]

    def artifacts(self, run: str) -> list[Artifact]:
        ids = {subnet.id for subnet in self.subnets(run)}
        with self.context.store() as store:
            return [artifact for artifact in store.artifacts() if artifact.subnet in ids]

    def predictors(self, run: str) -> dict[str, FittedPredictor]:
        """Return the newest single-thread predictor of each runtime for the run's search space."""
        space = space_key(self.subnets(run)[0].space)
        with self.context.store() as store:
            known = store.predictors(device=THIS_MACHINE)
        return {one.runtime: one for one in known if one.space == space and one.threads == 1}

    def candidates(self, run: str) -> list[Candidate]:
        """Return what the run offers on this machine, measured and predicted."""
        subnets, artifacts = self.subnets(run), self.artifacts(run)
        with self.context.store() as store:
            results, predictors = store.results(device=THIS_MACHINE), store.predictors(device=THIS_MACHINE)
        return candidates(subnets, artifacts, results, predictors, device=THIS_MACHINE)

    def measured(self, run: str) -> list[Candidate]:
        return [one for one in self.candidates(run) if one.source == "measured"]

    def worth_exporting(self, run: str) -> list[str]:
        """Return the subnets nearest the predicted front: layer by layer until there are enough.

        The others stay in the store as predictions; any of them can be exported later.
        """
        exported = {artifact.subnet for artifact in self.artifacts(run)}
        if len(exported) >= EXPORTED:
            return sorted(one for one in exported if one)
        left = [one for one in self.candidates(run) if one.precision == "fp32"]
        extremes = min(left, key=lambda one: one.latency_ms), max(left, key=lambda one: one.latency_ms)
        chosen = list(dict.fromkeys(one.subnet or "" for one in extremes))
        while left and len(chosen) < EXPORTED:
            layer = {one.subnet: one for one in Frontier.of(left).members}
            fresh = [one for one in layer if one and one not in chosen]
            chosen += fresh[: EXPORTED - len(chosen)]
            left = [one for one in left if one.subnet not in layer]
        return chosen

    def shown_budget_ms(self, run: str) -> float:
        """Return two thirds of the slowest fp32 median: small enough that the largest net is too slow."""
        return max(one.latency_ms for one in self.measured(run) if one.precision == "fp32") * 2 / 3


class _StepFailed(EdgeBenchError):
    """A step ended badly; its own line has been printed, the status is passed on."""

    def __init__(self, command: str, status: int, told: dict[str, Any]) -> None:
        super().__init__(
            f"the step '{command}' failed: {told.get('message', f'exit status {status}')}",
            hint=told.get("hint") or "mend it and run the same command again: finished steps are kept",
        )
        self.status = status if status > 0 else errors.OUR_FAULT  # type: ignore[misc]


class _Memory:
    peak_mb = 0.0


@contextmanager
def _peak_memory() -> Iterator[_Memory]:
    """Sample the resident memory of this process and all below it, summed, twice a second."""
    memory, done = _Memory(), threading.Event()

    def sample() -> None:
        own = psutil.Process()
        while not done.wait(0.5):
            total = 0
            for process in (own, *own.children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            memory.peak_mb = max(memory.peak_mb, total / 1e6)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield memory
    finally:
        done.set()
        sampler.join()


def _parsed(text: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return document


def _subnet_of(pick: dict[str, Any], job: _Job) -> str:
    with job.context.store() as store:
        artifacts = {artifact.id: artifact for artifact in store.artifacts()}
    return artifacts[pick["candidate"]["artifact"]].subnet or ""


def _subnet_row(subnet: Subnet) -> dict[str, Any]:
    return {"id": subnet.id, "params": subnet.params, "macs": subnet.macs, **accuracies(subnet.metrics)}


def _span(measured: list[Candidate]) -> dict[str, float]:
    """Return how much there is to choose from: the ends of the measured front."""
    members = Frontier.of(measured).members
    return {
        "members": len(members),
        "accuracy_points": 100 * (members[-1].metric.value - members[0].metric.value),
        "latency_ratio": members[-1].latency_ms / members[0].latency_ms,
    }


def _told(document: dict[str, Any], context: Context) -> str:
    pick, front = document["pick"], document["front"]
    candidate = pick["candidate"]
    lines = [
        "",
        f"Picked {candidate['artifact']} ({candidate['format']}, {candidate['precision']}) "
        f"within {document['budget_ms']:.3g} ms:",
        *(f"  · {reason}" for reason in candidate["reasons"]),
        "",
        f"{len(document['subnets'])} subnets, {len(document['artifacts'])} files; the measured front spans "
        f"{front['accuracy_points']:.1f} points of accuracy and {front['latency_ratio']:.1f}× in latency.",
    ]
    for one in document["fit"]["predictors"]:
        lines.append(
            f"Latency predictor for {one['runtime']}: on {one['held_out']} networks it had not seen "
            f"{100 * one['mape']:.1f} % mean error, {100 * one['within_10_percent']:.0f} % within ±10 %."
        )
    minutes, seconds = divmod(round(document["seconds"]), 60)
    lines += [
        f"Took {minutes} min {seconds} s and at most {document['peak_memory_mb']:.0f} MB.",
        "",
        "Files:",
        *(f"  {file}" for file in pick["files"]),
        f"  everything else lies in {context.home.root}",
        "",
        "See it all in a browser:  make dashboard   (or: edge-bench dashboard)",
    ]
    return "\n".join(lines)
