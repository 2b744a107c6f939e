"""A network as it is deployed: a `torch.export` program that needs none of the code that made it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from edge_bench.files import atomic_path


def sparsity_of(network: nn.Module) -> float:
    """Return the share of zeros among all weights of a network, biases and norms left out."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    kept = sum(int(weight.count_nonzero()) for weight in weights)
    return 1 - kept / sum(weight.numel() for weight in weights)


def exported(network: nn.Module, examples: tuple[Tensor, ...], free: Any) -> ExportedProgram:
    """Return `network` as a program; as `save_program`."""
    with torch.no_grad():
        return torch.export.export(network, examples, dynamic_shapes=free)


def save_program(network: nn.Module, examples: tuple[Tensor, ...], free: Any, path: Path) -> None:
    """Save `network` at `path`, whole or not at all.

    Args:
        network: in evaluation mode.
        examples: its inputs; a dimension that stays free must be neither 0 nor 1 in them.
        free: as `dynamic_shapes` of `torch.export.export`.
        path: where the program goes.

    Raises:
        StoreError: the disk refused it.
    """
    program = exported(network, examples, free)
    # Through memory: on a full disk torch ends the whole process.
    saved = io.BytesIO()
    torch.export.save(program, saved)
    with atomic_path(path) as temporary:
        temporary.write_bytes(saved.getvalue())
