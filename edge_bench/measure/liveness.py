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
    ending: dict[int, list[str]] = {}
    for name, place in last.items():
        ending.setdefault(place, []).append(name)
    kept = {shared.get(name, name) for name in graph.inputs} & size.keys()
    held = set(kept)
    live = peak = sum(size[name] for name in held)
    for place, step in enumerate(graph.steps):
        # Never over all that is held: a graph may hold a million tensors.
        read = {shared.get(name, name) for name in step.inputs}
        written = {shared.get(name, name) for name in step.outputs}
        written = {name for name in written if name in size and name not in held}
        taken = _written_over(step, {name for name in read if name in held and name not in kept})
        for name in written:
            over = next((one for one in taken if last[one] == place and size[one] == size[name]), None)
            live += 0 if over else size[name]
            held.discard(over or "")
            held.add(name)
        peak = max(peak, live)
        ended = held.intersection(ending.get(place, ())) | {name for name in written if name not in last}
        live -= sum(size[name] for name in ended)
        held -= ended
    return peak


def _written_over(step: Step, read: set[str]) -> set[str]:
    """Return what an operator may write its one output over, of what it reads."""
    return read if step.operator in ELEMENTWISE and len(step.outputs) == 1 else set()


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
