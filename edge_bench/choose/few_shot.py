"""A predictor for a new device, from predictors of other devices and a few networks measured on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_bench.choose.encoding import Encoding
from edge_bench.choose.fitting import (
    fits,
    judge,
    left_out_in_turn,
    network_table,
    space_key,
    validity,
)
from edge_bench.choose.predictors import FeatureTable
from edge_bench.choose.predictors.line import Line
from edge_bench.choose.predictors.transfer import Transfer
from edge_bench.choose.sampling import choose
from edge_bench.errors import ConfigError, did_you_mean
from edge_bench.records import ArchConfig, FittedPredictor, SearchSpace
from edge_bench.store import now

KIND = "transfer"
CANDIDATES = 1000
FEWEST = 5


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What is to be measured, and why.

    Attributes:
        samples: to fit on, in the order they were chosen.
        uncertainty: after each of `samples` what is left of the uncertainty there was before any, a share.
        held_out: to judge on, drawn at random and never looked at in fitting.
    """

    samples: tuple[ArchConfig, ...]
    uncertainty: tuple[float, ...]
    held_out: tuple[ArchConfig, ...]


def sources_of(
    known: Sequence[FittedPredictor], devices: Sequence[str], space: SearchSpace, *, runtime: str
) -> tuple[FittedPredictor, ...]:
    """Return for each device its newest predictor that answers for `space`, one of `runtime` before others.

    Raises:
        ConfigError: a device has none; those that have one are told.
    """
    fitting = [one for one in known if fits(one, space) and one.kind != KIND and one.precision == "fp32"]
    found = []
    for device in devices:
        mine = [one for one in fitting if one.device == device]
        if not mine:
            others = sorted({one.device for one in fitting})
            told = f"Those that answer: {', '.join(others)}." if others else "No device has one."
            raise ConfigError(
                f"no predictor of device '{device}' answers for networks of space '{space.name}'. {told}"
                f"{did_you_mean(device, others)}",
                hint="edge-bench fit measures this machine; edge-bench devices list shows the others",
            )
        found.append(max(mine, key=lambda one: (one.runtime == runtime, one.batch == 1, one.created)))
    return tuple(found)


def choose_networks(
    space: SearchSpace,
    sources: Sequence[FittedPredictor],
    *,
    samples: int,
    held_out: int,
    seed: int,
) -> Sampling:
    """Choose the networks to measure on a new device, among a thousand random ones of `space`.

    Raises:
        ConfigError: fewer samples than a fit needs, or more than the space has networks for.
    """
    if samples < FEWEST or held_out < 0:
        raise ConfigError(f"--samples must be {FEWEST} or more, --held-out 0 or more")
    generator = np.random.default_rng(seed)
    encoding = Encoding(space)
    archs = encoding.decode(np.unique(encoding.sample(CANDIDATES, generator), axis=0))
    if len(archs) < 2 * (samples + held_out):
        raise ConfigError(
            f"space '{space.name}' has too few networks to choose {samples + held_out} from",
            hint="fewer --samples, or fewer --held-out",
        )
    mixed = generator.permutation(len(archs))
    unseen, among = mixed[:held_out], mixed[held_out:]
    table = _compact(network_table(space, archs, sources))
    chosen = choose(table, samples, among=among.tolist(), seed=seed)
    return Sampling(
        samples=tuple(archs[row] for row in chosen.rows),
        uncertainty=chosen.uncertainty,
        held_out=tuple(archs[row] for row in unseen),
    )


def fit_transfer(
    space: SearchSpace,
    sources: Sequence[FittedPredictor],
    sampling: Sampling,
    latencies_ms: Sequence[float],
    *,
    device: str,
    runtime: str,
    threads: int,
) -> FittedPredictor:
    """Fit on `latencies_ms` of the samples, and judge on those of the held-out networks that follow.

    Without held-out networks each sample is left out in turn, which is a harder test: they are extremes.
    """
    seen = network_table(space, sampling.samples, sources)
    seen_ms = np.array(latencies_ms[: len(seen)])
    errors = tuple(left_out_in_turn(kind, seen, seen_ms) for kind in (Transfer, Line))
    how = "each left out in turn"
    if sampling.held_out:
        unseen = network_table(space, sampling.held_out, sources)
        unseen_ms = np.array(latencies_ms[len(seen) :])
        errors = tuple(
            judge(kind().fit(seen, seen_ms).predict(unseen), unseen_ms) for kind in (Transfer, Line)
        )
        how = f"{len(unseen)} others held out"
    return FittedPredictor(
        id=f"{device}-{runtime}-{threads}-fp32-{space_key(space)}-{KIND}",
        kind=KIND,
        device=device,
        runtime=runtime,
        threads=threads,
        precision="fp32",
        space=space_key(space),
        fitted_networks=len(seen),
        parameters=Transfer().fit(seen, seen_ms).parameters(),
        validity=validity(seen),
        held_out=errors[0],
        baseline=errors[1],
        created=now(),
        method=f"{len(seen)} networks chosen and measured on the device, {how}; with what is known of "
        f"{', '.join(source.device for source in sources)}",
        sources=tuple(replace(source, memory=None) for source in sources),
    )


def _compact(table: FeatureTable) -> FeatureTable:
    """Return the columns that `Transfer` learns from."""
    names = Transfer().chosen(table.names)
    return FeatureTable(names=tuple(names), values=table.columns(names))
