"""our latency of a model file beside that of other benchmark programs, measured in turns"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.commands.bench import target_of
from edge_bench.documents import to_document
from edge_bench.errors import INTERRUPTED, OK, ConfigError
from edge_bench.measure.inspection import runtime_for
from edge_bench.measure.parity import Figure, Parity, parity

COLUMNS = "program version p50_ms ratio_to_ours interval rounds left_out says_of_its_quality"


class BenchParity(Command):
    """`edge-bench bench parity FILE`. OpenVINO runs its own kernels: its ratio compares runtimes."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="a .onnx or .tflite file, or an artifact's id")
        parser.add_argument("--runtime", metavar="R", help="ours; default: the one that reads the ending")
        parser.add_argument("--threads", type=int, default=1, help="of every program (default: 1)")
        parser.add_argument(
            "--rounds", type=int, default=6, help="of one turn each; 6 give an interval (default: 6)"
        )
        parser.add_argument(
            "--seconds", type=float, default=1.0, help="of measuring in a turn (default: 1)"
        )

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        limits: list[tuple[str, bool, str]] = [
            ("--threads", 1 <= options.threads <= 256, "from 1 to 256"),
            ("--rounds", 1 <= options.rounds <= 1000, "from 1 to 1000"),
            ("--seconds", 0 < options.seconds <= 600, "above 0 and at most 600"),
        ]
        for name, fits, words in limits:
            if not fits:
                raise ConfigError(f"{name} must be {words}")
        with context.store() as store:
            model = target_of(options.file, store.artifacts(), context.home).file
        runtime = options.runtime or runtime_for(model)
        found = parity(
            model,
            home=context.home,
            runtime=runtime,
            threads=options.threads,
            rounds=options.rounds,
            seconds=options.seconds,
            waiting=lambda: context.say("waiting for another benchmark on this machine to end"),
            track=lambda rounds: context.track(rounds, description="rounds", total=len(rounds)),
        )
        status = INTERRUPTED if found.interrupted else OK
        return Outcome(document=_document(model, runtime, found), text=_told(model, found), status=status)


def _document(model: Path, runtime: str, found: Parity) -> dict[str, Any]:
    return {
        "model": model.name,
        "runtime": runtime.replace("-", "_"),
        "programs": [to_document(figure) for figure in found.figures],
        "absent": found.absent,
        "interrupted": found.interrupted,
        "rounds": to_document(found.rounds),
    }


def _told(model: Path, found: Parity) -> str:
    lines = [table([_row(figure) for figure in found.figures], columns=COLUMNS.split())]
    lines += [f"{name} took no part: {reason}" for name, reason in sorted(found.absent.items())]
    lines += [
        f"{figure.name} was disturbed in every round, so that all count: its figures are not to be trusted"
        for figure in found.figures
        if figure.disturbed
    ]
    lines += [
        f"{figure.name} rounds its median to {figure.resolution_ms:g} ms, "
        f"{figure.resolution_ms / figure.p50_ms:.0%} of it"
        for figure in found.figures
        if figure.resolution_ms > 0.01 * figure.p50_ms
    ]
    if found.interrupted:
        lines.insert(0, f"{model.name}: interrupted after {len(found.rounds)} rounds; what there is:")
    return "\n".join(lines)


def _row(figure: Figure) -> dict[str, Any]:
    low, high = figure.ratio.low, figure.ratio.high
    return {
        "program": figure.name,
        "version": figure.version,
        "p50_ms": figure.p50_ms,
        "ratio_to_ours": figure.ratio.middle,
        "interval": None if low is None or high is None else f"{low:.3f} to {high:.3f}",
        "rounds": figure.rounds,
        "left_out": figure.rounds_left_out,
        "says_of_its_quality": ", ".join(figure.said),
    }
