"""Kinds of pre-training, one file each: what the training examples become in a run that others begin from.

A run file names them in tables `[pretraining.NAME]`. What it is judged on stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edge_bench.data import Images
from edge_bench.text.examples import LabelledTexts

PRETRAINING = "supernet.pretraining"
# What this generator of a run is for; part of its seed (0 to 4 are taken).
_EXAMPLES = 5


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """A variant's fields are its options; `tasks` are those whose examples it can change.

    It is asked for what those tasks learn from alone, and once for the whole run, so that it overrides what
    they ask for: `images`, `texts`, or both. What it returns has as many examples, of the same classes.
    """

    tasks: ClassVar[tuple[str, ...]]

    def check(self) -> None:
        """Raise a `ConfigError` where an option cannot be used."""

    def images(self, images: Images, generator: np.random.Generator) -> Images:
        """Return other images; `ConfigError` where these do not allow it."""
        raise NotImplementedError(f"{type(self).__name__} changes no images")

    def texts(self, texts: LabelledTexts, generator: np.random.Generator) -> LabelledTexts:
        """Return other texts; `ConfigError` where these do not allow it."""
        raise NotImplementedError(f"{type(self).__name__} changes no texts")


def drawing(
    kinds: Iterable[Pretraining], *, seed: int
) -> Iterator[tuple[Pretraining, np.random.Generator]]:
    """Yield one kind after another with what it draws from in a run of `seed`."""
    for number, kind in enumerate(kinds):
        yield kind, np.random.default_rng([seed, _EXAMPLES, number])
