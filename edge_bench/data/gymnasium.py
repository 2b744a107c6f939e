"""Environments of gymnasium (Towers et al., 2024), to learn to act in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled, Error
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import VectorEnv

from edge_bench.data import ControlSource
from edge_bench.episodes import Actions, Environments, Episodes, Happened, Observations
from edge_bench.errors import ConfigError, DataError, MissingExtra
from edge_bench.records.subnet import Split

# Training draws its seeds below the first of these.
FIRST_SEEDS = {"selection": 2**30, "test": 2**30 + 2**29}


@dataclass(frozen=True, kw_only=True)
class Gymnasium(ControlSource):
    """`environment` by its id, such as CartPole-v1, Acrobot-v1 or LunarLander-v3 (which needs Box2D, the
    extra "box2d"): observations are a vector of numbers, actions are counted from 0.

    Training goes on in so many `environments` side by side; an epoch is `epoch_frames` steps in all of
    them together. A policy is judged on `episodes` with seeds that training never draws. Episodes end after
    `step_limit` steps; 0 leaves the environment its own limit.
    """

    environment: str = "CartPole-v1"
    environments: int = 32
    episodes: int = 100
    epoch_frames: int = 32_000
    step_limit: int = 0

    def open(self, count: int) -> Environments:
        return _Vectorised(self.environment, count, self.step_limit)

    def load(self, split: Split) -> Episodes:
        """Return the episodes of the selection or the test split.

        Raises:
            DataError: those of training have no fixed seeds.
            ConfigError, MissingExtra: as `open`.
        """
        if split not in FIRST_SEEDS:
            raise DataError("episodes of training are drawn as it goes on; there are none to load")
        return Episodes(environments=self.open(self.episodes), seed=FIRST_SEEDS[split])

    def check(self) -> None:
        for name in ("environments", "episodes", "epoch_frames"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"data.{name} is {value}; it must be at least 1")
        if self.step_limit < 0:
            raise ConfigError(f"data.step_limit is {self.step_limit}; it must be at least 0")


class _Vectorised(Environments):
    """Where an environment has a form that computes all copies at once, such as CartPole, that; else one
    after the other in this process.
    """

    def __init__(self, name: str, count: int, limit: int) -> None:
        given: dict[str, Any] = {"max_episode_steps": limit} if limit else {}
        try:
            spec = gymnasium.spec(name)
            at_once = "vector_entry_point" if spec.vector_entry_point else "sync"
            self._inner: VectorEnv[Any, Any, Any] = gymnasium.make_vec(
                name, count, vectorization_mode=at_once, **given
            )
        except DependencyNotInstalled as error:
            raise MissingExtra(name, "box2d") from error
        except Error as error:
            raise ConfigError(f"data.environment is '{name}': {error}") from error
        observed, acted = self._inner.single_observation_space, self._inner.single_action_space
        if not isinstance(observed, Box) or len(observed.shape) != 1 or not isinstance(acted, Discrete):
            raise ConfigError(
                f"data.environment is '{name}', with observations {observed} and actions {acted}",
                hint="it must show a vector of numbers and take one of some actions, as CartPole-v1 does",
            )
        self.count, self.size, self.actions = count, observed.shape[0], int(acted.n)
        self._first = int(acted.start)

    def begin(self, seed: int) -> Observations:
        observed, _ = self._inner.reset(seed=seed)
        return np.asarray(observed, np.float32)

    def step(self, actions: Actions) -> Happened:
        observed, rewards, ended, cut, _ = self._inner.step(actions + self._first)
        return Happened(
            # Some environments write the next observation into the same array.
            observations=np.array(observed, np.float32),
            rewards=np.asarray(rewards, np.float64),
            ended=np.array(ended, np.bool_),
            cut=np.array(cut, np.bool_),
        )
