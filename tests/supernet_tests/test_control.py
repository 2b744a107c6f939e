"""Policies: what a block teaches, that they learn, resume, are pruned, and what is cut of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interruption import stopped
from safetensors.torch import load_file
from torch import Tensor

from edge_bench.documents import from_document, to_document
from edge_bench.episodes import Happened
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from edge_bench.records import ObservationInput, PlainSpace, Subnet
from supernet.actor_critic import discounted
from supernet.extraction import extract_front
from supernet.ladder import climb
from supernet.models.policy import Policy
from supernet.run import CHECKPOINT_FILE, LOG_FILE, SUMMARY_FILE, RunConfig, checked
from supernet.trained import TrainedRun
from supernet.trainer import train

pytest.importorskip("gymnasium")
Tables = Callable[..., dict[str, Any]]


def tables(**changes: Any) -> dict[str, Any]:
    """Return the tables of a short run, some values changed."""
    made: dict[str, Any] = {
        "name": "cart",
        "data": {"kind": "gymnasium", "environments": 8, "epoch_frames": 1600, "episodes": 20},
        "model": {"kind": "policy", "hidden": [32, 32]},
        "training": {
            "epochs": 2,
            "batch_size": 32,
            "optimizer": "rmsprop",
            "learning_rate": 2e-3,
            "weight_decay": 0.0,
            "threads": 1,
            "device": "cpu",
        },
    }
    for name, change in changes.items():
        made[name] = {**made.get(name, {}), **change} if isinstance(change, dict) else change
    return made


def run(made: dict[str, Any], home: Home) -> Path:
    config = checked(from_document(RunConfig, made))
    return train(config, home=home, say=lambda line: None, interactive=False)


def weights(folder: Path) -> dict[str, Tensor]:
    tensors = load_file(folder / CHECKPOINT_FILE)
    del tensors["random.torch"]
    return tensors


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()]


def happened(rewards: list[float], *, ended: list[bool], cut: list[bool]) -> Happened:
    return Happened(
        observations=np.zeros((len(rewards), 1), np.float32),
        rewards=np.array(rewards),
        ended=np.array(ended),
        cut=np.array(cut),
    )


def test_returns_are_discounted_end_with_an_episode_and_are_bootstrapped_else() -> None:
    nothing = [False] * 3
    block = [
        happened([1, 1, 1], ended=[False, True, False], cut=[False, False, True]),
        happened([2, 2, 2], ended=nothing, cut=nothing),
    ]
    following = [np.array([50, 60, 70], np.float32), np.array([100, 200, 300], np.float32)]
    told = discounted(block, following, discount=0.5, scale=10.0)
    # Of the last step beside its reward the value behind it.
    np.testing.assert_allclose(told[1], [20 + 50, 20 + 100, 20 + 150])
    # The first environment goes on; in the second nothing follows; the third was cut at its limit, so that
    # the value of what was seen there stands for the rest.
    np.testing.assert_allclose(told[0], [10 + 35, 10, 10 + 35])


def test_a_policy_learns_and_its_log_tells_what_episodes_returned(home: Home) -> None:
    folder = run(tables(training={"epochs": 12}), home)
    lines, summary = log(folder), json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    assert lines[-1]["training_return"] > 1.5 * lines[0]["training_return"] > 10
    assert "training_accuracy" not in lines[0] and summary["unit"] == "frames"
    assert summary["frames"] == 12 * 1600 and summary["largest_return"] > 60


def test_what_is_cut_is_the_policy_alone_and_judged_on_episodes_of_its_own(home: Home) -> None:
    folder = run(tables(), home)
    [subnet] = extract_front(folder, home=home, count=2, screened=0)
    assert subnet.observation == ObservationInput(environment="CartPole-v1", size=4)
    assert subnet.params == 4 * 32 + 32 + 32 * 32 + 32 + 32 * 2 + 2
    assert isinstance(subnet.space, PlainSpace) and subnet.macs == 4 * 32 + 32 * 32 + 32 * 2
    assert from_document(Subnet, to_document(subnet)) == subnet
    trained = TrainedRun.open(folder)
    assert trained.judge(subnet.arch) == subnet.metric("selection")
    assert subnet.metric("test") != subnet.metric("selection")
    program = torch.export.load(home.absolute(subnet.program)).module()
    for batch in (1, 5):
        assert program(torch.zeros(batch, 4)).shape == (batch, 2)


@pytest.mark.parametrize("checkpoint_steps", [0, 15])
def test_resumed_run_equals_undisturbed_run(checkpoint_steps: int, tmp_path: Path) -> None:
    made = tables(training={"checkpoint_steps": checkpoint_steps})
    undisturbed, disturbed = run(made, Home(tmp_path / "undisturbed")), Home(tmp_path / "disturbed")
    stopped(lambda: run(made, disturbed))
    torch.rand(3)
    resumed = run(made, disturbed)
    told, expected = weights(resumed), weights(undisturbed)
    assert told.keys() == expected.keys()
    assert all(torch.equal(told[name], expected[name]) for name in expected)
    assert [line["loss"] for line in log(resumed)][-1] == log(undisturbed)[-1]["loss"]


def test_a_ticket_is_drawn_of_a_policy_to_the_exact_count(home: Home) -> None:
    made = tables(techniques={"lottery_ticket": {"rate": 0.5, "rewind": "20it"}})
    config = checked(from_document(RunConfig, made))
    rungs = climb(
        config, rounds=2, controls=["random_ticket"], home=home, say=lambda line: None, interactive=False
    )
    assert [(one.level, one.control) for one in rungs] == [
        (0, ""), (1, ""), (1, "random_ticket"), (2, ""), (2, "random_ticket"),
    ]  # fmt: skip
    assert {one.metric for one in rungs} == {"return"} and math.isclose(rungs[-1].left, 0.25, abs_tol=1e-3)
    [subnet] = extract_front(rungs[-1].folder, home=home, count=2, screened=0)
    assert 0.6 < subnet.sparsity < 0.9


def test_a_run_goes_on_from_a_trained_policy(home: Home) -> None:
    begun = run(tables(), home)
    again = tables(name="again", start={"run": begun.name}, training={"epochs": 1, "learning_rate": 1e-9})
    del again["model"]
    first, second = weights(begun), weights(run(again, home))
    torch.testing.assert_close(second["weights.actor.weight"], first["weights.actor.weight"])
    again["data"]["environment"] = "Acrobot-v1"
    with pytest.raises(ConfigError, match="another environment"):
        run(again, home)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training": {"batch_size": 20}}, "multiple of data.environments"),
        ({"training": {"batch_size": 3200}}, "no epoch"),
        ({"model": {"hidden": [8, 0]}}, "hidden holds 0"),
        ({"model": {"discount": 1.5}}, "discount is 1.5"),
        ({"model": {"reward_scale": 0.0}}, "reward_scale is 0"),
        ({"model": {"entropy": -1.0}}, "entropy is -1"),
        ({"model": {"kind": "mlp", "hidden": [8]}}, "not for control"),
        ({"tokenizer": {"kind": "bpe"}}, "data is for control"),
        ({"space": {"kind": "lite"}}, "data is for control"),
        ({"techniques": {"layer_drop": {}}}, "not for control"),
        ({"data": {"episodes": 0}}, "episodes is 0"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes: dict[str, Any], words: str, home: Home) -> None:
    with pytest.raises(ConfigError, match=words):
        run(tables(**changes), home)


def test_a_run_for_control_needs_a_model(home: Home) -> None:
    made = tables()
    del made["model"]
    with pytest.raises(ConfigError, match="for control needs either"):
        run(made, home)


def test_a_policy_and_its_critic_share_a_body() -> None:
    network = Policy(hidden=(8,)).build(observed=3, actions=2)
    logits, values = network(torch.zeros(5, 3))
    assert logits.shape == (5, 2) and values.shape == (5,)
    torch.testing.assert_close(network.policy()(torch.zeros(5, 3)), logits)
    assert {name for name, _ in network.policy().named_parameters()} == {
        "body.0.weight", "body.0.bias", "actor.weight", "actor.bias",
    }  # fmt: skip
