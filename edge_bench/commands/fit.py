"""learn to predict latency on this machine, or accuracy, from measured networks; say how far it errs"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge_bench.choose.accuracy_fitting import (
    AUTO,
    check,
    fit_accuracy,
    measure_chosen,
    measure_held_out,
)
from edge_bench.choose.candidates import RUNTIMES
from edge_bench.choose.encoding import Encoding
from edge_bench.choose.features import features
from edge_bench.choose.fitting import DEFAULT, fit_predictor
from edge_bench.choose.predictors import FeatureTable
from edge_bench.choose.table_fitting import Parted
from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.commands._fit_depths import fit_text_depths, text_subnets
from edge_bench.commands._fit_few_shot import add_few_shot_arguments, fit_few_shot
from edge_bench.commands._fit_tables import (
    add_table_arguments,
    compared,
    comparison_text,
    fit_from_table,
)
from edge_bench.commands._predictor_rows import errors_for_people, predictor_row
from edge_bench.commands._surveying import Surveyed, draw, space_of_run, survey_networks
from edge_bench.commands._weighing import weigh_networks
from edge_bench.commands.export import chosen
from edge_bench.errors import ConfigError
from edge_bench.records import (
    THIS_MACHINE,
    AccuracyErrors,
    ArchConfig,
    FittedAccuracyPredictor,
    FittedPredictor,
    Metric,
)

SEED = 20240521


class Fit(Command):
    """Measures some networks of a search space and learns to tell the rest.

    Latency is measured on whole untrained networks, since weights do not change it: files are written
    straight from the architecture and measured in turns. Accuracy is that of a trained run's subnets on
    the selection split, each with batch-norm statistics of its own; which ones are measured is chosen
    as it goes, and what was measured is kept in the run's folder. Either way a part is never shown to
    the predictor and tells its error. Of a text model the files of a few depths tell those of all: those
    that are exported and have no result yet are measured. With --from few networks are measured, on any
    device of one's own, chosen for what predictors of other devices leave uncertain.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "what", nargs="?", choices=("latency", "accuracy"), default="latency", help="default: latency"
        )
        parser.add_argument("--run", help="the run whose search space is meant (default: the newest)")
        parser.add_argument(
            "--nets", type=int, help="networks to fit on (default: 48 for latency, 300 for accuracy)"
        )
        parser.add_argument(
            "--held-out",
            type=int,
            help="networks to judge on (default: 24 for latency, 5 with --from, 100 for accuracy)",
        )
        parser.add_argument(
            "--runtimes", help="of latency (default: onnxruntime,litert)", metavar="NAME,NAME"
        )
        parser.add_argument("--threads", type=int, help="of latency (default: 1)")
        parser.add_argument(
            "--kind",
            help="which predictor (default: corrected for latency; for accuracy auto, the one that "
            "errs least in cross-validation)",
        )
        parser.add_argument("--seed", type=int, default=SEED, help="draws the networks")
        add_table_arguments(parser)
        add_few_shot_arguments(parser)

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        if options.what == "accuracy":
            return _fit_accuracy(options, context)
        if options.from_table:
            return fit_from_table(options, context)
        if subnets := text_subnets(options.run, context):
            return fit_text_depths(options, subnets, context)
        if options.sources or options.samples is not None:
            return fit_few_shot(options, context)
        return _fit_latency(options, context)


def _fit_latency(options: argparse.Namespace, context: Context) -> Outcome:
    nets, held_out = _or(options.nets, 48), _or(options.held_out, 24)
    threads, kind = _or(options.threads, 1), _or(options.kind, DEFAULT)
    if nets < 8 or held_out < 4 or threads < 1:
        raise ConfigError("--nets must be 8 or more, --held-out 4 or more, --threads 1 or more")
    space = space_of_run(options.run, context)
    drawn = draw(space, nets, held_out, seed=options.seed)
    rows: list[dict[str, Any]] = []
    runtimes = _or(options.runtimes, "onnxruntime,litert")
    for runtime in chosen(runtimes, known=sorted(RUNTIMES.values()), what="runtime"):
        surveyed = survey_networks(
            space,
            [*drawn.fitted, *drawn.held_out],
            device=THIS_MACHINE,
            runtime=runtime,
            threads=threads,
            context=context,
        )
        fitted = fit_predictor(
            space,
            drawn.fitted,
            surveyed.latencies_ms[: len(drawn.fitted)],
            kind=kind,
            device=THIS_MACHINE,
            runtime=runtime,
            threads=threads,
            held_out_archs=drawn.held_out,
            held_out_latencies_ms=surveyed.latencies_ms[len(drawn.fitted) :],
        )
        memory = weigh_networks(space, drawn.fitted, runtime=runtime, threads=threads, context=context)
        fitted = replace(fitted, memory=memory)
        with context.store() as store:
            store.add(fitted)
        rows.append(_row(fitted, surveyed))
        if options.compare:
            parted = Parted(
                seen=FeatureTable.of([features(space, arch) for arch in drawn.fitted]),
                seen_ms=np.array(surveyed.latencies_ms[: len(drawn.fitted)]),
                unseen=FeatureTable.of([features(space, arch) for arch in drawn.held_out]),
                unseen_ms=np.array(surveyed.latencies_ms[len(drawn.fitted) :]),
            )
            rows[-1]["compared"] = compared(parted, context)
    return Outcome(document={"predictors": rows}, text=_text(rows))


def _fit_accuracy(options: argparse.Namespace, context: Context) -> Outcome:
    """Measure subnets of a trained run, the held-out ones first, and fit on those chosen since."""
    from supernet.progress import shown
    from supernet.run import find_run
    from supernet.trained import TrainedRun, newest_run

    for option in ("threads", "runtimes", "from_table", "device", "samples", "sources"):
        if getattr(options, option) is not None:
            name = {"sources": "from"}.get(option, option.replace("_", "-"))
            raise ConfigError(f"--{name} does not apply to accuracy: it is the same on every device")
    nets, held_out, kind = _or(options.nets, 300), _or(options.held_out, 100), _or(options.kind, AUTO)
    folder = find_run(options.run, context.home) if options.run else newest_run(context.home)
    trained = TrainedRun.open(folder)
    check(trained.record.elastic_space, nets=nets, held_out=held_out, kind=kind)
    encoding = Encoding(trained.record.elastic_space)
    done = 0
    with shown(
        f"measure subnets of {folder.name}",
        done=0,
        total=nets + held_out,
        say=context.say,
        interactive=context.interactive and not context.quiet,
    ) as advance:

        def measure(archs: Sequence[ArchConfig]) -> list[Metric]:
            nonlocal done
            metrics = trained.judge_all(archs, report=lambda count: advance(done + count, ""))
            done += len(archs)
            return metrics

        unseen = measure_held_out(encoding, measure, held_out, seed=options.seed)
        seen = measure_chosen(encoding, measure, nets, without=unseen.rows, seed=options.seed)
    fitted = fit_accuracy(encoding, seen, unseen, run=folder.name, kind=kind, seed=options.seed)
    with context.store() as store:
        store.add(fitted)
    archs = encoding.decode(np.concatenate([seen.rows, unseen.rows]))
    row = {**accuracy_predictor_row(fitted), "seconds_a_network": float(np.median(trained.seconds(archs)))}
    return Outcome(document={"accuracy_predictor": row}, text=_accuracy_text(row))


def _or(given: Any, default: Any) -> Any:
    return default if given is None else given


def accuracy_predictor_row(fitted: FittedAccuracyPredictor) -> dict[str, Any]:
    """Return what is told of an accuracy predictor; errors are those on networks it was not fitted on."""
    return {
        "id": fitted.id,
        "run": fitted.run,
        "kind": fitted.kind,
        "metric": fitted.metric,
        "split": fitted.split,
        "examples": fitted.examples,
        "fitted": fitted.fitted_networks,
        "held_out": fitted.held_out.networks,
        **_correlations(fitted.held_out),
        "baselines": {kind: _correlations(errors) for kind, errors in fitted.baselines.items()},
        "cross_validated": {kind: _correlations(errors) for kind, errors in fitted.cross_validated.items()},
    }


def _correlations(errors: AccuracyErrors) -> dict[str, Any]:
    return {"kendall": errors.kendall, "spearman": errors.spearman, "rmse_points": errors.rmse_points}


def _accuracy_text(row: dict[str, Any]) -> str:
    shown = [
        {
            "predictor": kind,
            "Kendall tau": errors["kendall"],
            "Spearman": errors["spearman"],
            "RMSE, points": errors["rmse_points"],
        }
        for kind, errors in ((row["kind"], row), *row["baselines"].items())
    ]
    return (
        f"{row['metric'].capitalize()} of {row['run']} on the {row['split']} split "
        f"({row['examples']} examples), predicted from {row['fitted']} measured networks for "
        f"{row['held_out']} others\n{table(shown)}\n"
        f"Measuring one took {row['seconds_a_network']:.2f} s; they are kept in the run's folder."
    )


def _row(fitted: FittedPredictor, surveyed: Surveyed) -> dict[str, Any]:
    return {
        **predictor_row(fitted),
        "disagreement": surveyed.disagreement,
        "surveys": surveyed.surveys,
        "latency_range_ms": [min(surveyed.latencies_ms), max(surveyed.latencies_ms)],
    }


def _text(rows: Sequence[dict[str, Any]]) -> str:
    shown = [
        {
            "runtime": row["runtime"],
            "predictor": one["kind"],
            "unseen networks": row["held_out"],
            **errors_for_people(one),
        }
        for row in rows
        for one in (row, row["baseline"])
    ]
    spread = max(row["disagreement"] for row in rows)
    return (
        f"Latency on this machine, predicted for whole networks that were not used to fit\n{table(shown)}\n"
        f"Repeated measurements of a network differed by {100 * spread:.1f} % (90 % of them by less).\n"
        f"{_memory_text(rows)}"
        f"{_comparisons_text(rows)}"
        "next: edge-bench pick --device this-machine --max-latency-ms 2"
    )


def _comparisons_text(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(
        f"Every predictor on the same networks in {row['runtime']}\n{comparison_text(row['compared'])}\n"
        for row in rows
        if "compared" in row
    )


def _memory_text(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(
        f"Peak memory in {row['runtime']}: {told['base_mb']:.0f} MB, {told['per_weight']:.2g} times the "
        f"weights and {told['per_activation']:.2g} times the activations, ± {told['half_width_mb']:.2g} MB "
        f"({told['networks']} networks were weighed).\n"
        for row in rows
        if (told := row["memory"])
    )
