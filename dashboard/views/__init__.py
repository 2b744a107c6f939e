"""Pages of the dashboard, one file each; a new file is a new page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from edge_bench import variants
from edge_bench.files import Home

VIEWS = "dashboard.views"
# How often an open page looks for what is new.
FOLLOW_S = 5.0


class View(ABC):
    """One page. Widgets only: numbers come from `frames`, drawings from `figures`.

    `title` is its name in the navigation, `place` its order there (the least opens first), and its
    address is the file's name. Names from the store are `escaped` before they reach Markdown.
    """

    title: ClassVar[str]
    place: ClassVar[int]

    @abstractmethod
    def show(self, home: Home) -> None:
        """Place the page's widgets.

        Raises:
            EdgeBenchError: the page then tells it in its place.
        """


def views() -> dict[str, type[View]]:
    """Return every page by its file's name."""
    return {name: variants.load(View, VIEWS, name) for name in variants.names(VIEWS)}
