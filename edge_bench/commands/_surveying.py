"""Measuring networks that nobody has trained: files written straight from architectures, timed in turns."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_bench.choose.pick import RUNTIMES
from edge_bench.commands import Context
from edge_bench.errors import ConfigError
from edge_bench.records import THIS_MACHINE, ArchConfig, SearchSpace, macs_of

# Two surveys of the same networks that differ by more than this were disturbed.
AGREEMENT = 0.03
SURVEYS = 4


@dataclass(frozen=True)
class Surveyed:
    """Latencies in ms, and the 90th percentile by which repeated surveys of a network differed."""

    latencies_ms: list[float]
    disagreement: float
    surveys: int


@dataclass(frozen=True)
class Drawn:
    """Networks to fit on and networks to judge on; no network is in both."""

    fitted: list[ArchConfig]
    held_out: list[ArchConfig]


def survey_networks(
    space: SearchSpace,
    archs: Sequence[ArchConfig],
    *,
    device: str,
    runtime: str,
    threads: int,
    context: Context,
) -> Surveyed:
    """Measure until two surveys agree, at most `SURVEYS` times; a network's latency is its least.

    Weights do not change latency, so the files hold random ones.

    Raises:
        ConfigError: a device that cannot be measured from here.
    """
    from converters import sketches
    from edge_bench.measure.lock import exclusive
    from edge_bench.measure.sandbox import survey

    if device != THIS_MACHINE:
        raise ConfigError(f"networks can be surveyed on {THIS_MACHINE} alone, not on '{device}'")
    form = next(form for form, of in RUNTIMES.items() if of == runtime)
    write = {"onnx": sketches.write_onnx, "tflite": sketches.write_tflite}[form]
    with tempfile.TemporaryDirectory(prefix="edge-bench-fit-") as folder:
        files = [Path(folder) / f"{index}.{form}" for index in range(len(archs))]
        for file, arch in context.track(
            zip(files, archs, strict=True), description=f"write networks for {runtime}", total=len(files)
        ):
            write(space, arch, file)
        waiting = "waiting for another benchmark on this machine to end"
        with exclusive(context.home, waiting=lambda: context.say(waiting)):
            context.say(f"measure {len(files)} networks in {runtime}, in turns")
            best = np.array(survey(files, runtime=runtime, threads=threads))
            disagreement, surveys = np.inf, 1
            while disagreement > AGREEMENT and surveys < SURVEYS:
                again = np.array(survey(files, runtime=runtime, threads=threads))
                disagreement = float(np.quantile(np.abs(again - best) / np.minimum(again, best), 0.9))
                best, surveys = np.minimum(best, again), surveys + 1
    return Surveyed(latencies_ms=best.tolist(), disagreement=disagreement, surveys=surveys)


def draw(space: SearchSpace, nets: int, held_out: int, *, seed: int) -> Drawn:
    """Draw distinct random networks, spread over the space's range of MACs.

    Uniform choices gather about the middle, so networks are drawn many times over and thinned to be
    even in log MACs. Both extremes are among the fitted.

    Raises:
        ConfigError: the space has fewer networks than asked for.
    """
    generator = np.random.default_rng(seed)
    extremes = [space.smallest(), space.largest()]
    wanted = nets + held_out
    if space.size() < 2 * wanted:
        raise ConfigError(f"space '{space.name}' has {space.size()} networks; ask for fewer --nets")
    pool = {arch.key: arch for arch in (_spread(space, generator) for _ in range(8 * wanted))}
    for arch in extremes:
        pool.pop(arch.key, None)
    macs = {key: macs_of(space, arch) for key, arch in pool.items()}
    ordered = sorted(pool, key=macs.__getitem__)
    targets = np.linspace(np.log(macs[ordered[0]]), np.log(macs[ordered[-1]]), wanted - len(extremes))
    spread: list[ArchConfig] = []
    for target in targets:
        nearest = min(ordered, key=lambda key: abs(np.log(macs[key]) - target))
        ordered.remove(nearest)
        spread.append(pool[nearest])
    places = set(generator.choice(len(spread), size=held_out, replace=False).tolist())
    return Drawn(
        fitted=extremes + [arch for place, arch in enumerate(spread) if place not in places],
        held_out=[arch for place, arch in enumerate(spread) if place in places],
    )


def _spread(space: SearchSpace, generator: np.random.Generator) -> ArchConfig:
    """Return a network on the way from an extreme to a random one, so that the ends are reached too."""
    start = space.largest() if generator.random() < 0.5 else space.smallest()
    return space.mutate(start, generator, probability=float(generator.random()))
