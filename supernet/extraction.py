"""Choosing which subnets of a trained supernet are worth keeping, and cutting them out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_bench.errors import ConfigError
from edge_bench.files import Home
from edge_bench.records import ArchConfig, Metric, SearchSpace, Subnet, TransformerSpace, macs_of
from edge_bench.records.transformer import Stack
from supernet.keep_lists import keep_list
from supernet.trained import TrainedRun

# Random architectures crowd in the middle; that many are drawn for each one that is screened.
DRAWS_PER_SCREENED = 10
# Told (what is being done, steps done, steps in all).
Report = Callable[[str, int, int], None]


def extract_front(
    run: Path,
    *,
    home: Home,
    count: int,
    screened: int,
    seed: int = 0,
    report: Report = lambda what, done, total: None,
) -> list[Subnet]:
    """Cut `count` subnets, spread over the front of accuracy and MACs, smallest MACs first.

    Random architectures, spread over log MACs, and the largest and the smallest are calibrated and
    judged on the selection split; of a transformer, its depths with layers at even distances; of a run
    that trained one network, that alone. Kept are
    the largest and the smallest, the front, and then what
    fills the widest gaps in log MACs. The test split is looked at only for those that are kept.

    Args:
        run: the folder of a finished run.
        home: where the programs are saved, each at `artifacts/<subnet id>/program.pt2`.
        count: how many to keep, at least 2 (fewer are kept where fewer were screened).
        screened: how many random architectures to judge.
        seed: of their draw.
        report: is told of each step.

    Raises:
        ConfigError: `count` is below 2 or `screened` negative.
        TrainingError: the run is not finished, or its checkpoint cannot be read.
    """
    if count < 2 or screened < 0:
        raise ConfigError(f"count is {count} and screen {screened}; at least 2 and 0 are needed")
    trained = TrainedRun.open(run)
    space = trained.space
    archs: tuple[ArchConfig, ...]
    if trained.record.arch:
        archs = (trained.record.arch,)
    elif isinstance(space, TransformerSpace):
        archs = depths_of(space)
    else:
        assert isinstance(space, SearchSpace)
        archs = spread_archs(space, screened, np.random.default_rng([seed, screened]))
    total = len(archs) + min(count, len(archs))
    metrics = trained.judge_all(archs, report=lambda done: report("screen", done, total))
    judged = [
        Judged(arch=arch, macs=macs_of(trained.space, arch), metric=metric)
        for arch, metric in zip(archs, metrics, strict=True)
    ]
    kept = keep(judged, count)
    subnets = []
    for done, one in enumerate(kept, start=1):
        subnets.append(trained.cut(one.arch, home=home))
        report("cut", len(archs) + done, total)
    return subnets


def extract_depth(
    run: Path,
    depths: Sequence[int],
    *,
    chosen_by: str,
    home: Home,
    seed: int = 0,
    report: Report = lambda what, done, total: None,
) -> Subnet:
    """Cut a transformer to so many layers, the encoder's before the decoder's; as `extract_front` else.

    Args:
        run: the folder of a finished run on text.
        depths: one number for each stack of layers.
        chosen_by: which layers are kept, a file of `supernet/keep_lists`.
        home: where the program is saved.
        seed: of what that draws.
        report: is told of each step.

    Raises:
        ConfigError: the run is of images, or has another number of stacks.
        InvalidArch: it has not so many layers.
        UnknownVariant: no such keep list.
    """
    chooser, trained = keep_list(chosen_by), TrainedRun.open(run)
    space = trained.space
    if not isinstance(space, TransformerSpace) or len(depths) != len(space.layers):
        stacks = list(space.layers) if isinstance(space, TransformerSpace) else ["no layers to choose from"]
        raise ConfigError(
            f"--depth names {len(depths)} stacks of layers; run '{run.name}' has {' and '.join(stacks)}",
            hint="e.g. --depth 3, or --depth 3/1 for an encoder and a decoder",
        )
    wanted: dict[Stack, int] = dict(zip(space.layers, depths, strict=True))
    arch = chooser.choose(trained, wanted, seed=seed, report=report)
    return trained.cut(arch, home=home)


def extract_arch(run: Path, arch: ArchConfig, *, home: Home) -> Subnet:
    """Cut one architecture, as `extract_front` does.

    Raises:
        InvalidArch: it is not in the run's search space.
        TrainingError: the run is not finished, or its checkpoint cannot be read.
    """
    trained = TrainedRun.open(run)
    return trained.cut(arch, home=home)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A screened architecture: its multiply-accumulates, and its metric on the selection split."""

    arch: ArchConfig
    macs: int
    metric: Metric

    @property
    def quality(self) -> float:
        """The metric's value, turned so that more is better."""
        return self.metric.value if self.metric.higher_is_better else -self.metric.value


def depths_of(space: TransformerSpace) -> tuple[ArchConfig, ...]:
    """Return the networks of a transformer's depths, layers at even distances, the shallowest first.

    Every depth of a single stack; of two stacks each depth of one with each of the other, of those that
    halve from all layers to one.
    """
    halved: dict[Stack, list[int]] = {}
    for stack, count in space.layers.items():
        depths = range(1, count + 1) if len(space.layers) == 1 else {max(count >> n, 1) for n in range(16)}
        halved[stack] = sorted(depths)
    combined = itertools.product(*halved.values())
    archs = [space.spread(dict(zip(space.layers, depths, strict=True))) for depths in combined]
    return tuple(sorted(archs, key=lambda arch: macs_of(space, arch)))


def spread_archs(space: SearchSpace, count: int, generator: np.random.Generator) -> tuple[ArchConfig, ...]:
    """Return the smallest and the largest architecture, and up to `count` random ones between.

    Those are the drawn ones that lie nearest to even steps in log MACs.
    """
    extremes = (space.smallest(), space.largest())
    drawn = {
        arch.key: arch for arch in (space.sample(generator) for _ in range(count * DRAWS_PER_SCREENED))
    }
    for arch in extremes:
        drawn.pop(arch.key, None)
    archs = list(drawn.values())
    logs = np.array([math.log(macs_of(space, arch)) for arch in archs])
    low, high = (math.log(macs_of(space, arch)) for arch in extremes)
    chosen: list[ArchConfig] = []
    for goal in np.linspace(low, high, count + 2)[1:-1]:
        if len(chosen) == len(archs):
            break
        nearest = int(np.abs(logs - goal).argmin())
        chosen.append(archs[nearest])
        logs[nearest] = math.inf
    return (extremes[0], *chosen, extremes[1])


def keep(judged: Sequence[Judged], count: int) -> list[Judged]:
    """Return `count` of the judged in ascending MACs: both ends, the front, then the widest gaps.

    A front of more than there is room for is thinned to an even spread in log MACs.
    """
    ordered = sorted(judged, key=lambda one: (one.macs, -one.quality))
    front: list[Judged] = []
    for one in ordered:
        if not front or one.quality > front[-1].quality:
            front.append(one)
    kept = [ordered[0]]
    for must in (ordered[-1], front[-1]):
        if must not in kept and len(kept) < count:
            kept.append(must)
    for pool in (front, ordered):
        waiting = [one for one in pool if one not in kept]
        while waiting and len(kept) < count:
            widest = max(waiting, key=lambda one: min(_distance(one, other) for other in kept))
            kept.append(widest)
            waiting.remove(widest)
    return sorted(kept, key=lambda one: one.macs)


def _distance(one: Judged, other: Judged) -> float:
    return abs(math.log(one.macs / other.macs))
