"""LayerDrop (Fan, Grave and Joulin, 2019): whole layers are left out at random while a transformer trains.

What remains at any depth is then a network of its own, without further training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn

from edge_bench.errors import ConfigError
from edge_bench.records import transformer as records
from supernet.models import TransformerNetwork
from supernet.techniques import Technique
from supernet.transformer import Droppable, Stack

Structure = Literal["layer", "sub_layer", "head", "feed_forward"]
DEFAULT_RATE = 0.2


@dataclass(frozen=True, kw_only=True)
class LayerDrop(Technique):
    """Each structure runs unless its number, drawn once for the whole batch, falls below its rate.

    One draw a structure and step, not one an example: so what is dropped is not computed, and takes no
    time. What runs is not scaled by 1 / (1 - rate), unlike in stochastic depth. In evaluation all run.
    A dropped layer's weights have no gradient: neither momentum nor weight decay moves them in that step.

    `rate` is that of every layer, or one for each layer of a stack (`encoder_rate` and `decoder_rate`
    where the stacks differ). In its place `target_layers` takes the rate that the paper advises for
    cutting to so many: 1 - target / layers (section 4.1). `structure` is what is dropped: whole layers;
    "sub_layer", each attention and feed-forward network by itself; "head", heads of attention (which
    saves no time); "feed_forward", these alone.
    """

    tasks: ClassVar[tuple[str, ...]] = ("text_classification", "language_modelling", "translation")

    rate: float | tuple[float, ...] | None = None
    encoder_rate: float | tuple[float, ...] | None = None
    decoder_rate: float | tuple[float, ...] | None = None
    target_layers: int | None = None
    structure: Structure = "layer"

    def check(self, network: nn.Module) -> None:
        if not isinstance(network, TransformerNetwork):
            raise ConfigError(
                "[techniques.layer_drop] leaves out layers of a transformer; the network is none",
                hint="name a [model] that is one, or remove the technique",
            )
        for stack in _stacks(network):
            own = {"encoder": self.encoder_rate, "decoder": self.decoder_rate}
            for other in own:
                if own[other] is not None and other not in _stacks(network):
                    raise ConfigError(
                        f"[techniques.layer_drop] {other}_rate is given, but the network has no {other}"
                    )
            self.rates(stack, len(_stacks(network)[stack]))

    def rates(self, stack: records.Stack, layers: int) -> tuple[float, ...]:
        """Return the rate of each layer of a stack.

        Raises:
            ConfigError: as many rates as there are layers are not given, one lies outside 0 to 1, or
                both rates and a target are given.
        """
        own = self.encoder_rate if stack == "encoder" else self.decoder_rate
        given = self.rate if own is None else own
        if self.target_layers is not None:
            if given is not None:
                raise ConfigError("[techniques.layer_drop] has a rate and target_layers; give one")
            given = advised_rate(self.target_layers, layers)
        if given is None:
            given = DEFAULT_RATE
        listed = given if isinstance(given, tuple) else (given,) * layers
        if len(listed) != layers:
            raise ConfigError(
                f"[techniques.layer_drop] lists {len(listed)} rates, but the {stack} has {layers} layers",
                hint="give one number for all, or one for each layer",
            )
        for rate in listed:
            if not 0 <= rate < 1:
                raise ConfigError(
                    f"[techniques.layer_drop] a rate is {rate:g}; it must be at least 0 and below 1"
                )
        return listed

    def before_step(
        self, network: nn.Module, generator: np.random.Generator, step: int, steps: int
    ) -> None:
        for name, stack in _stacks(network).items():
            rates = self.rates(name, len(stack))
            if self.structure == "layer":
                drawn = generator.random(len(stack))
                stack.skipped = frozenset(place for place, rate in enumerate(rates) if drawn[place] < rate)
                continue
            for layer, rate in zip(stack, rates, strict=True):
                if self.structure == "head":
                    _drop_heads(layer, rate, generator)
                else:
                    layer.dropped = _dropped_parts(layer, rate, generator, self.structure)

    def finish(self, network: nn.Module) -> None:
        for stack in _stacks(network).values():
            stack.run_all()


def advised_rate(target_layers: int, layers: int) -> float:
    """Return the rate for cutting `layers` layers to `target_layers`: 1 - target / layers.

    Fan et al., 2019, section 4.1. Networks bear deeper cuts than they were trained for.

    Raises:
        ConfigError: the target is no number of layers from 1 to `layers`.
    """
    if not 1 <= target_layers <= layers:
        raise ConfigError(
            f"[techniques.layer_drop] target_layers is {target_layers}; it must be 1 to {layers}, "
            "the number of layers"
        )
    return 1 - target_layers / layers


def _stacks(network: nn.Module) -> Mapping[records.Stack, Stack[Any]]:
    assert isinstance(network, TransformerNetwork)
    return network.stacks


def _dropped_parts(
    layer: Droppable, rate: float, generator: np.random.Generator, structure: Structure
) -> frozenset[str]:
    drawn = generator.random(len(layer.parts))
    fallen = {part for part, number in zip(layer.parts, drawn, strict=True) if number < rate}
    return frozenset(fallen & {"feed_forward"} if structure == "feed_forward" else fallen)


def _drop_heads(layer: Droppable, rate: float, generator: np.random.Generator) -> None:
    for attention in layer.attentions:
        kept = torch.from_numpy(generator.random(attention.heads) >= rate)
        weight = attention.output.weight
        attention.kept_heads = kept.to(weight.device, weight.dtype)
