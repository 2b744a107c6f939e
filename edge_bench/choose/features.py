"""What a latency predictor sees of a network: its operators, summed by type.

From `records.operators` alone, so a network need not exist to be priced. The groups follow a trial on
whole networks: multiply-accumulates, elements moved, weights and a count for each
operator type, depthwise convolutions apart by kernel and stride since runtimes have a routine for each.
"""

from __future__ import annotations

from edge_bench.records import ArchConfig, Operator, SearchSpace, operators

QUANTITIES = ("macs", "activations", "weights", "count")
MACS = "macs"


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
