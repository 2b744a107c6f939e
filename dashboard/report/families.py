"""What a report tells of runs: how they trained, and what their networks give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import pandas as pd

from dashboard import words
from dashboard.columns import rung_columns
from dashboard.family_figures import (
    choice_figure,
    curves_figure,
    depth_figure,
    ladder_figure,
    maps_figure,
    position_figure,
)
from dashboard.family_frames import (
    CHOICES,
    best_by_depth,
    choices_frame,
    depth_frame,
    known_networks,
    ladder_frame,
    log_frame,
    rungs,
)
from dashboard.report.parts import Chart, Part, Section, Table
from edge_bench.errors import EdgeBenchError
from edge_bench.files import Home
from edge_bench.records import ArchConfig, Metric, SearchSpace, Subnet, TransformerSpace
from edge_bench.records.position import PositionFindings
from edge_bench.records.quality import higher_is_better
from edge_bench.runs import Run, read_judged, read_log, read_positions, read_run

RUNS = 12


def family_sections(home: Home, names: Sequence[str], subnets: Sequence[Subnet]) -> Iterator[Section]:
    """Yield what is told of runs, and of each sparsity ladder once.

    Args:
        home: the folder under which they lie.
        names: their folders; one that cannot be read is left out.
        subnets: those that are reported: of other runs than theirs only ladders are told.
    """
    runs = list(_read(home, names))
    ours = {one.run for one in subnets}
    for run in [one for one in runs if one.folder in ours][:RUNS]:
        parts = list(_of_run(home, run, [one for one in subnets if one.run == run.folder]))
        if parts:
            yield Section(title=run.folder, parts=parts)
    told: set[str] = set()
    for run in runs:
        ladder = ladder_frame(run, runs)
        folders = "\n".join(sorted(ladder["folders"]))
        if (ladder["left"] < 1).any() and folders not in told:
            told.add(folders)
            yield _ladder(run, ladder)


def _read(home: Home, names: Sequence[str]) -> Iterator[Run]:
    for name in names:
        try:
            yield read_run(home, name)
        except EdgeBenchError:
            # The page of families tells which, and why.
            continue


def _of_run(home: Home, run: Run, subnets: Sequence[Subnet]) -> Iterator[Part]:
    lines = read_log(home, run.folder).found
    if lines:
        log = log_frame(lines)
        learned = next((line.learned[0] for line in lines if line.learned), None)
        yield Chart.of(
            f"Training by step: {words.curves(log, learned)}.",
            partial(curves_figure, log, learned),
        )
    networks = known_networks(read_judged(home, run.folder).found, subnets)
    if networks and isinstance(run.space, SearchSpace) and run.arch is None:
        yield from _choices(run.space, networks)
    if networks and isinstance(run.space, TransformerSpace):
        yield from _depths(run.space, networks)
    for found in read_positions(home).found:
        if found.network.startswith(f"{run.folder}-"):
            yield from _position(found)


def _choices(space: SearchSpace, networks: Sequence[tuple[ArchConfig, Metric]]) -> Iterator[Chart]:
    frame, metric = choices_frame(space, networks), networks[0][1]
    if frame.empty:
        return
    better = metric.higher_is_better
    for axis in CHOICES:
        draw = partial(choice_figure, frame, axis, metric.name, higher_is_better=better)
        yield Chart.of(
            f"{words.choice(frame, axis, metric.name)}.", lambda dark, draw=draw: draw(dark=dark)
        )


def _depths(space: TransformerSpace, networks: Sequence[tuple[ArchConfig, Metric]]) -> Iterator[Chart]:
    frame, metric = depth_frame(space, networks), networks[0][1]
    if frame.empty:
        return
    best = best_by_depth(frame, higher_is_better=metric.higher_is_better)
    yield Chart.of(
        f"{words.depths(best, metric.name)}.",
        partial(depth_figure, frame, best, metric.name, higher_is_better=metric.higher_is_better),
    )


def _position(found: PositionFindings) -> Iterator[Chart]:
    yield Chart.of(f"{found.network}. {words.position(found)}.", partial(position_figure, found))
    light, dark = (maps_figure(found, dark=dark) for dark in (False, True))
    if light is not None and dark is not None:
        yield Chart(words=f"{words.maps(found)}.", light=light, dark=dark)


def _ladder(run: Run, ladder: pd.DataFrame) -> Section:
    metric = str(ladder["metric_name"].iloc[0])
    chart = Chart.of(
        f"{words.ladder(ladder, metric)}.",
        partial(ladder_figure, ladder, metric, higher_is_better=higher_is_better(metric)),
    )
    rows = Table(caption="Rungs", frame=rungs(ladder), columns=rung_columns(metric))
    return Section(title=f"Sparsity: {run.name}", parts=[chart, rows])
