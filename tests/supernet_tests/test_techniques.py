"""What every technique may count on, told by one that leaves traces wherever it can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from interruption import stopped
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edge_bench.documents import from_document
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from supernet.run import CHECKPOINT_FILE, RunConfig, checked, load_run
from supernet.techniques import Technique
from supernet.trained import TrainedRun
from supernet.trainer import train

Tables = Callable[..., dict[str, Any]]
STEPS: list[tuple[str, int, int]] = []


class Factor(nn.Module):
    """A weight times a drawn number, which a mask or a noise would be."""

    factor: Tensor
    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.factor


class Noisy(Technique):
    """Trains linear layers under a factor that is drawn anew each other step, counts the steps, and zeroes
    the first column in the end.
    """

    tasks: ClassVar[tuple[str, ...]] = ("image_classification", "text_classification")

    def check(self, network: nn.Module) -> None:
        if not _linear(network):
            raise ConfigError("no linear layer")

    def begin(self, network: nn.Module) -> None:
        for layer in _linear(network):
            parametrize.register_parametrization(layer, "weight", Factor())

    def before_step(
        self, network: nn.Module, generator: np.random.Generator, step: int, steps: int
    ) -> None:
        assert network.training
        STEPS.append(("before", step, steps))
        drawn = generator.random()
        for factor in _factors(network):
            if step % 2 == 0:
                factor.factor.fill_(0.5 + drawn)

    def after_step(self, network: nn.Module, step: int, steps: int) -> None:
        STEPS.append(("after", step, steps))
        for factor in _factors(network):
            factor.steps += 1

    @torch.no_grad()
    def finish(self, network: nn.Module) -> None:
        for layer in _linear(network):
            parametrize.remove_parametrizations(layer, "weight")
            layer.weight[:, 0] = 0

    def facts(self, network: nn.Module) -> Mapping[str, Any]:
        return {"steps": int(_factors(network)[0].steps)}


def _linear(network: nn.Module) -> list[nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def _factors(network: nn.Module) -> list[Factor]:
    return [module for module in network.modules() if isinstance(module, Factor)]


@pytest.fixture(params=["image_classification", "text_classification"])
def config(
    request: pytest.FixtureRequest, run_file: Path, text_tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> RunConfig:
    """A run of each kind with the technique, checkpoints between two draws."""
    monkeypatch.setattr(
        RunConfig, "open_techniques", lambda self: {name: Noisy() for name in self.techniques}
    )
    if request.param == "image_classification":
        changes = ("training.epochs=1", "training.batch_size=160", "training.checkpoint_steps=3")
        return load_run(run_file, (*changes, "techniques.noisy={}"))
    tables = text_tables(
        request.param,
        training={"epochs": 1, "epoch_steps": 7, "checkpoint_steps": 3, "average": 0.5},
    )
    return checked(from_document(RunConfig, {**tables, "techniques": {"noisy": {}}}))


def test_hooks_frame_each_step_and_no_trace_reaches_a_file(config: RunConfig, home: Home) -> None:
    STEPS.clear()
    folder = train(config, home=home, say=lambda line: None, interactive=False)
    steps = STEPS[-1][2]
    assert STEPS == [(hook, step, steps) for step in range(steps) for hook in ("before", "after")]
    saved = load_file(folder / CHECKPOINT_FILE)
    assert {name for name in saved if name.startswith("weights.") and name.endswith(".factor")}
    trained = TrainedRun.open(folder)
    assert not any(parametrize.is_parametrized(module) for module in trained.network.modules())
    name, layer = next((n, m) for n, m in trained.network.named_modules() if isinstance(m, nn.Linear))
    kind = "average" if config.training.average else "weights"
    original = saved[f"{kind}.{name}.parametrizations.weight.original"]
    factor = saved[f"weights.{name}.parametrizations.weight.0.factor"]
    assert factor != 1 and torch.equal(layer.weight[:, 1:], (original * factor)[:, 1:])
    subnet = trained.cut(trained.space.smallest(), home=home)
    assert subnet.notes["noisy"] == {"steps": steps} and subnet.technique.endswith("noisy")
    assert 0.005 < subnet.sparsity < 0.2
    program = torch.export.load(home.root / subnet.program)
    assert not [name for name in program.state_dict if "parametrizations" in name]


def test_a_resumed_run_with_a_technique_equals_an_undisturbed_one(
    config: RunConfig, tmp_path: Path
) -> None:
    homes = Home(tmp_path / "undisturbed"), Home(tmp_path / "disturbed")
    folder = train(config, home=homes[0], say=lambda line: None, interactive=False)
    stopped(lambda: train(config, home=homes[1], say=lambda line: None, interactive=False))
    resumed = train(config, home=homes[1], say=lambda line: None, interactive=False)
    one, two = (load_file(at / CHECKPOINT_FILE) for at in (folder, resumed))
    assert one.keys() == two.keys()
    assert [name for name in one if name != "random.torch" and not torch.equal(one[name], two[name])] == []


def test_a_network_that_a_technique_refuses_leaves_no_folder(
    config: RunConfig, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Noisy, network: nn.Module) -> None:
        raise ConfigError("not for this network")

    monkeypatch.setattr(Noisy, "check", refuse)
    with pytest.raises(ConfigError, match="not for this network"):
        train(config, home=home, say=lambda line: None, interactive=False)
    assert not config.folder(home).exists()
