"""Episodes: what they return, and which of their steps count."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edge_bench.data import open_control
from edge_bench.episodes import Actions, Environments, Episodes, Happened, Observations
from edge_bench.errors import ConfigError, EdgeBenchError
from edge_bench.records.quality import gap_text, margin, told, value_text
from edge_bench.records.subnet import Metric


class Counting(Environments):
    """Environment n ends behind n + 1 steps of action 1, each of which is worth 1; action 0 is worth 10."""

    def __init__(self, count: int = 3) -> None:
        self.count, self.size, self.actions = count, 2, 2

    def begin(self, seed: int) -> Observations:
        self.seed, self.step_of = seed, np.zeros(self.count, np.int64)
        return self._shown()

    def step(self, actions: Actions) -> Happened:
        self.step_of += 1
        ended = self.step_of == np.arange(self.count) + 1
        return Happened(
            observations=self._shown(),
            rewards=np.where(actions == 1, 1.0, 10.0),
            ended=ended & (np.arange(self.count) % 2 == 0),
            cut=ended & (np.arange(self.count) % 2 == 1),
        )

    def _shown(self) -> Observations:
        return np.stack([self.step_of, np.full(self.count, self.seed)], 1).astype(np.float32)


def always(action: int) -> npt.NDArray[np.float32]:
    return np.eye(2, dtype=np.float32)[action]


def test_a_return_is_of_the_first_episode_alone_whether_it_ends_or_is_cut() -> None:
    episodes = Episodes(environments=Counting(), seed=5)
    assert episodes.returns(lambda seen: np.tile(always(1), (len(seen), 1))).tolist() == [1, 2, 3]
    metric = episodes.metric(lambda seen: np.tile(always(0), (len(seen), 1)), "test")
    expected = Metric(name="return", value=20.0, higher_is_better=True, split="test", examples=3)
    assert metric == expected


def test_a_return_is_told_as_people_read_it() -> None:
    one = Metric(name="return", value=187.26, higher_is_better=True, split="test", examples=3)
    other = Metric(name="return", value=-80.0, higher_is_better=True, split="test", examples=3)
    assert (told(one), value_text("return", 187.26)) == ("return 187.3", "187.3")
    assert gap_text(one, other) == "267 of return"
    assert margin(one) == pytest.approx(1.8726) and margin(other) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"environment": "CartPole-v99"}, "CartPole-v99"),
        ({"environment": "Pendulum-v1"}, "actions Box"),
        ({"environments": 0}, "environments is 0"),
        ({"episodes": 0}, "episodes is 0"),
        ({"step_limit": -1}, "step_limit is -1"),
    ],
)
def test_environments_that_cannot_be_acted_in_are_refused(options: dict[str, object], words: str) -> None:
    pytest.importorskip("gymnasium")
    source = open_control({"kind": "gymnasium", **options})
    with pytest.raises(EdgeBenchError, match=words) as raised:
        source.check()
        source.open(1)
    assert isinstance(raised.value, ConfigError)


def test_acrobot_and_the_lander_are_environments_too() -> None:
    pytest.importorskip("gymnasium")
    acrobot = open_control({"kind": "gymnasium", "environment": "Acrobot-v1"}).open(2)
    assert (acrobot.size, acrobot.actions) == (6, 3)
    pytest.importorskip("Box2D", exc_type=ImportError)
    pytest.importorskip("pygame", exc_type=ImportError)
    lander = open_control({"kind": "gymnasium", "environment": "LunarLander-v3"}).open(2)
    assert (lander.size, lander.actions) == (8, 4)
