"""Names from the store made safe for where they are shown: whatever one holds, it is read as text."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

# Joiners, which some scripts and emoji are written with.
_WRITTEN = "\u200c\u200d"
_LONGEST_FILE = 80
R = TypeVar("R")


def plain(text: str) -> str:
    """Return `text` in one line, a sign in place of what is not seen.

    Among that is what turns the direction of all that follows, and so would have a figure read backwards.
    """
    # Most names are such, and a chart has thousands.
    if text.isascii() and text.isprintable() and "  " not in text:
        return text
    flat = re.sub(r"\s+", " ", text)
    return "".join(
        "\ufffd" if unicodedata.category(sign) in ("Cc", "Cf", "Cs") and sign not in _WRITTEN else sign
        for sign in flat
    )


def shortened(name: str, length: int) -> str:
    """Return a name of at most `length` signs: of a long one its beginning and its end."""
    if len(name) <= length:
        return name
    half = length // 2
    return f"{name[: half - 1]}…{name[-(length - half) :]}"


def marked(name: str, length: int = 100) -> str:
    """Return a name as plotly shows it, who takes some tags and entities for what they are in HTML."""
    # Not quotes: of their entities it knows nothing.
    return html.escape(shortened(plain(name), length), quote=False)


def category_axis(values: Sequence[str], length: int) -> dict[str, Any]:
    """Return plotly's axis of categories, each told apart by its whole name and called by a short one."""
    return {
        "type": "category",
        "tickvals": [category(value) for value in values],
        "ticktext": [marked(value, length) for value in values],
    }


def category(value: str) -> str:
    """Return a value of such an axis."""
    return marked(value, len(value))


def in_html(text: str) -> str:
    """Return `text` as it stands in a page of HTML, within quotes too."""
    return html.escape(plain(text))


def encodable(record: R) -> R:
    """Return a record whose name can be sent: that of a file may hold bytes that are no UTF-8."""
    for field in ("name", "model"):
        name = getattr(record, field, "")
        if not name.isascii() and any("\ud800" <= sign <= "\udfff" for sign in name):
            # Dataclasses all, of which only some have such a field.
            record = replace(record, **{field: plain(name)})  # type: ignore[type-var]
    return record


def file_name(name: str) -> str:
    """Return a name that a file may be saved under everywhere, and that looks like what it is."""
    kept = re.sub(r'[\ufffd<>:"/\\|?*\s]+', "_", plain(name)).strip("._ ")
    stem, dot, ending = kept.rpartition(".")
    if not dot:
        stem, ending = kept, ""
    room = _LONGEST_FILE - len(dot + ending)
    return f"{stem[: max(room, 1)]}{dot}{ending}"[:_LONGEST_FILE] if kept else "file"
