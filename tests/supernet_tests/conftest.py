"""The tiny run with values changed, and the spaces most tests look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from edge_bench.records import SearchSpace
from supernet.run import RunConfig, load_run
from supernet.spaces.lite import Lite
from supernet.spaces.mobilenet_v3 import MobilenetV3


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks are quickest on one thread, more so beside other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny(run_file: Path) -> Callable[..., RunConfig]:
    """A function that gives the tiny run with some values changed."""
    return lambda *overrides: load_run(run_file, overrides)


@pytest.fixture(params=["lite", "mobilenet_v3", "mobilenet_v3_without_features"])
def space(request: pytest.FixtureRequest) -> SearchSpace:
    """A small space of each kind, with every kind of layer."""
    if request.param == "lite":
        return Lite(widths=(8, 12), strides=(1, 2), stem_width=8, head_width=24).build(
            input_channels=1, classes=5
        )
    return MobilenetV3(
        widths=(8, 16, 16),
        strides=(2, 2, 1),
        activations=("relu", "h_swish", "h_swish"),
        squeeze_excite=(True, False, True),
        depths=(1, 2),
        head_width=24,
        feature_width=0 if request.param.endswith("features") else 40,
        resolutions=(16, 24),
    ).build(input_channels=3, classes=5)
