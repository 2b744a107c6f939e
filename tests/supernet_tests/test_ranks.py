"""Several processes train what one would, only the first writes, and a lost one ends them all."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from edge_bench.errors import ConfigError
from edge_bench.files import Home
from supernet.ranks import Ranks
from supernet.run import CHECKPOINT_FILE, LOG_FILE, SUMMARY_FILE, load_run

CHANGES = (
    "training.optimizer='sgd'",
    "training.learning_rate=0.1",
    "training.average=0.9",
    "training.augmentation='crop'",
    "training.batch_size=200",
)


def test_each_process_takes_its_part_of_a_batch_and_all_parts_make_the_whole() -> None:
    parts = [Ranks(number=n, count=4).share(12) for n in range(4)]
    assert [n for part in parts for n in range(12)[part]] == list(range(12))
    with pytest.raises(ConfigError, match="3 processes cannot share it evenly") as raised:
        Ranks(number=0, count=3).share(32)
    assert "batch_size=33" in raised.value.hint


def test_two_processes_end_with_the_weights_of_one_with_the_whole_batch(
    run_file: Path, tmp_path: Path
) -> None:
    changes = (*CHANGES, "training.epochs=1")
    alone = _ended(_start(run_file, tmp_path / "alone", changes, processes=1))
    shared = _ended(_start(run_file, tmp_path / "shared", changes, processes=2))
    assert alone["processes"] == 1 and shared["processes"] == 2 and shared["steps"] == 5
    one, two = (load_file(Path(told["folder"]) / CHECKPOINT_FILE) for told in (alone, shared))
    assert one.keys() == two.keys()
    learned = {name: tensor for name, tensor in one.items() if name.startswith(("weights", "average"))}
    assert max(_distance(tensor, two[name]) for name, tensor in learned.items()) < 1e-5


@pytest.mark.slow
def test_two_processes_train_a_network_without_choices_as_one_does(tmp_path: Path) -> None:
    path = tmp_path / "resnet.toml"
    path.write_text(
        'name = "resnet"\n[model]\nkind = "resnet"\ndepth = 8\nwidth = 4\nresolution = 8\n'
        "[techniques.dpf]\nsparsity = 0.5\nrefresh_steps = 2\n"
        '[data]\nkind = "digits"\n[training]\nepochs = 1\nthreads = 1\ndevice = "cpu"\n',
        encoding="utf-8",
    )
    alone = _ended(_start(path, tmp_path / "alone", CHANGES, processes=1))
    shared = _ended(_start(path, tmp_path / "shared", CHANGES, processes=2))
    one, two = (load_file(Path(told["folder"]) / CHECKPOINT_FILE) for told in (alone, shared))
    assert one.keys() == two.keys()
    # Not the running statistics, which are estimated anew of what is judged.
    learned = [name for name in one if name.startswith("weights.") and ".running_" not in name]
    apart = {name: _distance(one[name], two[name]) for name in learned if "batches_tracked" not in name}
    assert max(apart.values()) < 1e-5


@pytest.mark.slow
def test_two_processes_keep_the_moving_averages_of_one(tmp_path: Path) -> None:
    path = tmp_path / "mabn.toml"
    path.write_text(
        'name = "mabn"\n[model]\nkind = "convnet"\nresolution = 8\nwidths = [4, 6]\nstrides = [1, 2]\n'
        "[techniques.mabn]\nsimulated_batch = 16\nwarmup_steps = 3\nrenorm_warmup_steps = 6\n"
        '[data]\nkind = "digits"\n[training]\nepochs = 1\nepoch_steps = 20\nthreads = 1\ndevice = "cpu"\n',
        encoding="utf-8",
    )
    changes = (*CHANGES[:-1], "training.learning_rate=0.01", "training.batch_size=4")
    alone = _ended(_start(path, tmp_path / "alone", changes, processes=1))
    shared = _ended(_start(path, tmp_path / "shared", changes, processes=2))
    one, two = (load_file(Path(told["folder"]) / CHECKPOINT_FILE) for told in (alone, shared))
    assert one.keys() == two.keys() and [name for name in one if name.endswith(".mean_square")]
    # A process' own loss is the mean over half as many images, and so are the moments of its gradients.
    for name in (name for name in one if name.endswith(".gradients")):
        assert _distance(one[name], two[name] / 2) < 1e-5
    learned = [name for name in one if name.startswith("weights") and not name.endswith(".gradients")]
    assert max(_distance(one[name], two[name]) for name in learned) < 1e-5


def test_moving_averages_of_each_process_own_batches_are_alike_behind_a_step(tmp_path: Path) -> None:
    script = tmp_path / "one_of_two.py"
    script.write_text(APART, encoding="utf-8")
    begun = [
        subprocess.Popen([sys.executable, script, str(tmp_path), str(rank)], stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    for process in begun:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    one, two = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    assert [name for name in one if not torch.equal(one[name], two[name])] == ["own"]
    mean = (one["own"] + two["own"]) / 2
    assert torch.allclose(one["squares"][0], mean, atol=1e-6) and _distance(one["own"], two["own"]) > 0.1
    assert one["batches"].eq(1).all()


APART = """
import sys
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn
from supernet.plain import conv_norm_drawn
from supernet.techniques.mabn import Mabn

folder, rank = sys.argv[1], int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
torch.manual_seed(0)
network = nn.Sequential(conv_norm_drawn(3, 4, kernel=3))
technique = Mabn()
technique.begin(network)
torch.manual_seed(rank)
network(torch.randn(2, 3, 5, 5)).square().sum().backward()
norm = network[0].norm
own = norm.squares[0].clone()
technique.after_step(network, 0, 1)
save_file({**norm.state_dict(), "own": own}, f"{folder}/{rank}.safetensors")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_whiten_by_the_statistics_of_the_whole_batch(tmp_path: Path) -> None:
    path = tmp_path / "white.toml"
    path.write_text(
        'name = "white"\n[model]\nkind = "convnet"\nwidths = [4, 8, 16]\nstrides = [1, 2, 2]\n'
        "resolution = 8\n[techniques.network_deconvolution]\n"
        '[data]\nkind = "digits"\n[training]\nepochs = 1\nthreads = 1\ndevice = "cpu"\n',
        encoding="utf-8",
    )
    # Few steps: whitening raises what rounding leaves in directions that hold nothing.
    changes = (*CHANGES, "training.epoch_steps=2")
    alone, shared = (
        load_file(
            Path(str(_ended(_start(path, tmp_path / str(count), changes, processes=count))["folder"]))
            / CHECKPOINT_FILE
        )
        for count in (1, 2)
    )
    assert alone.keys() == shared.keys()
    names = [name for name in alone if name.startswith("weights.")]
    assert any(name.endswith("whitening.matrix") for name in names)
    for name in names:
        assert _distance(alone[name], shared[name]) < 2e-3 * max(1.0, float(alone[name].abs().max())), name


@pytest.mark.slow
def test_a_batch_norm_of_ones_own_gives_other_weights_than_a_synchronised_one(
    run_file: Path, tmp_path: Path
) -> None:
    changes = (*CHANGES, "training.epochs=1")
    folders = [
        Path(_ended(_start(run_file, tmp_path / str(n), (*changes, *more), processes=2))["folder"])
        for n, more in enumerate(((), ("training.synchronise_batch_norm=false",)))
    ]
    one, two = (load_file(folder / CHECKPOINT_FILE) for folder in folders)
    assert max(_distance(one[name], two[name]) for name in one if name.startswith("weights")) > 1e-4


@pytest.mark.slow
def test_a_lost_process_ends_all_with_a_clear_word_and_the_run_goes_on(
    run_file: Path, tmp_path: Path
) -> None:
    changes = (*CHANGES, "training.epochs=40", "training.checkpoint_steps=2")
    home = tmp_path / "home"
    folder = load_run(run_file, changes).folder(Home(home))
    torchrun = _start(run_file, home, changes, processes=2)
    try:
        deadline = time.monotonic() + 120
        while not (folder / CHECKPOINT_FILE).exists():
            assert time.monotonic() < deadline and torchrun.poll() is None
            time.sleep(0.05)
        second = next(
            child
            for child in psutil.Process(torchrun.pid).children(recursive=True)
            if child.environ().get("RANK") == "1"
        )
        second.send_signal(signal.SIGKILL)
        _, told = torchrun.communicate(timeout=120)
    finally:
        torchrun.kill()
    assert torchrun.returncode != 0
    assert "run the same command again: training goes on from the last checkpoint" in told
    assert not (folder / SUMMARY_FILE).exists()

    again = _start(run_file, home, changes, processes=2)
    _, told = again.communicate(timeout=300)
    assert again.returncode == 0, told
    assert "goes on at step" in told
    assert json.loads((folder / SUMMARY_FILE).read_text())["steps"] == 200
    epochs = [json.loads(line)["epoch"] for line in (folder / LOG_FILE).read_text().splitlines()]
    assert epochs == list(range(1, 41))


def _start(
    run_file: Path, home: Path, changes: tuple[str, ...], *, processes: int
) -> subprocess.Popen[str]:
    words = [word for change in changes for word in ("--set", change)]
    command = ["-m", "edge_bench", "train", str(run_file), "--home", str(home), "--json", *words]
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
        launcher += ["--master-port", str(_free_port())]
    return subprocess.Popen(
        [*launcher, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _ended(process: subprocess.Popen[str]) -> dict[str, object]:
    answer, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    # One document: only the first process speaks.
    document: dict[str, object] = json.loads(answer)
    return document


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).abs().max())


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])
