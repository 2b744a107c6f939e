"""`devices profile`: measures blocks and whole networks on a device within a budget, and fits."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from edge_bench import variants
from edge_bench.choose.candidates import RUNTIMES
from edge_bench.choose.features import blocks
from edge_bench.choose.fitting import DEFAULT, MeasuredBlock, fit_predictor
from edge_bench.choose.suggestions import suggest
from edge_bench.commands import Context, Outcome, table
from edge_bench.commands._predictor_rows import errors_for_people, predictor_row
from edge_bench.commands._surveying import (
    AGREEMENT,
    SURVEYS,
    Sketch,
    Surveyor,
    device_named,
    draw,
    space_of_run,
)
from edge_bench.commands.export import chosen
from edge_bench.documents import from_document
from edge_bench.errors import ConfigError
from edge_bench.records import THIS_MACHINE, ArchConfig, FittedPredictor, SearchSpace, operators
from edge_bench.store import ResultStore

SEED = 20261124
BUDGET_MINUTES = 10.0
NETS, HELD_OUT, BLOCKS = 120, 60, 160
# What a predictor and its error need at the least, and what comes before the first block.
FEWEST_NETS, FEWEST_HELD_OUT = 8, 4
FIRST = 2 * (FEWEST_NETS + FEWEST_HELD_OUT)
SPACES = "supernet.spaces"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Agenda:
    """What may be measured, in the order it comes: any beginning of it is spread over the space.

    `networks` alternate between two to fit on and one to judge by; the space's extremes come first.
    """

    space: SearchSpace
    networks: list[ArchConfig]
    held_out: frozenset[str]
    blocks: list[Sketch]

    @classmethod
    def of(cls, space: SearchSpace) -> Agenda:
        """Return the agenda of a space, always the same: a profile that was interrupted goes on."""
        share = min(1.0, space.size() / (2 * (NETS + HELD_OUT)))
        drawn = draw(space, int(NETS * share), int(HELD_OUT * share), seed=SEED)
        generator = np.random.default_rng(SEED)
        fitted = [*drawn.fitted[:2], *_mixed(drawn.fitted[2:], generator)]
        held_out = _mixed(drawn.held_out, generator)
        networks: list[ArchConfig] = []
        for place, arch in enumerate(held_out):
            networks += [*fitted[2 * place : 2 * place + 2], arch]
        alone = {
            one.name: one for arch in fitted for one in map(Sketch.of_block, blocks(operators(space, arch)))
        }
        return cls(
            space=space,
            networks=networks + fitted[2 * len(held_out) :],
            held_out=frozenset(arch.key for arch in held_out),
            blocks=_mixed([alone[name] for name in sorted(alone)], generator)[:BLOCKS],
        )

    @property
    def sketches(self) -> list[Sketch]:
        """Some networks, the blocks, the other networks."""
        networks = [Sketch.of_network(self.space, arch) for arch in self.networks]
        return [*networks[:FIRST], *self.blocks, *networks[FIRST:]]


def profile(options: argparse.Namespace, context: Context) -> Outcome:
    """Measure, fit and store a predictor of the device for each runtime.

    Raises:
        ConfigError: no device of one's own, no space, or too few were measured within the budget.
        EdgeBenchError: what the device answers, or that it does not; what was measured is kept.
    """
    device = options.device or THIS_MACHINE
    minutes = BUDGET_MINUTES if options.budget_minutes is None else options.budget_minutes
    threads = 1 if options.threads is None else options.threads
    if not 0 < minutes <= 1440 or not 1 <= threads <= 256:
        raise ConfigError("--budget-minutes must be above 0 and at most 1440, --threads from 1 to 256")
    runtimes = chosen(
        options.runtimes or "onnxruntime,litert", known=sorted(RUNTIMES.values()), what="runtime"
    )
    with context.store() as store:
        # A name that means nothing is told before anything is drawn.
        device_named(device, store)
    agenda = Agenda.of(_space(options, context))
    context.say(
        f"up to {len(agenda.networks)} networks of '{agenda.space.name}' and {len(agenda.blocks)} of their "
        f"blocks on '{device}' in {', '.join(runtimes)}, for at most {minutes:g} minutes; "
        "Ctrl-C keeps what is measured, and the same command goes on from it"
    )
    ends = time.monotonic() + 60 * minutes
    rows = []
    with context.store() as store:
        for number, runtime in enumerate(runtimes):
            surveyor = Surveyor(
                agenda.space, device=device, runtime=runtime, threads=threads, context=context, store=store
            )
            if recalled := surveyor.recall():
                context.say(f"{recalled} of them were measured in {runtime} in the last 24 hours and count")
            now = time.monotonic()
            measure(agenda, surveyor, until=now + (ends - now) / (len(runtimes) - number))
            fitted = _fitted(agenda, surveyor, device, runtime, threads, minutes)
            store.add(_with_memory(fitted, store))
            rows.append(_row(agenda, surveyor, fitted))
    document = {"device": device, "space": agenda.space.name, "budget_minutes": minutes, "predictors": rows}
    return Outcome(document=document, text=_text(device, rows))


def measure(agenda: Agenda, surveyor: Surveyor, *, until: float) -> None:
    """Visit what is on the agenda, for half of the time for the first time; then again what was visited.

    It ends by `until` (monotonic s), or before where two visits to everything agree.
    """
    sketches = agenda.sketches
    for visit in range(SURVEYS):
        seen = [one for one in sketches if len(surveyor.visits.get(one.name, ())) >= visit]
        lacking = [one for one in seen if len(surveyor.visits.get(one.name, ())) == visit]
        now = time.monotonic()
        surveyor.visit(
            lacking, until=now + (until - now) / 2 if visit == 0 else until, what=f"{len(lacking)} files"
        )
        twice = [one.name for one in seen if len(surveyor.visits.get(one.name, ())) >= 2]
        if visit and surveyor.disagreement(twice) <= AGREEMENT:
            return


def _fitted(
    agenda: Agenda, surveyor: Surveyor, device: str, runtime: str, threads: int, minutes: float
) -> FittedPredictor:
    measured = [arch for arch in agenda.networks if arch.key in surveyor.visits]
    seen = [arch for arch in measured if arch.key not in agenda.held_out]
    unseen = [arch for arch in measured if arch.key in agenda.held_out]
    if len(seen) < FEWEST_NETS or len(unseen) < FEWEST_HELD_OUT:
        raise ConfigError(
            f"in {minutes:g} minutes {len(measured)} networks were measured on '{device}' in {runtime}; "
            f"{FEWEST_NETS} to fit on and {FEWEST_HELD_OUT} to judge by are needed",
            hint="what was measured is kept: run the same command again, or allow more --budget-minutes",
        )
    fitted = fit_predictor(
        agenda.space,
        seen,
        [surveyor.latency_ms(arch.key) for arch in seen],
        kind=DEFAULT,
        device=device,
        runtime=runtime,
        threads=threads,
        held_out_archs=unseen,
        held_out_latencies_ms=[surveyor.latency_ms(arch.key) for arch in unseen],
        blocks=[
            MeasuredBlock(one.operators, surveyor.latency_ms(one.name))
            for one in agenda.blocks
            if one.name in surveyor.visits
        ],
    )
    return fitted if device == THIS_MACHINE else replace(fitted, source=f"measured on '{device}' from here")


def _with_memory(fitted: FittedPredictor, store: ResultStore) -> FittedPredictor:
    """Return it with what `fit` knew of memory, which a profile does not measure."""
    older = [one.memory for one in store.predictors(device=fitted.device) if one.id == fitted.id]
    return replace(fitted, memory=older[-1]) if older else fitted


def _row(agenda: Agenda, surveyor: Surveyor, fitted: FittedPredictor) -> dict[str, Any]:
    measured = [arch for arch in agenda.networks if arch.key in surveyor.visits]
    disagreement = surveyor.disagreement([arch.key for arch in measured])
    return {
        **predictor_row(fitted),
        "method": fitted.method,
        "blocks": sum(one.name in surveyor.visits for one in agenda.blocks),
        "disagreement": disagreement if np.isfinite(disagreement) else None,
        "suggestions": [
            {"arch": one.name, "gain": one.gain} for one in suggest(agenda.space, fitted, measured)
        ],
    }


def _text(device: str, rows: Sequence[dict[str, Any]]) -> str:
    shown = [
        {
            "runtime": row["runtime"],
            "predictor": one["kind"],
            "fitted": row["fitted"],
            "unseen": row["held_out"],
            **errors_for_people(one),
        }
        for row in rows
        for one in (row, row["baseline"])
    ]
    lines = [f"Latency on {device}, predicted for whole networks that were not used to fit\n{table(shown)}"]
    for row in rows:
        agreed = "measured once each"
        if row["disagreement"] is not None:
            agreed = f"repeated measurements differed by {100 * row['disagreement']:.1f} % (90 % by less)"
        lines.append(f"{row['runtime']}: {row['method']}; {agreed}")
        told = ", ".join(f"{one['arch']} ({one['gain']:.2f})" for one in row["suggestions"])
        if told:
            lines.append(f"  measuring these would help most (share of their variance removed): {told}")
    lines.append(f"next: edge-bench pick --device {device} --max-latency-ms 2")
    return "\n".join(lines)


def _space(options: argparse.Namespace, context: Context) -> SearchSpace:
    if options.space is None:
        return space_of_run(options.run, context)
    if options.run:
        raise ConfigError("--space and --run each name a search space; give one of them")
    from supernet.spaces import Space

    options_of_space = from_document(variants.load(Space, SPACES, options.space), {}, where="space")
    return options_of_space.build(input_channels=3, classes=1000)


def _mixed(items: Sequence[T], generator: np.random.Generator) -> list[T]:
    return [items[place] for place in generator.permutation(len(items))]
