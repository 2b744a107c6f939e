"""Families of networks as tables: training curves, choices of a space, depths, and shares of weights left.

Pure functions, no widget and no cache. A quality is on the selection split.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from edge_bench.documents import canonical_json
from edge_bench.records import (
    ArchConfig,
    Metric,
    SearchSpace,
    Subnet,
    TransformerSpace,
    arch_name,
    macs_of,
)
from edge_bench.records.quality import is_share
from edge_bench.runs import Judgement, LogLine, Run

# What may be chosen in a search space, and how the axis of it is called.
CHOICES = {
    "kernel": "kernel side, mean of blocks (pixels)",
    "depth": "depth (blocks)",
    "expand": "width: expand ratio, mean of blocks",
    "resolution": "resolution (pixels)",
}
TICKET, DENSE = "ticket", "dense"
# More different values than that are gathered into as many groups.
_GROUPS = 6
# Options of a technique that say which rung of a ladder a run is, and not how it prunes.
_RUNG = ("level", "control", "dense", "below", "sparsity")


def log_frame(lines: Iterable[LogLine]) -> pd.DataFrame:
    """Return one row an epoch; `learned` is NaN where nobody tells what was reached on training data."""
    rows = [
        {
            "step": line.step,
            "epoch": line.epoch,
            "phase": line.phase,
            "loss": line.loss,
            "learned": line.learned[1] if line.learned else math.nan,
            "learning_rate": line.learning_rate,
            "time": line.time,
        }
        for line in lines
    ]
    return pd.DataFrame(rows, columns="step epoch phase loss learned learning_rate time".split())


def phase_ends(log: pd.DataFrame) -> list[tuple[str, int, int]]:
    """Return (name, first step, last step) of each phase that the log tells of, in order."""
    ends: list[tuple[str, int, int]] = []
    before = 0
    for phase, step in zip(log["phase"], log["step"], strict=True):
        if ends and ends[-1][0] == phase:
            ends[-1] = (phase, ends[-1][1], int(step))
        else:
            ends.append((phase, before, int(step)))
        before = int(step)
    return ends


def known_networks(
    judged: Iterable[Judgement], subnets: Iterable[Subnet]
) -> list[tuple[ArchConfig, Metric]]:
    """Return the networks of a run whose quality is known, each once, all of one metric."""
    found = {one.key: (one.arch, one.metric) for one in judged}
    for subnet in subnets:
        metric = subnet.metric("selection")
        if metric is not None:
            found[subnet.arch.key] = (subnet.arch, metric)
    name = next((metric.name for _, metric in found.values()), None)
    return [(arch, metric) for arch, metric in found.values() if metric.name == name]


def choices_frame(space: SearchSpace, networks: Iterable[tuple[ArchConfig, Metric]]) -> pd.DataFrame:
    """Return one row a network of the space: its choices, by `CHOICES`, quality and MACs."""
    rows = [
        {
            "kernel": float(np.mean([block.kernel for block in arch.blocks])),
            "depth": len(arch.blocks),
            "expand": float(np.mean([block.expand for block in arch.blocks])),
            "resolution": arch.resolution,
            "metric": metric.value,
            "mmacs": macs_of(space, arch) / 1e6,
            "key": arch.key,
        }
        for arch, metric in networks
        if space.contains(arch) and arch.blocks
    ]
    return pd.DataFrame(rows, columns=[*CHOICES, "metric", "mmacs", "key"])


def axis_means(frame: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Return the mean quality along one choice: of each value, or of groups where values are many.

    Columns: the axis (mean of a group), metric, networks.
    """
    values = frame[axis]
    groups: Any = values
    if values.nunique() > _GROUPS:
        groups = pd.qcut(values, _GROUPS, labels=False, duplicates="drop")
    gathered = frame.groupby(groups)
    means = pd.DataFrame({axis: gathered[axis].mean(), "metric": gathered["metric"].mean()})
    return means.assign(networks=gathered.size()).reset_index(drop=True)


def depth_frame(space: TransformerSpace, networks: Iterable[tuple[ArchConfig, Metric]]) -> pd.DataFrame:
    """Return one row a network: how many layers it keeps, which, and its quality; the shallowest first."""
    rows = [
        {"layers": len(arch.blocks), "kept": arch_name(space, arch), "metric": metric.value}
        for arch, metric in networks
        if space.contains(arch)
    ]
    frame = pd.DataFrame(rows, columns=["layers", "kept", "metric"])
    return frame.sort_values(["layers", "kept"], ignore_index=True)


def best_by_depth(frame: pd.DataFrame, *, higher_is_better: bool) -> pd.DataFrame:
    """Return the best network of each depth."""
    ordered = frame.sort_values("metric", ascending=not higher_is_better, kind="stable")
    return ordered.drop_duplicates("layers").sort_values("layers", ignore_index=True)


def ladder_frame(chosen: Run, runs: Sequence[Run]) -> pd.DataFrame:
    """Return the sparsity ladder that a run belongs to: one row for each line and share of weights left.

    A ladder is the runs of one training that differ in seed and in how they prune alone. A line is a
    technique (`TICKET` of lottery tickets), one of its controls, or `DENSE`; where runs of a line prune by
    other options, those stand behind its name. Columns: line, left (share), level (NaN where there is
    none), metric, low and high (over seeds), runs, folders, metric_name.
    """
    by_folder = {run.folder: run for run in runs}
    key = _ladder_key(chosen, by_folder)
    ours = [run for run in runs if run.outcome and _ladder_key(run, by_folder) == key]
    name = next((run.outcome.quality[0] for run in ours if run.outcome and run.outcome.quality), None)
    rungs = [_rung(run) for run in ours if run.outcome and run.outcome.quality]
    rows = [row for row in rungs if row["metric_name"] == name]
    frame = pd.DataFrame(rows, columns="line options left level value folder metric_name".split())
    if frame.empty:
        return pd.DataFrame(columns="line left level metric low high runs folders metric_name".split())
    frame["line"] = _named(frame)
    frame["left"] = frame["left"].round(6)
    gathered = frame.groupby(["line", "left"], sort=True)
    told = gathered["value"].agg(metric="mean", low="min", high="max", runs="size").reset_index()
    told["level"] = gathered["level"].first().to_numpy()
    told["metric_name"] = name
    told["folders"] = gathered["folder"].agg(", ".join).to_numpy()
    places = {line: place for place, line in enumerate(lines_of(told))}
    told["place"] = told["line"].map(places)
    return told.sort_values(["place", "left"], ascending=[True, False], ignore_index=True).drop(
        columns="place"
    )


def rungs(ladder: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that people read of a ladder; shares of it are in per cent."""
    scale = 100 if is_share(str(ladder["metric_name"].iloc[0])) else 1
    told = ladder.assign(
        left=100 * ladder["left"],
        line=ladder["line"].str.replace("_", " "),
        metric=scale * ladder["metric"],
    )
    return told[["line", "level", "left", "metric", "runs", "folders"]]


def lines_of(ladder: pd.DataFrame) -> list[str]:
    """Return the lines of a ladder: the dense network, tickets, and then controls and other techniques."""
    names = sorted(set(ladder["line"]))
    return sorted(names, key=lambda name: (name != DENSE, not name.startswith(TICKET)))


def _ladder_key(run: Run, by_folder: Mapping[str, Run]) -> str:
    for options in run.techniques.values():
        dense = options.get("dense")
        if isinstance(dense, str):
            return by_folder[dense].training_key if dense in by_folder else dense
    return run.training_key


def _rung(run: Run) -> dict[str, Any]:
    assert run.outcome and run.outcome.quality
    technique, facts = next(iter(run.pruned.items()), (DENSE, {}))
    options = run.techniques.get(technique, {})
    control = options.get("control") or ""
    line = control or (TICKET if "level" in options else technique)
    return {
        "line": str(line),
        "options": {key: one for key, one in options.items() if key not in _RUNG},
        "left": 1 - float(facts.get("pruned", 0.0)),
        "level": float(options["level"]) if isinstance(options.get("level"), int) else math.nan,
        "value": run.outcome.quality[1],
        "folder": run.folder,
        "metric_name": run.outcome.quality[0],
    }


def _named(frame: pd.DataFrame) -> list[str]:
    """Return each row's line, behind it the options in which runs of that line differ."""
    told = []
    for line, options in zip(frame["line"], frame["options"], strict=True):
        others = list(frame.loc[frame["line"] == line, "options"])
        keys = sorted({key for other in others for key in other})
        differ = [key for key in keys if len({canonical_json(other.get(key)) for other in others}) > 1]
        told.append(", ".join([line, *(f"{key} {options.get(key, 'by default')}" for key in differ)]))
    return told
