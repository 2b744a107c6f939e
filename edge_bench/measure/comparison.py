"""Two models measured in turns on this machine: which is faster, and how sure that is."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge_bench.documents import from_document, to_document
from edge_bench.errors import ConfigError, EdgeBenchError
from edge_bench.files import Home
from edge_bench.measure.inputs import UNTOLD, Feeding
from edge_bench.measure.inspection import check_model
from edge_bench.measure.lock import exclusive
from edge_bench.measure.ratios import MIN_LAUNCHES, Answer, Ratio, ratio
from edge_bench.measure.sandbox import Conversation, conversation
from edge_bench.measure.verdict import judge
from edge_bench.measure.witness import Observed, Witness, between, witness
from edge_bench.records.result import TimingBlock, Verdict
from edge_bench.statistics import percentile

# Loading and checking a large model may take this long before its first turn.
SETUP_S = 300
# So many rounds of a launch are counted after all where every one was polluted.
SETTLED_ROUNDS = 3
INTERRUPTED = "it was interrupted"
# The worse verdict of two models is the comparison's.
_WORSE: tuple[Verdict, ...] = ("clean", "inconclusive", "noisy", "throttled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A model file, how it is run, and on what."""

    model: Path
    runtime: str
    threads: int = 1
    feeding: Feeding = UNTOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonPlan:
    """How long to compare. `precision` is half the interval's width, as a share of the ratio.

    A launch starts both models anew and runs `rounds` rounds, each a block of either model; rounds
    that were polluted are run again, up to as many more. It stops as soon as the interval is narrow
    enough, but not before `min_launches`; and at `max_seconds`, starting included, in any case.
    A difference within `margin` is none.
    """

    precision: float = 0.01
    margin: float = 0.01
    max_seconds: float = 30.0
    min_launches: int = 8
    rounds: int = 8
    block_ms: float = 20.0
    first_warmup_ms: float = 100.0
    warmup_ms: float = 2.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A block of each model, one right after the other; `a_first` tells in which order."""

    a: TimingBlock
    b: TimingBlock
    a_first: bool

    @property
    def counted(self) -> bool:
        return self.a.counted and self.b.counted

    @property
    def medians_ms(self) -> tuple[float, float]:
        return _median_ms(self.a), _median_ms(self.b)


@dataclass(slots=True)
class Launch:
    """Rounds of one pair of processes, and what the rest of the machine did meanwhile."""

    rounds: list[Round] = field(default_factory=list)
    observed: Observed = field(default_factory=Observed)

    @property
    def counted(self) -> list[Round]:
        return [one for one in self.rounds if one.counted]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """B against A. `ratio` is the latency of B over that of A; `answer` is about B.

    `p50_a_ms` and `p50_b_ms` are medians over the turns: a little above those of models that have
    the caches to themselves.
    """

    a: Side
    b: Side
    ratio: Ratio
    answer: Answer
    margin: float
    p50_a_ms: float
    p50_b_ms: float
    launches: tuple[Launch, ...]
    verdict: Verdict
    verdict_cause: str
    stopped_by: str

    @property
    def interrupted(self) -> bool:
        return self.stopped_by == INTERRUPTED

    @property
    def rounds(self) -> int:
        return sum(len(launch.counted) for launch in self.launches)

    @property
    def rounds_left_out(self) -> int:
        return sum(len(launch.rounds) for launch in self.launches) - self.rounds


def compare(
    a: Side,
    b: Side,
    *,
    home: Home,
    plan: ComparisonPlan,
    waiting: Callable[[], None] = lambda: None,
    heard: Callable[[int, Ratio], None] = lambda launches, ratio: None,
) -> Comparison:
    """Measure two models in turns, in random order, each in a process of its own, and compare them.

    Interrupted (`KeyboardInterrupt`), it compares what there is, if there is a round of each model.

    Args:
        a: the model that B is held against.
        b: the model that the answer is about.
        home: whose lock lets one benchmark run at a time.
        plan: how long.
        waiting: called once if another benchmark has to end first.
        heard: called after each launch with their number and the ratio so far.

    Raises:
        ConfigError: text models of which one would be run on longer texts than the other.
        ConfigError, RuntimeUnavailable, InvalidModel: a model that cannot be opened; it is named.
        ModelCrashed: a model that died, which is named; the other one is not to blame.
    """
    lengths = [side.feeding.length for side in (a, b)]
    if None not in lengths and lengths[0] != lengths[1]:
        raise ConfigError(
            f"'{a.model.name}' would be run on {lengths[0]} tokens and '{b.model.name}' on {lengths[1]}",
            hint=f"run both on as many: --length {min(length for length in lengths if length)}",
        )
    for side in (a, b):
        check_model(side.model, runtime=side.runtime)
    launches: list[Launch] = []
    with exclusive(home, waiting=waiting):
        try:
            stopped_by = _launch_until_sure(a, b, plan, launches, heard)
        except KeyboardInterrupt:
            if not _counted(launches):
                raise
            stopped_by = INTERRUPTED
    return _comparison(a, b, plan, launches, stopped_by)


def _launch_until_sure(
    a: Side, b: Side, plan: ComparisonPlan, launches: list[Launch], heard: Callable[[int, Ratio], None]
) -> str:
    """Fill `launches`, so that they are there whatever ends this; return which rule stopped it."""
    order = _orders(random.Random(plan.seed))
    started = time.monotonic()
    while True:
        launches.append(Launch())
        _run_launch(a, b, plan, launches[-1], order)
        found = ratio([[one.medians_ms for one in launch.counted] for launch in launches])
        heard(len(launches), found)
        if len(launches) >= max(plan.min_launches, MIN_LAUNCHES) and found.half_width <= plan.precision:
            return f"the interval of the ratio is within ±{plan.precision:.1%}"
        if time.monotonic() - started >= plan.max_seconds:
            return f"the {plan.max_seconds:g} s allowed were used up"


def _run_launch(a: Side, b: Side, plan: ComparisonPlan, launch: Launch, a_first: Iterator[bool]) -> None:
    until = time.monotonic() + plan.max_seconds / plan.min_launches
    with _open(a, plan) as model_a, _open(b, plan) as model_b:
        for model in (model_a, model_b):
            model.turn(warmup_ms=plan.first_warmup_ms)
        before = _witness(model_a, model_b)
        while _goes_on(launch, plan, until):
            first = next(a_first)
            turns = (model_a, model_b) if first else (model_b, model_a)
            blocks = {model: model.turn(warmup_ms=plan.warmup_ms) for model in turns}
            launch.rounds.append(Round(a=blocks[model_a], b=blocks[model_b], a_first=first))
        if model_a.of_this_machine and model_b.of_this_machine:
            launch.observed = between(before, _witness(model_a, model_b))
    _settle(launch)


def _goes_on(launch: Launch, plan: ComparisonPlan, until: float) -> bool:
    done, counted = len(launch.rounds), len(launch.counted)
    if not done:
        return True
    return counted < plan.rounds and done < 2 * plan.rounds and time.monotonic() < until


def _settle(launch: Launch) -> None:
    """Where every round was polluted, count the least polluted: a launch without any says nothing."""
    if launch.counted:
        return
    shares = [max(one.a.off_cpu or 0.0, one.b.off_cpu or 0.0) for one in launch.rounds]
    for index in sorted(range(len(shares)), key=shares.__getitem__)[:SETTLED_ROUNDS]:
        kept = launch.rounds[index]
        launch.rounds[index] = replace(kept, a=_count(kept.a), b=_count(kept.b))


def _count(block: TimingBlock) -> TimingBlock:
    return replace(block, counted=True, reason="")


def _orders(generator: random.Random) -> Iterator[bool]:
    """Yield whether A goes first: at random in one round, the other way round in the next."""
    while True:
        first = generator.random() < 0.5
        yield first
        yield not first


class _Model:
    """A model that waits for its turns in a process of its own."""

    def __init__(self, side: Side, talk: Conversation, plan: ComparisonPlan) -> None:
        self._side = side
        self._talk = talk
        self._plan = plan
        self.own_s = 0.0
        self.of_this_machine = True

    def turn(self, *, warmup_ms: float) -> TimingBlock:
        question = {"block_ms": self._plan.block_ms, "warmup_ms": warmup_ms}
        try:
            told = self._talk.ask(question, timeout_s=SETUP_S)
        except EdgeBenchError as error:
            raise _named(error, self._side) from error
        self.own_s = told["own_s"]
        self.of_this_machine = told["of_this_machine"]
        return from_document(TimingBlock, told["block"], where="block")


@contextmanager
def _open(side: Side, plan: ComparisonPlan) -> Iterator[_Model]:
    job = {
        "runtime": side.runtime,
        "model": str(side.model.resolve()),
        "batch": 1,
        "threads": side.threads,
        "feeding": to_document(side.feeding),
    }
    with conversation("turns", job, timeout_s=SETUP_S + plan.max_seconds) as talk:
        yield _Model(side, talk, plan)


def _named(error: EdgeBenchError, side: Side) -> EdgeBenchError:
    """Return the error with the name of the model that it is about, one of two."""
    if side.model.name not in error.message:
        EdgeBenchError.__init__(error, f"'{side.model.name}': {error.message}", hint=error.hint)
    return error


def _witness(*models: _Model) -> Witness:
    """Read the machine's counters; what the models' processes used is our own work.

    How long this process waited for a CPU says nothing of the models: each block tells that itself.
    """
    seen = witness()
    own_s = seen.own_s + sum(model.own_s for model in models)
    return replace(seen, own_s=own_s, run_delay_ns=None)


def _comparison(
    a: Side, b: Side, plan: ComparisonPlan, launches: Sequence[Launch], stopped_by: str
) -> Comparison:
    for launch in launches:
        _settle(launch)
    kept = tuple(launch for launch in launches if launch.counted)
    found = ratio([[one.medians_ms for one in launch.counted] for launch in kept])
    counted = _counted(kept)
    observed = _together([launch.observed for launch in kept])
    judged = [
        judge([getattr(one, side) for launch in kept for one in launch.rounds], observed, precision=1.0)
        for side in ("a", "b")
    ]
    verdict, cause = max(judged, key=lambda one: _WORSE.index(one[0]))
    return Comparison(
        a=a,
        b=b,
        ratio=found,
        answer=found.answer(plan.margin),
        margin=plan.margin,
        p50_a_ms=_p50_ms([one.a for one in counted]),
        p50_b_ms=_p50_ms([one.b for one in counted]),
        launches=kept,
        verdict=verdict,
        verdict_cause=cause,
        stopped_by=stopped_by,
    )


def _together(observed: Sequence[Observed]) -> Observed:
    """Return what happened over all launches: shares as means, the worst clock, all throttling."""

    def told(name: str) -> list[Any]:
        return [value for one in observed if (value := getattr(one, name)) is not None]

    def mean(name: str) -> float | None:
        return sum(told(name)) / len(told(name)) if told(name) else None

    slowed, temperatures_c = told("slowed"), told("temperatures_c")
    return Observed(
        pressure=mean("pressure"),
        steal=mean("steal"),
        others=mean("others"),
        quota=mean("quota"),
        throttled=sum(told("throttled")) if told("throttled") else None,
        frequency=min(told("frequency"), default=None),
        clock=min(told("clock"), default=None),
        slowed=tuple(dict.fromkeys(word for words in slowed for word in words)) if slowed else None,
        temperatures_c=(temperatures_c[0][0], temperatures_c[-1][1]) if temperatures_c else None,
        headroom_c=min(told("headroom_c"), default=None),
    )


def _counted(launches: Sequence[Launch]) -> list[Round]:
    return [one for launch in launches for one in launch.counted]


def _p50_ms(blocks: Sequence[TimingBlock]) -> float:
    return percentile([value for block in blocks for value in block.latencies_ns], 50) / 1e6


def _median_ms(block: TimingBlock) -> float:
    return percentile(block.latencies_ns, 50) / 1e6
