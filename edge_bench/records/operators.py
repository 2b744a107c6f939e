"""What an architecture computes, operator by operator, without building it.

The predictor's features, the MACs of a subnet and the untrained files that are measured to fit a
predictor all come from this one list, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge_bench.records.arch import ArchConfig, SearchSpace, scaled_width
from edge_bench.records.transformer import TransformerSpace, transformer_macs

if TYPE_CHECKING:
    from edge_bench.records.plain import AnySpace, PlainSpace

Kind = Literal[
    "convolution",
    "pointwise",
    "depthwise",
    "squeeze_excite",
    "add",
    "pool",
    "global_pool",
    "group_norm",
    "linear",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator with batch norm folded in. Sizes are sides of square maps in pixels.

    `block` is the index into `ArchConfig.blocks`, of a network without choices that of its residual blocks;
    -1 is the stem, its block, and the head. An "add" adds the input of its block, or what a convolution of
    that block makes of it. `hidden` is the inner width of a squeeze-excite.
    """

    kind: Kind
    block: int
    input_channels: int
    output_channels: int
    input_size: int
    output_size: int
    kernel: int = 1
    stride: int = 1
    activation: str | None = None
    hidden: int = 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        places = self.output_size**2
        match self.kind:
            case "depthwise":
                return places * self.output_channels * self.kernel**2
            case "squeeze_excite":
                return 2 * self.input_channels * self.hidden
            case "add" | "pool" | "global_pool" | "group_norm":
                return 0
            case _:
                return places * self.output_channels * self.input_channels * self.kernel**2

    @property
    def weights(self) -> int:
        """Weights and biases after folding."""
        match self.kind:
            case "depthwise":
                return self.output_channels * (self.kernel**2 + 1)
            case "squeeze_excite":
                return 2 * self.input_channels * self.hidden + self.hidden + self.input_channels
            case "add" | "pool" | "global_pool":
                return 0
            case "group_norm":
                return 2 * self.output_channels
            case _:
                return self.output_channels * (self.input_channels * self.kernel**2 + 1)

    @property
    def activations(self) -> int:
        """Elements read plus elements written for one image."""
        read = self.input_channels * self.input_size**2
        written = self.output_channels * self.output_size**2
        # A group norm reads its map once for the moments and once to normalise.
        return 2 * read + written if self.kind in ("add", "group_norm") else read + written


def operators(space: SearchSpace | PlainSpace, arch: ArchConfig) -> tuple[Operator, ...]:
    """Return the operators of `arch` in the order they run.

    Raises:
        InvalidArch: `arch` is not in `space`.
    """
    space.check(arch)
    return tuple(_walk(space, arch)) if isinstance(space, SearchSpace) else space.operators


def macs_of(space: AnySpace, arch: ArchConfig) -> int:
    """Return the multiply-accumulates of `arch` for one image or longest text.

    Raises:
        InvalidArch: `arch` is not in `space`.
    """
    if isinstance(space, TransformerSpace):
        return transformer_macs(space, arch)
    if isinstance(space, SearchSpace):
        return sum(operator.macs for operator in operators(space, arch))
    space.check(arch)
    return space.macs


def _walk(space: SearchSpace, arch: ArchConfig) -> Iterator[Operator]:
    width, size = space.stem_width, strided(arch.resolution, space.stem_stride)
    yield convolution(
        -1,
        space.input_channels,
        width,
        arch.resolution,
        kernel=3,
        stride=space.stem_stride,
        activation=space.activation,
    )
    if space.stem_block:
        yield _depthwise(-1, width, size, 3, 1, "relu")
        yield _pointwise(-1, width, width, size, None)
        yield add(-1, width, size)
    seen: set[int] = set()
    for index, block in enumerate(arch.blocks):
        number = space.stage_of(block.source)
        stage = space.stages[number]
        stride = 1 if number in seen else stage.stride
        seen.add(number)
        mid, after = space.mid_width(width, block.expand), strided(size, stride)
        yield _pointwise(index, width, mid, size, stage.activation)
        yield _depthwise(index, mid, size, block.kernel, stride, stage.activation)
        if stage.squeeze_excite:
            yield Operator(
                kind="squeeze_excite",
                block=index,
                input_channels=mid,
                output_channels=mid,
                input_size=after,
                output_size=after,
                hidden=squeezed_width(mid),
            )
        yield _pointwise(index, mid, stage.width, after, None)
        if stride == 1 and width == stage.width:
            yield add(index, width, after)
        width, size = stage.width, after
    yield _pointwise(-1, width, space.head_width, size, space.activation)
    yield global_pool(space.head_width, size)
    width = space.head_width
    if space.feature_width:
        yield linear(width, space.feature_width, space.activation)
        width = space.feature_width
    yield linear(width, space.classes, None)


def squeezed_width(width: int) -> int:
    """Return the inner width of a squeeze-excite: a quarter, rounded as MobileNetV3 rounds all widths."""
    return scaled_width(width // 4, 1, 8)


def strided(size: int, stride: int) -> int:
    """Return the side of what a padded convolution of `stride` answers to a map of side `size`."""
    return -(-size // stride)


def convolved(size: int, kernel: int, stride: int, *, padded: bool) -> int:
    """Return the side of what a convolution answers, padded by kernel // 2 or not at all; below 1 where the
    map is smaller than the kernel.
    """
    return strided(size, stride) if padded else (size - kernel) // stride + 1


def convolution(
    block: int,
    before: int,
    after: int,
    size: int,
    *,
    kernel: int,
    stride: int = 1,
    activation: str | None = None,
    padded: bool = True,
) -> Operator:
    """Return a convolution of all channels, padded by kernel // 2 or not at all; arguments as `Operator`'s
    fields.
    """
    return Operator(
        kind="convolution",
        block=block,
        input_channels=before,
        output_channels=after,
        input_size=size,
        output_size=convolved(size, kernel, stride, padded=padded),
        kernel=kernel,
        stride=stride,
        activation=activation,
    )


def pool(width: int, size: int, side: int) -> Operator:
    """Return a pooling of squares of `side` pixels; what is no whole square is left out."""
    return Operator(
        kind="pool",
        block=-1,
        input_channels=width,
        output_channels=width,
        input_size=size,
        output_size=size // side,
        kernel=side,
        stride=side,
    )


def global_pool(width: int, size: int) -> Operator:
    """Return the mean of each whole map."""
    return Operator(
        kind="global_pool",
        block=-1,
        input_channels=width,
        output_channels=width,
        input_size=size,
        output_size=1,
    )


def group_norm(width: int, size: int, activation: str | None) -> Operator:
    """Return a group norm, whose moments are the input's own: it folds into no convolution."""
    return Operator(
        kind="group_norm",
        block=-1,
        input_channels=width,
        output_channels=width,
        input_size=size,
        output_size=size,
        activation=activation,
    )


def _pointwise(block: int, before: int, after: int, size: int, activation: str | None) -> Operator:
    return Operator(
        kind="pointwise",
        block=block,
        input_channels=before,
        output_channels=after,
        input_size=size,
        output_size=size,
        activation=activation,
    )


def _depthwise(
    block: int, width: int, size: int, kernel: int, stride: int, activation: str | None
) -> Operator:
    return Operator(
        kind="depthwise",
        block=block,
        input_channels=width,
        output_channels=width,
        input_size=size,
        output_size=strided(size, stride),
        kernel=kernel,
        stride=stride,
        activation=activation,
    )


def add(block: int, width: int, size: int, activation: str | None = None) -> Operator:
    """Return the addition of a block's input to its output."""
    return Operator(
        kind="add",
        block=block,
        input_channels=width,
        output_channels=width,
        input_size=size,
        output_size=size,
        activation=activation,
    )


def linear(before: int, after: int, activation: str | None) -> Operator:
    """Return a fully connected layer."""
    return Operator(
        kind="linear",
        block=-1,
        input_channels=before,
        output_channels=after,
        input_size=1,
        output_size=1,
        activation=activation,
    )
