"""Run folders and probes as training leaves them, written without any training."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from edge_bench.documents import to_document
from edge_bench.files import Home
from edge_bench.records import AnySpace, ArchConfig, Metric, PlainSpace
from edge_bench.records.operators import linear
from edge_bench.records.position import ALL, IMAGE, SIDE, TARGETS, PositionFindings, Score, Stage
from edge_bench.runs import JUDGED_FILE, LOG_FILE, RUN_FILE, SUMMARY_FILE, Judgement

PERCEPTRON = PlainSpace(name="mlp", resolution=8, operators=(linear(64, 30, "relu"), linear(30, 10, None)))


def write_a_run(
    home: Home,
    name: str,
    *,
    space: AnySpace = PERCEPTRON,
    techniques: dict[str, Any] | None = None,
    quality: float | None = 0.9,
    metric: str = "accuracy",
    learned: str = "accuracy",
    facts: dict[str, Any] | None = None,
    phases: Iterable[str] = ("all",),
    epochs: int = 4,
    seed: int = 0,
    alone: bool = True,
    config_name: str = "",
) -> str:
    """Write a run folder and return its name; `quality` is how it ended, None of one that trains still."""
    folder = home.runs / name
    folder.mkdir(parents=True)
    config = {
        "name": config_name or name.rpartition("-")[0],
        "seed": seed,
        "data": {"kind": "digits"},
        "training": {"epochs": epochs, "keep": ["20it"] if not techniques else []},
        "techniques": techniques or {},
    }
    planned = [{"name": phase, "epochs": epochs, "open": []} for phase in phases]
    record = {
        "config": config,
        "digest": name.rpartition("-")[2],
        "phases": planned,
        "search_space": to_document(space),
        "images": 1000,
        "versions": {},
        **({"arch": to_document(space.largest())} if alone else {}),
    }
    (folder / RUN_FILE).write_text(json.dumps(record), encoding="utf-8")
    lines = [
        {
            "time": "2026-01-01T00:00:00+00:00",
            "phase": phase,
            "epoch": number + 1,
            "step": 19 * (number + 1),
            "loss": 2.0 / (number + 1),
            "loss_smallest": 2.0,
            f"training_{learned}": 0.1 * (number + 1),
            "learning_rate": 0.01,
            "images_per_second": 100.0,
        }
        for number, phase in enumerate(phase for phase in phases for _ in range(epochs))
    ]
    (folder / LOG_FILE).write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    if quality is not None:
        summary = {
            "run": name,
            "steps": 76,
            "seconds": 1.5,
            f"largest_{metric}": quality,
            **({"techniques": facts} if facts else {}),
        }
        (folder / SUMMARY_FILE).write_text(json.dumps(summary), encoding="utf-8")
    return name


def judge(
    home: Home,
    run: str,
    archs: Iterable[ArchConfig],
    *,
    weights: str = "w",
    metric: str = "accuracy",
    values: Iterable[float] | None = None,
) -> None:
    """Write what was judged of a run's networks behind what is there."""
    given = list(archs)
    told = list(values) if values else [0.8 + place / 100 for place in range(len(given))]
    measured = Metric(
        name=metric, value=0.0, higher_is_better=metric != "perplexity", split="selection", examples=9
    )
    lines = [
        Judgement(
            key=arch.key,
            arch=arch,
            metric=replace(measured, value=value),
            seconds=0.1,
            calibration_images=0,
            weights=weights,
        )
        for arch, value in zip(given, told, strict=True)
    ]
    with (home.runs / run / JUDGED_FILE).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(to_document(line)) + "\n" for line in lines)


def probe(home: Home, network: str, *, file: str = "") -> None:
    """Write what a probe of position found in a network."""
    stages = tuple(Stage(name=name, channels=4, side=8) for name in ("one", "two"))
    found = PositionFindings(
        network=network,
        stages=stages,
        padded_convolutions=3,
        wide_convolutions=3,
        scores=tuple(
            Score(source=source, target=target, spearman=(0.5, 0.7), mae=(0.2, 0.1))
            for source in (IMAGE, "one", "two", ALL)
            for target in TARGETS
        ),
        steps=1,
        readout_images=1,
        held_out_images=1,
        predicted={source: dict.fromkeys(TARGETS, ((0.5,) * SIDE,) * SIDE) for source in (IMAGE, ALL)},
    )
    folder = home.probes / "position"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{file or network}.json").write_text(json.dumps(to_document(found)), encoding="utf-8")
