"""Search spaces, one file each; none needs torch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass

from edge_bench.errors import ConfigError
from edge_bench.records.arch import SearchSpace

KERNELS = (3, 5, 7)
DIVISORS = (1, 2, 4, 8, 16, 32)
MAX_EXPAND = 8
MAX_DEPTH = 8


@dataclass(frozen=True, kw_only=True)
class Space(ABC):
    """A family of networks. A variant's fields are the options of the `[space]` table."""

    @abstractmethod
    def build(self, *, input_channels: int, classes: int) -> SearchSpace:
        """Return the search space; `ConfigError` where the options make none."""


def checked(space: SearchSpace) -> SearchSpace:
    """Return `space`, or raise a `ConfigError` that names the option and its valid choices."""
    if not space.stages:
        raise ConfigError("[space] widths is empty; name at least one stage's width")
    for option, value in (("stem_width", space.stem_width), ("head_width", space.head_width)):
        if value < 1:
            raise ConfigError(f"[space] {option} is {value}; it must be at least 1")
    if space.input_channels < 1 or space.classes < 2:
        raise ConfigError(
            f"the data has {space.input_channels} channels and {space.classes} classes; "
            "at least 1 channel and 2 classes are needed"
        )
    _member("divisor", space.divisor, DIVISORS)
    _member("stem_stride", space.stem_stride, (1, 2))
    _choices("resolutions", space.resolutions, range(1, 4097), "1 to 4096")
    for stage in space.stages:
        if stage.width < 1:
            raise ConfigError(f"[space] widths holds {stage.width}; each must be at least 1")
        _member("strides", stage.stride, (1, 2))
        _choices("kernels", stage.kernels, KERNELS, "3, 5, 7")
        _choices("expands", stage.expands, range(1, MAX_EXPAND + 1), f"1 to {MAX_EXPAND}")
        _choices("depths", stage.depths, range(1, MAX_DEPTH + 1), f"1 to {MAX_DEPTH}")
    shrinks = space.stem_stride * math.prod(stage.stride for stage in space.stages)
    if space.resolutions[0] < shrinks:
        raise ConfigError(
            f"[space] resolutions holds {space.resolutions[0]}, but the strides shrink a map {shrinks} "
            f"times: its last map would be less than 1 pixel; at least {shrinks} is needed"
        )
    return space


def check_multiplier(multiplier: float) -> None:
    """Raise `ConfigError` unless a width multiplier is above 0 and at most 8."""
    if not 0 < multiplier <= 8:
        raise ConfigError(f"[space] width_multiplier is {multiplier:g}; it must be above 0 and at most 8")


def check_lengths(**options: Collection[object]) -> None:
    """Raise `ConfigError` unless all options, which list one value a stage, are equally long."""
    (first, values), *others = options.items()
    for name, other in others:
        if len(other) != len(values):
            raise ConfigError(
                f"[space] {name} lists {len(other)} stages and {first} lists {len(values)}; "
                "give both one entry a stage"
            )


def _member(option: str, value: int, allowed: tuple[int, ...]) -> None:
    if value not in allowed:
        listed = ", ".join(map(str, allowed))
        raise ConfigError(f"[space] {option} holds {value}; valid choices: {listed}")


def _choices(option: str, values: tuple[int, ...], allowed: Collection[int], words: str) -> None:
    for value in values:
        if value not in allowed:
            raise ConfigError(f"[space] {option} holds {value}; valid choices: {words}")
    if not values or list(values) != sorted(set(values)):
        raise ConfigError(
            f"[space] {option} is {list(values)}; it must list one or more choices in ascending order, "
            "each once"
        )
