"""Dead units cut out of a network: channels and neurons that say the same whatever they see, or that
nothing listens to.

Zeros in a matrix save no time on a runtime without sparse kernels; a smaller matrix does on any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule, Node

from converters.chatter import silenced
from converters.programs import BATCH, signature_of
from edge_bench.errors import ConversionError

aten = torch.ops.aten

_LINEAR, _CONVOLUTION = aten.linear.default, aten.conv2d.default
# Each unit by itself, the same at every place; a unit that is constant stays so.
_UNARY = {
    aten.relu.default,
    aten.relu_.default,
    aten.relu6.default,
    aten.hardtanh.default,
    aten.hardtanh_.default,
    aten.hardswish.default,
    aten.hardswish_.default,
    aten.hardsigmoid.default,
    aten.sigmoid.default,
    aten.tanh.default,
    aten.gelu.default,
    aten.silu.default,
    aten.elu.default,
    aten.leaky_relu.default,
    aten.clamp.default,
    aten.clone.default,
}
_BINARY = {aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor}
_MAX_POOL, _AVERAGE_POOL = aten.max_pool2d.default, aten.avg_pool2d.default
_MEAN, _FLATTEN = aten.mean.dim, aten.flatten.using_ints
_ADAPTIVE_POOL = aten.adaptive_avg_pool2d.default


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A program without its dead units, and how many were cut of how many."""

    program: ExportedProgram
    units: int
    cut: int


def without_dead_units(program: ExportedProgram) -> Cut:
    """Return a program that answers as `program` does to images or observations, to rounding, without its
    dead units.

    A unit is dead if nothing reads it, or if all weights that lead to it are zero. In the second case it
    says its bias through its activation, which becomes part of the biases of whoever reads it. Where
    that is a convolution that pads with zeros, a constant other than zero cannot move (it would be
    missing at the border), and the unit stays. Channels that are added to each other are cut together
    or not at all. At least one unit of each layer stays. What lies between operators that are not known
    here stays whole.

    Raises:
        ConversionError: the program takes something else than one image or observation.
    """
    signature = signature_of(program)
    if not signature.takes_numbers:
        raise ConversionError(
            "dead units are cut out of networks for images and out of policies only",
            hint="leave out the encoding 'compact' for a text model",
        )
    with silenced():
        module = program.module()
    assert isinstance(module, GraphModule)
    network = _Network(module)
    kept = network.alive()
    for layer in network.layers:
        layer.cut(network, kept)
    module.recompile()
    examples = [one.example({BATCH: 2}) for one in signature.inputs]
    free = [{place: Dim(name) for place, name in one.free.items()} for one in signature.inputs]
    with silenced(), torch.no_grad():
        made = torch.export.export(module, tuple(examples), dynamic_shapes=tuple(free))
    inner = [group for group in network.groups if not group.fixed]
    return Cut(
        program=made,
        units=sum(group.units for group in inner),
        cut=sum(group.units - len(kept[id(group)]) for group in inner),
    )


@dataclass(eq=False, slots=True)
class _Group:
    """Units that stay or go together: of all tensors that are computed unit by unit from each other."""

    units: int
    fixed: bool = False
    values: list[_Value] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Value:
    """A tensor whose second side, or last of two, counts units; each is `repeat` sides long (a map that
    was flattened). `constant` [units] tells which say the same everywhere and always, `says` [units] what.
    """

    group: _Group
    repeat: int
    constant: Tensor
    says: Tensor


@dataclass(slots=True)
class _Layer:
    """A linear layer or convolution: what it reads, what it answers, and its weights by name."""

    node: Node
    weight: str
    bias: str | None
    read: _Value
    answered: _Value
    padded: bool
    depthwise: bool

    def incoming(self, module: GraphModule) -> Tensor:
        """Return weights [outputs, units read, entries]."""
        weight = _tensor(module, self.weight)
        return weight.reshape(weight.shape[0], self.read.group.units, -1)

    def foldable(self) -> Tensor:
        """Return which units read [units] may become part of the bias."""
        return _foldable(self.read, padded=self.padded)

    def cut(self, network: _Network, kept: dict[int, Tensor]) -> None:
        """Take out what is not kept, its constants moved to the biases."""
        module = network.module
        rows, columns = kept[id(self.answered.group)], kept[id(self.read.group)]
        weight = _tensor(module, self.weight)
        bias = _tensor(module, self.bias) if self.bias else weight.new_zeros(weight.shape[0])
        if self.depthwise:
            weight = weight[rows]
            self.node.update_arg(6, len(rows))
        else:
            gone = torch.ones(self.read.group.units, dtype=torch.bool)
            gone[columns] = False
            # What a removed unit that nothing reads said was never known, and is not needed.
            told = torch.where(gone & self.foldable(), self.read.says, 0.0)
            moved = self.incoming(module).sum(2).double() @ told.double()
            bias = (bias.double() + moved).to(bias.dtype)
            shape = weight.shape
            left = self.incoming(module)[:, columns][rows]
            weight = left.reshape(len(rows), len(columns) * (shape[1] // self.read.group.units), *shape[2:])
        _put(module, self.weight, weight)
        if self.bias:
            _put(module, self.bias, bias[rows])
        elif bool(bias[rows].any()):
            self._add_bias(module, bias[rows])

    def _add_bias(self, module: GraphModule, bias: Tensor) -> None:
        name = f"{self.weight.replace('.', '_')}_constants"
        module.register_parameter(name, torch.nn.Parameter(bias, requires_grad=False))
        with module.graph.inserting_before(self.node):
            given = module.graph.get_attr(name)
        if len(self.node.args) > 2:
            self.node.update_arg(2, given)
        else:
            self.node.args = (*self.node.args, given)


class _Network:
    """The graph of a program as groups of units and the layers between them."""

    def __init__(self, module: GraphModule) -> None:
        self.module = module
        self.groups: list[_Group] = []
        self.layers: list[_Layer] = []
        self._values: dict[Node, _Value] = {}
        self._read_once = _read_once(module)
        for node in module.graph.nodes:
            self._read(node)

    def alive(self) -> dict[int, Tensor]:
        """Return the places of the units that stay, by the group's `id`: the least set that is needed."""
        needed = {
            id(group): torch.full((group.units,), group.fixed, dtype=torch.bool) for group in self.groups
        }
        before = -1
        while before != (before := sum(int(one.sum()) for one in needed.values())):
            for layer in self.layers:
                if layer.depthwise:
                    continue
                rows = needed[id(layer.answered.group)]
                used = (layer.incoming(self.module)[rows] != 0).any(2).any(0)
                needed[id(layer.read.group)] |= used & ~layer.foldable()
        for one in needed.values():
            if not one.any():
                one[0] = True
        return {key: one.nonzero().flatten() for key, one in needed.items()}

    def _read(self, node: Node) -> None:
        known = self._values.get(node.args[0]) if node.args and isinstance(node.args[0], Node) else None
        if node.op == "placeholder":
            self._begin(node, fixed=True)
        elif node.target is _LINEAR and known and self._weights(node) and len(_shape(node)) == 2:
            self._layer(node, known)
        elif node.target is _CONVOLUTION and known and self._weights(node):
            self._convolution(node, known)
        elif known and (node.target in _UNARY or self._is_scaled(node)):
            # Some operators write over what they read.
            says = _call(node, known.says.clone())
            self._values[node] = self._of(known.group, known.repeat, known.constant, says)
        elif known and self._is_pooled(node):
            self._values[node] = self._of(known.group, known.repeat, known.constant, known.says)
        elif known and node.target is _FLATTEN and list(node.args[1:]) in ([1], [1, -1]):
            sides = _shape(node.args[0])[2:]
            repeat = known.repeat * prod(int(side) for side in sides)
            self._values[node] = self._of(known.group, repeat, known.constant, known.says)
        elif node.target in _BINARY and self._pair(node) is not None:
            self._combine(node)
        else:
            self._unknown(node)

    def _unknown(self, node: Node) -> None:
        """Keep whole what an operator that is not known reads and answers."""
        for given in node.all_input_nodes:
            if given in self._values:
                self._values[given].group.fixed = True
        if node.op == "call_function":
            self._begin(node, fixed=True)

    def _begin(self, node: Node, *, fixed: bool = False) -> _Value | None:
        """Begin a group with what `node` answers; None where it has no side that counts units."""
        shape = _shape(node)
        if len(shape) not in (2, 4) or not isinstance(shape[1], int):
            return None
        group = _Group(units=shape[1], fixed=fixed)
        self.groups.append(group)
        none = torch.zeros(group.units, dtype=torch.bool)
        self._values[node] = self._of(group, 1, none, torch.zeros(group.units))
        return self._values[node]

    def _of(self, group: _Group, repeat: int, constant: Tensor, says: Tensor) -> _Value:
        value = _Value(group=group, repeat=repeat, constant=constant, says=says)
        group.values.append(value)
        return value

    def _weights(self, node: Node) -> bool:
        """Whether a layer's weight and bias are parameters that no other reads."""
        given = [one for one in node.args[1:3] if one is not None]
        return all(isinstance(one, Node) and one.target in self._read_once for one in given)

    def _convolution(self, node: Node, read: _Value) -> None:
        channels, groups = read.group.units, _argument(node, 6, 1)
        if groups == 1:
            self._layer(node, read)
        elif groups == channels == _shape(node)[1] and read.repeat == 1:
            self._depthwise(node, read)
        else:
            self._unknown(node)

    def _layer(self, node: Node, read: _Value) -> None:
        answered = self._begin(node)
        assert answered is not None
        layer = _layer_of(node, read, answered)
        self.layers.append(layer)
        weight = layer.incoming(self.module)
        foldable = layer.foldable()
        answered.constant = ~(weight[:, ~foldable] != 0).any(2).any(1)
        told = weight.sum(2).double() @ torch.where(foldable, read.says, 0.0).double()
        answered.says = _bias(self.module, layer.bias, told).float()

    def _depthwise(self, node: Node, read: _Value) -> None:
        padded = _is_padded(node)
        weight = _tensor(self.module, str(node.args[1].target)).flatten(1)  # type: ignore[union-attr]
        silent = ~(weight != 0).any(1)
        constant = silent | _foldable(read, padded=padded)
        told = torch.where(silent, 0.0, weight.sum(1).double() * read.says.double())
        answered = self._of(read.group, 1, constant, told.float())
        self._values[node] = answered
        layer = _layer_of(node, read, answered, depthwise=True)
        self.layers.append(layer)
        answered.says = _bias(self.module, layer.bias, told).float()

    def _pair(self, node: Node) -> tuple[_Value, _Value] | None:
        pair = [self._values.get(one) for one in node.args[:2] if isinstance(one, Node)]
        known = [value for value in pair if value is not None]
        if len(known) != 2:
            return None
        one, other = known
        sizes = (one.group.units, one.repeat) == (other.group.units, other.repeat)
        return (one, other) if sizes and len({len(_shape(end)) for end in node.args[:2]}) == 1 else None

    def _combine(self, node: Node) -> None:
        pair = self._pair(node)
        assert pair is not None
        one, other = pair
        constant = one.constant & other.constant
        says = _call(node, one.says, other.says)
        if node.target is aten.mul.Tensor:
            silent = (one.constant & (one.says == 0)) | (other.constant & (other.says == 0))
            constant, says = constant | silent, torch.where(silent, 0.0, says)
        if one.group is not other.group:
            self._join(one.group, other.group)
        self._values[node] = self._of(one.group, one.repeat, constant, says)

    def _join(self, group: _Group, gone: _Group) -> None:
        group.fixed |= gone.fixed
        for value in gone.values:
            value.group = group
        group.values += gone.values
        self.groups.remove(gone)

    def _is_scaled(self, node: Node) -> bool:
        """Whether a number is added, or multiplied by."""
        return node.target in _BINARY and not isinstance(node.args[1], Node)

    def _is_pooled(self, node: Node) -> bool:
        """Whether each map becomes a smaller one, or its mean, in which a constant stays what it is."""
        if node.target is _MEAN:
            sides = _shape(node.args[0])
            axes = node.args[1] if isinstance(node.args[1], Sequence) else [node.args[1]]
            return len(sides) == 4 and {int(axis) % 4 for axis in axes} == {2, 3}  # type: ignore[arg-type]
        if node.target is _AVERAGE_POOL:
            return not any(_sides(_argument(node, 3, 0)))
        return node.target in (_MAX_POOL, _ADAPTIVE_POOL)


def _layer_of(node: Node, read: _Value, answered: _Value, *, depthwise: bool = False) -> _Layer:
    weight, bias = node.args[1], _argument(node, 2, None)
    assert isinstance(weight, Node)
    return _Layer(
        node=node,
        weight=str(weight.target),
        bias=str(bias.target) if bias is not None else None,
        read=read,
        answered=answered,
        padded=_is_padded(node),
        depthwise=depthwise,
    )


def _foldable(read: _Value, *, padded: bool) -> Tensor:
    return read.constant & (read.says == 0) if padded else read.constant


def _is_padded(node: Node) -> bool:
    return node.target is _CONVOLUTION and any(_sides(_argument(node, 4, 0)))


def _sides(given: Any) -> tuple[Any, ...]:
    # A word, such as "same", counts as padding.
    return tuple(given) if isinstance(given, Sequence) else (given,)


def _bias(module: GraphModule, name: str | None, told: Tensor) -> Tensor:
    return told + _tensor(module, name) if name else told


def _call(node: Node, *given: Tensor) -> Tensor:
    target: Callable[..., Tensor] = node.target  # type: ignore[assignment]
    return target(*given, *node.args[len(given) :], **node.kwargs)


def _argument(node: Node, place: int, default: Any) -> Any:
    return node.args[place] if len(node.args) > place else default


def _shape(node: Any) -> tuple[Any, ...]:
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _read_once(module: GraphModule) -> set[str]:
    """Return the names of the parameters that one operator reads, once."""
    uses: dict[str, int] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            uses[str(node.target)] = uses.get(str(node.target), 0) + len(node.users)
    held: Iterator[tuple[str, Tensor]] = iter([*module.named_parameters(), *module.named_buffers()])
    return {name for name, _ in held if uses.get(name) == 1}


def _tensor(module: GraphModule, name: str) -> Tensor:
    owner, _, own = name.rpartition(".")
    held: Tensor = getattr(module.get_submodule(owner), own)
    return held.detach()


def _put(module: GraphModule, name: str, tensor: Tensor) -> None:
    owner, _, own = name.rpartition(".")
    module.get_submodule(owner)._parameters[own] = torch.nn.Parameter(
        tensor.contiguous(), requires_grad=False
    )
