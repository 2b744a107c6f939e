"""Training learns, can be killed at any moment, and says what is wrong with a folder it cannot use."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from edge_bench.errors import TrainingError
from edge_bench.files import Home
from supernet import checkpoint
from supernet.network import ElasticNetwork
from supernet.run import (
    CHECKPOINT_FILE,
    LOG_FILE,
    RUN_FILE,
    SUMMARY_FILE,
    TEACHER_FILE,
    RunConfig,
    read_record,
)
from supernet.trainer import train


def test_training_learns_and_leaves_a_complete_folder(trained: tuple[Path, Home]) -> None:
    folder, _ = trained
    log = [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2]
    assert log[1]["loss"] < log[0]["loss"] and log[1]["training_accuracy"] > 0.2
    summary = json.loads((folder / SUMMARY_FILE).read_text())
    assert summary["largest_accuracy"] > 0.2
    assert summary["steps"] == log[-1]["step"] and summary["images_per_second"] > 0
    assert not list(folder.glob(".*"))


def test_a_finished_run_is_left_as_it_is(
    trained: tuple[Path, Home], tiny: Callable[..., RunConfig]
) -> None:
    folder, home = trained
    before = (folder / CHECKPOINT_FILE).stat().st_mtime_ns
    said: list[str] = []
    assert train(tiny(), home=home, say=said.append, interactive=False) == folder
    assert said == [f"run {folder.name} is finished already; nothing to train"]
    assert (folder / CHECKPOINT_FILE).stat().st_mtime_ns == before


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    trained: tuple[Path, Home], tiny: Callable[..., RunConfig], home: Home
) -> None:
    again = _train(tiny(), home)
    assert _differing(_weights(trained[0]), _weights(again)) == []
    other = _train(tiny("seed=1", "training.epochs=1"), home)
    assert _differing(_weights(again), _weights(other)) != []


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("sgd", marks=pytest.mark.slow)])
def test_a_killed_run_ends_with_bitwise_the_weights_of_an_undisturbed_one(
    optimizer: str, run_file: Path, tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    changes = [f"training.optimizer='{optimizer}'", "training.checkpoint_steps=3"]
    config, disturbed = tiny(*changes), Home(tmp_path / "disturbed")
    arguments = [word for change in changes for word in ("--set", change)]
    command = [sys.executable, "-m", "edge_bench", "train", str(run_file), *arguments]
    path = config.folder(disturbed) / CHECKPOINT_FILE
    process = subprocess.Popen([*command, "--home", str(disturbed.root), "--quiet"])
    try:
        deadline = time.monotonic() + 120
        while not path.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    progress = checkpoint.read_progress(path, run=config.digest)
    assert process.returncode == -signal.SIGKILL
    assert progress is not None and 0 < progress.step < progress.steps

    said: list[str] = []
    resumed = train(config, home=disturbed, say=said.append, interactive=False)
    assert said[0] == f"goes on at step {progress.step} of {progress.steps}"
    undisturbed = _train(config, Home(tmp_path / "undisturbed"))
    assert _differing(_weights(resumed), _weights(undisturbed)) == []
    logs = [_steps(folder) for folder in (resumed, undisturbed)]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(
    ("schedule", "stops"),
    [
        ("sandwich", [3, 7]),
        ("progressive_shrinking", [2, 5, 11]),
    ],
)
def test_a_run_interrupted_anywhere_equals_an_undisturbed_one_teacher_average_and_sorting_included(
    schedule: str,
    stops: list[int],
    tiny: Callable[..., RunConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes = [f"schedule.kind='{schedule}'", "training.epochs=6", "training.average=0.95"]
    # Seven steps an epoch: checkpoints stand at phase boundaries and between.
    config = tiny(*changes, "training.batch_size=160", "training.checkpoint_steps=3")
    undisturbed = _train(config, Home(tmp_path / "undisturbed"))
    save = checkpoint.save
    for stop in stops:
        disturbed = Home(tmp_path / f"stopped-{stop}")
        saved = 0

        def save_or_stop(*arguments: Any, stop: int = stop) -> None:
            nonlocal saved
            save(*arguments)
            saved += 1
            if saved == stop:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(checkpoint, "save", save_or_stop)
            with pytest.raises(KeyboardInterrupt):
                _train(config, disturbed)
        resumed = _train(config, disturbed)
        assert _differing(_weights(resumed), _weights(undisturbed)) == []
        assert _steps(resumed) == _steps(undisturbed)


def test_progressive_shrinking_goes_through_its_stages_and_keeps_its_teacher(
    tiny: Callable[..., RunConfig], home: Home
) -> None:
    folder = _train(tiny("schedule.kind='progressive_shrinking'", "training.epochs=12"), home)
    lines = [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]
    stages = list(dict.fromkeys(line["phase"] for line in lines))
    assert stages == ["full", "kernel", "depth_1", "depth_2", "expand_1", "expand_2"][: len(stages)]
    assert {"full", "kernel", "depth_2", "expand_2"} <= set(stages)
    assert [phase.name for phase in read_record(folder).phases] == stages
    # The teacher is the full network as it was before the first subnet learned from it.
    teacher = load_file(folder / TEACHER_FILE)
    last = _weights(folder)
    assert teacher.keys() == {name for name in last if name.startswith("weights.")}
    assert any(not torch.equal(teacher[name], last[name]) for name in teacher)


def test_subnets_are_cut_from_the_average_of_the_weights(
    tiny: Callable[..., RunConfig], home: Home
) -> None:
    folder = _train(tiny("training.average=0.9"), home)
    saved = _weights(folder)
    network = ElasticNetwork(read_record(folder).search_space)
    checkpoint.restore(folder / CHECKPOINT_FILE, network)
    for name, weights in network.state_dict().items():
        assert torch.equal(weights, saved[f"average.{name}"])
    assert any(not torch.equal(saved[f"average.{n}"], saved[f"weights.{n}"]) for n in network.state_dict())


def test_phases_are_trained_one_after_another(tiny: Callable[..., RunConfig], home: Home) -> None:
    phases = "phases=[{name='largest', epochs=1, open=['resolution']}, {name='all', epochs=1}]"
    folder = _train(tiny(phases), home)
    lines = [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]
    assert [line["phase"] for line in lines] == ["largest", "all"]


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_step(
    tiny: Callable[..., RunConfig], home: Home
) -> None:
    config = tiny("training.optimizer='sgd'", "training.learning_rate=1e30", "training.warmup=0")
    with pytest.raises(TrainingError, match="not finite in phase 'all', step [0-9]+ of") as raised:
        _train(config, home)
    assert "learning_rate" in raised.value.hint


def test_a_damaged_checkpoint_is_told_and_what_to_do(
    trained: tuple[Path, Home], tiny: Callable[..., RunConfig], home: Home
) -> None:
    path = tiny().folder(home) / CHECKPOINT_FILE
    path.parent.mkdir(parents=True)
    whole = (trained[0] / CHECKPOINT_FILE).read_bytes()
    for damaged in (b"", b"no checkpoint at all", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match="is damaged") as raised:
            _train(tiny(), home)
        assert "remove that file" in raised.value.hint


def test_a_checkpoint_of_another_run_is_refused(
    trained: tuple[Path, Home], tiny: Callable[..., RunConfig], home: Home
) -> None:
    other = tiny("seed=7")
    path = other.folder(home) / CHECKPOINT_FILE
    path.parent.mkdir(parents=True)
    path.write_bytes((trained[0] / CHECKPOINT_FILE).read_bytes())
    with pytest.raises(TrainingError, match=f"digest {tiny().digest}, this run's is {other.digest}"):
        _train(other, home)


def test_a_checkpoint_brings_optimizer_and_random_state_back(tmp_path: Path) -> None:
    first, second = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    optimizers = [torch.optim.AdamW(module.parameters(), fused=True) for module in (first, second)]
    first(torch.ones(1, 3)).sum().backward()
    optimizers[0].step()
    progress = checkpoint.Progress(run="r", step=1, steps=2, seconds=0.5)
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, first, optimizers[0], progress)
    drawn = torch.rand(3)
    checkpoint.restore(path, second, optimizers[1])
    assert torch.equal(torch.rand(3), drawn)
    assert checkpoint.read_progress(path, run="r") == progress
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
        for key, value in optimizers[0].state[one].items():
            assert torch.equal(value, optimizers[1].state[other][key])


def test_a_checkpoint_that_does_not_fit_the_network_is_refused(tmp_path: Path) -> None:
    module = torch.nn.Linear(3, 2)
    progress = checkpoint.Progress(run="r", step=1, steps=2, seconds=0.5)
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, module, torch.optim.SGD(module.parameters()), progress)
    with pytest.raises(TrainingError, match="does not fit the network"):
        checkpoint.restore(path, torch.nn.Linear(4, 2))


def test_tensorboard_files_are_written_where_asked_for(tiny: Callable[..., RunConfig], home: Home) -> None:
    pytest.importorskip("tensorboard")
    folder = _train(tiny("training.tensorboard=true", "training.epochs=1"), home)
    assert list((folder / "tensorboard").glob("events.*"))


def test_data_that_changed_is_not_gone_on_with(
    trained: tuple[Path, Home], tiny: Callable[..., RunConfig], home: Home
) -> None:
    folder, config = tiny().folder(home), tiny()
    folder.mkdir(parents=True)
    (folder / RUN_FILE).write_bytes((trained[0] / RUN_FILE).read_bytes())
    module = torch.nn.Linear(1, 1)
    other = checkpoint.Progress(run=config.digest, step=1, steps=99, seconds=0.0)
    checkpoint.save(folder / CHECKPOINT_FILE, module, torch.optim.SGD(module.parameters()), other)
    with pytest.raises(TrainingError, match="changed since run"):
        _train(config, home)


def _train(config: RunConfig, home: Home) -> Path:
    return train(config, home=home, say=lambda line: None, interactive=False)


def _weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / CHECKPOINT_FILE)


def _differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> list[str]:
    assert first.keys() == second.keys()
    # Torch's own random state is no weight; a run in one process may have drawn before.
    return [k for k in first if k != "random.torch" and not torch.equal(first[k], second[k])]


def _steps(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / LOG_FILE).read_text().splitlines()]
