"""Checkpoints: weights, their average, optimizer and random state in one safetensors file; no pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor, nn

from edge_bench.documents import canonical_json, from_document
from edge_bench.errors import ConfigError, TrainingError
from edge_bench.files import atomic_path
from supernet.averaging import WeightAverage

HINT_RESTART = "remove that file and run the same command to train from the start"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run has come. `step` counts finished optimizer steps, `seconds` the time they took and
    `core_seconds` the processor time of all threads (of the first process).
    """

    run: str
    step: int
    steps: int
    seconds: float
    core_seconds: float = 0.0

    @property
    def finished(self) -> bool:
        return self.step >= self.steps


def save(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    average: WeightAverage | None = None,
) -> None:
    """Replace the checkpoint at `path`, whole or not at all."""
    tensors = {f"weights.{name}": tensor for name, tensor in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{name}.{key}"] = value
    if average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in average.tensors.items()}
    tensors["random.torch"] = torch.get_rng_state()
    _write(path, tensors, {"progress": canonical_json(progress)})


def save_weights(path: Path, network: nn.Module) -> None:
    """Replace the file at `path` by the weights alone, whole or not at all; `restore` reads it."""
    _write(path, {f"weights.{name}": tensor for name, tensor in network.state_dict().items()}, {})


def read_progress(path: Path, *, run: str) -> Progress | None:
    """Return how far the checkpoint at `path` is, or None where there is none.

    Raises:
        TrainingError: it is damaged, or belongs to a run of another digest.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("progress", "")
        progress = from_document(Progress, json.loads(text))
    except (SafetensorError, OSError, ConfigError, json.JSONDecodeError) as error:
        raise _damaged(path, error) from error
    if progress.run != run:
        raise TrainingError(
            f"checkpoint '{path}' belongs to a run of digest {progress.run}, this run's is {run}",
            hint=HINT_RESTART,
        )
    return progress


def restore(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    average: WeightAverage | None = None,
) -> None:
    """Load weights in place, and with an `optimizer` all that training goes on from.

    Without an `optimizer` the network gets the average of the weights where the file has one.

    Raises:
        TrainingError: the file is damaged, or does not fit the network.
    """
    tensors = _read(path)
    averaged, weights = _under("average.", tensors), _under("weights.", tensors)
    try:
        network.load_state_dict(weights if optimizer else {**weights, **averaged})
    except RuntimeError as error:
        words = " ".join(str(error).split())[:200]
        raise TrainingError(
            f"checkpoint '{path}' does not fit the network: {words}", hint=HINT_RESTART
        ) from error
    if optimizer is not None:
        for name, parameter in network.named_parameters():
            state = _state_of(name, tensors, parameter)
            if state:
                optimizer.state[parameter] = state
        torch.set_rng_state(tensors["random.torch"])
    if average is not None:
        for name, tensor in average.tensors.items():
            tensor.copy_(averaged.get(name, weights[name]))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a checkpoint, with the average of the weights where the file has one.

    Raises:
        TrainingError: the file is damaged, or not there.
    """
    tensors = _read(path)
    return {**_under("weights.", tensors), **_under("average.", tensors)}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    with atomic_path(path) as temporary:
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        # Through memory: what the library itself writes to a full disk ends in an error of its own.
        temporary.write_bytes(serialized(contiguous, metadata=metadata))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _state_of(name: str, tensors: dict[str, Tensor], parameter: Tensor) -> dict[str, Tensor]:
    prefix = f"optimizer.{name}."
    state = {}
    for key, tensor in tensors.items():
        if key.startswith(prefix) and "." not in key[len(prefix) :]:
            # In the parameter's own memory order: fused optimizers walk both side by side.
            like = parameter if tensor.shape == parameter.shape else tensor
            state[key[len(prefix) :]] = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
    return state


def _damaged(path: Path, error: Exception) -> TrainingError:
    return TrainingError(f"checkpoint '{path}' is damaged: {error}", hint=HINT_RESTART)
