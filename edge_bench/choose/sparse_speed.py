"""Whether zeros save time on a device, and if not, by which condition: told before anything is trained.

Weights are zero one by one here, in no pattern. ONNX Runtime has no kernels that skip such zeros. XNNPACK,
with which LiteRT computes, has some on ARM, and takes them for a network that fits all `CONDITIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edge_bench.records import Operator

Verdict = Literal["faster", "size only", "unknown"]
Processor = Literal["arm", "x86", "other"]

# Zeros pay where more than this share of the weights of 1×1 convolutions and linear layers is zero.
LEAST_SPARSITY = 2 / 3
KERNELS = (3, 5)
STEM_STRIDE, STEM_CHANNELS = 2, 3
XNNPACK = "XNNPACK, src/subgraph.c, xnn_check_nchw_compatibility and xnn_subgraph_rewrite_for_nchw"
MEASURED = "measured under emulation of a Cortex-A72 (docs/sparsity.md)"
MEASURED_X86 = "measured (benchmarks/sparse_files.py)"

# What an instruction set or a processor is called, in profiles and by the kernel, in lower case.
_PROCESSORS: Mapping[str, Processor] = {
    "arm": "arm",
    "aarch64": "arm",
    "x86": "x86",
    "amd64": "x86",
    "i686": "x86",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparse:
    """A network of which a share of the weights is zero, the same share of each layer."""

    operators: Sequence[Operator]
    sparsity: float
    precision: str = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a condition found in a network, and what to change where it does not hold."""

    holds: bool
    found: str
    change: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What a network must be for XNNPACK to compute with what is not zero, and who says so."""

    name: str
    asks: str
    source: str
    look: Callable[[Sparse], Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What zeros do in one runtime on a device. `findings` are by condition, where there are any."""

    runtime: str
    verdict: Verdict
    reason: str
    source: str
    findings: Mapping[str, Finding]


def advise(network: Sparse, runtime: str, isa: str | None) -> Advice:
    """Return what the zeros of a network do in `runtime`.

    Args:
        network: its operators, none of a network that is not for images, and its share of zeros.
        runtime: "onnxruntime" or "litert".
        isa: the device's instruction set, as its profile or its kernel tells it; None is not known.
    """
    if runtime == "onnxruntime":
        return _told(
            runtime, "size only", "it has no kernels that skip zeros, on any processor", MEASURED_X86
        )
    processor = processor_of(isa)
    if processor == "x86":
        reason = "XNNPACK switches its sparse kernels off on x86"
        return _told(runtime, "size only", reason, MEASURED_X86)
    if processor == "other":
        reason = f"nothing is known of XNNPACK's sparse kernels on {isa}"
        return _told(runtime, "unknown", reason, XNNPACK)
    if not any(one.kind in ("convolution", "pointwise") for one in network.operators):
        reason = "XNNPACK's sparse kernels are those of convolutional networks; this one has no convolution"
        return _told(runtime, "size only", reason, XNNPACK)
    findings = {one.name: one.look(network) for one in CONDITIONS}
    broken = [name for name, finding in findings.items() if not finding.holds]
    if broken:
        reason = f"XNNPACK computes densely: {', '.join(broken)}"
        return _told(runtime, "size only", reason, XNNPACK, findings)
    reason = "XNNPACK computes with what is left of 1×1 convolutions"
    if processor is None:
        reason += " on ARM, but the device's instruction set is not known"
        return _told(runtime, "unknown", reason, XNNPACK, findings)
    return _told(runtime, "faster", f"{reason}; measure by how much", XNNPACK, findings)


def processor_of(isa: str | None) -> Processor | None:
    """Return the family of processors that an instruction set belongs to; None where it is not told."""
    if not isa:
        return None
    return next((kind for word, kind in _PROCESSORS.items() if word in isa.lower()), "other")


def _told(
    runtime: str,
    verdict: Verdict,
    reason: str,
    source: str,
    findings: Mapping[str, Finding] | None = None,
) -> Advice:
    return Advice(runtime=runtime, verdict=verdict, reason=reason, source=source, findings=findings or {})


def _matrices(network: Sparse) -> list[Operator]:
    """Return the 1×1 convolutions and linear layers, those inside a squeeze-excite left out."""
    return [one for one in network.operators if one.kind in ("pointwise", "linear")]


def _zeros(network: Sparse) -> Finding:
    weights = [one.input_channels * one.output_channels for one in _matrices(network)]
    pruned = f"{network.sparsity:.1%} of them are to be zero"
    if network.sparsity <= LEAST_SPARSITY:
        return Finding(holds=False, found=pruned, change=f"prune to more than {LEAST_SPARSITY:.0%}")
    heads = [one.kind == "linear" for one in _matrices(network)]
    dense = sum(size for size, head in zip(weights, heads, strict=True) if head)
    without = network.sparsity * (1 - dense / sum(weights)) if weights else 0.0
    if without <= LEAST_SPARSITY:
        share = dense / sum(weights) if weights else 0.0
        pruned += f"; the classifier holds {share:.0%} of the weights, so it must be pruned too"
    return Finding(holds=True, found=pruned)


def _precision(network: Sparse) -> Finding:
    holds = network.precision in ("fp32", "fp16")
    return Finding(holds=holds, found=network.precision, change="" if holds else "--precision fp32")


def _pointwise(network: Sparse) -> Finding:
    count = sum(one.kind == "pointwise" for one in network.operators)
    other = [one for place, one in enumerate(network.operators) if one.kind == "convolution" and place]
    if not count:
        return Finding(holds=False, found="none", change='train inverted residuals: [space] kind = "lite"')
    if other:
        sides = ", ".join(sorted({f"{one.kernel}×{one.kernel}" for one in other}))
        found = f"{len(other)} convolutions of {sides} over all channels behind the stem"
        return Finding(holds=False, found=found, change='train inverted residuals: [space] kind = "lite"')
    return Finding(holds=True, found=f"{count} 1×1 convolutions, and no larger one behind the stem")


def _stem(network: Sparse) -> Finding:
    first = network.operators[0] if network.operators else None
    if first is None or first.kind != "convolution":
        return Finding(holds=False, found="none", change='train inverted residuals: [space] kind = "lite"')
    found = f"{first.kernel}×{first.kernel}, stride {first.stride}, {first.input_channels} channels"
    changes = []
    if first.kernel != 3:
        changes.append("a kernel of 3")
    if first.stride != STEM_STRIDE:
        changes.append(f"stem_stride = {STEM_STRIDE}")
    if first.input_channels != STEM_CHANNELS:
        changes.append(f"images of {STEM_CHANNELS} channels (a grey one three times)")
    return Finding(holds=not changes, found=found, change=", ".join(changes))


def _depthwise(network: Sparse) -> Finding:
    kernels = sorted({one.kernel for one in network.operators if one.kind == "depthwise"})
    found = ", ".join(f"{side}×{side}" for side in kernels) or "none"
    holds = set(kernels) <= set(KERNELS)
    return Finding(holds=holds, found=found, change="" if holds else "kernels = [3, 5]")


def _squeeze_excite(network: Sparse) -> Finding:
    count = sum(one.kind == "squeeze_excite" for one in network.operators)
    change = "" if not count else 'a space without it: [space] kind = "lite"'
    found = f"{count} with a hard sigmoid" if count else "none"
    return Finding(holds=not count, found=found, change=change)


def _pooling(network: Sparse) -> Finding:
    kinds = [one.kind for one in network.operators]
    if "pool" in kinds:
        return Finding(
            holds=False, found="pooling of squares", change="strides in convolutions in its place"
        )
    holds = "global_pool" in kinds
    change = "" if holds else "the mean of each map before the classifier"
    return Finding(holds=holds, found="the mean of each map" if holds else "none", change=change)


CONDITIONS = (
    Condition(
        name="zeros",
        asks="more than 2/3 zeros over all 1×1 convolutions and linear layers together",
        source=XNNPACK,
        look=_zeros,
    ),
    Condition(name="precision", asks="floats", source=XNNPACK, look=_precision),
    Condition(
        name="convolutions",
        asks="1×1 convolutions, and behind the stem no other of all channels",
        source=XNNPACK,
        look=_pointwise,
    ),
    Condition(name="stem", asks="3×3, stride 2, padding 1, 3 input channels", source=XNNPACK, look=_stem),
    Condition(
        name="depthwise kernels",
        asks="3×3 or 5×5, padded alike on all sides",
        source=XNNPACK,
        look=_depthwise,
    ),
    Condition(
        name="squeeze-excite",
        asks="none with a hard sigmoid, whose constants have no four sides",
        source=f"{XNNPACK}; {MEASURED}",
        look=_squeeze_excite,
    ),
    Condition(
        name="pooling",
        asks="the mean of each map, its sides kept, and no other",
        source=XNNPACK,
        look=_pooling,
    ),
)
