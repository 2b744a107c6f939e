"""Whether data has the classes that a network was trained on."""

from __future__ import annotations

from edge_bench.errors import DataError


def check_classes(given: tuple[str, ...], trained: tuple[str, ...]) -> None:
    """Raise a `DataError` where the data's classes are not those of the subnet, both told."""
    if given != trained:
        raise DataError(
            f"the data has the classes {_told(given)}, the subnet {_told(trained)}",
            hint="name data with the classes that the subnet was trained on",
        )


def _told(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
