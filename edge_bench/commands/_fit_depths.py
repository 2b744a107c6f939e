"""`fit` of a text model: the latency of any depth, from the files of a few of its subnets."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_bench.choose.candidates import RUNTIMES, newest_results
from edge_bench.choose.depths import (
    MeasuredDepth,
    check_depths,
    depth_table,
    fit_depths,
    layer_prices_ms,
    least_depths,
)
from edge_bench.commands import Context, Outcome, table
from edge_bench.commands._predictor_rows import errors_for_people, predictor_row
from edge_bench.commands.bench import bench_artifacts
from edge_bench.commands.export import chosen, subnets_of
from edge_bench.errors import ConfigError, NotFittedError
from edge_bench.records import (
    THIS_MACHINE,
    Artifact,
    BenchmarkResult,
    FittedPredictor,
    Subnet,
    TransformerSpace,
)
from edge_bench.records.prediction import Unit

UNITS: tuple[Unit, ...] = ("network", "step")
# Depths that are measured where --nets says nothing.
DEPTHS = 6
PRECISION = "fp32"
# Options that say how untrained networks are drawn and judged; here files of trained ones are taken.
_OTHERS = ("held_out", "kind", "sources", "samples", "compare")


def text_subnets(run: str | None, context: Context) -> list[Subnet]:
    """Return the subnets of a run, by default the newest, if they are of a text model; else none."""
    with context.store() as store:
        subnets = store.subnets()
    of_run = subnets_of(subnets, run) if subnets else []
    return [one for one in of_run if isinstance(one.space, TransformerSpace)]


def fit_text_depths(options: argparse.Namespace, subnets: Sequence[Subnet], context: Context) -> Outcome:
    """Fit on stored files of `subnets`, which are measured here where they have no result yet.

    Raises:
        ConfigError: an option that does not apply, or no file to measure.
        NotFittedError: files of too few depths.
    """
    nets = DEPTHS if options.nets is None else options.nets
    device = options.device or THIS_MACHINE
    _check(options, nets)
    by_id = {one.id: one for one in subnets}
    with context.store() as store:
        stored = [one for one in store.artifacts() if one.subnet in by_id and one.precision == PRECISION]
    formats = {runtime: form for form, runtime in RUNTIMES.items()}
    there = {one.format for one in stored}
    if not there:
        raise ConfigError(
            f"run '{subnets[0].run}' has no exported file whose latency could be measured",
            hint=f"edge-bench export {subnets[0].run}:largest {subnets[0].run}:middle …",
        )
    usual = ",".join(runtime for runtime, form in formats.items() if form in there)
    runtimes = chosen(options.runtimes or usual, known=sorted(formats), what="runtime")
    jobs: list[_Job] = []
    refused: list[NotFittedError] = []
    for runtime in runtimes:
        files = [one for one in stored if one.format == formats[runtime]]
        try:
            # Too few files of one kind are told before any is measured.
            jobs += [
                _Job.of(
                    [one for one in files if bool(one.step_of) == (unit == "step")],
                    by_id,
                    unit,
                    nets,
                    device,
                    runtime,
                    context,
                )
                for unit in (UNITS if subnets[0].step else UNITS[:1])
            ]
        except NotFittedError as error:
            refused.append(error)
            context.say(f"{runtime} is left out: {error.message}")
    if refused and (options.runtimes or not jobs):
        raise refused[0]
    fitted = [job.fitted(context) for job in jobs]
    with context.store() as store:
        store.add(*fitted)
    rows = [{**predictor_row(one), "prices_ms": layer_prices_ms(one)} for one in fitted]
    return Outcome(document={"predictors": rows}, text=_text(rows, subnets[0].run, device))


def _check(options: argparse.Namespace, nets: int) -> None:
    for option in _OTHERS:
        if getattr(options, option):
            name = {"sources": "from"}.get(option, option.replace("_", "-"))
            raise ConfigError(
                f"--{name} does not apply to a text model, which is fitted on its own files",
                hint="edge-bench fit --run RUN --nets DEPTHS",
            )
    if options.threads not in (None, 1):
        raise ConfigError(f"--threads is {options.threads}; depths are fitted on one thread")
    if nets < 3:
        raise ConfigError(f"--nets is {nets}; 3 or more depths are needed")


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One kind of file in one runtime: what was measured of it, and the files that will be."""

    files: Sequence[Artifact]
    subnets: Mapping[str, Subnet]
    space: TransformerSpace
    unit: Unit
    device: str
    runtime: str
    results: Mapping[str, BenchmarkResult]
    missing: Sequence[Artifact]

    @classmethod
    def of(
        cls,
        files: Sequence[Artifact],
        subnets: Mapping[str, Subnet],
        unit: Unit,
        nets: int,
        device: str,
        runtime: str,
        context: Context,
    ) -> _Job:
        """Choose what to measure; `NotFittedError` where files of too few depths are there."""
        space = next(iter(subnets.values())).space
        assert isinstance(space, TransformerSpace)
        results = _measured(files, device, runtime, context)
        missing = _spread(files, results, subnets, space, unit, nets) if device == THIS_MACHINE else []
        taken = [one for one in files if one.id in results or one in missing]
        check_depths(space, [subnets[one.subnet or ""].arch for one in taken], unit)
        return cls(
            files=files,
            subnets=subnets,
            space=space,
            unit=unit,
            device=device,
            runtime=runtime,
            results=results,
            missing=missing,
        )

    def fitted(self, context: Context) -> FittedPredictor:
        """Measure what is missing and return the predictor."""
        fresh = bench_artifacts(context, self.missing) if self.missing else []
        results = {**self.results, **{one.artifact or "": one for one in fresh}}
        measured = [
            MeasuredDepth(
                arch=self.subnets[one.subnet or ""].arch,
                latency_ms=results[one.id].p50_ms,
                size_bytes=one.size_bytes,
            )
            for one in self.files
            if one.id in results
        ]
        return fit_depths(
            self.space,
            measured,
            unit=self.unit,
            device=self.device,
            runtime=self.runtime,
            precision=PRECISION,
        )


def _measured(
    files: Sequence[Artifact], device: str, runtime: str, context: Context
) -> dict[str, BenchmarkResult]:
    with context.store() as store:
        results = [one for one in store.results(device=device) if one.runtime == runtime]
    ids = {one.id for one in files}
    return {key: one for key, one in newest_results(results, device).items() if key in ids}


def _spread(
    files: Sequence[Artifact],
    results: Mapping[str, BenchmarkResult],
    subnets: Mapping[str, Subnet],
    space: TransformerSpace,
    unit: Unit,
    nets: int,
) -> list[Artifact]:
    """Return files to measure until `nets` are: those furthest in depth from any that is measured.

    Files of one depth take the same, so more than one is measured only where a fit needs more.
    """
    if not files:
        return []
    rows = depth_table(space, [subnets[one.subnet or ""].arch for one in files], unit).values.tolist()
    depths = {one.id: tuple(row) for one, row in zip(files, rows, strict=True)}
    known = {depths[one.id] for one in files if one.id in results}
    left = [one for one in files if depths[one.id] not in known]
    wanted: list[Artifact] = []

    def apart(one: Artifact) -> float:
        # The deepest first, where nothing is measured yet.
        among = known or {tuple(0.0 for _ in depths[one.id])}
        return min(math.dist(depths[one.id], other) for other in among)

    while left and len(known) < nets:
        furthest = max(left, key=apart)
        wanted.append(furthest)
        known.add(depths[furthest.id])
        left = [one for one in left if depths[one.id] not in known]
    others = [one for one in files if one.id not in results and one not in wanted]
    short = min(nets, least_depths(space, unit)) - len(results) - len(wanted)
    return [*wanted, *others[: max(short, 0)]]


def _text(rows: Sequence[dict[str, Any]], run: str, device: str) -> str:
    shown = [
        {
            "runtime": row["runtime"],
            "file": row["unit"],
            "depths": row["fitted"],
            **{
                f"{name.replace('_layers', ' layer')}, ms": f"{row['prices_ms'][name]:.4g}"
                for name in ("base", "encoder_layers", "decoder_layers")
                if name in row["prices_ms"]
            },
            **errors_for_people(row),
        }
        for row in rows
    ]
    columns = list(dict.fromkeys(name for row in shown for name in row))
    return (
        f"Latency on {device} by depth; each file was also predicted from the others\n"
        f"{table(shown, columns=columns)}\n"
        f"next: edge-bench pick --run {run} --device {device}"
    )
