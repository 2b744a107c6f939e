"""Search spaces, one file each; none needs torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from edge_bench.records.arch import SearchSpace


@dataclass(frozen=True, kw_only=True)
class Space(ABC):
    """A family of networks. A variant's fields are the options of the `[space]` table."""

    @abstractmethod
    def build(self, *, input_channels: int, classes: int) -> SearchSpace:
        """Return the search space; `ConfigError` where the options make none."""
