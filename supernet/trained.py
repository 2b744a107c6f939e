"""A finished run, opened: its subnets judged, each with statistics of its own, and cut."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import nn

from edge_bench.documents import canonical_json
from edge_bench.errors import ConfigError, TrainingError
from edge_bench.files import Home, explained, sha256_of
from edge_bench.records import AnySpace, ArchConfig, Metric, Subnet, macs_of
from edge_bench.runs import JUDGED_FILE, Judgement, read_judgements
from edge_bench.store import now
from supernet import checkpoint
from supernet.memory import keep_freed_memory
from supernet.run import CHECKPOINT_FILE, SUMMARY_FILE, RunRecord, read_record
from supernet.tasks import Task, task_of
from supernet.tasks.image_classification import CALIBRATION_IMAGES


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A finished run. What was judged once is kept in its folder and not judged again."""

    folder: Path
    record: RunRecord
    network: nn.Module
    task: Task
    home: Home
    weights: str
    _kept: dict[str, Judgement] = field(default_factory=dict)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, folder: Path, *, home: Home | None = None) -> TrainedRun:
        """Open a run folder; `home` is where what is cut goes, by default the folder's own.

        Raises:
            TrainingError: the run is not finished, or its checkpoint cannot be read.
        """
        keep_freed_memory()
        record = read_record(folder)
        path = folder / CHECKPOINT_FILE
        progress = checkpoint.read_progress(path, run=record.digest)
        if progress is None or not progress.finished:
            steps = f"at step {progress.step} of {progress.steps}" if progress else "not begun"
            raise TrainingError(
                f"run '{folder.name}' is not finished ({steps})",
                hint="run its train command again to go on",
            )
        home = home or Home(folder.parent.parent)
        task = task_of(record.config.task).of_run(record, home, folder)
        network = task.judged(partial(checkpoint.restore, path))
        weights = sha256_of(path)
        kept = {
            one.key: one
            for one in read_judgements(folder)
            if (one.weights, one.calibration_images) == (weights, CALIBRATION_IMAGES)
        }
        return cls(
            folder=folder,
            record=record,
            network=network,
            task=task,
            home=home,
            weights=weights,
            _kept=kept,
        )

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def space(self) -> AnySpace:
        return self.record.search_space

    def judge(self, arch: ArchConfig) -> Metric:
        """Return the quality of `arch` on the selection split, as it would be cut.

        Raises:
            InvalidArch: it is not in the run's search space.
            StoreError: the disk refused to keep the judgement.
        """
        kept = self._kept.get(arch.key)
        if kept is None:
            self._load([arch])
            began = time.perf_counter()
            metric = self.task.judge(self.network, arch, "selection")
            kept = Judgement(
                key=arch.key,
                arch=arch,
                metric=metric,
                seconds=round(time.perf_counter() - began, 4),
                calibration_images=CALIBRATION_IMAGES,
                weights=self.weights,
            )
            self._keep(kept)
        return kept.metric

    def judge_all(
        self, archs: Sequence[ArchConfig], *, report: Callable[[int], None] = lambda done: None
    ) -> list[Metric]:
        """Judge `archs`, one to a core, and return their metrics in order; as `judge` else.

        One network on one core each is quicker than all cores on one small network after another.
        `report` is told how many are done.
        """
        # Not in the workers, who would all read the same images.
        self._load([arch for arch in archs if arch.key not in self._kept])
        metrics: list[Metric] = []
        with _one_thread_each() as workers:
            pool = ThreadPoolExecutor(workers)
            try:
                for metric in pool.map(self.judge, archs):
                    metrics.append(metric)
                    report(len(metrics))
            finally:
                pool.shutdown(cancel_futures=True)
        return metrics

    def seconds(self, archs: Sequence[ArchConfig]) -> list[float]:
        """Return how long it took to judge each of `archs`, all of which were judged."""
        return [self._kept[arch.key].seconds for arch in archs]

    def cut(self, arch: ArchConfig, *, home: Home) -> Subnet:
        """Save `arch` as a program that needs none of this code, and say how good it is.

        The program lies at `artifacts/<subnet id>/program.pt2` under `home`; its metrics are those of
        the selection and the test split.

        Raises:
            InvalidArch: it is not in the run's search space.
            StoreError: the disk refused the program.
        """
        self.record.check(arch)
        identity = f"{self.name}-{arch.key}"
        cut = self.task.cut(self.network, arch, folder=home.artifacts / identity, home=home)
        told = {"preprocessing": None, **cut, "notes": {**cut.get("notes", {}), **self.task.notes}}
        return Subnet(
            id=identity,
            run=self.name,
            technique=self.task.technique,
            space=self.space,
            arch=arch,
            macs=macs_of(self.space, arch),
            task=self.record.config.task,
            class_names=self.record.class_names,
            data=self.record.config.data,
            created=now(),
            **told,
        )

    def _load(self, archs: Sequence[ArchConfig]) -> None:
        """Read the examples that judging `archs` needs, which is no part of the time it takes."""
        for arch in archs:
            self.record.check(arch)
        self.task.load(list(archs))

    def _keep(self, judgement: Judgement) -> None:
        path = self.folder / JUDGED_FILE
        line = canonical_json(judgement).encode() + b"\n"
        with self._writing, explained(path), path.open("ab", buffering=0) as file:
            # Behind a line that was cut short when a process died.
            torn = file.tell() > 0 and not _ends_a_line(path)
            left = b"\n" + line if torn else line
            # One write to a file opened for appending, so that lines of several processes do not mix;
            # a full disk takes a part of it and refuses the rest.
            while left:
                left = left[file.write(left) :]
            self._kept[judgement.key] = judgement


def newest_run(home: Home) -> Path:
    """Return the folder of the run that was finished last.

    Raises:
        ConfigError: none is finished.
    """
    finished = list(home.runs.glob(f"*/{SUMMARY_FILE}"))
    if not finished:
        raise ConfigError("no run is finished yet", hint="edge-bench train RUN.toml")
    return max(finished, key=lambda file: file.stat().st_mtime_ns).parent


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """Let each worker compute on one thread; give how many workers torch's threads make."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)
