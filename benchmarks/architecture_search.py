"""Architecture search: how fast architectures are scored, how fast and how good the fronts are.

Four parts, all on one core:
- scoring with once-for-all's published accuracy predictor (128-400-400-400-1; random weights where it is
  not at hand), one-hot encoding included;
- the exact front of the whole MobileNetV3 space (25 resolutions) for an additive accuracy, fitted to
  that predictor, against multiply-accumulates; the tables of costs are built within the time;
- the front of NSGA-II against the exact front by enumeration, and against that of random search at equal
  numbers of evaluations, on a part of that space, with the predictor itself;
- NSGA-II against pymoo's (PyPI's `pymoo`, in the extra `peers`; left out where it is not installed) on the
  same part and predictor, seed by seed in turns, with equal populations and equal numbers of evaluations.
  pymoo draws integers and rounds what its crossover and mutation give, once with the indices its guide to
  discrete variables uses and once with those of its NSGA-II; a bar is held against the better of the two,
  and against the front of all that pymoo scored, as ours is, not only of those that survived.

Hypervolumes reach down to the worst cost and quality on the exact front.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from report import INSTALL_PEERS, Bar, arguments, data_folder, write

from edge_bench.choose.costs import BlockTable, macs_table
from edge_bench.choose.encoding import Encoding, Rows
from edge_bench.choose.perceptron import Perceptron
from edge_bench.choose.search import Problem, search
from edge_bench.choose.search.enumeration import enumerate_all
from edge_bench.choose.search.evolution import evolve
from edge_bench.choose.search.fronts import Floats, hypervolume
from edge_bench.records import SearchSpace
from supernet.spaces.mobilenet_v3 import MobilenetV3

# One thread, and the kernels that numpy's OpenBLAS picks for this processor by itself.
ONE_CORE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
AIMS = {
    "scored_per_second": 100_000,
    "exact_front_seconds": 0.3,
    "share_of_exact_front": 1.0,
    "gain_over_random": 1.03,
}
PEER = {"scored_per_second_nas": 929, "scored_per_second_tutorial": 10_091}
ROUNDS = 7
# Both of pymoo's NSGA-II and ours; the population is what ours takes for so many by default.
DUEL = {"evaluations": 10_000, "population": 150}
# Settings of pymoo's simulated binary crossover and polynomial mutation.
OPERATORS = {
    "guide_to_discrete_variables": ({"prob": 1.0, "eta": 3.0}, {"prob": 1.0, "eta": 3.0}),
    "defaults_of_nsga2": ({"prob": 0.9, "eta": 15}, {"eta": 20}),
}
# Resolutions the published predictor was trained for, of the eight it takes.
LEARNED = (160, 176, 192, 208, 224)


def main() -> int:
    options = arguments(__doc__)
    if any(os.environ.get(name) != value for name, value in ONE_CORE.items()):
        kept = {name: value for name, value in os.environ.items() if name not in OVERRIDES}
        return subprocess.run([sys.executable, *sys.argv], env=kept | ONE_CORE, check=False).returncode
    full = options.size != "smoke"
    started = time.monotonic()
    encoding = Encoding(_space(resolutions=tuple(range(112, 225, 16))))
    network, weights = _published(encoding)
    scoring = _scoring(network, encoding, count=50_000 if full else 10_000)
    merging = _merging(network, encoding)
    fronts = _fronts(network, encoding, seeds=tuple(range(7 if full else 5)), full=full)
    evaluated = fronts["evaluations"]
    bars = [
        Bar(
            name="architectures scored per second and core",
            floor=50_000,
            figure=scoring["scored_per_second"],
            unit="/s",
        ),
        Bar(
            name=f"full exact front of {merging['architectures']:.1e} architectures",
            floor=2.0,
            figure=merging["exact_front_seconds"],
            unit="s",
            at_most=True,
        ),
        Bar(
            name="hypervolume of NSGA-II against enumeration",
            floor=0.99,
            figure=fronts["share_of_exact_front"],
            unit="of the exact front's",
        ),
        *(
            Bar(
                name=f"hypervolume of NSGA-II against random search at {count} evaluations",
                floor=1.0,
                figure=evaluated[str(count)]["gain_over_random"],
                unit="times random's",
            )
            for count in (1_000, 10_000)
        ),
    ]
    if pymoo := fronts.get("pymoo"):
        bars += [
            Bar(
                name="search by hand against pymoo: time ratio",
                floor=1.0,
                figure=pymoo["time_ratio"],
                unit="times our core seconds",
            ),
            Bar(
                name="search by hand against pymoo: hypervolume ratio",
                floor=1.0,
                figure=pymoo["hypervolume_ratio"],
                unit="times pymoo's",
            ),
        ]
    else:
        print(f"left out: NSGA-II against pymoo's, which is not installed; {INSTALL_PEERS}")
    figures = {"scoring": scoring, "merging": merging, "fronts": fronts, "aims": AIMS, "peer": PEER}
    return write(
        Path(__file__).stem,
        options.size,
        figures,
        bars,
        weights=weights,
        seconds=round(time.monotonic() - started, 1),
    )


def _space(**options: object) -> SearchSpace:
    return MobilenetV3(**options).build(input_channels=3, classes=1000)  # type: ignore[arg-type]


def _published(encoding: Encoding) -> tuple[Perceptron, str]:
    """Return the published predictor, its inputs in the order of `Encoding.one_hot`, and what it is.

    The published order is all kernels, all expand ratios, then resolutions of 112 to 224 px.
    """
    path = data_folder() / "ofa_published" / "acc_predictor.npz"
    if not path.is_file():
        generator = np.random.default_rng(0)
        sizes = (encoding.one_hot_width, 400, 400, 400, 1)
        shapes = list(zip(sizes, sizes[1:], strict=False))
        random = [generator.normal(0, (2 / shape[0]) ** 0.5, shape) for shape in shapes]
        return Perceptron(random, [np.zeros(shape[1]) for shape in shapes]), "random"
    with np.load(path) as stored:
        weights = [stored[f"{layer}.weight"].T for layer in (0, 2, 4, 6)]
        biases = [stored[f"{layer}.bias"] for layer in (0, 2, 4, 6)]
    kernels = np.arange(60).reshape(20, 3)
    order = np.concatenate([120 + np.arange(8), np.hstack([kernels, 60 + kernels]).ravel()])
    weights[0] = weights[0][order]
    return Perceptron(weights, biases), "published"


def _scoring(network: Perceptron, encoding: Encoding, *, count: int) -> dict[str, float]:
    rows = encoding.sample(count, np.random.default_rng(0))
    values = encoding.one_hot(rows[:1000]).astype(np.float64)
    for layer, (weights, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        values = values @ weights + bias
        if layer < len(network.weights) - 1:
            values = np.maximum(values, 0)
    error = float(np.abs(network.score(encoding, rows[:1000]) - values[:, 0]).max())
    if error > 1e-5:
        raise RuntimeError(f"scores differ from double precision by {error:g}")
    # Of a core's own time: others on the machine may take turns on it.
    seconds = _seconds(lambda: network.score(encoding, rows), clock=time.process_time)
    return {
        "scored_per_second": count / statistics.median(seconds),
        "best_per_second": count / min(seconds),
        "architectures": count,
        "largest_error": error,
    }


def _merging(network: Perceptron, encoding: Encoding) -> dict[str, float]:
    whole = Encoding(_space(resolutions=tuple(range(128, 225, 4))))
    quality = _additive(network, encoding, whole)

    def front() -> int:
        return len(search(Problem(encoding=whole, quality=quality, cost=macs_table(whole))).rows)

    cost = macs_table(whole)
    found = search(Problem(encoding=whole, quality=quality, cost=cost))
    if found.method != "exact merge":
        raise RuntimeError(f"the front came from {found.method}")
    archs = whole.decode(found.rows)
    rows = whole.encode(archs)
    if not (np.array_equal(quality(rows), found.qualities) and np.array_equal(cost(rows), found.costs)):
        raise RuntimeError("a point of the front is not what its architecture scores")
    merged = _seconds(lambda: search(Problem(encoding=whole, quality=quality, cost=cost)))
    return {
        "exact_front_seconds": statistics.median(_seconds(front)),
        "exact_front_core_seconds": statistics.median(_seconds(front, clock=time.process_time)),
        "without_tables_seconds": statistics.median(merged),
        "architectures": float(whole.space.size()),
        "points": len(found.rows),
    }


def _additive(network: Perceptron, encoding: Encoding, whole: Encoding) -> BlockTable:
    """Return the sum over blocks that is nearest to the predictor, its resolutions interpolated."""
    generator = np.random.default_rng(1)
    rows = encoding.sample(20_000, generator)
    learned = [encoding.space.resolutions.index(side) for side in LEARNED]
    rows[:, 0] = generator.choice(learned, len(rows))
    columns = encoding.one_hot(rows).astype(np.float64)
    slopes = np.linalg.lstsq(columns, network.score(encoding, rows), rcond=None)[0]
    sides = np.array(whole.space.resolutions)
    # Below what was learned the line through the two smallest goes on.
    line = np.polyfit(LEARNED[:2], slopes[learned[:2]], 1)
    base = np.where(sides < LEARNED[0], np.polyval(line, sides), np.interp(sides, LEARNED, slopes[learned]))
    kernels, expands = slopes[len(encoding.space.resolutions) :].reshape(-1, 2, 3).swapaxes(0, 1)
    blocks = np.broadcast_to(kernels[:, :, None] + expands[:, None, :], (len(sides), len(kernels), 3, 3))
    return BlockTable(encoding=whole, name="accuracy", base=base, blocks=blocks)


def _fronts(
    network: Perceptron, encoding: Encoding, *, seeds: tuple[int, ...], full: bool
) -> dict[str, object]:
    """Compare fronts on a part of the space; under "pymoo", where it is installed, with its NSGA-II."""
    kernels = ((3,), (3, 5), (3,), (3, 7), (3,)) if full else ((3,), (3, 5), (3,), (3,), (3,))
    space = _space(
        resolutions=(160, 192, 224) if full else (160, 224),
        depths=((2,), (2, 3), (2, 3), (2, 3), (2,)),
        kernels=kernels,
        expands=((3, 6),) * 5,
    )
    part = Encoding(space)
    lift = _lift(part, encoding)
    problem = Problem(
        encoding=part, quality=lambda rows: network.score(encoding, lift(rows)), cost=macs_table(part)
    )
    began = time.perf_counter()
    exact = enumerate_all(problem)
    enumeration_seconds = time.perf_counter() - began
    worst = {"worst_cost": float(exact.costs[-1]), "worst_quality": float(exact.qualities[0])}
    whole = hypervolume(exact.costs, exact.qualities, **worst)
    evaluations = {}
    counts = (1_000, 10_000, 50_000) if full else (1_000, 10_000)
    for count in counts:
        ours, theirs, seconds = [], [], []
        for seed in seeds:
            began = time.perf_counter()
            found = evolve(problem, evaluations=count, seed=seed)
            seconds.append(time.perf_counter() - began)
            ours.append(hypervolume(found.costs, found.qualities, **worst) / whole)
            rows = _distinct(part, count, seed)
            theirs.append(hypervolume(problem.cost(rows), problem.quality(rows), **worst) / whole)
        evaluations[str(count)] = {
            "nsga2": ours,
            "random": theirs,
            "nsga2_median": statistics.median(ours),
            "random_median": statistics.median(theirs),
            "gain_over_random": statistics.median(
                one / other for one, other in zip(ours, theirs, strict=True)
            ),
            "seconds": statistics.median(seconds),
        }
    against = {}
    if find_spec("pymoo"):
        against["pymoo"] = _against_pymoo(
            problem, seeds, lambda costs, qualities: hypervolume(costs, qualities, **worst) / whole
        )
    return {
        "architectures": space.size(),
        "exact_points": len(exact.rows),
        "enumeration_seconds": enumeration_seconds,
        "seeds": list(seeds),
        "evaluations": evaluations,
        "share_of_exact_front": evaluations[str(counts[-1])]["nsga2_median"],
        **against,
    }


def _against_pymoo(
    problem: Problem, seeds: tuple[int, ...], share: Callable[[Floats, Floats], float]
) -> dict[str, object]:
    """Return core seconds and `share` of pymoo's NSGA-II and ours, and the medians of the seeds' ratios.

    pymoo ends with the generation that reaches the number of evaluations; ours then gets as many.
    """
    population = DUEL["population"]
    settings = {}
    for name in OPERATORS:
        rounds = []
        # The first round warms up both.
        for seed in (seeds[0], *seeds):
            began = time.process_time()
            costs, qualities, last = _pymoo(problem, name, seed)
            between = time.process_time()
            found = evolve(problem, evaluations=len(costs), population=population, seed=seed)
            ended = time.process_time()
            if found.considered != len(costs):
                raise RuntimeError(f"{found.considered} evaluations against pymoo's {len(costs)}")
            rounds.append(
                {
                    "evaluations": len(costs),
                    "core_seconds": ended - between,
                    "pymoo_core_seconds": between - began,
                    "hypervolume": share(found.costs, found.qualities),
                    "pymoo_hypervolume": share(costs, qualities),
                    "pymoo_hypervolume_of_survivors": share(*last),
                }
            )
        settings[name] = _duel(rounds[1:])
    return {
        "version": metadata.version("pymoo"),
        **DUEL,
        "settings": settings,
        **{
            ratio: min(one[ratio] for one in settings.values())
            for ratio in ("time_ratio", "hypervolume_ratio")
        },
    }


def _duel(rounds: list[dict[str, float]]) -> dict[str, object]:
    def ratio(over: str, under: str) -> float:
        return statistics.median(one[over] / one[under] for one in rounds)

    return {
        **{name: [one[name] for one in rounds] for name in rounds[0]},
        "time_ratio": ratio("pymoo_core_seconds", "core_seconds"),
        "hypervolume_ratio": ratio("hypervolume", "pymoo_hypervolume"),
    }


def _pymoo(problem: Problem, setting: str, seed: int) -> tuple[Floats, Floats, tuple[Floats, Floats]]:
    """Return costs and qualities of all that pymoo scored, and those of the front it returns."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem as PymooProblem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    encoding = problem.encoding
    scored = []

    class Scores(PymooProblem):
        def __init__(self) -> None:
            super().__init__(n_var=encoding.columns, n_obj=2, xl=0, xu=encoding.choices - 1, vtype=int)

        def _evaluate(
            self, x: np.ndarray, out: dict[str, np.ndarray], *args: object, **kwargs: object
        ) -> None:
            rows = encoding.canonical(x.astype(np.uint8))
            out["F"] = np.column_stack([problem.cost(rows), -problem.quality(rows)])
            scored.append(out["F"])

    crossover, mutation = OPERATORS[setting]
    algorithm = NSGA2(
        pop_size=DUEL["population"],
        sampling=IntegerRandomSampling(),
        crossover=SBX(**crossover, vtype=float, repair=RoundingRepair()),
        mutation=PM(**mutation, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    front = minimize(Scores(), algorithm, ("n_eval", DUEL["evaluations"]), seed=seed).F
    every = np.concatenate(scored)
    return every[:, 0], -every[:, 1], (front[:, 0], -front[:, 1])


def _lift(part: Encoding, whole: Encoding) -> Callable[[Rows], Rows]:
    """Return what turns rows of a part of a space into rows of the whole."""
    source, target, tables = [], [], []

    def add(column: int, of: int, chosen: tuple[int, ...], known: tuple[int, ...]) -> None:
        source.append(column)
        target.append(of)
        tables.append(np.array([known.index(value) for value in chosen], np.uint8))

    add(0, 0, part.space.resolutions, whole.space.resolutions)
    for number, (stage, of) in enumerate(zip(part.space.stages, whole.space.stages, strict=True)):
        add(part.depth_columns[number], whole.depth_columns[number], stage.depths, of.depths)
        places, others = np.flatnonzero(part.stages == number), np.flatnonzero(whole.stages == number)
        for place, other in zip(places, others, strict=False):
            add(part.kernel_columns[place], whole.kernel_columns[other], stage.kernels, of.kernels)
            add(part.expand_columns[place], whole.expand_columns[other], stage.expands, of.expands)

    def lift(rows: Rows) -> Rows:
        lifted = np.zeros((len(rows), whole.columns), np.uint8)
        for column, of, table in zip(source, target, tables, strict=True):
            lifted[:, of] = table[rows[:, column]]
        return whole.canonical(lifted)

    return lift


def _distinct(encoding: Encoding, count: int, seed: int) -> Rows:
    generator = np.random.default_rng([seed, count])
    rows = np.empty((0, encoding.columns), np.uint8)
    while len(rows) < count:
        rows = np.unique(np.concatenate([rows, encoding.sample(count, generator)]), axis=0)
    return generator.permutation(rows)[:count]


def _seconds(work: Callable[[], object], *, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    work()
    measured = []
    for _ in range(ROUNDS):
        began = clock()
        work()
        measured.append(clock() - began)
    return measured


if __name__ == "__main__":
    sys.exit(main())
