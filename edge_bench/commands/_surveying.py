"""Measuring what nobody has trained: files written straight from operators, visited in turns."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from edge_bench.choose.candidates import RUNTIMES
from edge_bench.choose.fitting import space_key
from edge_bench.commands import Context
from edge_bench.commands.export import subnets_of
from edge_bench.devices import bundle
from edge_bench.devices.job import SurveyOptions, survey_job
from edge_bench.devices.registry import Device, Registry
from edge_bench.devices.transports import transport_of
from edge_bench.documents import digest
from edge_bench.errors import ConfigError
from edge_bench.records import (
    THIS_MACHINE,
    ArchConfig,
    Operator,
    SearchSpace,
    Survey,
    macs_of,
    operators,
)
from edge_bench.store import ResultStore

# Two visits to the same networks that differ by more than this were disturbed.
AGREEMENT = 0.03
SURVEYS = 4
ROUNDS = 6
ROUND_MS = 12.0
# What is open at once in one child, and travels at once: a small board has little memory.
BUNDLE_FILES = 48
BUNDLE_BYTES = 192_000_000
# Older visits may be of a device that was changed since.
KEPT_FOR = timedelta(hours=24)


@dataclass(frozen=True)
class Surveyed:
    """Latencies in ms, and the 90th percentile by which repeated surveys of a network differed."""

    latencies_ms: list[float]
    disagreement: float
    surveys: int


@dataclass(frozen=True)
class Drawn:
    """Networks to fit on and networks to judge on; no network is in both."""

    fitted: list[ArchConfig]
    held_out: list[ArchConfig]


@dataclass(frozen=True)
class Sketch:
    """Something to visit: a name for its file, and the operators that it computes in a row."""

    name: str
    operators: tuple[Operator, ...]

    @staticmethod
    def of_network(space: SearchSpace, arch: ArchConfig) -> Sketch:
        """Return a whole network, named by its key."""
        return Sketch(arch.key, operators(space, arch))

    @staticmethod
    def of_block(block: Sequence[Operator]) -> Sketch:
        """Return a block; equal blocks of different places have equal names."""
        alike = tuple(replace(one, block=0) for one in block)
        return Sketch(f"block-{digest(alike)}", alike)

    @property
    def size_bytes(self) -> int:
        """The bytes of its weights; the file adds some thousands."""
        return 4 * sum(one.weights for one in self.operators)


class Surveyor:
    """Visits sketches on one device in one runtime.

    What a visit found is in the store before the next begins: Ctrl-C, or a device that falls silent,
    costs the bundle at hand.

    Attributes:
        visits: for each name the latencies in ms of its visits, in order.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        device: str,
        runtime: str,
        threads: int,
        context: Context,
        store: ResultStore,
    ) -> None:
        """`ConfigError` where `device` is none of one's own."""
        self.visits: dict[str, list[float]] = {}
        self._space = space_key(space)
        self._runtime = runtime
        self._threads = threads
        self._context = context
        self._store = store
        self._transport = transport_of(device_named(device, store), home=context.home, store=store)
        self._seconds = 0.0
        self._visited = 0

    def recall(self, *, within: timedelta = KEPT_FOR) -> int:
        """Take what was visited here lately as visited; return how many names that is."""
        for survey in self._store.surveys(device=self._transport.device.name):
            alike = (survey.space, survey.runtime, survey.threads) == (
                self._space,
                self._runtime,
                self._threads,
            )
            if alike and datetime.now(UTC) - datetime.fromisoformat(survey.created) < within:
                self._take(survey)
        return len(self.visits)

    def visit(self, sketches: Sequence[Sketch], *, until: float = float("inf"), what: str) -> None:
        """Visit each once, a bundle at a time; begin none that would not end by `until` (monotonic s).

        Raises:
            EdgeBenchError: what the device answers, or that it does not.
        """
        bundles = list(_bundled(sketches))
        where = f"{what} on {self._transport.device.name} in {self._runtime}"
        for part in self._context.track(bundles, description=f"measure {where}", total=len(bundles)):
            begun = time.monotonic()
            if begun + self.seconds_each * len(part) > until:
                return
            self._take(self._surveyed(part))
            self._seconds += time.monotonic() - begun
            self._visited += len(part)

    @property
    def seconds_each(self) -> float:
        """How long a visit took so far, writing and sending the file included; 0 before the first."""
        return self._seconds / self._visited if self._visited else 0.0

    def latency_ms(self, name: str) -> float:
        """Return the least latency of all visits: what disturbs a visit only ever adds."""
        return min(self.visits[name])

    def disagreement(self, names: Sequence[str]) -> float:
        """Return the share by which the last visit differs from the least of those before it.

        It is the 90th percentile over those of `names` that were visited twice or more; infinite where
        there is none.
        """
        pairs = [(seen[-1], min(seen[:-1])) for seen in map(self.visits.get, names) if seen and seen[1:]]
        if not pairs:
            return float("inf")
        return float(np.quantile([abs(last - best) / min(last, best) for last, best in pairs], 0.9))

    def _take(self, survey: Survey) -> None:
        for name, latency_ms in survey.latencies_ms.items():
            self.visits.setdefault(name, []).append(latency_ms)

    def _surveyed(self, part: Sequence[Sketch]) -> Survey:
        from converters import sketches

        form = next(form for form, of in RUNTIMES.items() if of == self._runtime)
        write = {"onnx": sketches.write_operators_onnx, "tflite": sketches.write_operators_tflite}[form]
        options = SurveyOptions(
            space=self._space,
            runtime=self._runtime,
            threads=self._threads,
            rounds=ROUNDS,
            round_ms=ROUND_MS,
        )
        with tempfile.TemporaryDirectory(prefix="edge-bench-survey-") as folder:
            files = [Path(folder) / f"{one.name}.{form}" for one in part]
            for file, one in zip(files, part, strict=True):
                write(one.operators, file)
            packed = Path(folder) / f"survey{bundle.SUFFIX}"
            bundle.pack(files, packed)
            survey = self._transport.run(survey_job(packed, options), packed, say=self._context.say)
        assert isinstance(survey, Survey)
        self._store.add(survey)
        return survey


def survey_networks(
    space: SearchSpace,
    archs: Sequence[ArchConfig],
    *,
    device: str,
    runtime: str,
    threads: int,
    context: Context,
) -> Surveyed:
    """Measure until two surveys agree, at most `SURVEYS` times; a network's latency is its least.

    Weights do not change latency, so the files hold random ones.

    Raises:
        ConfigError: a device that is none of one's own.
        EdgeBenchError: what the device answers, or that it does not.
    """
    sketched = [Sketch.of_network(space, arch) for arch in archs]
    names = [one.name for one in sketched]
    # Mixed, so that what disturbs a bundle disturbs all kinds of networks.
    mixed = [sketched[place] for place in np.random.default_rng(0).permutation(len(sketched))]
    with context.store() as store:
        surveyor = Surveyor(
            space, device=device, runtime=runtime, threads=threads, context=context, store=store
        )
        surveys = 0
        while surveys < 2 or (surveyor.disagreement(names) > AGREEMENT and surveys < SURVEYS):
            surveyor.visit(mixed, what=f"{len(archs)} networks")
            surveys += 1
    return Surveyed(
        latencies_ms=[surveyor.latency_ms(name) for name in names],
        disagreement=surveyor.disagreement(names),
        surveys=surveys,
    )


def draw(space: SearchSpace, nets: int, held_out: int, *, seed: int) -> Drawn:
    """Draw distinct random networks, spread over the space's range of MACs.

    Uniform choices gather about the middle, so networks are drawn many times over and thinned to be
    even in log MACs. Both extremes are among the fitted.

    Raises:
        ConfigError: the space has fewer networks than asked for.
    """
    generator = np.random.default_rng(seed)
    extremes = [space.smallest(), space.largest()]
    wanted = nets + held_out
    if space.size() < 2 * wanted:
        raise ConfigError(f"space '{space.name}' has {space.size()} networks; ask for fewer --nets")
    pool = {arch.key: arch for arch in (_spread(space, generator) for _ in range(8 * wanted))}
    for arch in extremes:
        pool.pop(arch.key, None)
    macs = {key: macs_of(space, arch) for key, arch in pool.items()}
    ordered = sorted(pool, key=macs.__getitem__)
    targets = np.linspace(np.log(macs[ordered[0]]), np.log(macs[ordered[-1]]), wanted - len(extremes))
    spread: list[ArchConfig] = []
    for target in targets:
        nearest = min(ordered, key=lambda key: abs(np.log(macs[key]) - target))
        ordered.remove(nearest)
        spread.append(pool[nearest])
    places = set(generator.choice(len(spread), size=held_out, replace=False).tolist())
    return Drawn(
        fitted=extremes + [arch for place, arch in enumerate(spread) if place not in places],
        held_out=[arch for place, arch in enumerate(spread) if place in places],
    )


def space_of_run(run: str | None, context: Context) -> SearchSpace:
    """Return the search space of a run with subnets, by default the newest.

    Raises:
        ConfigError: there is no subnet, or they are of a text model or of a network without choices, which
            have no such space.
    """
    with context.store() as store:
        subnets = store.subnets()
    if not subnets:
        raise ConfigError(
            "there is no subnet in the store, so no search space is known",
            hint="edge-bench train RUN.toml, then edge-bench extract RUN",
        )
    newest = subnets_of(subnets, run)[-1]
    if not isinstance(newest.space, SearchSpace):
        what = "a text model" if newest.text else "one network without choices"
        raise ConfigError(
            f"run '{newest.run}' trains {what}, whose latency is not surveyed on untrained files",
            hint="edge-bench bench --all measures its files; or name the run of a supernet: --run",
        )
    return newest.space


def device_named(name: str, store: ResultStore) -> Device:
    """Return this machine, or a device of one's own; `ConfigError` where there is none of that name."""
    here = Device(name=THIS_MACHINE, transport="local")
    return here if name == THIS_MACHINE else Registry(store).get(name)


def _spread(space: SearchSpace, generator: np.random.Generator) -> ArchConfig:
    """Return a network on the way from an extreme to a random one, so that the ends are reached too."""
    start = space.largest() if generator.random() < 0.5 else space.smallest()
    return space.mutate(start, generator, probability=float(generator.random()))


def _bundled(sketches: Sequence[Sketch]) -> Iterator[list[Sketch]]:
    """Yield the sketches in order, as many at a time as go together."""
    part: list[Sketch] = []
    for one in sketches:
        full = sum(other.size_bytes for other in part) + one.size_bytes > BUNDLE_BYTES
        if part and (full or len(part) == BUNDLE_FILES):
            yield part
            part = []
        part.append(one)
    if part:
        yield part
