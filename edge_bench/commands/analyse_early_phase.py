"""look at the first steps of training: what they change, and what is lost without them"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from edge_bench import variants
from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.documents import to_document
from edge_bench.errors import ConfigError
from edge_bench.records.quality import is_share, metric_word, value_text

if TYPE_CHECKING:
    from supernet.early_phase import Arm
    from supernet.telemetry import Reading, Telemetry

PERTURBATIONS, PRETRAINING = "supernet.perturbations", "supernet.pretraining"


class AnalyseEarlyPhase(Command):
    """Trains the dense run for the telemetry, and where arms are asked for the ladder of tickets and a run
    for each arm. All are ordinary runs; the same command goes on with them.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("run", metavar="RUN.toml", type=Path, help="the run file (see examples/)")
        told = parser.add_argument_group("telemetry of the dense run")
        told.add_argument(
            "--steps",
            metavar="STEP",
            default="",
            help="look at the steps up to this one: 200it or 2ep (default: a tenth of the run)",
        )
        told.add_argument(
            "--points",
            type=int,
            default=10,
            help="at how many of them, evenly spaced by their logarithms (default: 10)",
        )
        told.add_argument("--layers", action="store_true", help="print every layer's figures too")
        arms = parser.add_argument_group("arms, each trained to the end and compared with the ticket")
        arms.add_argument(
            "--perturb",
            metavar="NAME[:KEY=VALUE,…]",
            action="append",
            default=[],
            help="change the ticket's weights at the step that is rewound to: "
            f"{', '.join(variants.names(PERTURBATIONS))}, e.g. noise:deviations=2 or "
            "shuffle_globally:keep_signs=true; all: each with its usual options; may be given again",
        )
        arms.add_argument(
            "--pretrain",
            metavar="NAME[+NAME]",
            action="append",
            default=[],
            help=f"up to that step, train on other examples: {', '.join(variants.names(PRETRAINING))}, or "
            "several at once, e.g. blurred+random_labels; all: each by itself; may be given again",
        )
        arms.add_argument(
            "--pretrain-steps",
            metavar="STEP",
            default="",
            help="pre-train so long (default: as many steps as are rewound)",
        )
        arms.add_argument(
            "--rewind",
            metavar="STEP",
            help="the step that is rewound to: 20it, 3ep or 3ep20it (default: the run file's, or 1ep)",
        )
        sparsity = arms.add_mutually_exclusive_group()
        sparsity.add_argument(
            "--left",
            metavar="SHARE",
            type=float,
            help="compare tickets of about this share of the weights; 1: none is pruned (default: 0.2)",
        )
        sparsity.add_argument("--level", type=int, help="compare tickets of this level of the ladder")
        parser.add_argument(
            "--seed",
            type=int,
            action="append",
            default=[],
            help="do all of it with this seed; may be given again, and means are told (default: the run "
            "file's)",
        )
        parser.add_argument(
            "--set",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            help="change one value, e.g. training.epochs=5; may be given again",
        )

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        from supernet.early_phase import (
            LEFT,
            check_arms,
            compare,
            level_nearest,
            perturbations_of,
            pretraining_of,
        )
        from supernet.ladder import ticket_of
        from supernet.run import checked, load_run
        from supernet.telemetry import telemetry

        overrides = list(options.set)
        if options.rewind:
            overrides.append(f"techniques.lottery_ticket.rewind={options.rewind}")
        run = load_run(options.run, overrides)
        perturbed = perturbations_of(options.perturb)
        pretrained = pretraining_of(options.pretrain, run)
        asked = bool(perturbed or pretrained)
        if not asked:
            _refuse_options_of_arms(options)
        level = options.level
        if level is None:
            level = level_nearest(LEFT if options.left is None else options.left, ticket_of(run).rate)
        of_arms: dict[str, Any] = {
            "level": level,
            "pretraining": pretrained,
            "pretraining_steps": options.pretrain_steps,
        }
        if asked:
            check_arms(run, home=context.home, **of_arms)
        shared: dict[str, Any] = {
            "home": context.home,
            "say": context.say,
            "interactive": context.interactive and not context.quiet,
        }
        seeds = [checked(replace(run, seed=seed)) for seed in dict.fromkeys(options.seed or [run.seed])]
        read = [telemetry(one, first=options.steps, points=options.points, **shared) for one in seeds]
        arms: list[Arm] = []
        for one in seeds if asked else ():
            arms += compare(one, perturbations=perturbed, **of_arms, **shared)
        rows = _rows(arms)
        document = {
            "telemetry": [to_document(one) for one in read],
            "arms": rows,
            "runs": [_run_row(arm) for arm in arms],
        }
        return Outcome(document=document, text=_text(read, rows, options, context))


def _refuse_options_of_arms(options: argparse.Namespace) -> None:
    given = {"--level": options.level, "--left": options.left, "--pretrain-steps": options.pretrain_steps}
    for name, value in given.items():
        if value not in (None, ""):
            raise ConfigError(
                f"{name} is given, but no arm to compare", hint="--perturb all, --pretrain all, or both"
            )


def _rows(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """Return a row for each arm: means over its seeds, and what it differs by from the tickets of the same
    seeds.
    """
    tickets = {arm.seed: arm for arm in arms if arm.kind == "ticket"}
    by_name: dict[tuple[str, str], list[Arm]] = {}
    for arm in arms:
        by_name.setdefault((arm.kind, arm.name), []).append(arm)
    rows = []
    for (kind, name), same in by_name.items():
        tests = [arm.test.value for arm in same]
        gaps = [arm.test.value - tickets[arm.seed].test.value for arm in same]
        rows.append(
            {
                "kind": kind,
                "arm": name,
                "level": same[0].level,
                "left": same[0].left,
                "early_steps": same[0].early_steps,
                "steps": same[0].steps,
                "metric": same[0].test.name,
                "selection": fmean(arm.selection.value for arm in same),
                "test": fmean(tests),
                "test_deviation": stdev(tests) if len(tests) > 1 else None,
                "test_less_ticket": None if kind == "ticket" else fmean(gaps),
                "seeds": [arm.seed for arm in same],
            }
        )
    return rows


def _run_row(arm: Arm) -> dict[str, Any]:
    return {
        "kind": arm.kind,
        "arm": arm.name,
        "seed": arm.seed,
        "selection": arm.selection.value,
        "test": arm.test.value,
        "folder": str(arm.folder),
    }


def _text(
    read: Sequence[Telemetry], rows: list[dict[str, Any]], options: argparse.Namespace, context: Context
) -> str:
    told = [_telemetry_table(read)]
    if options.layers:
        told += [f"{layer}\n{_layer_table(read, layer)}" for layer in read[0].points[0].layers]
    files = [context.home.runs / one.run / "telemetry.json" for one in read]
    told.append("\n".join(f"telemetry: {file}" for file in files))
    if rows:
        told.append(_arms_table(rows))
    else:
        told.append(f"next: edge-bench analyse early-phase {options.run} --perturb all --pretrain all")
    return "\n".join(told)


def _telemetry_table(read: Sequence[Telemetry]) -> str:
    metric = read[0].metric
    shown = []
    for points in zip(*(one.points for one in read), strict=True):
        quality = fmean(point.quality for point in points)
        shown.append(
            {
                "step": points[0].step,
                **_reading([point.overall for point in points]),
                "loss": fmean(point.training_loss for point in points),
                metric_word(metric): value_text(metric, quality),
            }
        )
    return table(shown)


def _layer_table(read: Sequence[Telemetry], layer: str) -> str:
    return table(
        [
            {"step": points[0].step, **_reading([point.layers[layer] for point in points])}
            for points in zip(*(one.points for one in read), strict=True)
        ]
    )


def _reading(readings: Sequence[Reading]) -> dict[str, Any]:
    def mean(name: str) -> float | None:
        values = [value for one in readings if (value := getattr(one, name)) is not None]
        return fmean(values) if values else None

    changed = mean("signs_changed")
    return {
        "|w|": mean("mean_magnitude"),
        "signs changed": None if changed is None else f"{100 * changed:.2f} %",
        "gradient": mean("gradient_norm"),
        "|gradient|": mean("gradient_mean_magnitude"),
        "from start": mean("distance_from_start"),
        "from end": mean("distance_from_end"),
        "cos start": _rounded(mean("cosine_with_start")),
        "cos end": _rounded(mean("cosine_with_end")),
    }


def _rounded(cosine: float | None) -> str | None:
    return None if cosine is None else f"{cosine:.3f}"


def _arms_table(rows: Iterable[dict[str, Any]]) -> str:
    shown = []
    for row in rows:
        metric, deviation = row["metric"], row["test_deviation"]
        pretrained = row["kind"] == "pretraining"
        shown.append(
            {
                "arm": f"pre-trained: {row['arm']}" if pretrained else row["arm"],
                "left": f"{100 * row['left']:.1f} %",
                "steps": f"{row['early_steps']} + {row['steps']}",
                f"selection {metric_word(metric)}": value_text(metric, row["selection"]),
                "test": value_text(metric, row["test"])
                + (f" ± {_size(metric, deviation)}" if deviation is not None else ""),
                "less ticket": _difference(metric, row["test_less_ticket"]),
                "seeds": len(row["seeds"]),
            }
        )
    return table(shown)


def _size(metric: str, value: float) -> str:
    return f"{100 * value:.2f}" if is_share(metric) else f"{value:.3g}"


def _difference(metric: str, value: float | None) -> str | None:
    if value is None:
        return None
    return f"{100 * value:+.2f}" if is_share(metric) else f"{value:+.3g}"
