"""What is known of many networks before they are measured: latency, file size, footprint.

The networks of a search space are asked about together. Each gets what `shipped.answering`,
`fitting.predict`, `memory.file_bytes` and `memory.footprint` say of it alone, in a small part of the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edge_bench.choose.features import SHAPE, block_features
from edge_bench.choose.fitting import (
    OUTSIDE_FACTOR,
    open_predictor,
    outside,
    source_column,
    space_key,
    summed,
)
from edge_bench.choose.memory import file_bytes, file_bytes_of, footprint, footprint_of
from edge_bench.choose.networks import Networks
from edge_bench.choose.predictors import FeatureTable, Predictions
from edge_bench.choose.shipped import able, answering, foretold, preference, told_of_another
from edge_bench.records import (
    ArchConfig,
    FittedPredictor,
    Footprint,
    PlainSpace,
    Prediction,
    SearchSpace,
    Subnet,
)


@dataclass(frozen=True)
class Foretold:
    """What one predictor says of networks, and of which it warns [n] that they lie outside."""

    fitted: FittedPredictor
    seen: FeatureTable
    predictions: Predictions
    warned: npt.NDArray[np.bool_]
    # [networks] the rows of `seen` of each, where a row is a block.
    rows: Sequence[npt.NDArray[np.int64]] | None = None

    def of(self, network: int) -> Prediction:
        """Return what it says of one network, by its number."""
        told = self.predictions
        ends = (told.latency_ms[network], told.low_ms[network], told.high_ms[network])
        latency, low, high = map(float, ends)
        if not self.warned[network]:
            return Prediction(latency_ms=latency, low_ms=low, high_ms=high)
        mine = [network] if self.rows is None else self.rows[network]
        warning = outside(self.seen.taken(mine), self.fitted)
        if self.rows is not None:
            low, high = min(low, latency / OUTSIDE_FACTOR), max(high, latency * OUTSIDE_FACTOR)
        return Prediction(latency_ms=latency, low_ms=low, high_ms=high, warning=warning)


def foretell(fitted: FittedPredictor, networks: Networks) -> Foretold:
    """Return what `fitting.predict` says of each of many networks."""
    return (_by_parts if fitted.unit == "block" else _whole)(fitted, networks)


def _whole(fitted: FittedPredictor, networks: Networks) -> Foretold:
    seen = networks.features
    if fitted.sources:
        told = [foretell(source, networks).predictions.latency_ms for source in fitted.sources]
        names = (*seen.names, *(source_column(source) for source in fitted.sources))
        seen = FeatureTable(names=names, values=np.column_stack([seen.values, *told]))
    own = [place for place, name in enumerate(seen.names) if not name.startswith(SHAPE)]
    low, high = np.array([fitted.validity.get(seen.names[place], (0.0, 0.0)) for place in own]).T
    values = seen.values[:, own]
    # As `outside` sees it.
    warned = ((values < 0.9 * low) | (values > 1.1 * high)).any(axis=1)
    return Foretold(fitted, seen, open_predictor(fitted).predict(seen), warned)


def _by_parts(fitted: FittedPredictor, networks: Networks) -> Foretold:
    seen = FeatureTable.of([block_features(part.operators) for part in networks.parts])
    priced = open_predictor(fitted).predict(seen)
    strange = np.array([bool(outside(seen.taken([part]), fitted)) for part in range(len(seen))])
    rows = np.split(networks.members, networks.starts[1:])
    told = [
        summed(
            Predictions(
                latency_ms=priced.latency_ms[mine], low_ms=priced.low_ms[mine], high_ms=priced.high_ms[mine]
            ),
            fitted,
        )
        for mine in rows
    ]
    predictions = Predictions(
        latency_ms=np.array([one.latency_ms for one in told]),
        low_ms=np.array([one.low_ms for one in told]),
        high_ms=np.array([one.high_ms for one in told]),
    )
    return Foretold(fitted, seen, predictions, np.array([strange[mine].any() for mine in rows]), rows)


class Foretelling:
    """What is foretold of subnets that take images, those of a search space together, when first asked.

    Args:
        subnets: those that will be asked about.
        fitted: predictors of one device.
    """

    def __init__(self, subnets: Iterable[Subnet], fitted: Sequence[FittedPredictor]) -> None:
        self._fitted = fitted
        archs: dict[SearchSpace, list[ArchConfig]] = {}
        places: dict[str, tuple[SearchSpace, int]] = {}
        for subnet in subnets:
            if isinstance(subnet.space, SearchSpace):
                alike = archs.setdefault(subnet.space, [])
                places[subnet.id] = (subnet.space, len(alike))
                alike.append(subnet.arch)
        groups = {space: _Group(space, alike, fitted) for space, alike in archs.items()}
        self._places = {name: (groups[space], place) for name, (space, place) in places.items()}

    def latency(
        self, subnet: Subnet, runtime: str, precision: str
    ) -> tuple[FittedPredictor, Prediction] | None:
        """Return the predictor that answers and what it says; None where none does."""
        if subnet.id in self._places:
            group, place = self._places[subnet.id]
            return group.latency(place, runtime, precision)
        space, arch = _of_images(subnet), subnet.arch
        known = answering(self._fitted, space, [arch], runtime=runtime, precision=precision)
        return (known, foretold(known, space, arch, runtime=runtime)) if known else None

    def file_bytes(self, subnet: Subnet, form: str) -> int:
        """Return what `memory.file_bytes` says."""
        if subnet.id not in self._places:
            return file_bytes(_of_images(subnet), subnet.arch, form=form)
        group, place = self._places[subnet.id]
        own = group.networks
        return file_bytes_of(
            weights=int(own.weights[place]),
            operators=int(own.operators[place]),
            squeezes=int(own.squeezes[place]),
            form=form,
        )

    def footprint(self, subnet: Subnet, precision: str) -> Footprint:
        """Return what `memory.footprint` says."""
        if subnet.id not in self._places:
            return footprint(_of_images(subnet), subnet.arch, precision=precision)
        group, place = self._places[subnet.id]
        own = group.networks
        return footprint_of(
            weights=int(own.weights[place]), live_bytes=int(own.live_bytes[place]), precision=precision
        )

    def space_key(self, subnet: Subnet) -> str:
        """Return what `fitting.space_key` says."""
        found = self._places.get(subnet.id)
        return found[0].key if found else space_key(subnet.space)


def _of_images(subnet: Subnet) -> SearchSpace | PlainSpace:
    assert isinstance(subnet.space, SearchSpace | PlainSpace)
    return subnet.space


class _Group:
    """The networks of one space, and the predictors that were asked about them."""

    def __init__(
        self, space: SearchSpace, archs: Sequence[ArchConfig], fitted: Sequence[FittedPredictor]
    ) -> None:
        self._space, self._archs, self._fitted = space, archs, fitted
        # By the identity of a predictor: two of one name may be asked.
        self._told: dict[int, Foretold] = {}
        self._answers: dict[tuple[str, str], tuple[Sequence[Foretold], npt.NDArray[np.int64]]] = {}

    @cached_property
    def key(self) -> str:
        return space_key(self._space)

    @cached_property
    def networks(self) -> Networks:
        return Networks.of(self._space, self._archs)

    def latency(
        self, place: int, runtime: str, precision: str
    ) -> tuple[FittedPredictor, Prediction] | None:
        asked = (runtime, precision)
        if asked not in self._answers:
            self._answers[asked] = self._answering(runtime, precision)
        known, chosen = self._answers[asked]
        if not known:
            return None
        told = known[chosen[place]]
        found = told.of(place)
        warning = told_of_another(told.fitted, found.warning, runtime=runtime)
        return told.fitted, replace(found, warning=warning)

    def _answering(self, runtime: str, precision: str) -> tuple[Sequence[Foretold], npt.NDArray[np.int64]]:
        """Return the predictors that could answer, and which does for each network [n], as `answering`."""
        could = able(self._fitted, self._space, runtime=runtime, precision=precision)
        if not could:
            return [], np.zeros(0, np.int64)
        could.sort(key=preference, reverse=True)
        told = [self._foretold(one) for one in could]
        others = np.array([one.runtime != runtime for one in could])
        warned = np.stack([one.warned for one in told])
        # Smallest first: another runtime weighs more than a warning, and that more than all else.
        ranks = 2 * len(could) * others[:, None] + len(could) * warned + np.arange(len(could))[:, None]
        return told, np.asarray(ranks.argmin(axis=0), np.int64)

    def _foretold(self, fitted: FittedPredictor) -> Foretold:
        if id(fitted) not in self._told:
            self._told[id(fitted)] = foretell(fitted, self.networks)
        return self._told[id(fitted)]
