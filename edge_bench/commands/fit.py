"""learn to predict latency on this machine from measured networks, and say how far it errs"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_bench.choose.fitting import BASELINE, fit_predictor
from edge_bench.choose.pick import RUNTIMES
from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.commands.export import chosen, subnets_of
from edge_bench.errors import ConfigError
from edge_bench.records import THIS_MACHINE, ArchConfig, FittedPredictor, HeldOut, SearchSpace, operators

SEED = 20240521
# Two surveys of the same networks that differ by more than this were disturbed.
AGREEMENT = 0.03
SURVEYS = 4


class Fit(Command):
    """Measures whole networks of a search space, untrained ones since weights do not change latency.

    Files are written straight from the architecture and measured in turns; a part of them is never
    shown to the predictor and tells its error.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--run", help="the run whose search space is meant (default: the newest)")
        parser.add_argument("--nets", type=int, default=48, help="networks to fit on (default: 48)")
        parser.add_argument("--held-out", type=int, default=24, help="networks to judge on (default: 24)")
        parser.add_argument("--runtimes", default="onnxruntime,litert", help="default: onnxruntime,litert")
        parser.add_argument("--threads", type=int, default=1, help="default: 1")
        parser.add_argument(
            "--kind", default="non_negative", help="which predictor (default: non_negative)"
        )
        parser.add_argument("--seed", type=int, default=SEED, help="draws the networks")

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        if options.nets < 8 or options.held_out < 4 or options.threads < 1:
            raise ConfigError("--nets must be 8 or more, --held-out 4 or more, --threads 1 or more")
        space = _space(options.run, context)
        drawn = draw(space, options.nets, options.held_out, seed=options.seed)
        rows: list[dict[str, Any]] = []
        for runtime in chosen(options.runtimes, known=sorted(RUNTIMES.values()), what="runtime"):
            surveyed = _survey(space, [*drawn.fitted, *drawn.held_out], runtime, options.threads, context)
            fitted = fit_predictor(
                space,
                drawn.fitted,
                surveyed.latencies_ms[: len(drawn.fitted)],
                kind=options.kind,
                device=THIS_MACHINE,
                runtime=runtime,
                threads=options.threads,
                held_out_archs=drawn.held_out,
                held_out_latencies_ms=surveyed.latencies_ms[len(drawn.fitted) :],
            )
            with context.store() as store:
                store.add(fitted)
            rows.append(_row(fitted, surveyed))
        return Outcome(document={"predictors": rows}, text=_text(rows))


@dataclass(frozen=True)
class Drawn:
    """Networks to fit on and networks to judge on; no network is in both."""

    fitted: list[ArchConfig]
    held_out: list[ArchConfig]


@dataclass(frozen=True)
class Surveyed:
    """Latencies in ms, and the 90th percentile by which repeated surveys of a network differed."""

    latencies_ms: list[float]
    disagreement: float
    surveys: int


def draw(space: SearchSpace, nets: int, held_out: int, *, seed: int) -> Drawn:
    """Draw distinct random networks, spread over the space's range of MACs.

    Uniform choices gather about the middle, so networks are drawn many times over and thinned to be
    even in log MACs. Both extremes are among the fitted.

    Raises:
        ConfigError: the space has fewer networks than asked for.
    """
    generator = np.random.default_rng(seed)
    extremes = [space.smallest(), space.largest()]
    wanted = nets + held_out
    if space.size() < 2 * wanted:
        raise ConfigError(f"space '{space.name}' has {space.size()} networks; ask for fewer --nets")
    pool = {arch.key: arch for arch in (_spread(space, generator) for _ in range(8 * wanted))}
    for arch in extremes:
        pool.pop(arch.key, None)
    macs = {key: sum(one.macs for one in operators(space, arch)) for key, arch in pool.items()}
    ordered = sorted(pool, key=macs.__getitem__)
    targets = np.linspace(np.log(macs[ordered[0]]), np.log(macs[ordered[-1]]), wanted - len(extremes))
    spread: list[ArchConfig] = []
    for target in targets:
        nearest = min(ordered, key=lambda key: abs(np.log(macs[key]) - target))
        ordered.remove(nearest)
        spread.append(pool[nearest])
    places = set(generator.choice(len(spread), size=held_out, replace=False).tolist())
    return Drawn(
        fitted=extremes + [arch for place, arch in enumerate(spread) if place not in places],
        held_out=[arch for place, arch in enumerate(spread) if place in places],
    )


def _spread(space: SearchSpace, generator: np.random.Generator) -> ArchConfig:
    """Return a network on the way from an extreme to a random one, so that the ends are reached too."""
    start = space.largest() if generator.random() < 0.5 else space.smallest()
    return space.mutate(start, generator, probability=float(generator.random()))


def _survey(
    space: SearchSpace, archs: Sequence[ArchConfig], runtime: str, threads: int, context: Context
) -> Surveyed:
    """Measure until two surveys agree, at most `SURVEYS` times; a network's latency is its least."""
    from converters import sketches
    from edge_bench.measure.lock import exclusive
    from edge_bench.measure.sandbox import survey

    form = next(form for form, of in RUNTIMES.items() if of == runtime)
    write = {"onnx": sketches.write_onnx, "tflite": sketches.write_tflite}[form]
    with tempfile.TemporaryDirectory(prefix="edge-bench-fit-") as folder:
        files = [Path(folder) / f"{index}.{form}" for index in range(len(archs))]
        for file, arch in context.track(
            zip(files, archs, strict=True), description=f"write networks for {runtime}", total=len(files)
        ):
            write(space, arch, file)
        waiting = "waiting for another benchmark on this machine to end"
        with exclusive(context.home, waiting=lambda: context.say(waiting)):
            context.say(f"measure {len(files)} networks in {runtime}, in turns")
            best = np.array(survey(files, runtime=runtime, threads=threads))
            disagreement, surveys = np.inf, 1
            while disagreement > AGREEMENT and surveys < SURVEYS:
                again = np.array(survey(files, runtime=runtime, threads=threads))
                disagreement = float(np.quantile(np.abs(again - best) / np.minimum(again, best), 0.9))
                best, surveys = np.minimum(best, again), surveys + 1
    return Surveyed(latencies_ms=best.tolist(), disagreement=disagreement, surveys=surveys)


def _space(run: str | None, context: Context) -> SearchSpace:
    with context.store() as store:
        subnets = store.subnets()
    if not subnets:
        raise ConfigError(
            "there is no subnet in the store, so no search space is known",
            hint="edge-bench train RUN.toml, then edge-bench extract RUN",
        )
    return subnets_of(subnets, run)[-1].space


def predictor_row(fitted: FittedPredictor) -> dict[str, Any]:
    """Return what is told of a predictor; errors are those on networks that it was not fitted on."""
    return {
        "id": fitted.id,
        "device": fitted.device,
        "runtime": fitted.runtime,
        "threads": fitted.threads,
        "precision": fitted.precision,
        "kind": fitted.kind,
        "fitted": fitted.fitted_networks,
        "held_out": fitted.held_out.networks,
        **_errors(fitted.held_out),
        "baseline": {"kind": BASELINE, **_errors(fitted.baseline)},
    }


def _row(fitted: FittedPredictor, surveyed: Surveyed) -> dict[str, Any]:
    return {
        **predictor_row(fitted),
        "disagreement": surveyed.disagreement,
        "surveys": surveyed.surveys,
        "latency_range_ms": [min(surveyed.latencies_ms), max(surveyed.latencies_ms)],
    }


def _errors(held_out: HeldOut) -> dict[str, Any]:
    return {name: value for name, value in asdict(held_out).items() if name != "networks"}


def _text(rows: Sequence[dict[str, Any]]) -> str:
    shown = [
        {
            "runtime": row["runtime"],
            "predictor": one["kind"],
            "unseen networks": row["held_out"],
            "MAPE": f"{100 * one['mape']:.1f} %",
            "within ±5 %": f"{100 * one['within_5_percent']:.0f} %",
            "within ±10 %": f"{100 * one['within_10_percent']:.0f} %",
            "Spearman": f"{one['spearman']:.3f}",
            "interval holds": f"{100 * one['coverage']:.0f} %",
        }
        for row in rows
        for one in (row, row["baseline"])
    ]
    spread = max(row["disagreement"] for row in rows)
    return (
        f"Latency on this machine, predicted for whole networks that were not used to fit\n{table(shown)}\n"
        f"Repeated measurements of a network differed by {100 * spread:.1f} % (90 % of them by less).\n"
        "next: edge-bench pick --device this-machine --max-latency-ms 2"
    )
