"""The best layers on the selection split: every choice where there are few, else step by step."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from edge_bench.records import ArchConfig, TransformerSpace
from edge_bench.records.transformer import Stack
from supernet.keep_lists import Depths, KeepList, Report, space_of
from supernet.trained import TrainedRun

MOST_JUDGED = 60


class Search(KeepList):
    """Judges up to `MOST_JUDGED` choices. Where there are more, it begins at every other layer and swaps
    one kept layer for one that is not as long as that helps, the swaps in a drawn order.
    """

    def choose(self, trained: TrainedRun, depths: Depths, *, seed: int, report: Report) -> ArchConfig:
        space = space_of(trained)
        first = space.spread(dict(depths))
        counts = {stack: len(kept) for stack, kept in space.kept(first).items()}
        choices = math.prod(math.comb(space.layers[stack], count) for stack, count in counts.items())
        if choices <= MOST_JUDGED:
            archs = list(_all(space, counts))
            judged = trained.judge_all(archs, report=lambda done: report("search", done, len(archs)))
            signed = [one.value if one.higher_is_better else -one.value for one in judged]
            return archs[int(np.argmax(signed))]
        return _climb(trained, space, first, np.random.default_rng(seed), report)


def _all(space: TransformerSpace, counts: dict[Stack, int]) -> Iterator[ArchConfig]:
    per_stack = [
        itertools.combinations(range(space.layers[stack]), count) for stack, count in counts.items()
    ]
    for chosen in itertools.product(*per_stack):
        yield space.keeping(dict(zip(counts, chosen, strict=True)))


def _climb(
    trained: TrainedRun,
    space: TransformerSpace,
    first: ArchConfig,
    generator: np.random.Generator,
    report: Report,
) -> ArchConfig:
    best, best_value, judged = first, _quality(trained, first), 1
    waiting = _swaps(space, best, generator)
    while waiting and judged < MOST_JUDGED:
        arch = waiting.pop()
        value = _quality(trained, arch)
        judged += 1
        report("search", judged, MOST_JUDGED)
        if value > best_value:
            best, best_value = arch, value
            waiting = _swaps(space, best, generator)
    return best


def _swaps(space: TransformerSpace, arch: ArchConfig, generator: np.random.Generator) -> list[ArchConfig]:
    kept = space.kept(arch)
    found = [
        space.keeping({**kept, stack: tuple(sorted({*places, other} - {place}))})
        for stack, places in kept.items()
        for place in places
        for other in range(space.layers[stack])
        if other not in places
    ]
    return [found[place] for place in generator.permutation(len(found))]


def _quality(trained: TrainedRun, arch: ArchConfig) -> float:
    metric = trained.judge(arch)
    return metric.value if metric.higher_is_better else -metric.value
