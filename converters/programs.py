"""What a `torch.export` program takes and answers: names, types, and sides that may be of any size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as trees

from converters.chatter import silenced
from edge_bench.errors import ConversionError
from edge_bench.files import Home, sha256_of
from edge_bench.records import Subnet

IMAGE, LOGITS, MEMORY, NEW_CACHE = "image", "logits", "memory", "new_cache"
BATCH, LENGTH, ROOM = "batch", "length", "room"

# Which sides of an input must be free, by its name in `records.Step`, and what they are called.
_FREE: dict[str, dict[int, str]] = {
    "tokens": {0: BATCH, 1: LENGTH},
    "source": {0: BATCH, 1: LENGTH},
    "token": {0: BATCH},
    "position": {},
    "cache": {2: BATCH, 4: ROOM},
    MEMORY: {2: BATCH, 4: LENGTH},
}
_FREE_OF_OTHERS = {0: BATCH}
# Examples, channels, height and width.
_IMAGE_SIDES = 4

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input of a program. `sides` are sizes as far as they are fixed, else None."""

    name: str
    dtype: torch.dtype
    sides: tuple[int | None, ...]

    @property
    def free(self) -> Mapping[int, str]:
        """The sides that must be free, and what they are called; by the input's name."""
        return _FREE.get(self.name, _FREE_OF_OTHERS)

    def example(self, sizes: Mapping[str, int]) -> Tensor:
        """Return zeros of the input's shape, its free sides as `sizes` says by their names."""
        named = {place: sizes[name] for place, name in self.free.items()}
        shape = [named.get(place, 1 if side is None else side) for place, side in enumerate(self.sides)]
        return torch.zeros(shape, dtype=self.dtype)


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A program's inputs and the names of its outputs, in order.

    The one input of a network for images is called "image" whatever the program calls it, and an output
    that has no name in the program "logits".
    """

    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]

    @property
    def takes_numbers(self) -> bool:
        """Whether the one input is of real numbers: an image, or an observation."""
        return len(self.inputs) == 1 and self.inputs[0].dtype.is_floating_point

    @property
    def takes_image(self) -> bool:
        """Whether the one input is an image."""
        return [one.name for one in self.inputs] == [IMAGE]


def load_program(subnet: Subnet, home: Home, *, step: bool = False) -> ExportedProgram:
    """Return a subnet's program, or that of its step.

    Raises:
        ConversionError: the file is missing, or not the one that was saved.
    """
    stored = subnet.step if step else subnet
    assert stored is not None
    path = home.absolute(stored.program)
    if not path.is_file():
        raise ConversionError(
            f"the program of subnet '{subnet.id}' is not at '{path}'", hint=cut_again(subnet)
        )
    if sha256_of(path) != stored.digest:
        raise ConversionError(
            f"'{path}' is not the file that was saved for '{subnet.id}'", hint=cut_again(subnet)
        )
    with silenced():
        return torch.export.load(path)


def cut_again(subnet: Subnet) -> str:
    """Return the hint for what was saved of a subnet and is not there any more."""
    return f"cut it again: edge-bench extract {subnet.run} --arch {subnet.arch.key}"


def signature_of(program: ExportedProgram) -> Signature:
    """Return what a program takes and answers."""
    nodes = {node.name: node for node in program.graph.nodes}
    inputs = []
    for name in program.graph_signature.user_inputs:
        value = nodes[str(name)].meta["val"]
        sides = tuple(side if isinstance(side, int) else None for side in value.shape)
        inputs.append(Input(name=str(name), dtype=value.dtype, sides=sides))
    if len(inputs) == 1 and inputs[0].dtype.is_floating_point and len(inputs[0].sides) == _IMAGE_SIDES:
        inputs = [Input(name=IMAGE, dtype=inputs[0].dtype, sides=inputs[0].sides)]
    return Signature(inputs=tuple(inputs), outputs=_output_names(program))


def _output_names(program: ExportedProgram) -> tuple[str, ...]:
    answered = program.call_spec.out_spec
    if answered is not None and answered.type is dict:
        return tuple(str(key) for key in answered.context)
    count = len(program.graph_signature.user_outputs)
    unnamed = (LOGITS, NEW_CACHE, *(f"output_{place}" for place in range(2, count)))
    return unnamed[:count]


def macs_of(program: ExportedProgram) -> int:
    """Return the multiply-accumulates of a program's convolutions and linear layers for one image."""
    total = 0
    for node in program.graph.nodes:
        if node.target in (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default):
            answered = node.meta["val"].shape
            # Of each place on a map; a linear layer answers one.
            total += prod(int(side) for side in answered[2:]) * node.args[1].meta["val"].numel()
    return total


def weights_of(program: ExportedProgram, *, least_sides: int = 1) -> int:
    """Return how many weights a program has in tensors of at least so many sides, shared ones once."""
    held = [weight for weight in program.state_dict.values() if weight.ndim >= least_sides]
    sizes = {weight.data_ptr(): weight.numel() for weight in held}
    return sum(sizes.values())


class Named(nn.Module):
    """A program whose inputs are taken, and outputs answered, by name."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        self.network = program.module()
        self._taken = program.call_spec.in_spec
        self.signature = signature_of(program)

    def forward(self, **feeds: Tensor) -> dict[str, Tensor]:
        # Which of its inputs a program wants by their names is up to who exported it.
        given = [feeds[one.name] for one in self.signature.inputs]
        args, kwargs = trees.tree_unflatten(given, self._taken)
        answered = trees.tree_leaves(self.network(*args, **kwargs))
        return dict(zip(self.signature.outputs, answered, strict=True))

    def answers(self, feeds: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """Return the program's outputs for `feeds`, all by name."""
        with torch.inference_mode():
            answered = self(**{name: torch.from_numpy(array) for name, array in feeds.items()})
        return {name: tensor.numpy() for name, tensor in answered.items()}
