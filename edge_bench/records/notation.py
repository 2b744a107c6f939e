"""Architectures by a short name: `largest`, `smallest@128`, uniform ones such as `d4-e6-k7@224`, and of
text models the layers that are kept, such as `0,2,4` or `0,2,4/0,3`.
"""

from __future__ import annotations

import re
from dataclasses import replace

from edge_bench.errors import InvalidArch
from edge_bench.records.arch import ArchConfig, Block, SearchSpace
from edge_bench.records.plain import AnySpace, PlainSpace, RecurrentSpace
from edge_bench.records.transformer import Stack, TransformerSpace

NAMES = ("smallest", "middle", "largest")
# For messages and helps.
FORMS = (
    "smallest, middle, largest or d4-e6-k7 (depth, expand, kernel), each with @RESOLUTION or without; of "
    "text models also a depth, d3 or d3/1 (encoder/decoder), or the layers to keep, 0,2,4 or 0,2,4/0,3"
)
_DEPTH = re.compile(r"d([0-9]{1,3})(?:/([0-9]{1,3}))?")
_LAYERS = re.compile(r"([0-9]{1,3}(?:,[0-9]{1,3})*)(?:/([0-9]{1,3}(?:,[0-9]{1,3})*))?")


def parse_arch(text: str, space: AnySpace, *, only: ArchConfig | None = None) -> ArchConfig | None:
    """Return the architecture of `space` that a short name means, or None where `text` is none.

    A short name is one of `NAMES`, or depth, expand ratio and kernel of every stage and block in any
    order, the way once-for-all tells of its fixed networks ("D4 W3 K3" is `d4-w3-k3`; `w` and `e`
    mean the same). `@` and a resolution in pixels may follow; without, it is the name's own for
    `NAMES`, and the largest of the space for the others. Upper and lower case are the same.

    Of a text model it is one of `NAMES`, how many layers are kept (`d3`: 3, evenly spread), or which
    (`0,2,4`); where there is an encoder and a decoder, both are told: `d3/1`, `0,2,4/0,3`. A network
    without choices is each of `NAMES`, and so is the `only` one that a run has trained.

    Raises:
        InvalidArch: the space does not contain it; names the choice and the stage, or the layer.
    """
    if only and text.strip().lower() in NAMES:
        return only
    if isinstance(space, TransformerSpace):
        return _kept_layers(text.replace(" ", "").lower(), space)
    if isinstance(space, PlainSpace | RecurrentSpace):
        return _named(text, space) if (text := text.strip().lower()) in NAMES else None
    found = re.fullmatch(r"([a-z0-9-]+)(?:@([0-9]{1,5}))?", text.strip().lower())
    if not found:
        return None
    name, resolution = found.groups()
    if name in NAMES:
        arch = _named(name, space)
    elif choices := _choices(name):
        arch = uniform(space, **choices)
    else:
        return None
    if resolution:
        arch = replace(arch, resolution=int(resolution))
        space.check(arch)
    return arch


def arch_name(space: TransformerSpace, arch: ArchConfig) -> str:
    """Return the layers that `arch` keeps as `parse_arch` reads them: `0,2,4`, or `0,2,4/0,3`."""
    return "/".join(",".join(map(str, kept)) for kept in space.kept(arch).values())


def uniform(space: SearchSpace, *, depth: int, expand: int, kernel: int) -> ArchConfig:
    """Return the architecture with `depth` blocks in every stage, all alike, at the largest resolution.

    Raises:
        InvalidArch: a stage does not allow one of the three; names both.
    """
    blocks: list[Block] = []
    for number, (offset, stage) in enumerate(zip(space.offsets, space.stages, strict=True)):
        for choice, given, allowed in (
            ("depth", depth, stage.depths),
            ("expand", expand, stage.expands),
            ("kernel", kernel, stage.kernels),
        ):
            if given not in allowed:
                listed = ", ".join(map(str, allowed))
                raise InvalidArch(
                    f"{choice} is {given}, but stage {number} of space '{space.name}' allows {listed}"
                )
        blocks += [Block(source=offset + place, kernel=kernel, expand=expand) for place in range(depth)]
    return ArchConfig(space=space.name, resolution=space.resolutions[-1], blocks=tuple(blocks))


def _choices(name: str) -> dict[str, int] | None:
    letters = {"d": "depth", "e": "expand", "w": "expand", "k": "kernel"}
    parts = re.fullmatch(r"([dewk])([0-9]{1,3})-([dewk])([0-9]{1,3})-([dewk])([0-9]{1,3})", name)
    if not parts:
        return None
    words = parts.groups()
    choices = {letters[letter]: int(digits) for letter, digits in zip(words[::2], words[1::2], strict=True)}
    return choices if len(choices) == 3 else None


def _named(name: str, space: AnySpace) -> ArchConfig:
    extremes = {"smallest": space.smallest, "middle": space.middle, "largest": space.largest}
    return extremes[name]()


def _kept_layers(text: str, space: TransformerSpace) -> ArchConfig | None:
    if text in NAMES:
        return _named(text, space)
    if found := _DEPTH.fullmatch(text):
        depths = [int(depth) for depth in found.groups() if depth is not None]
        return space.spread(dict(zip(_stacks(space, text, len(depths)), depths, strict=True)))
    if not (found := _LAYERS.fullmatch(text)):
        return None
    lists = [tuple(int(layer) for layer in kept.split(",")) for kept in found.groups() if kept]
    for kept in lists:
        if len(set(kept)) < len(kept):
            raise InvalidArch(f"'{text}' names a layer twice; each may stand once")
    return space.keeping(dict(zip(_stacks(space, text, len(lists)), lists, strict=True)))


def _stacks(space: TransformerSpace, text: str, told: int) -> list[Stack]:
    """Return the stacks that a short name tells of, as many as the network has."""
    stacks = list(space.layers)
    if told == len(stacks):
        return stacks
    if told == 1:
        first, second = (str(space.layers[stack]) for stack in stacks)
        raise InvalidArch(
            f"'{text}' tells of one stack of layers; network '{space.name}' has {first} in its encoder and "
            f"{second} in its decoder, told with a slash as in 'd{first}/{second}'"
        )
    raise InvalidArch(
        f"'{text}' tells of an encoder and a decoder; network '{space.name}' has only its {stacks[0]}"
    )
