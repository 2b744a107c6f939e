"""Networks to train, one file each: what a run file's `[model]` table may name."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from edge_bench.errors import ConfigError
from edge_bench.records import (
    AnyStep,
    ArchConfig,
    Operator,
    PlainSpace,
    RecurrentSpace,
    Step,
    TextInput,
    TransformerSpace,
)
from edge_bench.records import transformer as records
from edge_bench.text.tokenizer import Tokenizer
from supernet.transformer import Stack

TextSpace = TransformerSpace | RecurrentSpace
S = TypeVar("S", bound=TextSpace)


@dataclass(frozen=True, kw_only=True)
class StepInputs:
    """Inputs of a step to export it with, in order, and which of their sides stay free (`torch.export`)."""

    examples: Mapping[str, Tensor]
    free: Mapping[str, Any]


class TextNetwork(nn.Module, ABC):
    """A network of a text's tokens.

    `space` says what it is a member of; `pad` is the token that is not looked at; `structure` is what
    else `TextModel.rebuild` needs to make such a network again. Of a network whose weights were trained
    before, `fresh` names the layers that are new in it, and so begin with drawn ones.
    """

    space: TextSpace
    pad: int
    structure: Mapping[str, Any] = MappingProxyType({})
    fresh: tuple[str, ...] = ()

    def reader(self) -> nn.Module:
        """Return the module that reads a text, given `tokens`; it shares this network's weights."""
        return self

    def stepper(self) -> nn.Module | None:
        """Return the module that generates one token (`step` says how), None where none does.

        It shares this network's weights.
        """
        return None

    @abstractmethod
    def step(self, *, program: str = "", digest: str = "", tokens: float = 0.0) -> AnyStep:
        """Return the record of what `stepper` returns, saved as `program`."""

    @abstractmethod
    def step_inputs(self) -> StepInputs:
        """Return what `stepper` is exported with: more than one sequence, and no side of 0 or 1."""

    @abstractmethod
    def cut(self, arch: ArchConfig) -> Self:
        """Return the network `arch` of the space, in evaluation mode, with copies of its weights.

        Raises:
            InvalidArch: `arch` is not in the space.
        """


class TransformerNetwork(TextNetwork):
    """A transformer of whole stacks, and the shallower ones in it."""

    space: TransformerSpace

    @property
    @abstractmethod
    def stacks(self) -> Mapping[records.Stack, Stack[Any]]:
        """The layers by stack, the encoder's first."""

    def step(self, *, program: str = "", digest: str = "", tokens: float = 0.0) -> Step:
        space = self.space
        return Step(
            program=program,
            digest=digest,
            layers=space.decoder_layers,
            heads=space.heads,
            head_width=space.width // space.heads,
            tokens=tokens,
        )

    def step_inputs(self) -> StepInputs:
        step, room = self.step(), self.space.length
        batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=room)
        keys = (step.layers, 2, 2, step.heads)
        examples = {
            "token": torch.full((2, 1), self.pad),
            "position": torch.tensor([3]),
            "cache": torch.zeros(*keys, room - 1, step.head_width),
        }
        free: dict[str, Any] = {
            "token": {0: batch},
            "position": {},
            "cache": {2: batch, 4: torch.export.Dim("room", max=room)},
        }
        if self.space.encoder_layers:
            examples["memory"] = torch.zeros(*keys, room - 2, step.head_width)
            examples["source"] = torch.full((2, room - 2), self.pad)
            free["memory"], free["source"] = {2: batch, 4: length}, {0: batch, 1: length}
        return StepInputs(examples=examples, free=free)

    def cut(self, arch: ArchConfig) -> Self:
        """Return a network of the layers that `arch` keeps, renumbered; as `TextNetwork.cut` else.

        Nothing in it tells that there were more layers.
        """
        self.space.check(arch)
        kept = self.space.kept(arch)
        whole = {stack: list(layers) for stack, layers in self.stacks.items()}
        shallow = copy.copy(self)
        shallow._modules = dict(self._modules)
        for name, module in self._modules.items():
            for stack, layers in self.stacks.items():
                if module is layers:
                    shallow._modules[name] = Stack(whole[stack][place] for place in kept[stack])
        plain = copy.deepcopy(shallow)
        for layers in plain.stacks.values():
            layers.run_all()
        depths = {f"{stack}_layers": len(places) for stack, places in kept.items()}
        plain.space = replace(self.space, **depths)  # type: ignore[arg-type]
        return plain.eval()


@dataclass(frozen=True, kw_only=True)
class Model(ABC):
    """A kind of network. A variant's fields are the options of the `[model]` table; `tasks` are those it
    can be trained for. One that is `pretrained` begins with weights that were trained elsewhere.
    """

    tasks: ClassVar[tuple[str, ...]]
    pretrained: ClassVar[bool] = False

    @abstractmethod
    def check(self) -> None:
        """Raise a `ConfigError` that names the first option that makes no network."""


@dataclass(frozen=True, kw_only=True)
class ImageModel(Model):
    """A network without choices for images of `resolution` pixels a side."""

    tasks: ClassVar[tuple[str, ...]] = ("image_classification",)

    resolution: int

    @abstractmethod
    def build(self, *, channels: int, classes: int) -> nn.Module:
        """Return the network of logits [n, classes] for images [n, channels, side, side], drawn anew.

        Each batch norm is named `norm` beside the convolution `conv` that it follows, so that it can be
        folded.
        """

    @abstractmethod
    def operators(self, *, channels: int, classes: int) -> Iterator[Operator]:
        """Yield what the network computes, batch norms folded, in the order it runs."""

    def space(self, *, channels: int, classes: int) -> PlainSpace:
        """Return the space whose one member the network is.

        Raises:
            ConfigError: an option makes no network.
        """
        self.check()
        return PlainSpace(
            name=type(self).__module__.rpartition(".")[2],
            resolution=self.resolution,
            operators=tuple(self.operators(channels=channels, classes=classes)),
        )

    def check_sizes(self, least: int = 1, **widths: tuple[int, ...]) -> None:
        """Raise a `ConfigError` where the resolution is below `least`, or a width below 1."""
        if not least <= self.resolution <= 4096:
            raise ConfigError(f"[model] resolution is {self.resolution}; it must be {least} to 4096")
        for name, given in widths.items():
            for width in given:
                if width < 1:
                    raise ConfigError(f"[model] {name} holds {width}; valid choices: 1 or more")


@dataclass(frozen=True, kw_only=True)
class TextModel(Model, Generic[S]):
    """A kind of network for text.

    `length` is the longest sequence in tokens; `dropout` is the ordinary one, of which a run with
    LayerDrop wants about 0.1 less (Fan et al., 2019). A model with `own_tokens` brings its vocabulary.
    """

    own_tokens: ClassVar[bool] = False

    length: int = 64
    dropout: float = 0.1

    @abstractmethod
    def space(self, *, vocabulary: int, outputs: int) -> S:
        """Return the space of the network with so many tokens and outputs."""

    @abstractmethod
    def build(self, space: S, *, pad: int) -> TextNetwork:
        """Return the network of a space as training begins with it."""

    def rebuild(self, space: S, *, pad: int, structure: Mapping[str, Any]) -> TextNetwork:
        """Return a network to load a run's weights into; of a run nothing else is needed.

        `structure` is that of the network which `build` returned.
        """
        return self.build(space, pad=pad)

    def tokens(self) -> tuple[Tokenizer, TextInput] | None:
        """Return the tokenizer that a model with `own_tokens` brings, and how it reads; None of others."""
        return None

    def check(self) -> None:
        if self.length < 2:
            raise ConfigError(f"[model] length is {self.length}; it must be at least 2")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"[model] dropout is {self.dropout:g}; it must be at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class FreshModel(TextModel[TransformerSpace]):
    """A transformer that begins from drawn weights. `hidden` of 0 is four times `width`."""

    width: int = 128
    heads: int = 4
    hidden: int = 0

    def check(self) -> None:
        super().check()
        for name, value, least in (
            ("width", self.width, 1),
            ("heads", self.heads, 1),
            ("hidden", self.hidden, 0),
        ):
            if value < least:
                raise ConfigError(f"[model] {name} is {value}; it must be at least {least}")
        if self.width % self.heads:
            raise ConfigError(
                f"[model] width is {self.width} and heads {self.heads}; the first must be a multiple"
            )

    def sized(
        self, *, vocabulary: int, outputs: int, encoder: int = 0, decoder: int = 0
    ) -> TransformerSpace:
        """Return the space of this model's width with so many layers; as `space` else."""
        return TransformerSpace(
            name=type(self).__module__.rpartition(".")[2],
            vocabulary=vocabulary,
            length=self.length,
            width=self.width,
            heads=self.heads,
            hidden=self.hidden or 4 * self.width,
            outputs=outputs,
            encoder_layers=encoder,
            decoder_layers=decoder,
        )


def check_layers(option: str, layers: int) -> None:
    """Raise a `ConfigError` where there would be no layers."""
    if not 1 <= layers <= 1000:
        raise ConfigError(f"[model] {option} is {layers}; it must be 1 to 1000")


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean [n, width] of x [n, tokens, width] over what a mask [n, 1, 1, tokens] leaves."""
    weights = (mask[:, 0, 0, :, None] == 0).to(x.dtype)
    return (x * weights).sum(1) / weights.sum(1)
