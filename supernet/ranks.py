"""Several processes that train one run, started by `torchrun`: who they are and what they exchange.

Each takes its share of every batch. Subnets, resolution and augmentation are drawn from generators
that all seed alike, so all train the same networks on one batch, and with synchronised batch norm
the result is that of one process with the whole batch (to rounding).
"""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from edge_bench.errors import ConfigError, TrainingError

HINT_RESUME = "run the same command again: training goes on from the last checkpoint"


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among `count`; the first alone writes and speaks."""

    number: int = 0
    count: int = 1
    local_number: int = 0
    local_count: int = 1

    @property
    def first(self) -> bool:
        return self.number == 0

    def share(self, batch: int) -> slice:
        """Return which examples of a batch this process takes.

        Raises:
            ConfigError: the batch cannot be shared evenly.
        """
        if batch % self.count:
            raise ConfigError(
                f"training.batch_size is {batch}; {self.count} processes cannot share it evenly",
                hint=f"--set training.batch_size={-(-batch // self.count) * self.count}",
            )
        part = batch // self.count
        return slice(self.number * part, (self.number + 1) * part)


def ranks_of_environment() -> Ranks:
    """Return what `torchrun` says in the environment; a process alone where it says nothing."""
    return Ranks(
        number=int(os.environ.get("RANK", 0)),
        count=int(os.environ.get("WORLD_SIZE", 1)),
        local_number=int(os.environ.get("LOCAL_RANK", 0)),
        local_count=int(os.environ.get("LOCAL_WORLD_SIZE", 1)),
    )


@contextmanager
def joined(ranks: Ranks, device: torch.device) -> Iterator[None]:
    """Join the other processes for the length of the block; no effect where there are none.

    Raises:
        TrainingError: another process is gone, or this one was told to stop because of that.
    """
    if ranks.count == 1:
        yield
        return
    before = signal.signal(signal.SIGTERM, _told_to_stop)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        words = " ".join(str(error).split())[:160]
        raise TrainingError(
            f"process {ranks.number} of {ranks.count} lost the others: {words}", hint=HINT_RESUME
        ) from error
    finally:
        signal.signal(signal.SIGTERM, before)
        dist.destroy_process_group()


class GradientExchange:
    """Makes each parameter's gradient the mean over all processes, by PyTorch's DDP.

    A step runs several networks, each backward pass through its own part of the weights, where DDP
    expects one pass through all. So passes gather gradients locally, and one empty pass through
    every parameter, which adds zeros, has DDP reduce the sums in its buckets.
    """

    def __init__(self, network: nn.Module, ranks: Ranks) -> None:
        self.network = network
        self.reducer = None
        if ranks.count > 1:
            # Buffers that differ between processes are for those to agree on that put them there.
            self.reducer = DistributedDataParallel(_EmptyPass(network), broadcast_buffers=False)

    def average(self) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.reducer is None:
            return
        unused = [parameter for parameter in self.network.parameters() if parameter.grad is None]
        with warnings.catch_warnings():
            # Depthwise weights of one input channel: two layouts in name, one in memory.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")
            self.reducer().backward()
        for parameter in unused:
            # All processes train the same networks: what none used keeps no gradient, as in one process.
            parameter.grad = None


class _EmptyPass(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self) -> Tensor:
        firsts = [parameter.reshape(-1)[0] for parameter in self.network.parameters()]
        return 0 * torch.stack(firsts).sum()


class Synchronised:
    """A module with statistics of the batch. Where it is `synchronised`, that is the batch of all processes
    that train together, each of which holds as many examples.
    """

    synchronised: bool = False


def rank_count() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@torch.no_grad()
def mean_over_ranks(x: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes; no gradient passes, and alone it is `x` itself."""
    if rank_count() == 1:
        return x
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total / rank_count()


@torch.no_grad()
def average_over_ranks(tensors: Sequence[Tensor]) -> None:
    """Put each tensor to its mean over all processes, in place."""
    if not tensors or rank_count() == 1:
        return
    flat = mean_over_ranks(torch.cat([tensor.flatten() for tensor in tensors]))
    for tensor, mean in zip(tensors, torch.split(flat, [one.numel() for one in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def synchronised_batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Return x [n, c, h, w] normalised by the moments over the batches of all processes.

    Every process must hold as many examples. Torch's own `SyncBatchNorm` knows CUDA alone.
    """
    count = dist.get_world_size()
    mean = sum_over_ranks(x.mean((0, 2, 3))) / count
    centred = x - mean[:, None, None]
    variance = sum_over_ranks(centred.square().mean((0, 2, 3))) / count
    scale = weight * (variance + eps).rsqrt()
    return centred * scale[:, None, None] + bias[:, None, None]


def sum_over_ranks(x: Tensor) -> Tensor:
    """Return the sum of every process's x, through which gradients flow back to all of them."""
    total: Tensor = _SumOverRanks.apply(x)  # type: ignore[no-untyped-call]
    return total


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        # Each process's part of the sum stands in the losses of all.
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


def _told_to_stop(*_: object) -> NoReturn:
    raise TrainingError(
        "this process was told to stop; another one of the run may have died", hint=HINT_RESUME
    )
