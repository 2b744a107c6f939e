"""A trained run, opened: judgements are kept, resumed and never mixed up with those of other weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_bench.errors import ConfigError, InvalidArch
from edge_bench.files import Home
from edge_bench.records import ArchConfig
from edge_bench.runs import JUDGED_FILE
from supernet.evaluation import accuracy, calibrated
from supernet.run import CHECKPOINT_FILE
from supernet.trained import TrainedRun, newest_run


@pytest.fixture
def folder(trained: tuple[Path, Home], tmp_path: Path) -> Path:
    """A copy of the tiny run's folder in which nothing was judged yet."""
    copied = tmp_path / "runs" / trained[0].name
    shutil.copytree(trained[0], copied)
    (copied / JUDGED_FILE).unlink(missing_ok=True)
    return copied


def drawn(run: TrainedRun, count: int) -> list[ArchConfig]:
    generator = np.random.default_rng(4)
    return [run.space.sample(generator) for _ in range(count)]


def kept_keys(folder: Path) -> list[str]:
    return [json.loads(line)["key"] for line in (folder / JUDGED_FILE).read_text().splitlines()]


def unjudgeable(run: TrainedRun) -> TrainedRun:
    """Break the network, so that only what was kept can be told."""
    with torch.no_grad():
        for parameter in run.network.parameters():
            parameter.fill_(float("nan"))
    return run


def test_a_subnet_is_judged_on_the_selection_split_with_statistics_of_its_own(folder: Path) -> None:
    run = TrainedRun.open(folder)
    (arch,) = drawn(run, 1)
    inputs, labels = run.task.images.split("selection", arch.resolution)
    plain = calibrated(run.network, arch, run.task.images)
    expected = accuracy(plain, inputs, labels, split="selection")
    told = run.judge(arch)
    assert (told.split, told.examples) == ("selection", len(labels))
    # Batch norms are folded away first, which may turn an answer that hangs by a hair.
    assert abs(told.value - expected.value) <= 1 / len(labels)


def test_what_was_judged_is_kept_for_whoever_opens_the_run_next(folder: Path) -> None:
    run = TrainedRun.open(folder)
    archs = drawn(run, 4)
    metrics = run.judge_all(archs)
    again = unjudgeable(TrainedRun.open(folder))
    assert again.judge_all(archs) == metrics
    assert kept_keys(folder) == [arch.key for arch in archs]
    assert all(seconds > 0 for seconds in again.seconds(archs))


def test_an_interrupted_round_keeps_what_it_judged(folder: Path) -> None:
    run = TrainedRun.open(folder)
    archs = drawn(run, 6)

    def interrupt(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.judge_all(archs, report=interrupt)
    kept = len(kept_keys(folder))
    assert 2 <= kept < 6
    run = TrainedRun.open(folder)
    run.judge_all(archs)
    assert sorted(kept_keys(folder)) == sorted(arch.key for arch in archs)


def test_a_line_cut_short_is_judged_again_and_spoils_no_other(folder: Path) -> None:
    run = TrainedRun.open(folder)
    first, second, third = drawn(run, 3)
    run.judge_all([first, second])
    path = folder / JUDGED_FILE
    path.write_bytes(path.read_bytes()[:-40])
    run = TrainedRun.open(folder)
    run.judge(third)
    again = TrainedRun.open(folder)
    # Of the three, the one whose line was cut is judged once more.
    again.judge_all([first, second, third])
    whole = [line for line in path.read_text().splitlines() if line.endswith("}")]
    assert [json.loads(line)["key"] for line in whole] == [first.key, third.key, second.key]


def test_judgements_of_other_weights_do_not_count(folder: Path) -> None:
    run = TrainedRun.open(folder)
    (arch,) = drawn(run, 1)
    run.judge(arch)
    path = folder / JUDGED_FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**line, "weights": "0" * 64}) + "\n" for line in lines))
    TrainedRun.open(folder).judge(arch)
    assert kept_keys(folder) == [arch.key, arch.key]


def test_many_judged_at_once_are_as_each_alone_in_order(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    torch.set_num_threads(2)
    run = TrainedRun.open(folder)
    archs = drawn(run, 6)
    seen: list[int] = []
    metrics = run.judge_all(archs, report=seen.append)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    alone = TrainedRun.open(other)
    assert metrics == [alone.judge(arch) for arch in archs]
    assert seen == [1, 2, 3, 4, 5, 6]


def test_an_architecture_of_another_space_is_not_judged(folder: Path) -> None:
    run = TrainedRun.open(folder)
    (arch,) = drawn(run, 1)
    with pytest.raises(InvalidArch):
        run.judge(ArchConfig(space="other", resolution=arch.resolution, blocks=arch.blocks))
    assert not (folder / JUDGED_FILE).exists()


def test_the_newest_finished_run_is_found(folder: Path, tmp_path: Path) -> None:
    home = Home(tmp_path)
    unfinished = folder.parent / "unfinished"
    unfinished.mkdir()
    shutil.copy(folder / CHECKPOINT_FILE, unfinished)
    assert newest_run(home) == folder
    with pytest.raises(ConfigError, match="no run is finished yet"):
        newest_run(Home(tmp_path / "empty"))
