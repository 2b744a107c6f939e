"""Two processes that train a text model with LayerDrop end where one with the whole batch does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from supernet.run import CHECKPOINT_FILE

TASKS = ("text_classification", "language_modelling", "translation")


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_two_processes_end_with_the_weights_of_one_with_the_whole_batch(
    task: str, text_file: Callable[..., Path], tmp_path: Path
) -> None:
    path = text_file(
        task,
        # Dropout differs with the share of the batch; which layers are dropped does not.
        model={"dropout": 0.0},
        techniques={"layer_drop": {"rate": 0.4}},
        training={
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "clip_norm": 1.0,
            "epoch_steps": 8,
            "epochs": 1,
        },
    )
    alone = _trained(path, tmp_path / "alone", processes=1)
    shared = _trained(path, tmp_path / "shared", processes=2)
    assert (alone["processes"], shared["processes"], shared["steps"]) == (1, 2, 8)
    one, two = (load_file(Path(told["folder"]) / CHECKPOINT_FILE) for told in (alone, shared))
    assert one.keys() == two.keys()
    learned = [name for name in one if name.startswith("weights.")]
    assert max(float((one[name] - two[name]).abs().max()) for name in learned) < 1e-5


def _trained(run_file: Path, home: Path, *, processes: int) -> dict[str, Any]:
    launcher = [sys.executable]
    if processes > 1:
        with socket.socket() as opened:
            opened.bind(("127.0.0.1", 0))
            port = int(opened.getsockname()[1])
        launcher += ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
        launcher += ["--master-port", str(port)]
    done = subprocess.run(
        [*launcher, "-m", "edge_bench", "train", str(run_file), "--home", str(home), "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    # One document: only the first process speaks.
    document: dict[str, Any] = json.loads(done.stdout)
    return document
