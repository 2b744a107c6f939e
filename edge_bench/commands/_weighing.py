"""Weighing networks that nobody has trained: how much memory a process takes that runs them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_bench.choose.candidates import RUNTIMES
from edge_bench.choose.memory import fit_memory, footprint
from edge_bench.commands import Context
from edge_bench.records import ArchConfig, FittedMemory, SearchSpace

# Peaks repeat within a percent and follow a line: a few networks tell it, at some second each.
WEIGHED = 8
SETUP_S = 300


def weigh_networks(
    space: SearchSpace, archs: Sequence[ArchConfig], *, runtime: str, threads: int, context: Context
) -> FittedMemory:
    """Measure the peak memory of a few of `archs` on this machine, and fit what all of the space take.

    Those of least and most weights and activations are among them, and the others lie evenly between.
    """
    from converters import sketches
    from edge_bench.measure.lock import exclusive
    from edge_bench.measure.sandbox import weigh

    form = next(form for form, of in RUNTIMES.items() if of == runtime)
    write = {"onnx": sketches.write_onnx, "tflite": sketches.write_tflite}[form]
    taken = spread(space, archs)
    peaks_mb = []
    waiting = "waiting for another benchmark on this machine to end"
    with (
        tempfile.TemporaryDirectory(prefix="edge-bench-weigh-") as folder,
        exclusive(context.home, waiting=lambda: context.say(waiting)),
    ):
        for arch in context.track(taken, description=f"weigh networks in {runtime}", total=len(taken)):
            file = Path(folder) / f"network.{form}"
            write(space, arch, file)
            peaks_mb.append(weigh(file, runtime=runtime, threads=threads, timeout_s=SETUP_S))
    return fit_memory([footprint(space, arch) for arch in taken], peaks_mb)


def spread(space: SearchSpace, archs: Sequence[ArchConfig], count: int = WEIGHED) -> list[ArchConfig]:
    """Return `count` networks over the range of weights and, as many, over that of activations."""
    seen = [footprint(space, arch) for arch in archs]
    chosen: dict[str, ArchConfig] = {}
    for sizes, share in (
        ([one.weights_bytes for one in seen], count - count // 2),
        ([one.activations_bytes or 0 for one in seen], count // 2),
    ):
        ordered = [place for place in np.argsort(sizes, kind="stable") if archs[place].key not in chosen]
        for rank in np.linspace(0, len(ordered) - 1, share).round().astype(int):
            chosen.setdefault(archs[ordered[rank]].key, archs[ordered[rank]])
    return list(chosen.values())
