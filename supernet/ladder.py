"""The ladder of lottery tickets: a dense run, and a run for each level of sparsity and each control.

Every rung is an ordinary run, named by the digest of what it is made of. So one that is finished is found,
one that was interrupted goes on, and a change of any option begins another ladder beside the first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_bench.errors import ConfigError
from edge_bench.files import Home
from edge_bench.records.quality import value_text
from supernet.controls import control
from supernet.run import SUMMARY_FILE, RunConfig, checked
from supernet.tasks import task_of
from supernet.techniques.lottery_ticket import LotteryTicket
from supernet.trainer import train
from supernet.training_step import TrainingStep

TECHNIQUE = "lottery_ticket"


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A run of the ladder, trained: the share of weights that is left, and its metric on the selection
    split. Level 0 is the dense run; `control` is empty of a ticket.
    """

    level: int
    control: str
    left: float
    metric: str
    value: float
    seconds: float
    folder: Path


def climb(
    run: RunConfig,
    *,
    rounds: int,
    controls: Sequence[str],
    control_levels: Sequence[int] = (),
    home: Home,
    say: Callable[[str], None],
    interactive: bool,
) -> list[Rung]:
    """Train the dense run and `rounds` levels, or go on where an earlier call stopped.

    Args:
        run: what to train; its `[techniques.lottery_ticket]` says how to prune.
        rounds: how many levels; at a rate of 0.2 twenty leave 1.15 % of the weights.
        controls: which controls to train beside each level.
        control_levels: train them beside these levels alone, those with a ladder of their own up to the
            last of these.
        home: where the runs lie.
        say: is given lines of progress.
        interactive: draw a progress bar on stderr.

    Returns:
        The rungs in the order they were trained: the controls of a level behind its ticket.

    Raises:
        ConfigError: the run cannot be pruned, or an option cannot be used.
        EdgeBenchError: whatever `train` raises.
    """
    ticket = ticket_of(run)
    if rounds < 1:
        raise ConfigError(f"rounds is {rounds}; it must be at least 1")
    if unknown := [level for level in control_levels if not 1 <= level <= rounds]:
        raise ConfigError(f"controls are asked for at level {unknown[0]}; there are levels 1 to {rounds}")
    climbing = {name: control(name).own_ladder for name in controls}
    check_fixed(run)

    def trained(config: RunConfig, level: int, name: str) -> Rung:
        rung = reach(config, level, name, home=home, say=say, interactive=interactive)
        beside = f", control {name}" if name else ""
        quality = f"{rung.metric} {value_text(rung.metric, rung.value)}"
        say(f"level {level} of {rounds}{beside}: {100 * rung.left:.1f} % left, {quality}")
        return rung

    dense = dense_of(run, ticket)
    if ticket.exclude and not (dense.folder(home) / SUMMARY_FILE).is_file():
        _check_names(level_of(run, 1, "", dense=dense, below=dense), home)
    rungs = [trained(dense, 0, "")]
    asked = control_levels or range(1, rounds + 1)
    # Of the ticket, and of each control with a ladder of its own: the run one level below.
    below = dict.fromkeys(("", *(name for name, own in climbing.items() if own)), dense)
    for level in range(1, rounds + 1):
        beside = below[""]
        wanted = [name for name, own in climbing.items() if level in asked or (own and level < max(asked))]
        for name in ("", *wanted):
            config = level_of(run, level, name, dense=dense, below=below.get(name, beside))
            rungs.append(trained(config, level, name))
            if name in below:
                below[name] = config
    return rungs


def check_fixed(run: RunConfig) -> None:
    """Raise a `ConfigError` where a run trains no one network that a ticket could be drawn from."""
    if run.elastic:
        raise ConfigError(
            "a ticket is drawn from one network, but the run trains the elastic network of a [space]: its "
            "weights are shared by subnets of many widths and kernels, and no one mask fits them all",
            hint='name a [model], e.g. kind = "resnet", or go on from one of its subnets: [start]',
        )


def ticket_of(run: RunConfig) -> LotteryTicket:
    """Return how a run file prunes, its options checked."""
    tables = {**run.techniques, TECHNIQUE: run.techniques.get(TECHNIQUE, {})}
    ticket = replace(run, techniques=tables).open_techniques()[TECHNIQUE]
    assert isinstance(ticket, LotteryTicket)
    ticket.check_options()
    return ticket


def dense_of(run: RunConfig, ticket: LotteryTicket) -> RunConfig:
    """Return the dense run of a ladder, which keeps its weights at the step that is rewound to."""
    techniques = {name: table for name, table in run.techniques.items() if name != TECHNIQUE}
    rewinds = TrainingStep.parse(ticket.rewind, steps_per_epoch=1).count
    kept = (*run.training.keep, *((ticket.rewind,) if rewinds else ()))
    training = replace(run.training, keep=tuple(dict.fromkeys(kept)))
    return checked(replace(run, techniques=techniques, training=training))


def level_of(
    run: RunConfig,
    level: int,
    name: str,
    *,
    dense: RunConfig,
    below: RunConfig,
    label: str = "",
    **changes: Any,
) -> RunConfig:
    """Return the run of a level, or of the control `name` beside it; one that `changes` other options of
    the ticket has a `label` to be called by.
    """
    options = {
        **run.techniques.get(TECHNIQUE, {}),
        "level": level,
        "control": name,
        "dense": f"{dense.name}-{dense.digest}",
        "below": f"{below.name}-{below.digest}",
        **changes,
    }
    called = label or name
    training = control(name).training(run.training) if name else run.training
    return checked(
        replace(
            run,
            name=f"{run.name}-level{level}" + (f"-{called}" if called else ""),
            techniques={**run.techniques, TECHNIQUE: options},
            training=training,
        )
    )


def _check_names(level: RunConfig, home: Home) -> None:
    """Raise a `ConfigError` where a pattern names no weight, before the dense run has taken its hours."""
    task = task_of(level.task).begun(level, home, level.folder(home))
    task.begin(task.network(level.seed))


def reach(
    config: RunConfig, level: int, name: str, *, home: Home, say: Callable[[str], None], interactive: bool
) -> Rung:
    """Train the run of a level, or go on with it, or find it finished."""
    folder = config.folder(home)
    if not (folder / SUMMARY_FILE).is_file():
        train(config, home=home, say=say, interactive=interactive)
    summary = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    metric = next(key for key in summary if key.startswith("largest_")).removeprefix("largest_")
    facts = summary.get("techniques", {}).get(TECHNIQUE, {})
    return Rung(
        level=level,
        control=name,
        left=1 - facts.get("pruned", 0.0),
        metric=metric,
        value=summary[f"largest_{metric}"],
        seconds=summary["seconds"],
        folder=folder,
    )
