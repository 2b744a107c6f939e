"""What a latency predictor sees of a network, or of its blocks one by one: operators, summed by type.

From `records.operators` alone, so a network need not exist to be priced. The groups follow a trial on
whole networks: multiply-accumulates, elements moved, weights and a count for each
operator type, depthwise convolutions apart by kernel and stride since runtimes have a routine for each.
Beside them stand, for each shape of block there is in a space, how many of it there are and how many
pixels they compute: what `predictors/corrected.py` corrects the sums by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product

from edge_bench.records import ArchConfig, Block, Operator, SearchSpace, operators

QUANTITIES = ("macs", "activations", "weights", "count")
MACS = "macs"
# Begins the names of the features that tell one shape of block from another.
SHAPE = "block "
BLOCK_KINDS = ("convolution", "inverted_residual", "pointwise", "global_pool", "linear")

# What makes a block, of `block_features`; the rest of them says its kind or follows from these.
BLOCK_SHAPE = (
    "input_size",
    "output_size",
    "input_channels",
    "mid_channels",
    "output_channels",
    "kernel",
    "stride",
    "squeezed_channels",
    "residual",
    "h_swish",
)


def features(space: SearchSpace, arch: ArchConfig) -> dict[str, float]:
    """Return names to numbers, the same names for every architecture of a space.

    Raises:
        InvalidArch: `arch` is not in `space`.
    """
    summed = dict.fromkeys(_names(space), 0.0)
    for block in blocks(operators(space, arch)):
        for name, value in part_features(block).items():
            summed[name] += value
    return summed


def part_features(block: Sequence[Operator]) -> dict[str, float]:
    """Return what one block adds to the features of its network."""
    added: dict[str, float] = {}
    for operator in block:
        for name, value in operator_features(operator).items():
            added[name] = added.get(name, 0.0) + value
    shape = _shape(block)
    return {**added, f"{shape} count": 1.0, f"{shape} pixels": float(block[-1].output_size ** 2)}


def operator_features(operator: Operator) -> dict[str, float]:
    """Return what one operator adds to the features of its network."""
    group = _group(operator)
    return {
        MACS: operator.macs,
        f"{group}.macs": operator.macs,
        f"{group}.activations": operator.activations,
        f"{group}.weights": operator.weights,
        f"{group}.count": 1,
    }


def blocks(listed: Sequence[Operator]) -> list[tuple[Operator, ...]]:
    """Return the operators of a network block by block.

    A block is an inverted residual with all it holds, as published tables price them; what stands in stem
    and head is a block of its own, but a depthwise convolution of the stem takes with it what follows to
    the end of its block. Convolutions of residual blocks that are none inverted stand alone.
    """
    found: list[list[Operator]] = []
    for operator in listed:
        last = found[-1] if found else []
        of_stem = last and last[0].kind == "depthwise" and operator.kind in ("pointwise", "add")
        kinds = [one.kind for one in (*last, operator)]
        inverted = operator.block >= 0 and "convolution" not in kinds
        together = inverted or (of_stem and not any(one.kind == "add" for one in last))
        if last and last[-1].block == operator.block and together:
            last.append(operator)
        else:
            found.append([operator])
    return [tuple(block) for block in found]


def block_features(block: Sequence[Operator]) -> dict[str, float]:
    """Return the shape of one block: sizes in pixels, channels, kernel, stride, and what it does.

    The same names for every block; those that a block has no use for are 0, of a kernel or stride 1.
    """
    first, last = block[0], block[-1]
    spatial = next((one for one in block if one.kernel > 1), None)
    squeezed = next((one for one in block if one.kind == "squeeze_excite"), None)
    kind = first.kind if len(block) == 1 else "inverted_residual"
    return {
        **{f"is_{one}": float(kind == one) for one in BLOCK_KINDS},
        "input_size": first.input_size,
        "output_size": last.output_size,
        "input_channels": first.input_channels,
        "mid_channels": spatial.output_channels if spatial and len(block) > 1 else 0,
        "output_channels": last.output_channels,
        "kernel": spatial.kernel if spatial else 1,
        "stride": spatial.stride if spatial else 1,
        "squeezed_channels": squeezed.hidden if squeezed else 0,
        "residual": float(last.kind == "add"),
        "h_swish": float(any(one.activation == "h_swish" for one in block)),
        MACS: sum(one.macs for one in block),
        "activations": sum(one.activations for one in block),
        "weights": sum(one.weights for one in block),
    }


def _group(operator: Operator) -> str:
    if operator.kind == "depthwise":
        return f"depthwise_{operator.kernel}_stride_{operator.stride}"
    return operator.kind


def _shape(block: Sequence[Operator]) -> str:
    """Return the name of what a block is but for the size of its maps, such as "block 24-72-40 k5 s2"."""
    told = block_features(block)
    widths = (int(told[f"{place}_channels"]) for place in ("input", "mid", "output"))
    kind = "" if len(block) > 1 else f"{block[0].kind} "
    activation = next((one.activation for one in block if one.activation), "linear")
    squeezed = " se" if told["squeezed_channels"] else ""
    return (
        f"{SHAPE}{kind}{'-'.join(map(str, widths))} k{int(told['kernel'])} s{int(told['stride'])} "
        f"{activation}{squeezed}"
    )


@lru_cache(maxsize=16)
def _shapes(space: SearchSpace) -> tuple[str, ...]:
    """Return the names of all shapes of blocks that networks of a space may have, sorted."""
    found: set[str] = set()
    kernels = {kernel for stage in space.stages for kernel in stage.kernels}
    expands = {expand for stage in space.stages for expand in stage.expands}
    deepest = space.largest()
    for kernel, expand in product(kernels, expands):
        alike = tuple(
            Block(
                source=block.source,
                kernel=kernel if kernel in stage.kernels else max(stage.kernels),
                expand=expand if expand in stage.expands else max(stage.expands),
            )
            for block in deepest.blocks
            for stage in (space.stages[space.stage_of(block.source)],)
        )
        found |= {_shape(block) for block in blocks(operators(space, replace(deepest, blocks=alike)))}
    return tuple(sorted(found))


def _names(space: SearchSpace) -> list[str]:
    groups = {"convolution", "pointwise", "add", "global_pool", "linear"}
    if space.stem_block:
        groups.add("depthwise_3_stride_1")
    for stage in space.stages:
        strides = {stage.stride, 1} if max(stage.depths) > 1 else {stage.stride}
        groups |= {f"depthwise_{kernel}_stride_{stride}" for kernel in stage.kernels for stride in strides}
        if stage.squeeze_excite:
            groups.add("squeeze_excite")
    summed = [f"{group}.{quantity}" for group in sorted(groups) for quantity in QUANTITIES]
    return [MACS, *summed, *(f"{shape} {what}" for shape in _shapes(space) for what in ("count", "pixels"))]
