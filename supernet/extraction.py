"""Cutting subnets out of a trained supernet and keeping them as programs that need none of its code."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edge_bench.data import open_data
from edge_bench.errors import ConfigError, TrainingError
from edge_bench.files import Home, atomic_path, sha256_of
from edge_bench.records import ArchConfig, Metric, SearchSpace, Subnet, operators
from edge_bench.store import now
from supernet import checkpoint
from supernet.evaluation import accuracy, calibrated
from supernet.images import JudgingImages
from supernet.memory import keep_freed_memory
from supernet.network import ElasticNetwork, folded, parameters_of
from supernet.run import CHECKPOINT_FILE, RunRecord, read_record
from supernet.trainer import CALIBRATION_IMAGES

TECHNIQUE = "once_for_all"
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
    judged on the selection split. Kept are the largest and the smallest, the front, and then what
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
    trained = _open(run)
    archs = spread_archs(trained.space, screened, np.random.default_rng([seed, screened]))
    judged = []
    total = len(archs) + min(count, len(archs))
    for done, arch in enumerate(archs, start=1):
        macs = _macs(trained.space, arch)
        judged.append(Judged(arch=arch, macs=macs, metric=trained.judge(arch)))
        report("screen", done, total)
    kept = keep(judged, count)
    subnets = []
    for done, one in enumerate(kept, start=1):
        subnets.append(trained.cut(one.arch, home=home))
        report("cut", len(archs) + done, total)
    return subnets


def extract_arch(run: Path, arch: ArchConfig, *, home: Home) -> Subnet:
    """Cut one architecture, as `extract_front` does.

    Raises:
        InvalidArch: it is not in the run's search space.
        TrainingError: the run is not finished, or its checkpoint cannot be read.
    """
    trained = _open(run)
    trained.space.check(arch)
    return trained.cut(arch, home=home)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A screened architecture: its multiply-accumulates, and its metric on the selection split."""

    arch: ArchConfig
    macs: int
    metric: Metric


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
    logs = np.array([math.log(_macs(space, arch)) for arch in archs])
    low, high = (math.log(_macs(space, arch)) for arch in extremes)
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
    ordered = sorted(judged, key=lambda one: (one.macs, -one.metric.value))
    front: list[Judged] = []
    for one in ordered:
        if not front or one.metric.value > front[-1].metric.value:
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


def _macs(space: SearchSpace, arch: ArchConfig) -> int:
    return sum(operator.macs for operator in operators(space, arch))


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """A finished run, opened."""

    name: str
    record: RunRecord
    network: ElasticNetwork
    images: JudgingImages

    @property
    def space(self) -> SearchSpace:
        return self.record.search_space

    def judge(self, arch: ArchConfig) -> Metric:
        inputs, labels = self.images.split("selection", arch.resolution)
        plain = calibrated(self.network, arch, self.images)
        return accuracy(plain, inputs, labels, split="selection")

    def cut(self, arch: ArchConfig, *, home: Home) -> Subnet:
        plain = calibrated(self.network, arch, self.images)
        deployed = folded(plain)
        metrics = []
        for split in ("selection", "test"):
            inputs, labels = self.images.split(split, arch.resolution)
            metrics.append(accuracy(deployed, inputs, labels, split=split))
        identity = f"{self.name}-{arch.key}"
        path = home.artifacts / identity / "program.pt2"
        channels = self.space.input_channels
        with atomic_path(path) as temporary:
            _save_program(deployed, (channels, arch.resolution, arch.resolution), temporary)
        return Subnet(
            id=identity,
            run=self.name,
            technique=TECHNIQUE,
            space=self.space,
            arch=arch,
            program=home.relative(path),
            digest=sha256_of(path),
            params=parameters_of(plain),
            macs=_macs(self.space, arch),
            task=self.images.source.task,
            metrics=tuple(metrics),
            class_names=self.record.class_names,
            preprocessing=replace(self.record.preprocessing, size=arch.resolution),
            data=self.record.config.data,
            created=now(),
            notes={"calibration_images": len(self.images.split("train", arch.resolution)[1])},
        )


def _open(run: Path) -> _Trained:
    keep_freed_memory()
    record = read_record(run)
    path = run / CHECKPOINT_FILE
    progress = checkpoint.read_progress(path, run=record.digest)
    if progress is None or not progress.finished:
        steps = f"at step {progress.step} of {progress.steps}" if progress else "not begun"
        raise TrainingError(
            f"run '{run.name}' is not finished ({steps})", hint="run its train command again to go on"
        )
    network = ElasticNetwork(record.search_space)
    checkpoint.restore(path, network)
    images = JudgingImages(
        source=open_data(record.config.data),
        preprocessing=record.preprocessing,
        calibration_images=CALIBRATION_IMAGES,
        seed=record.config.seed,
    )
    return _Trained(name=run.name, record=record, network=network, images=images)


def _save_program(network: nn.Module, shape: tuple[int, int, int], path: Path) -> None:
    # Exported at batch 2: at 1, the batch dimension would silently be fixed.
    example = torch.zeros(2, *shape)
    network = network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    # Through memory: on a full disk torch ends the whole process.
    saved = io.BytesIO()
    torch.export.save(program, saved)
    path.write_bytes(saved.getvalue())
