"""Cells of tables that a spreadsheet may open."""

from __future__ import annotations

from typing import Any

# A spreadsheet takes a cell that starts with one of these for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe_cell(value: Any) -> Any:
    """Return a value as a spreadsheet may safely show it: a text that it would run as a formula, such
    as a file called `=1+1.onnx`, stands behind an apostrophe.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
