"""Architectures by a short name: `largest`, `smallest@128`, or uniform ones such as `d4-e6-k7@224`."""

from __future__ import annotations

import re
from dataclasses import replace

from edge_bench.errors import InvalidArch
from edge_bench.records.arch import ArchConfig, Block, SearchSpace

NAMES = ("smallest", "middle", "largest")
# For messages and helps.
FORMS = "smallest, middle, largest or d4-e6-k7 (depth, expand, kernel), each with @RESOLUTION or without"


def parse_arch(text: str, space: SearchSpace) -> ArchConfig | None:
    """Return the architecture of `space` that a short name means, or None where `text` is none.

    A short name is one of `NAMES`, or depth, expand ratio and kernel of every stage and block in any
    order, the way once-for-all tells of its fixed networks ("D4 W3 K3" is `d4-w3-k3`; `w` and `e`
    mean the same). `@` and a resolution in pixels may follow; without, it is the name's own for
    `NAMES`, and the largest of the space for the others. Upper and lower case are the same.

    Raises:
        InvalidArch: the space does not contain it; names the choice and the stage.
    """
    found = re.fullmatch(r"([a-z0-9-]+)(?:@([0-9]{1,5}))?", text.strip().lower())
    if not found:
        return None
    name, resolution = found.groups()
    if name in NAMES:
        extremes = {"smallest": space.smallest, "middle": space.middle, "largest": space.largest}
        arch = extremes[name]()
    elif choices := _choices(name):
        arch = uniform(space, **choices)
    else:
        return None
    if resolution:
        arch = replace(arch, resolution=int(resolution))
        space.check(arch)
    return arch


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
