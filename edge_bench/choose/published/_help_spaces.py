"""The three search spaces of HELP's tables: how a row names an architecture, and what is known of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from edge_bench.choose.features import MACS, features
from edge_bench.choose.published import positive
from edge_bench.errors import InvalidArch
from edge_bench.records import ArchConfig, Block, SearchSpace, operators
from edge_bench.records.arch import Stage

Features = dict[str, float]


class Space(ABC):
    """How one of the three spaces names an architecture, and what is known of it."""

    name: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]

    @abstractmethod
    def read(self, row: Mapping[str, Any]) -> tuple[str, Features]:
        """Return key and features of a row; `ValueError` where it names no architecture."""


class NasBench201(Space):
    """Cells of six edges between four nodes: on 32 px, three stages of five cells each (Dong & Yang, 2020).

    An edge is alive where a path leads from the input over it to the output and no `none` cuts it, and
    it is used where one leads from it to the output: what is not used, a converter may leave out.
    """

    name = "nasbench201"
    columns = ("arch_str",)
    edges = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    choices = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    # Each stage halves the side and doubles the channels: a 1×1 convolution costs the same in all.
    macs: ClassVar[dict[str, int]] = {
        "nor_conv_1x1": 15 * 16 * 16 * 32 * 32,
        "nor_conv_3x3": 15 * 9 * 16 * 16 * 32 * 32,
    }
    # Stem, two residual blocks that halve the side (3×3, 3×3, and 1×1 aside), classifier of ten.
    fixed_macs = (
        27 * 16 * 32 * 32
        + sum(
            (9 * before * 2 + 9 * 4 * before + 2) * before * side * side
            for before, side in ((16, 16), (32, 8))
        )
        + 640
    )

    def read(self, row: Mapping[str, Any]) -> tuple[str, Features]:
        key = _text(row, "arch_str")
        chosen = self._operations(key)
        alive = self._alive(chosen)
        found: Features = {}
        for edge, (operation, lives) in enumerate(zip(chosen, alive, strict=True)):
            place = "edge_{}_{}".format(*self.edges[edge])
            for choice in self.choices:
                found[f"{place}.{choice}"] = float(operation == choice)
            for choice in self.choices[1:]:
                found[f"{place}.live_{choice}"] = float(lives and operation == choice)
        for choice in self.choices:
            found[f"count.{choice}"] = chosen.count(choice)
        living = [operation for operation, lives in zip(chosen, alive, strict=True) if lives]
        for choice in self.choices[1:]:
            found[f"live_count.{choice}"] = living.count(choice)
        used = self._used(chosen)
        using = [operation for operation, there in zip(chosen, used, strict=True) if there]
        for choice in self.choices[1:]:
            found[f"used_count.{choice}"] = using.count(choice)
        found["connected"] = float(any(alive))
        found["depth"] = self._depth(chosen, alive)
        found[MACS] = self.fixed_macs + sum(self.macs.get(one, 0) for one in chosen)
        found["live_macs"] = self.fixed_macs + sum(self.macs.get(one, 0) for one in living)
        return key, found

    def _operations(self, key: str) -> list[str]:
        """Return the operation of each edge from "|a~0|+|b~0|c~1|+|d~0|e~1|f~2|"."""
        nodes = [node.strip("|").split("|") for node in key.split("+")]
        told = [one.partition("~")[::2] for node in nodes for one in node]
        expected = [str(source) for source, _ in self.edges]
        if [len(node) for node in nodes] != [1, 2, 3] or [source for _, source in told] != expected:
            raise ValueError(f"arch_str is '{key}'; three nodes of one, two and three edges are expected")
        for operation, _ in told:
            if operation not in self.choices:
                raise ValueError(
                    f"arch_str has '{operation}'; one of {', '.join(self.choices)} is expected"
                )
        return [operation for operation, _ in told]

    def _alive(self, chosen: Sequence[str]) -> list[bool]:
        from_input = {0}
        for (source, target), operation in zip(self.edges, chosen, strict=True):
            if operation != "none" and source in from_input:
                from_input.add(target)
        used = self._used(chosen)
        return [there and source in from_input for there, (source, _) in zip(used, self.edges, strict=True)]

    def _used(self, chosen: Sequence[str]) -> list[bool]:
        to_output = {3}
        there = list(zip(self.edges, chosen, strict=True))
        for (source, target), operation in reversed(there):
            if operation != "none" and target in to_output:
                to_output.add(source)
        return [operation != "none" and target in to_output for (_, target), operation in there]

    def _depth(self, chosen: Sequence[str], alive: Sequence[bool]) -> int:
        """Return the most convolutions and poolings that one path from input to output runs through."""
        longest = {0: 0, 1: 0, 2: 0, 3: 0}
        for (source, target), operation, lives in zip(self.edges, chosen, alive, strict=True):
            if lives:
                longest[target] = max(longest[target], longest[source] + (operation != "skip_connect"))
        return longest[3]


class FBNet(Space):
    """22 places of nine blocks each (Wu et al., 2019), in HW-NAS-Bench's form for 32 px images.

    A skip costs nothing where shapes agree, and else a 1×1 convolution.
    """

    name = "fbnet"
    columns = ("op_idx", "ops")
    choices = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")
    stages = ((16, 1, 1), (24, 4, 1), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1))
    stem_width, head_width, classes, side = 16, 1504, 100, 32

    def read(self, row: Mapping[str, Any]) -> tuple[str, Features]:
        chosen = _text(row, "ops").split()
        told = _integers(row, "op_idx", 22)
        if [self.choices[one] if 0 <= one < 9 else "" for one in told] != chosen:
            raise ValueError("op_idx and ops do not name the same 22 operations")
        found: Features = {}
        macs, width, side = 27 * self.stem_width * self.side**2, self.stem_width, self.side
        for place, (operation, (after, stride)) in enumerate(zip(chosen, self._places(), strict=True)):
            for choice in self.choices:
                found[f"place_{place}.{choice}"] = float(operation == choice)
            macs += self._macs(operation, width, after, side, stride)
            width, side = after, side // stride
        for choice in self.choices:
            found[f"count.{choice}"] = chosen.count(choice)
        found[MACS] = macs + width * self.head_width * side**2 + self.head_width * self.classes
        return " ".join(chosen), found

    def _places(self) -> list[tuple[int, int]]:
        """Return width and stride of each place."""
        return [
            (width, stride if number == 0 else 1)
            for width, depth, stride in self.stages
            for number in range(depth)
        ]

    def _macs(self, operation: str, before: int, after: int, side: int, stride: int) -> int:
        smaller = (side // stride) ** 2
        if operation == "skip":
            return 0 if stride == 1 and before == after else before * after * smaller
        kernel, expand, *grouped = operation.split("_")
        middle, groups = before * int(expand[1:]), 2 if grouped else 1
        pointwise = (before * side**2 + after * smaller) * middle // groups
        return pointwise + middle * int(kernel[1:]) ** 2 * smaller


# Ours is built by a stage that the core does not import.
OFA = SearchSpace(
    name="ofa_mbv3",
    input_channels=3,
    classes=1000,
    resolutions=tuple(range(128, 225, 4)),
    stem_width=16,
    stem_stride=2,
    stages=tuple(
        Stage(
            width=width,
            stride=stride,
            depths=(2, 3, 4),
            kernels=(3, 5, 7),
            expands=(3, 4, 6),
            activation="h_swish" if number > 1 else "relu",
            squeeze_excite=number in (1, 3, 4),
        )
        for number, (width, stride) in enumerate(((24, 2), (40, 2), (80, 2), (112, 1), (160, 2)))
    ),
    head_width=960,
    feature_width=1280,
    stem_block=True,
    activation="h_swish",
)


class OnceForAll(Space):
    """Once-for-all's MobileNetV3 space at width 1.0 (Cai et al., 2020).

    Entries beyond a stage's depth mean nothing and are left out.
    """

    name = "ofa_mbv3"
    columns = ("resolution", "depth", "kernel", "expand")

    def read(self, row: Mapping[str, Any]) -> tuple[str, Features]:
        arch = self._arch(row)
        listed = operators(OFA, arch)
        found = features(OFA, arch)
        found["resolution"] = arch.resolution
        blocks = {block.source: block for block in arch.blocks}
        for place in range(20):
            block = blocks.get(place)
            for kernel in OFA.stages[0].kernels:
                found[f"place_{place}.kernel_{kernel}"] = float(
                    block is not None and block.kernel == kernel
                )
            for expand in OFA.stages[0].expands:
                found[f"place_{place}.expand_{expand}"] = float(
                    block is not None and block.expand == expand
                )
        for stage in range(5):
            of_stage = [block for block in arch.blocks if block.source // 4 == stage]
            there = [one for one in listed if one.block >= 0 and arch.blocks[one.block] in of_stage]
            found[f"stage_{stage}.depth"] = len(of_stage)
            found[f"stage_{stage}.kernels"] = sum(block.kernel for block in of_stage)
            found[f"stage_{stage}.expands"] = sum(block.expand for block in of_stage)
            found[f"stage_{stage}.macs"] = sum(one.macs for one in there)
            found[f"stage_{stage}.activations"] = sum(one.activations for one in there)
        found["activations"] = sum(one.activations for one in listed)
        found["operators"] = len(listed)
        return _notation(arch), found

    def arch_of(self, key: str) -> ArchConfig:
        """Return the architecture that a key of the table names; see `_notation`."""
        resolution, _, told = key.partition("/")
        blocks = []
        for stage, of_stage in enumerate(told.split(",")):
            for number, block in enumerate(of_stage.split()):
                kernel, expand = map(int, block.split("."))
                blocks.append(Block(source=4 * stage + number, kernel=kernel, expand=expand))
        return ArchConfig(space=OFA.name, resolution=int(resolution), blocks=tuple(blocks))

    def _arch(self, row: Mapping[str, Any]) -> ArchConfig:
        depth, kernel, expand = (
            _integers(row, column, count)
            for column, count in (("depth", 5), ("kernel", 20), ("expand", 20))
        )
        resolution = positive(row["resolution"], "resolution")
        places = [4 * stage + number for stage, blocks in enumerate(depth) for number in range(blocks)]
        if not set(depth) <= set(OFA.stages[0].depths):
            raise ValueError(f"depth is '{row['depth']}'; numbers from 2 to 4 are expected")
        arch = ArchConfig(
            space=OFA.name,
            resolution=int(resolution),
            blocks=tuple(
                Block(source=place, kernel=kernel[place], expand=expand[place]) for place in places
            ),
        )
        try:
            OFA.check(arch)
        except InvalidArch as error:
            raise ValueError(error.message) from error
        return arch


def _notation(arch: ArchConfig) -> str:
    """Return "204/7.6 5.4, 5.4 5.6": resolution, then kernel and expand ratio of the blocks by stage."""
    stages = (
        " ".join(f"{one.kernel}.{one.expand}" for one in arch.blocks if one.source // 4 == stage)
        for stage in range(5)
    )
    return f"{arch.resolution}/{', '.join(stages)}"


def _text(row: Mapping[str, Any], column: str) -> str:
    told = row[column]
    if not isinstance(told, str) or not told:
        raise ValueError(f"{column} is {'missing' if told is None else repr(told)}; a text is expected")
    return told


def _integers(row: Mapping[str, Any], column: str, count: int) -> list[int]:
    """Return the integers that a column holds as a text, with spaces or commas between, or as a list."""
    told = row[column]
    if told is None:
        raise ValueError(f"{column} is missing")
    parts = told.replace(",", " ").split() if isinstance(told, str) else told
    try:
        found = [int(part) for part in parts]
    except (TypeError, ValueError):
        raise ValueError(f"{column} is {told!r}; {count} integers are expected") from None
    if len(found) != count:
        raise ValueError(f"{column} has {len(found)} numbers; {count} are expected")
    return found
