"""Architectures of a search space as rows of small integers, so that arrays of them can be searched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from edge_bench.records import ArchConfig, Block, SearchSpace, Stage

Rows = npt.NDArray[np.uint8]
"""[architectures, columns]: for each choice, its index among the values its space allows."""
Indices = npt.NDArray[np.int64]

CHUNK = 65_536
# An index that no gene has.
ABSENT = 255


class Encoding:
    """Architectures of a space as rows: column 0 the resolution; then for each stage its depth, then
    kernel and expand ratio of each of its places in turn.

    Rows are *canonical* where the genes of absent blocks are 0, so that equal networks are equal rows.
    Whatever this class returns is canonical; of what it is given, only `canonical` need not be.

    Attributes:
        space: the search space.
        choices: [columns] how many values each column may take.
        depth_columns: [stages] the column of each stage's depth.
        kernel_columns: [places] the column of each place's kernel; a place is a block's `source`.
        expand_columns: [places] the column of each place's expand ratio.
        stages: [places] the index of each place's stage.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        choices, depths, kernels, expands, stages = [len(space.resolutions)], [], [], [], []
        for number, stage in enumerate(space.stages):
            depths.append(len(choices))
            choices.append(len(stage.depths))
            for _ in range(max(stage.depths)):
                kernels.append(len(choices))
                expands.append(len(choices) + 1)
                choices += [len(stage.kernels), len(stage.expands)]
                stages.append(number)
        if max(choices) > ABSENT:
            raise ValueError(
                f"a choice of space '{space.name}' has {max(choices)} values; at most {ABSENT} fit"
            )
        self.choices: Indices = np.array(choices, np.int64)
        self.depth_columns: Indices = np.array(depths, np.int64)
        self.kernel_columns: Indices = np.array(kernels, np.int64)
        self.expand_columns: Indices = np.array(expands, np.int64)
        self.stages: Indices = np.array(stages, np.int64)
        self._ranks = np.concatenate([np.arange(max(stage.depths)) for stage in space.stages])
        self._depths = [np.array(stage.depths, np.int64) for stage in space.stages]
        pairs = zip(kernels, expands, strict=True)
        seen = [0, *(column for pair in pairs for column in pair)]
        self._one_hot_columns = np.repeat(seen, self.choices[seen])
        self._one_hot_values = np.concatenate([np.arange(choices[one]) for one in seen]).astype(np.uint8)

    @property
    def one_hot_width(self) -> int:
        """How many inputs `one_hot` gives."""
        return len(self._one_hot_columns)

    @property
    def columns(self) -> int:
        """How many choices make an architecture."""
        return len(self.choices)

    @property
    def places(self) -> int:
        """How many blocks the largest network has."""
        return len(self.stages)

    def encode(self, archs: Sequence[ArchConfig]) -> Rows:
        """Return the rows [n, columns] of `archs`.

        Raises:
            InvalidArch: one is not in the space.
        """
        space = self.space
        rows = np.zeros((len(archs), self.columns), np.uint8)
        for row, arch in zip(rows, archs, strict=True):
            space.check(arch)
            row[0] = space.resolutions.index(arch.resolution)
            depths = np.bincount(self.stages[[block.source for block in arch.blocks]])
            for stage, column, depth in zip(space.stages, self.depth_columns, depths, strict=True):
                row[column] = stage.depths.index(int(depth))
            for block in arch.blocks:
                stage = space.stages[self.stages[block.source]]
                row[self.kernel_columns[block.source]] = stage.kernels.index(block.kernel)
                row[self.expand_columns[block.source]] = stage.expands.index(block.expand)
        return rows

    def decode(self, rows: Rows) -> list[ArchConfig]:
        """Return the architectures of `rows` [n, columns]; genes of absent blocks do not matter.

        Raises:
            ValueError: rows of another width, or an index that its column does not have.
        """
        self._check(rows)
        space = self.space
        present = self.present(rows)
        archs = []
        for row, there in zip(rows, present, strict=True):
            blocks = []
            for source in np.flatnonzero(there).tolist():
                stage = space.stages[self.stages[source]]
                kernel = stage.kernels[row[self.kernel_columns[source]]]
                expand = stage.expands[row[self.expand_columns[source]]]
                blocks.append(Block(source=source, kernel=kernel, expand=expand))
            resolution = space.resolutions[row[0]]
            archs.append(ArchConfig(space=space.name, resolution=resolution, blocks=tuple(blocks)))
        return archs

    def present(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Return [n, places] whether each place holds a block."""
        there = np.empty((len(rows), self.places), np.bool_)
        for number, column in enumerate(self.depth_columns):
            mine = self.stages == number
            there[:, mine] = self._ranks[mine] < self._depths[number][rows[:, column]][:, None]
        return there

    def canonical(self, rows: Rows) -> Rows:
        """Return a copy of `rows` with the genes of absent blocks set to 0."""
        there = self.present(rows)
        cleaned = rows.copy()
        cleaned[:, self.kernel_columns] *= there
        cleaned[:, self.expand_columns] *= there
        return cleaned

    def sample(self, count: int, generator: np.random.Generator) -> Rows:
        """Return `count` rows with every choice drawn uniformly and independently.

        The distribution is that of `SearchSpace.sample`; a row may occur twice.
        """
        drawn = generator.integers(0, self.choices, size=(count, self.columns), dtype=np.int64)
        return self.canonical(drawn.astype(np.uint8))

    def one_hot(self, rows: Rows) -> npt.NDArray[np.float32]:
        """Return [n, one_hot_width]: one-hot resolution, then place by place one-hot kernel and one-hot
        expand ratio, all zeros where the place is empty.

        That is how once-for-all's accuracy predictor sees a network (Cai et al., 2020, section 3.4).
        """
        there = self.present(rows)
        marked = rows.copy()
        for columns in (self.kernel_columns, self.expand_columns):
            marked[:, columns] = np.where(there, rows[:, columns], ABSENT)
        return np.equal(marked[:, self._one_hot_columns], self._one_hot_values).astype(np.float32)

    def options(self, stage: int) -> Rows:
        """Return every choice of one stage [options, its columns], canonical, in ascending order.

        Its columns are its depth, then kernel and expand ratio of each of its places.
        """
        chosen: Stage = self.space.stages[stage]
        pairs = len(chosen.kernels) * len(chosen.expands)
        parts = []
        for index, depth in enumerate(chosen.depths):
            codes = np.indices((pairs,) * depth, np.int64).reshape(depth, -1).T
            part = np.zeros((len(codes), 1 + 2 * max(chosen.depths)), np.uint8)
            part[:, 0] = index
            part[:, 1 : 1 + 2 * depth : 2] = codes // len(chosen.expands)
            part[:, 2 : 2 + 2 * depth : 2] = codes % len(chosen.expands)
            parts.append(part)
        return np.concatenate(parts)

    def enumerate(self, chunk: int = CHUNK) -> Iterator[Rows]:
        """Yield every architecture of the space once, at most `chunk` rows at a time.

        There are `space.size()` of them, so this is for spaces of some millions; it needs memory for
        the options of the largest stage.
        """
        options = [self.options(number) for number in range(len(self.space.stages))]
        sizes = [len(self.space.resolutions), *(len(one) for one in options)]
        total = self.space.size()
        for start in range(0, total, chunk):
            digits = np.unravel_index(np.arange(start, min(start + chunk, total)), sizes)
            rows = np.empty((len(digits[0]), self.columns), np.uint8)
            rows[:, 0] = digits[0]
            for column, option, digit in zip(self.depth_columns, options, digits[1:], strict=True):
                rows[:, column : column + option.shape[1]] = option[digit]
            yield rows

    def _check(self, rows: Rows) -> None:
        if rows.ndim != 2 or rows.shape[1] != self.columns:
            raise ValueError(
                f"rows have shape {rows.shape}; space '{self.space.name}' has {self.columns} columns"
            )
        wrong = np.argwhere(rows >= self.choices)
        if len(wrong):
            row, column = wrong[0]
            raise ValueError(
                f"row {row} has index {rows[row, column]} in column {column}, "
                f"which has {self.choices[column]} choices"
            )
