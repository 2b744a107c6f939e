"""Which tensors a graph must hold at once, from the order of its operators alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# Outputs that are their first input under another shape; no runtime copies them.
VIEWS = frozenset("reshape flatten squeeze unsqueeze expand_dims identity dropout".split())
# Operators that may write over an input of the same size which nothing reads any more. ONNX Runtime's
# allocation planner and TFLite's arena do so; an activation may also be fused with what it follows.
ELEMENTWISE = frozenset(
    "add sub mul div relu relu6 leaky_relu leakyrelu prelu elu clip sigmoid logistic tanh hardswish"
    " hard_swish hardsigmoid batchnormalization sqrt abs neg exp erf gelu softplus".split()
)


@dataclass(frozen=True, slots=True)
class Step:
    """One operator: its kind in lower case, and the names of the tensors it reads and writes."""

    operator: str
    inputs: Sequence[str]
    outputs: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Operators in the order they run. `sizes` are bytes by tensor; `constants` have none.

    `views` are the kinds of operators whose output is no memory of its own.
    """

    steps: Sequence[Step]
    sizes: Mapping[str, int]
    constants: frozenset[str]
    inputs: Sequence[str]
    outputs: Sequence[str]
    views: frozenset[str] = VIEWS


def computed(steps: Iterable[Step], constants: Iterable[str]) -> list[Step]:
    """Return the steps that run at each inference: those fed by constants alone run once, while loading."""
    fixed = set(constants)
    left = []
    for step in steps:
        if step.inputs and not all(name in fixed or not name for name in step.inputs):
            left.append(step)
        else:
            fixed.update(step.outputs)
    return left


def peak_live_bytes(graph: Graph) -> int:
    """Return the most bytes that are held at once.

    A tensor is held from the operator that writes it to the last that reads it, an input from the start
    and never written over, an output to the end. Views share memory, and elementwise operators write in
    place. Nothing is added for alignment or for gaps between buffers.
    """
    shared = _views(graph)
    last = _last_readings(graph, shared)
    size: dict[str, int] = {}
    for name, count in graph.sizes.items():
        owner = shared.get(name, name)
        # A quantized tensor and its real values are one buffer where runtimes fuse them: the smaller.
        size[owner] = min(count, size.get(owner, count))
    held = {shared.get(name, name) for name in graph.inputs} & size.keys()
    kept = frozenset(held)
    live = sum(size[name] for name in held)
    peak = live
    for place, step in enumerate(graph.steps):
        written = {shared.get(name, name) for name in step.outputs} & size.keys() - held
        ending = {name for name in held if last.get(name, -1) <= place}
        over = ending - kept if step.operator in ELEMENTWISE else set()
        for name in written:
            taken = next((one for one in over if size[one] == size[name]), None)
            if taken is not None:
                over.discard(taken)
                ending.discard(taken)
                held.discard(taken)
            else:
                live += size[name]
            held.add(name)
        peak = max(peak, live)
        ending |= {name for name in written if last.get(name, -1) <= place}
        live -= sum(size[name] for name in ending)
        held -= ending
    return peak


def _views(graph: Graph) -> dict[str, str]:
    """Return for each tensor that is a view the one whose memory it is."""
    shared: dict[str, str] = {}
    for step in graph.steps:
        if step.operator in graph.views and step.inputs and step.outputs:
            shared[step.outputs[0]] = shared.get(step.inputs[0], step.inputs[0])
    return shared


def _last_readings(graph: Graph, shared: Mapping[str, str]) -> dict[str, int]:
    read = ((place, name) for place, step in enumerate(graph.steps) for name in step.inputs if name)
    last = {shared.get(name, name): place for place, name in read}
    return last | {shared.get(name, name): len(graph.steps) for name in graph.outputs}
