"""What a latency predictor sees of a network, or of its blocks one by one: operators, summed by type.

From `records.operators` alone, so a network need not exist to be priced. The groups follow a trial on
whole networks: multiply-accumulates, elements moved, weights and a count for each
operator type, depthwise convolutions apart by kernel and stride since runtimes have a routine for each.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_bench.records import ArchConfig, Operator, SearchSpace, operators

QUANTITIES = ("macs", "activations", "weights", "count")
MACS = "macs"
BLOCK_KINDS = ("convolution", "inverted_residual", "pointwise", "global_pool", "linear")


def features(space: SearchSpace, arch: ArchConfig) -> dict[str, float]:
    """Return names to numbers, the same names for every architecture of a space.

    Raises:
        InvalidArch: `arch` is not in `space`.
    """
    summed = dict.fromkeys(_names(space), 0.0)
    for operator in operators(space, arch):
        for name, value in operator_features(operator).items():
            summed[name] += value
    return summed


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
    the end of its block.
    """
    found: list[list[Operator]] = []
    for operator in listed:
        last = found[-1] if found else []
        of_stem = last and last[0].kind == "depthwise" and operator.kind in ("pointwise", "add")
        together = operator.block >= 0 or (of_stem and not any(one.kind == "add" for one in last))
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


def _names(space: SearchSpace) -> list[str]:
    groups = {"convolution", "pointwise", "add", "global_pool", "linear"}
    if space.stem_block:
        groups.add("depthwise_3_stride_1")
    for stage in space.stages:
        strides = {stage.stride, 1} if max(stage.depths) > 1 else {stage.stride}
        groups |= {f"depthwise_{kernel}_stride_{stride}" for kernel in stage.kernels for stride in strides}
        if stage.squeeze_excite:
            groups.add("squeeze_excite")
    return [MACS] + [f"{group}.{quantity}" for group in sorted(groups) for quantity in QUANTITIES]
