"""search a trained run's space for the best architectures within budgets, and measure those it finds"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_bench.choose.accuracy_fitting import open_accuracy_predictor
from edge_bench.choose.candidates import RUNTIMES, newest_results
from edge_bench.choose.costs import (
    BlockTable,
    NetworkLatency,
    latency_table,
    macs_table,
    peak_memory_table,
    size_table,
)
from edge_bench.choose.encoding import Encoding, Rows
from edge_bench.choose.reasons import told_threads
from edge_bench.choose.search import Found, Limit, Problem, nearest, search
from edge_bench.choose.shipped import answering, foretold, published_by, shipped
from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.commands.bench import bench_artifacts
from edge_bench.commands.export import chosen, export_subnets
from edge_bench.errors import ConfigError, NoCandidate, NotFittedError
from edge_bench.records import (
    THIS_MACHINE,
    ArchConfig,
    Artifact,
    BenchmarkResult,
    FittedAccuracyPredictor,
    FittedPredictor,
    SearchSpace,
    Subnet,
)


@dataclass(frozen=True, kw_only=True)
class Spent:
    """A cost that can be limited: its option, its name in documents, and how people are told of it."""

    option: str
    name: str
    words: str
    unit: str
    scale: float


SPENT = (
    Spent(option="max_latency_ms", name="latency_ms", words="latency", unit="ms", scale=1),
    Spent(option="max_macs_m", name="macs", words="MACs", unit="M", scale=1e6),
    Spent(option="max_size_mb", name="size_bytes", words="size", unit="MB", scale=1e6),
    Spent(
        option="max_peak_memory_mb",
        name="peak_memory_bytes",
        words="memory of activations",
        unit="MB",
        scale=1e6,
    ),
)
# How often budgets are tightened where what is measured turns out to be above them.
ROUNDS = 3


class Search(Command):
    """Finds the front of predicted accuracy and cost; what it reports was cut out and measured.

    Peak memory is that of activations: a runtime and the weights need more. Candidates are exported
    and benchmarked, so `pick` and the dashboard know them afterwards.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "run", metavar="RUN", help="a run folder, or a run's name under the home folder"
        )
        parser.add_argument("--device", default=THIS_MACHINE, help=f"default: {THIS_MACHINE}")
        parser.add_argument("--runtime", default="onnxruntime", help="default: onnxruntime")
        parser.add_argument("--max-latency-ms", type=float, metavar="MS", help="budget for the median")
        parser.add_argument(
            "--max-macs-m", type=float, metavar="M", help="budget for multiply-accumulates, in millions"
        )
        parser.add_argument(
            "--max-size-mb", type=float, metavar="MB", help="budget for the weights in float32"
        )
        parser.add_argument(
            "--max-peak-memory-mb", type=float, metavar="MB", help="budget for activations in float32"
        )
        parser.add_argument("--count", type=int, default=5, help="how many to measure (default: 5)")
        parser.add_argument("--seed", type=int, default=0, help="of NSGA-II (default: 0)")

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        from supernet.run import find_run, read_record

        if options.count < 1:
            raise ConfigError(f"--count is {options.count}; at least 1 is needed")
        runtime = chosen(options.runtime, known=sorted(RUNTIMES.values()), what="runtime")[0]
        budgets = {one.name: _budget(one, getattr(options, one.option)) for one in SPENT}
        folder = find_run(options.run, context.home)
        space = read_record(folder).elastic_space
        asked = _Asked.read(context, folder.name, space, options.device, runtime, budgets)
        found, measured = asked.measured(options, folder, context)
        for _ in range(ROUNDS - 1):
            if not all(one.above for one in measured):
                break
            tighter = asked.tightened(measured)
            try:
                found, measured = tighter.measured(options, folder, context)
            except NoCandidate:
                # The budgets as asked for could be met, by prediction: what was measured is the answer.
                break
            asked = tighter
        return _outcome(asked, found, measured)


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """An architecture of the front: what was predicted of it, what was measured, and the budgets given.

    `result` is None on a device that is not at hand.
    """

    arch: ArchConfig
    subnet: Subnet
    predicted: dict[str, float]
    artifact: Artifact
    result: BenchmarkResult | None
    given: dict[str, float]

    @property
    def measured(self) -> dict[str, float]:
        """Costs as they turned out, of those that can be measured and were."""
        latency = {"latency_ms": self.result.p50_ms} if self.result else {}
        return {"size_bytes": float(self.artifact.size_bytes), **latency}

    @property
    def above(self) -> dict[str, float]:
        """Each budget that a measured cost is above, and how many times the budget it is."""
        ratios = {
            name: cost / self.given[name] for name, cost in self.measured.items() if name in self.given
        }
        return {name: ratio for name, ratio in ratios.items() if ratio > 1}

    @property
    def accuracy(self) -> float:
        metric = self.subnet.metric("selection")
        return metric.value if metric else math.nan


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What is searched, and by which predictors.

    `given` are the budgets as asked for, in each cost's own unit; `budgets` those that are searched
    with, lower where predictions turned out too low.
    """

    run: str
    encoding: Encoding
    device: str
    runtime: str
    accuracy: FittedAccuracyPredictor
    latency: FittedPredictor | None
    tables: dict[str, BlockTable | NetworkLatency]
    given: dict[str, float]
    budgets: dict[str, float]

    @classmethod
    def read(
        cls,
        context: Context,
        run: str,
        space: SearchSpace,
        device: str,
        runtime: str,
        budgets: dict[str, float | None],
    ) -> _Asked:
        with context.store() as store:
            accuracies = store.accuracy_predictors(run=run)
            latencies = store.predictors(device=device)
        if not accuracies:
            raise NotFittedError(
                f"no accuracy predictor was fitted for run '{run}'",
                hint=f"edge-bench fit accuracy --run {run}",
            )
        ends = [space.smallest(), space.largest()]
        known = [*shipped(device), *latencies]
        latency = answering(known, space, ends, runtime=runtime)
        if budgets["latency_ms"] is not None and latency is None:
            raise _no_latency(known, run, device, runtime)
        encoding = Encoding(space)
        tables: list[BlockTable | NetworkLatency] = [
            macs_table(encoding),
            size_table(encoding),
            peak_memory_table(encoding),
        ]
        if latency:
            tables.append(latency_table(encoding, latency))
        given = {name: limit for name, limit in budgets.items() if limit is not None}
        return cls(
            run=run,
            encoding=encoding,
            device=device,
            runtime=runtime,
            accuracy=accuracies[-1],
            latency=latency,
            tables={one.name: one for one in tables},
            given=given,
            budgets=given,
        )

    @property
    def traded(self) -> str:
        """The name of the cost that accuracy is traded against."""
        return "latency_ms" if self.latency else "macs"

    def measured(
        self, options: argparse.Namespace, folder: Path, context: Context
    ) -> tuple[Found, list[_Candidate]]:
        """Search, and measure what stands first.

        Raises:
            NoCandidate: nothing is predicted to be within the budgets; tells what comes nearest.
        """
        began = time.perf_counter()
        found = self.search(seed=options.seed)
        context.say(
            f"{found.method}: {len(found.rows)} on the front of {found.considered} architectures "
            f"considered, {time.perf_counter() - began:.2f} s"
        )
        return found, self.measure(self.top(found, options.count), folder, context)

    def search(self, *, seed: int) -> Found:
        predictor = open_accuracy_predictor(self.accuracy, self.encoding.space)
        problem = Problem(
            encoding=self.encoding,
            quality=predictor.contributions() or predictor.predict,
            cost=self.tables[self.traded],
            limits=tuple(
                Limit(name=name, cost=self.tables[name], at_most=limit)
                for name, limit in self.budgets.items()
            ),
        )
        found = search(problem, seed=seed)
        if not len(found.rows):
            raise self._impossible(problem, seed)
        return found

    def top(self, found: Found, count: int) -> Rows:
        """Return the rows to measure: the most accurate within budgets, or spread over the whole front."""
        count = min(count, len(found.rows))
        if self.budgets:
            return found.rows[-count:]
        logs = np.log(found.costs)
        goals = np.linspace(logs[0], logs[-1], count)
        picked = {int(np.abs(logs - goal).argmin()) for goal in goals}
        return found.rows[sorted(picked)]

    def measure(self, rows: Rows, folder: Path, context: Context) -> list[_Candidate]:
        """Cut, export and (on this machine) benchmark; what is stored already is not done again."""
        archs = self.encoding.decode(rows)
        subnets = self._cut(archs, folder, context)
        form = next(form for form, runtime in RUNTIMES.items() if runtime == self.runtime)
        artifacts, failures = export_subnets(context, subnets, formats=[form], precisions=["fp32"])
        if failures:
            raise next(iter(failures.values()))
        by_subnet = {artifact.subnet: artifact for artifact in artifacts if artifact.step_of is None}
        results = self._benchmarked(artifacts, context)
        accuracies = open_accuracy_predictor(self.accuracy, self.encoding.space).predict(rows)
        costs = {name: cost(rows) for name, cost in self.tables.items()}
        candidates = []
        for index, (arch, subnet) in enumerate(zip(archs, subnets, strict=True)):
            predicted = {"accuracy": float(accuracies[index])}
            predicted |= {name: float(cost[index]) for name, cost in costs.items()}
            artifact = by_subnet[subnet.id]
            candidates.append(
                _Candidate(
                    arch=arch,
                    subnet=subnet,
                    predicted=predicted,
                    artifact=artifact,
                    result=results.get(artifact.id),
                    given=self.given,
                )
            )
        return candidates

    def tightened(self, measured: Sequence[_Candidate]) -> _Asked:
        """Return the same with lower budgets where all that was measured is above them."""
        budgets = dict(self.budgets)
        for name in {name for one in measured for name in one.above}:
            ratios = [one.predicted[name] / one.measured[name] for one in measured]
            budgets[name] = min(self.given[name] * min(ratios), 0.98 * budgets[name])
        return replace(self, budgets=budgets)

    def _cut(self, archs: Sequence[ArchConfig], folder: Path, context: Context) -> list[Subnet]:
        from supernet.trained import TrainedRun

        with context.store() as store:
            stored = {one.arch.key: one for one in store.subnets() if one.run == folder.name}
            there = {
                key: one for key, one in stored.items() if context.home.absolute(one.program).is_file()
            }
            missing = [arch for arch in archs if arch.key not in there]
            trained = TrainedRun.open(folder) if missing else None
            for arch in context.track(missing, description="cut and judge", total=len(missing)):
                assert trained is not None
                there[arch.key] = trained.cut(arch, home=context.home)
                store.add(there[arch.key])
        return [there[arch.key] for arch in archs]

    def _benchmarked(self, artifacts: Sequence[Artifact], context: Context) -> dict[str, BenchmarkResult]:
        """Return the newest result of each artifact; on this machine each one gets one."""
        with context.store() as store:
            known = newest_results(store.results(device=self.device), self.device)
        if self.device == THIS_MACHINE:
            missing = [artifact for artifact in artifacts if artifact.id not in known]
            for result in bench_artifacts(context, missing):
                known[result.artifact or ""] = result
        return known

    def _impossible(self, problem: Problem, seed: int) -> NoCandidate:
        near = nearest(problem, seed=seed)
        (arch,) = self.encoding.decode(near.row)
        told, raised = [], []
        for limit, cost in zip(problem.limits, near.costs, strict=True):
            spent = next(one for one in SPENT if one.name == limit.name)
            if cost > limit.at_most:
                told.append(
                    f"{spent.words} {cost / spent.scale:.4g} {spent.unit} against at most "
                    f"{limit.at_most / spent.scale:.4g} ({cost / limit.at_most:.4g} times that)"
                )
            enough = max(cost * 1.001, limit.at_most) / spent.scale
            raised.append(f"--{spent.option.replace('_', '-')} {enough:.4g}")
        known = "no architecture is nearer" if near.proven else "nothing nearer was found"
        return NoCandidate(
            f"nothing in the space of run '{self.run}' is predicted to fit the budget; the nearest is "
            f"{_described(arch)} with {' and '.join(told)}; {known}",
            hint=f"edge-bench search {self.run} {' '.join(raised)}",
        )


def _no_latency(known: Sequence[FittedPredictor], run: str, device: str, runtime: str) -> NotFittedError:
    others = sorted({one.runtime for one in known if one.batch == 1} & set(RUNTIMES.values()))
    hint = f"edge-bench fit --run {run} --runtimes {runtime}"
    if device != THIS_MACHINE and others:
        hint = f"--runtime {others[0]}"
    return NotFittedError(
        f"no latency predictor of device '{device}' and runtime '{runtime}' was fitted for the "
        f"space of run '{run}'",
        hint=f"{hint}, or give --max-macs-m instead of --max-latency-ms",
    )


def _budget(spent: Spent, given: float | None) -> float | None:
    if given is None:
        return None
    if not 0 < given < math.inf:
        raise ConfigError(f"--{spent.option.replace('_', '-')} is {given:g}; a number above 0 is expected")
    return given * spent.scale


def _described(arch: ArchConfig) -> str:
    """Return an architecture for people: its key, each block's kernel and expand ratio, its resolution."""
    blocks = " ".join(f"k{block.kernel}e{block.expand}" for block in arch.blocks)
    return f"{arch.key} ({len(arch.blocks)} blocks {blocks} @{arch.resolution})"


def _outcome(asked: _Asked, found: Found, measured: Sequence[_Candidate]) -> Outcome:
    ordered = sorted(measured, key=lambda one: (bool(one.above), -one.accuracy))
    best = ordered[0]
    if best.above:
        closest = min(measured, key=lambda one: max(one.above.values()))
        told = [
            f"{spent.words} {closest.measured[spent.name] / spent.scale:.4g} {spent.unit} against at most "
            f"{asked.given[spent.name] / spent.scale:.4g}"
            for spent in SPENT
            if spent.name in closest.above
        ]
        raise NoCandidate(
            f"all that was predicted to fit measured more; the nearest is {closest.subnet.id} with "
            f"{' and '.join(told)}",
            hint=f"edge-bench fit --run {asked.run} measures this machine again",
        )
    rows = [_row(one) for one in ordered]
    front = _front(asked, found)
    document = {
        "run": asked.run,
        "device": asked.device,
        "runtime": asked.runtime,
        "method": found.method,
        "considered": found.considered,
        "space_size": asked.encoding.space.size(),
        "budgets": asked.given,
        "searched_with": asked.budgets,
        "traded_against": asked.traded,
        "accuracy_predictor": asked.accuracy.id,
        "latency_predictor": asked.latency.id if asked.latency else None,
        "recommended": best.subnet.id,
        "candidates": rows,
        "front": front,
    }
    return Outcome(document=document, text=_text(asked, found, ordered))


def _of_latency(asked: _Asked, best: _Candidate) -> list[str]:
    """Say who measured what latencies are predicted from, where that was not here."""
    fitted = asked.latency
    if fitted is None or not published_by(fitted):
        return []
    told = foretold(fitted, asked.encoding.space, best.arch, runtime=asked.runtime)
    lines = [
        f"Latency on {asked.device} is predicted for {told_threads(fitted.threads)}, from what others "
        f"measured: {fitted.source}.",
        f"Of the best: {told.latency_ms:.4g} ms, 9 times of 10 between {told.low_ms:.4g} and "
        f"{told.high_ms:.4g}.",
    ]
    return [*lines, f"Mind: it lies {told.warning}."] if told.warning else lines


def _front(asked: _Asked, found: Found) -> list[dict[str, Any]]:
    archs = asked.encoding.decode(found.rows)
    costs = {name: cost(found.rows) for name, cost in asked.tables.items()}
    return [
        {
            "arch": arch.key,
            "resolution": arch.resolution,
            "accuracy": float(found.qualities[index]),
            **{name: float(cost[index]) for name, cost in costs.items()},
        }
        for index, arch in enumerate(archs)
    ]


def _row(one: _Candidate) -> dict[str, Any]:
    test = one.subnet.metric("test")
    result, artifact = one.result, one.artifact
    return {
        "subnet": one.subnet.id,
        "artifact": artifact.id,
        "resolution": one.arch.resolution,
        "predicted": one.predicted,
        "measured": {
            "accuracy": one.accuracy,
            "test_accuracy": test.value if test else None,
            "latency_ms": result.p50_ms if result else None,
            "latency_low_ms": result.p50_low_ms if result else None,
            "latency_high_ms": result.p50_high_ms if result else None,
            "verdict": result.verdict if result else None,
            "macs": one.subnet.macs,
            "size_bytes": artifact.size_bytes,
            "peak_memory_mb": result.peak_memory_mb if result else None,
        },
        "within_budget": not one.above,
    }


def _text(asked: _Asked, found: Found, ordered: Sequence[_Candidate]) -> str:
    shown = []
    for one in ordered:
        latency = one.predicted.get("latency_ms")
        shown.append(
            {
                "subnet": one.subnet.id,
                "accuracy: predicted": f"{100 * one.predicted['accuracy']:.2f} %",
                "measured": f"{100 * one.accuracy:.2f} %",
                "latency ms: predicted": latency,
                "measured ": one.result.p50_ms if one.result else None,
                "MACs M": one.subnet.macs / 1e6,
                "size MB": one.artifact.size_bytes / 1e6,
                "activations MB": one.predicted["peak_memory_bytes"] / 1e6,
                "": "above the budget" if one.above else "",
            }
        )
    exact = "no architecture is left out" if found.method != "NSGA-II" else "some may be missed"
    lines = [
        f"{len(found.rows)} architectures on the front of predicted accuracy and "
        f"{'latency' if asked.latency else 'MACs'}, of {found.considered:,} considered by {found.method} "
        f"({exact}).",
        f"Accuracy is that on the selection split; the predictor errs by "
        f"{asked.accuracy.held_out.rmse_points:.2f} points on networks it was not fitted on.",
        *_of_latency(asked, ordered[0]),
        table(shown),
        f"Best measured: {ordered[0].subnet.id}",
        f"next: edge-bench pick --run {asked.run} --device {asked.device}",
    ]
    return "\n".join(lines)
