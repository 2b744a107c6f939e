"""Stages of a network, found in its program's graph: where a block ends and one map holds all there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from edge_bench.records.position import Stage

_CONVOLUTIONS = (torch.ops.aten.conv2d.default, torch.ops.aten.convolution.default)
_POOLS = (
    torch.ops.aten.max_pool2d.default,
    torch.ops.aten.avg_pool2d.default,
    torch.ops.aten.adaptive_avg_pool2d.default,
)
# Parts of a layer, whose names tell less than the layer's own.
_PARTS = ("conv", "norm", "activation")
# Examples, channels, height and width.
_SIDES = 4


@dataclass(frozen=True, kw_only=True)
class Padding:
    """How many of a network's convolutions see beyond their map, and how many of those are padded."""

    padded: int
    wide: int


class FeatureMaps(torch.nn.Module):
    """The maps of a program's stages for images [n, channels, size, size], by depth; weights are frozen."""

    def __init__(self, program: ExportedProgram, *, count: int) -> None:
        """Take at most `count` stages, at even distances, the last among them."""
        super().__init__()
        network = program.module()
        assert isinstance(network, fx.GraphModule)
        _uncheck(network)
        found = _ends(network.graph)
        self.padding = _padding(network.graph)
        kept = [found[place] for place in _even(len(found), count)]
        self.stages = tuple(
            Stage(name=name, channels=_shape(node)[1], side=_shape(node)[3])
            for name, node in zip(_names(kept), kept, strict=True)
        )
        self.network = _cut(network, kept).requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps: tuple[Tensor, ...] = self.network(images)
        return maps


def _uncheck(network: fx.GraphModule) -> None:
    """Take out what only checks the sides of inputs: to the graph it is one more reader of the image."""
    for node in list(network.graph.nodes):
        if node.op == "call_module" and not node.users:
            network.graph.erase_node(node)


def _ends(graph: fx.Graph) -> list[fx.Node]:
    """Return the nodes that end a block: where all there is of an image stands in one map, behind a
    convolution that mixes channels and what follows it point by point.

    A map that is widened for a depthwise convolution and narrowed again is within its block.
    """
    path = _path(graph)
    alone, ends, mixed = _alone(path), list[fx.Node](), False
    for node in path:
        mixed = mixed or (_is_map(node) and _mixes(node))
        if mixed and _is_map(node) and node in alone and not _goes_on(node, alone):
            ends.append(node)
            mixed = False
    return [
        node
        for node, following in zip_longest(ends, ends[1:])
        if following is None
        or _shape(following)[1] >= _shape(node)[1]
        or not any(_is_depthwise(user) for user in node.users)
    ]


def _path(graph: fx.Graph) -> list[fx.Node]:
    """Return the nodes, in the order they run, that the image reaches: weights are none."""
    reached: dict[fx.Node, None] = {}
    for node in graph.nodes:
        if node.op == "placeholder" or (
            node.op == "call_function" and any(one in reached for one in node.all_input_nodes)
        ):
            reached[node] = None
    return list(reached)


def _alone(path: Sequence[fx.Node]) -> set[fx.Node]:
    """Return the nodes behind which nothing else is needed any more of what was computed before."""
    places = {node: place for place, node in enumerate(path)}
    last = {node: max((places.get(user, len(path)) for user in node.users), default=-1) for node in path}
    alone, open_until = set(), -1
    for place, node in enumerate(path):
        # Whatever was computed before has been read by now.
        if open_until <= place:
            alone.add(node)
        open_until = max(open_until, last[node])
    return alone


def _goes_on(node: fx.Node, alone: set[fx.Node]) -> bool:
    """Whether the one thing that follows a map works on it point by point: an activation, or a norm."""
    users = [user for user in node.users if user.op == "call_function"]
    if len(users) != 1:
        return False
    [user] = users
    return (
        user in alone
        and user.target not in (*_CONVOLUTIONS, *_POOLS)
        and _is_map(user)
        and _shape(user)[1:] == _shape(node)[1:]
    )


def _mixes(node: fx.Node) -> bool:
    return node.target in _CONVOLUTIONS and not _is_depthwise(node)


def _is_depthwise(node: fx.Node) -> bool:
    if node.target not in _CONVOLUTIONS:
        return False
    # Of each group one channel: the weight is [channels, 1, k, k].
    weight = node.args[1]
    assert isinstance(weight, fx.Node)
    outputs, inputs = weight.meta["val"].shape[:2]
    return bool(inputs == 1 and outputs > 1 and _shape(node.all_input_nodes[0])[1] > 1)


def _is_map(node: fx.Node) -> bool:
    shape = _shape(node)
    return len(shape) == _SIDES and shape[3] > 1


def _shape(node: fx.Node) -> tuple[int, ...]:
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _padding(graph: fx.Graph) -> Padding:
    wide = [
        node
        for node in graph.nodes
        if node.target in _CONVOLUTIONS and node.args[1].meta["val"].shape[-1] > 1 and _is_map(node)
    ]
    padded = [
        node
        for node in wide
        if any(node.args[4] if len(node.args) > 4 else ())
        or node.args[0].target is torch.ops.aten.pad.default
    ]
    return Padding(padded=len(padded), wide=len(wide))


def _names(nodes: Sequence[fx.Node]) -> list[str]:
    """Return the name of the module that each node belongs to, in the network that was exported; its own
    where that is no name, or another one's too.
    """
    names = []
    for node in nodes:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        words = stack[-1][0].split(".") if stack else []
        while len(words) > 1 and words[-1] in _PARTS:
            words.pop()
        names.append(".".join(words))
    return [
        name if name and names.count(name) == 1 else node.name
        for name, node in zip(names, nodes, strict=True)
    ]


def _even(found: int, count: int) -> list[int]:
    """Return up to `count` of so many places at even distances, the first and the last among them."""
    if count >= found:
        return list(range(found))
    if count == 1:
        return [found - 1]
    return [round(place * (found - 1) / (count - 1)) for place in range(count)]


def _cut(network: fx.GraphModule, kept: Sequence[fx.Node]) -> fx.GraphModule:
    """Let a network answer the maps of `kept`, and compute nothing behind them."""
    graph = network.graph
    [output] = (node for node in graph.nodes if node.op == "output")
    with graph.inserting_before(output):
        graph.output(tuple(kept))
    graph.erase_node(output)
    # A program's own way to name inputs and outputs does not fit what is answered now.
    graph.set_codegen(fx.graph.CodeGen())
    graph.eliminate_dead_code()
    return fx.GraphModule(network, graph)
