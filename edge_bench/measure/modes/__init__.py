"""When inferences are issued, one file a mode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from edge_bench.measure.timing import Plan
from edge_bench.measure.witness import Observed
from edge_bench.records.artifact import Precision
from edge_bench.records.result import TimingBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What measuring told: of one child process, or of several put together by their mode.

    `loads_ms` are the loading times of all of them where they are part of what is measured.
    """

    load_ms: float
    first: TimingBlock
    precision: Precision
    runtime_version: str
    delegate: str
    input_shapes: Mapping[str, Sequence[int]]
    blocks: tuple[TimingBlock, ...] = ()
    stopped_by: str = ""
    observed: Observed = field(default_factory=Observed)
    loads_ms: tuple[float, ...] = ()


# Measures once, in a fresh process, as the plan says.
Child = Callable[[Plan], Told]


@dataclass(frozen=True, kw_only=True)
class Mode(ABC):
    """When inferences are issued. A mode's fields are its options.

    `max_seconds` and `min_runs` are what a plan of this mode has where nobody asks for more or less.
    """

    name: ClassVar[str]
    max_seconds: ClassVar[float] = 5.0
    min_runs: ClassVar[int] = 64

    @abstractmethod
    def measure(self, child: Child, plan: Plan) -> Told:
        """Measure by as many children as it takes."""

    def together(self, children: Sequence[Told], stopped_by: str) -> Told:
        """Return what the children told as one; also called when something cuts `measure` short."""
        return replace(children[-1], stopped_by=stopped_by)

    def idle_ms(self) -> float | None:
        """Return how long the model rests before each inference, or None if it does not."""
        return None
