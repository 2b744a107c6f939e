"""What a rung of a ladder began with, and weights compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from edge_bench.files import Home
from supernet.run import read_record
from supernet.sparsity import masked
from supernet.tasks import task_of


def begun(folder: Path, home: Home) -> tuple[int, dict[str, Tensor], dict[str, Tensor]]:
    """Return the step, the weights and the mask that the run in a folder began with."""
    config = read_record(folder).config
    task = task_of(config.task).begun(config, home, folder)
    network = task.network(config.seed)
    task.begin(network)
    step = task.start(network, home)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    return step, masked.plain_state(state), masked.mask_in(state)


def under(mask: Mapping[str, Tensor], plain: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.where(mask[name], one, 0.0) if name in mask else one for name, one in plain.items()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
