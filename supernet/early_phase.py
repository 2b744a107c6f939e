"""What the early phase of training gives a network: arms that lack a part of it, trained to the end.

A ticket's weights are perturbed at the step that is rewound to (`perturbations/`), or come from a network
that was trained up to there on changed examples (`pretraining/`), or on none (Frankle, Schwab and Morcos,
2020, sections 4 and 5). Every arm is an ordinary run, or a ladder of them, found by what it is made of.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_bench import variants
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from edge_bench.records import Metric
from supernet.ladder import (
    Rung,
    check_fixed,
    climb,
    dense_of,
    level_of,
    reach,
    ticket_of,
)
from supernet.perturbations import PERTURBATIONS, Perturbation, perturbation
from supernet.pretraining import PRETRAINING, Pretraining
from supernet.run import SUMMARY_FILE, RunConfig, checked, read_record
from supernet.tasks import task_of
from supernet.techniques.lottery_ticket import LotteryTicket
from supernet.trained import TrainedRun
from supernet.trainer import train
from supernet.training_step import TrainingStep

# The share of weights left at which arms are compared where nothing is said.
LEFT = 0.2
ALL = "all"
TICKET, UNTRAINED = "ticket", "none"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A finished run, judged. `kind` is "ticket", "perturbation" or "pretraining", and `name` what was
    done: "noise:deviations=2", "blurred+rotation", "none". It took `early_steps` up to the step that is
    rewound to, and `steps` from there to the end, on the run's own examples.
    """

    kind: str
    name: str
    level: int
    left: float
    seed: int
    early_steps: int
    steps: int
    selection: Metric
    test: Metric
    folder: Path


def level_nearest(left: float, rate: float) -> int:
    """Return the level that leaves about a share `left` of the weights, each pruning `rate` of them.

    Raises:
        ConfigError: it is no share.
    """
    if not 0 < left <= 1:
        raise ConfigError(f"left is {left:g}; it must be above 0 and at most 1")
    above = math.floor(math.log(left) / math.log(1 - rate) + 1e-9)
    return min((above, above + 1), key=lambda level: abs((1 - rate) ** level - left))


def perturbations_of(given: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return the tables of perturbations: "noise:deviations=2", or "all", each with its usual options.

    Raises:
        UnknownVariant, ConfigError: no such perturbation, or options that cannot be used.
    """
    tables: list[Mapping[str, Any]] = []
    for text in given:
        if text == ALL:
            for name in variants.names(PERTURBATIONS):
                usual = variants.load(Perturbation, PERTURBATIONS, name).usual
                tables += [{"kind": name, **options} for options in usual]
        else:
            [(name, options)] = _named(text, plus=False)
            tables.append({"kind": name, **options})
    for table in tables:
        perturbation(table)
    return _once(tables)


def pretraining_of(given: Sequence[str], run: RunConfig) -> list[Mapping[str, Mapping[str, Any]]]:
    """Return the `[pretraining]` tables: "blurred+random_labels", "blurred:factor=2", or "all", each by
    itself of those that the run's examples allow.

    Raises:
        UnknownVariant, ConfigError: no such kind, or one that this run cannot use.
    """
    tables: list[Mapping[str, Mapping[str, Any]]] = []
    for text in given:
        if text == ALL:
            fit = [
                name
                for name in variants.names(PRETRAINING)
                if run.task in variants.load(Pretraining, PRETRAINING, name).tasks
            ]
            if not fit:
                raise ConfigError(f"no kind of pre-training is for {run.task.replace('_', ' ')}")
            tables += [{name: {}} for name in fit]
        else:
            tables.append(dict(_named(text, plus=True)))
    for table in tables:
        checked(replace(run, pretraining=table))
    return _once(tables)


def compare(
    run: RunConfig,
    *,
    level: int,
    perturbations: Sequence[Mapping[str, Any]] = (),
    pretraining: Sequence[Mapping[str, Mapping[str, Any]]] = (),
    pretraining_steps: str = "",
    home: Home,
    say: Callable[[str], None],
    interactive: bool,
) -> list[Arm]:
    """Train the ticket of a level and what it is compared with, or go on where an earlier call stopped.

    Args:
        run: what to train; its `[techniques.lottery_ticket]` says how to prune and where to rewind.
        level: the rounds of pruning; at 0 all weights stand.
        perturbations: tables of what is done to the ticket's weights, as `perturbations_of` gives them.
        pretraining: tables of what examples become up to the step that is rewound to. Each begins a ladder
            of its own, since the ticket's mask has seen the labels; so does "none", whose weights are the
            initial ones. They train from that step on, as the ticket does.
        pretraining_steps: pre-train so long in place of the steps that are rewound.
        home: where the runs lie.
        say: is given lines of progress.
        interactive: draw a progress bar on stderr.

    Returns:
        The ticket first, then the others in the order they were asked for.

    Raises:
        ConfigError: the run cannot be pruned, or an option cannot be used.
        EdgeBenchError: whatever `train` raises.
    """
    check_arms(run, level=level, pretraining=pretraining, pretraining_steps=pretraining_steps, home=home)
    ticket = ticket_of(run)

    def reached(config: RunConfig, label: str, at: int = level) -> Rung:
        rung = reach(config, at, "", home=home, say=say, interactive=interactive)
        say(f"level {at}{f', {label}' if label else ''}: {100 * rung.left:.1f} % left")
        return rung

    dense = dense_of(run, ticket)
    below = dense
    if level:
        rungs = climb(run, rounds=level, controls=(), home=home, say=say, interactive=interactive)
        if level > 1:
            below = read_record(rungs[-2].folder).config
    else:
        train(dense, home=home, say=say, interactive=interactive)
    # At level 0 too it begins at the rewound step with a fresh optimizer, as the others do.
    reference = level_of(run, level, "", dense=dense, below=below)
    arms = [_judged("ticket", TICKET, run, reached(reference, "ticket"), ticket)]
    for table in perturbations:
        config = level_of(
            run, level, "", dense=dense, below=below, label=str(table["kind"]), perturbation=table
        )
        arms.append(_judged("perturbation", notation(table), run, reached(config, notation(table)), ticket))
    if not pretraining:
        return arms
    begins = [(UNTRAINED, dense, "0it")]
    for tables in pretraining:
        length = pretraining_steps or ticket.rewind
        before = _pretrained(dense, run, tables, length)
        train(before, home=home, say=say, interactive=interactive)
        begins.append((pretraining_notation(tables), before, length))
    for name, before, length in begins:
        label = "not_pretrained" if name == UNTRAINED else "-".join(before.pretraining)
        under = before
        for at in range(level + 1):
            under = level_of(run, at, "", dense=before, below=under, label=label, early=length)
            rung = reached(under, name, at)
        arms.append(_judged("pretraining", name, run, rung, ticket, early=length))
    return arms


def notation(table: Mapping[str, Any]) -> str:
    """Return a perturbation as it is asked for: "noise:deviations=2"."""
    return _told(str(table["kind"]), {name: one for name, one in table.items() if name != "kind"})


def pretraining_notation(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return kinds of pre-training as they are asked for: "blurred:factor=2+random_labels"."""
    return "+".join(_told(name, options) for name, options in tables.items())


def _told(name: str, options: Mapping[str, Any]) -> str:
    words = [f"{key}={json.dumps(value).strip(chr(34))}" for key, value in options.items()]
    return f"{name}:{','.join(words)}" if words else name


def _named(text: str, *, plus: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield names and options of "NAME", "NAME:KEY=VALUE,KEY=VALUE" and, with `plus`, several of them."""
    for part in text.split("+") if plus else [text]:
        name, colon, listed = part.partition(":")
        options: dict[str, Any] = {}
        for pair in listed.split(",") if colon else []:
            key, equals, value = (word.strip() for word in pair.partition("="))
            if not key or not equals:
                raise ConfigError(
                    f"'{text}' is not of the form NAME or NAME:KEY=VALUE,KEY=VALUE",
                    hint="e.g. noise:deviations=2",
                )
            try:
                options[key] = tomllib.loads(f"value = {value}")["value"]
            except tomllib.TOMLDecodeError:
                options[key] = value
        yield name.strip().replace("-", "_"), options


def _once(tables: list[Any]) -> list[Any]:
    return [table for number, table in enumerate(tables) if table not in tables[:number]]


def check_arms(
    run: RunConfig,
    *,
    level: int,
    pretraining: Sequence[Mapping[str, Mapping[str, Any]]] = (),
    pretraining_steps: str = "",
    home: Home,
) -> None:
    """Raise the `ConfigError` that `compare` would raise, before anything is trained; reads the data."""
    ticket = ticket_of(run)
    check_fixed(run)
    if level < 0:
        raise ConfigError(f"level is {level}; it must be at least 0")
    if run.pretraining:
        raise ConfigError(
            f"[pretraining.{next(iter(run.pretraining))}] is given in the run file, whose own examples the "
            "arms are compared on",
            hint="remove the table; the command adds it where it belongs",
        )
    if not pretraining:
        if pretraining_steps:
            raise ConfigError(
                f"pre-training is to take {pretraining_steps}, but no kind of pre-training is asked for",
                hint="e.g. --pretrain random_labels",
            )
        return
    length = pretraining_steps or ticket.rewind
    for text, called in ((ticket.rewind, "rewind"), (length, "the length of pre-training")):
        if not TrainingStep.parse(text, steps_per_epoch=1).count:
            raise ConfigError(
                f"{called} is {text}: no step is left to be pre-trained", hint="e.g. 20it, 1ep"
            )
    for tables in pretraining:
        # What the examples do not allow is told by the examples.
        config = _pretrained(dense_of(run, ticket), run, tables, length)
        task_of(config.task).begun(config, home, config.folder(home))


def _pretrained(
    dense: RunConfig, run: RunConfig, tables: Mapping[str, Mapping[str, Any]], length: str
) -> RunConfig:
    """Return the run that takes the place of the early phase: the dense one's schedule, other examples."""
    training = replace(dense.training, keep=(length,), until=length)
    name = f"{run.name}-{'-'.join(sorted(tables))}"
    return checked(replace(dense, name=name, training=training, pretraining=tables))


def _judged(
    kind: str, name: str, run: RunConfig, rung: Rung, ticket: LotteryTicket, *, early: str = ""
) -> Arm:
    trained = TrainedRun.open(rung.folder)
    arch = trained.record.arch or trained.space.largest()
    per_epoch = run.training.steps_per_epoch(trained.record.images)
    summary = json.loads((rung.folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    rewound, before = (
        TrainingStep.parse(one, steps_per_epoch=per_epoch).count
        for one in (ticket.rewind, early or ticket.rewind)
    )
    return Arm(
        kind=kind,
        name=name,
        level=rung.level,
        left=rung.left,
        seed=run.seed,
        early_steps=before,
        steps=summary["steps"] - rewound,
        selection=trained.judge(arch),
        test=trained.task.judge(trained.network, arch, "test"),
        folder=rung.folder,
    )
