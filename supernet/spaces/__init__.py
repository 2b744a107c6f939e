"""Search spaces, one file each; none needs torch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast

from edge_bench.errors import ConfigError
from edge_bench.records.arch import Activation, SearchSpace, Stage, scaled_width

KERNELS = (3, 5, 7)
DIVISORS = (1, 2, 4, 8, 16, 32)
MAX_EXPAND = 8
MAX_DEPTH = 8
# Either one list for all stages, or one list a stage.
Choices = tuple[int, ...] | tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Space(ABC):
    """A family of networks of inverted-residual blocks. Its fields are the options of the `[space]` table.

    A variant gives the options their defaults, and its file its name to the space. `widths` and
    `strides` list one value a stage; `depths`, `kernels` and `expands` list the choices, in ascending
    order, once for all stages or once a stage (`kernels = [[3], [3, 5]]`). `resolutions` are sides
    in pixels. Every width is multiplied by `width_multiplier` and rounded to a multiple of `divisor`.
    """

    stem_width: int
    stem_stride: int
    widths: tuple[int, ...]
    strides: tuple[int, ...]
    depths: Choices
    kernels: Choices
    expands: Choices
    head_width: int
    resolutions: tuple[int, ...]
    width_multiplier: float = 1.0
    divisor: int = 8

    @abstractmethod
    def build(self, *, input_channels: int, classes: int) -> SearchSpace:
        """Return the search space; `ConfigError` where the options make none."""

    def assembled(
        self,
        *,
        input_channels: int,
        classes: int,
        activations: Sequence[Activation] = (),
        squeeze_excite: Sequence[bool] = (),
        feature_width: int = 0,
        stem_block: bool = False,
        activation: Activation = "relu6",
    ) -> SearchSpace:
        """Return the space of these options.

        Args:
            input_channels: of the images.
            classes: of the data.
            activations: of each stage; nothing means `activation` everywhere.
            squeeze_excite: whether each stage has it; nothing means nowhere.
            feature_width, stem_block, activation: as in `SearchSpace`.

        Raises:
            ConfigError: names the option, what it holds and its valid choices.
        """
        stages = len(self.widths)
        activations = activations or (activation,) * stages
        squeeze_excite = squeeze_excite or (False,) * stages
        self._check(activations=activations, squeeze_excite=squeeze_excite, feature_width=feature_width)
        if input_channels < 1 or classes < 2:
            raise ConfigError(
                f"the data has {input_channels} channels and {classes} classes; "
                "at least 1 channel and 2 classes are needed"
            )
        return SearchSpace(
            name=type(self).__module__.rpartition(".")[2],
            input_channels=input_channels,
            classes=classes,
            resolutions=self.resolutions,
            stem_width=self._scaled(self.stem_width),
            stem_stride=self.stem_stride,
            stages=tuple(
                Stage(
                    width=self._scaled(self.widths[number]),
                    stride=self.strides[number],
                    depths=_of_stage(self.depths, number),
                    kernels=_of_stage(self.kernels, number),
                    expands=_of_stage(self.expands, number),
                    activation=activations[number],
                    squeeze_excite=squeeze_excite[number],
                )
                for number in range(stages)
            ),
            head_width=self._scaled(self.head_width),
            feature_width=self._scaled(feature_width) if feature_width else 0,
            stem_block=stem_block,
            activation=activation,
            divisor=self.divisor,
        )

    def _scaled(self, width: int) -> int:
        # A multiplier of 1 keeps widths as they are written, multiples of the divisor or not.
        if self.width_multiplier == 1:
            return width
        return scaled_width(width, self.width_multiplier, self.divisor)

    def _check(self, *, feature_width: int, **per_stage: Sequence[object]) -> None:
        if not self.widths:
            raise ConfigError("[space] widths is empty; name at least one stage's width")
        for name, listed in (("strides", self.strides), *per_stage.items()):
            if len(listed) != len(self.widths):
                raise ConfigError(
                    f"[space] {name} lists {len(listed)} stages and widths lists {len(self.widths)}; "
                    "give both one entry a stage"
                )
        if not 0 < self.width_multiplier <= 8:
            raise ConfigError(
                f"[space] width_multiplier is {self.width_multiplier:g}; it must be above 0 and at most 8"
            )
        for name, least, widths in (
            ("stem_width", 1, (self.stem_width,)),
            ("widths", 1, self.widths),
            ("head_width", 1, (self.head_width,)),
            ("feature_width", 0, (feature_width,)),
        ):
            for width in widths:
                if width < least:
                    raise ConfigError(f"[space] {name} holds {width}; valid choices: {least} or more")
        _member("divisor", (self.divisor,), DIVISORS)
        _member("stem_stride", (self.stem_stride,), (1, 2))
        _member("strides", self.strides, (1, 2))
        stages = len(self.widths)
        _choices("resolutions", self.resolutions, range(1, 4097))
        _stage_choices("kernels", self.kernels, KERNELS, stages)
        _stage_choices("expands", self.expands, range(1, MAX_EXPAND + 1), stages)
        _stage_choices("depths", self.depths, range(1, MAX_DEPTH + 1), stages)
        shrinks = self.stem_stride * math.prod(self.strides)
        if self.resolutions[0] < shrinks:
            raise ConfigError(
                f"[space] resolutions holds {self.resolutions[0]}, but the strides shrink a map {shrinks} "
                f"times: its last map would be less than 1 pixel; at least {shrinks} is needed"
            )


def _of_stage(choices: Choices, number: int) -> tuple[int, ...]:
    return cast(tuple[int, ...], choices[number] if _is_per_stage(choices) else choices)


def _is_per_stage(choices: Choices) -> bool:
    return bool(choices) and isinstance(choices[0], tuple)


def _stage_choices(option: str, given: Choices, allowed: Collection[int], stages: int) -> None:
    if not _is_per_stage(given):
        _choices(option, given, allowed)
        return
    if len(given) != stages:
        raise ConfigError(
            f"[space] {option} lists {len(given)} stages and widths lists {stages}; "
            "give one list for all stages, or one a stage"
        )
    for number in range(stages):
        _choices(f"{option} of stage {number}", _of_stage(given, number), allowed)


def _choices(option: str, values: Collection[object], allowed: Collection[int]) -> None:
    _member(option, values, allowed)
    if not values or list(values) != sorted(set(values)):  # type: ignore[type-var]
        raise ConfigError(
            f"[space] {option} is {list(values)}; it must list one or more choices in ascending order, "
            "each once"
        )


def _member(option: str, values: Collection[object], allowed: Collection[int]) -> None:
    for value in values:
        if value not in allowed:
            words = ", ".join(map(str, allowed))
            if isinstance(allowed, range):
                words = f"{allowed[0]} to {allowed[-1]}"
            raise ConfigError(f"[space] {option} holds {value}; valid choices: {words}")
