"""Torch's draws from seeds of a run, its own random state left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# What this generator of a run is for; part of its seed.
_WEIGHTS = 2


def weights_seed(seed: int) -> int:
    """Return the seed that the weights of a run of `seed` are drawn from."""
    return int(np.random.default_rng([seed, _WEIGHTS]).integers(2**63))


@contextmanager
def drawing(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Let torch draw from `seed`, on the CPU and on `device`; its own random state stays as it was."""
    own = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=own):
        torch.manual_seed(seed)
        yield
