"""draw lottery tickets: prune, rewind and train again, level by level, or go on with such a ladder"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_bench import variants
from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.records.quality import metric_word, value_text

if TYPE_CHECKING:
    from supernet.ladder import Rung

CONTROLS = "supernet.controls"


class Tickets(Command):
    """Trains the dense run and one run for each level and control; the same command goes on with them.

    Each is an ordinary run: `extract` cuts any of them.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("run", metavar="RUN.toml", type=Path, help="the run file (see examples/)")
        parser.add_argument(
            "--rounds",
            type=int,
            default=8,
            help="how many levels; each prunes 20 %% of the weights that remain (default: 8, 17 %% left)",
        )
        parser.add_argument(
            "--rewind",
            metavar="STEP",
            help="put the weights that remain back to this step of the dense run: 20it, 3ep or 3ep20it; "
            "0it means the initial weights (default: the run file's, or 1ep)",
        )
        parser.add_argument(
            "--control",
            choices=variants.names(CONTROLS),
            action="append",
            default=[],
            help="train this beside each level, to compare with; may be given again",
        )
        parser.add_argument(
            "--control-level",
            metavar="LEVEL",
            type=int,
            action="append",
            default=[],
            help="train the controls beside this level alone; may be given again (default: beside each)",
        )
        parser.add_argument(
            "--set",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            help="change one value, e.g. techniques.lottery_ticket.rate=0.5; may be given again",
        )

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        from supernet.ladder import climb
        from supernet.run import load_run

        overrides = list(options.set)
        if options.rewind:
            overrides.append(f"techniques.lottery_ticket.rewind={options.rewind}")
        rungs = climb(
            load_run(options.run, overrides),
            rounds=options.rounds,
            controls=options.control,
            control_levels=options.control_level,
            home=context.home,
            say=context.say,
            interactive=context.interactive and not context.quiet,
        )
        rows = [_row(rung) for rung in rungs]
        shown = [
            {
                "level": rung.level,
                "control": rung.control or "–",
                "left": f"{100 * rung.left:.1f} %",
                metric_word(rung.metric): value_text(rung.metric, rung.value),
                "run": rung.folder.name,
            }
            for rung in rungs
        ]
        last = next(rung for rung in reversed(rungs) if not rung.control)
        text = f"{table(shown)}\nnext: edge-bench extract {last.folder.name}"
        return Outcome(document={"levels": rows}, text=text)


def _row(rung: Rung) -> dict[str, Any]:
    return {
        "level": rung.level,
        "control": rung.control or None,
        "left": rung.left,
        "metric": rung.metric,
        "value": rung.value,
        "seconds": rung.seconds,
        "folder": str(rung.folder),
    }
