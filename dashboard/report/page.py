"""Sections as one page of HTML that loads nothing: plotly's code, figures and tables are in it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from plotly.offline import get_plotlyjs

from dashboard.columns import Column
from dashboard.names import in_html
from dashboard.report.parts import Chart, Listed, Part, Section, Table

# By this a report is known again, so that nothing else is overwritten by one.
MARK = '<meta name="generator" content="edge-bench report">'
_STYLE = Path(__file__).with_name("page.css")
_SCRIPT = Path(__file__).with_name("page.js")
_DEEPEST = 6
# A text that a cell shows in one line.
_SHORT = 40
_AXIS = {"automargin": True, "ticks": "", "title": {"standoff": 12, "font": {"size": 13}}}
# What the pages have from streamlit: axes that make room for what they are called.
_TEMPLATE = {
    "layout": {"font": {"family": "system-ui, sans-serif", "size": 12}, "xaxis": _AXIS, "yaxis": _AXIS}
}


def page(title: str, facts: Sequence[str], sections: Sequence[Section]) -> str:
    """Return a report as HTML.

    Args:
        title: its heading.
        facts: sentences below that, on what it was made from.
        sections: its contents, in their order.
    """
    scripts = [get_plotlyjs(), _SCRIPT.read_text(encoding="utf-8")]
    writer = _Writer()
    contents = "".join(writer.section(one, depth=2) for one in sections)
    links = "".join(f'<li><a href="#{anchor}">{in_html(name)}</a></li>' for anchor, name in writer.anchors)
    told = "".join(f'<p class="quiet">{in_html(fact)}</p>' for fact in facts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'{MARK}<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{in_html(title)}</title><style>{_STYLE.read_text(encoding='utf-8')}</style></head><body>"
        f"<header><h1>{in_html(title)}</h1>{told}</header>"
        f'<nav aria-label="Contents"><ul>{links}</ul></nav><main>{contents}</main>'
        "<noscript><p>Charts are drawn by a script, which may not run here; the tables and the words below "
        "each chart tell the same.</p></noscript>"
        f"{''.join(writer.figures)}{''.join(f'<script>{script}</script>' for script in scripts)}"
        "</body></html>\n"
    )


class _Writer:
    """Writes parts, and keeps what stands elsewhere on the page: figures, and links to sections."""

    def __init__(self) -> None:
        self.figures: list[str] = []
        self.anchors: list[tuple[str, str]] = []

    def section(self, one: Section, *, depth: int) -> str:
        inside = "".join(self._part(part, depth) for part in one.parts)
        anchor = ""
        if depth == 2:
            self.anchors.append((f"section-{len(self.anchors) + 1}", one.title))
            anchor = f' id="{self.anchors[-1][0]}"'
        level = min(depth, _DEEPEST)
        return f"<section><h{level}{anchor}>{in_html(one.title)}</h{level}>{inside}</section>"

    def _part(self, part: Part, depth: int) -> str:
        if isinstance(part, Section):
            return self.section(part, depth=depth + 1)
        if isinstance(part, Chart):
            return self._chart(part)
        if isinstance(part, Table):
            return _table(part)
        if isinstance(part, Listed):
            return f"<ul>{''.join(f'<li>{in_html(one)}</li>' for one in part.sentences)}</ul>"
        return f"<p>{in_html(part)}</p>"

    def _chart(self, chart: Chart) -> str:
        name = f"figure-{len(self.figures) + 1}"
        self.figures.append(f'<script type="application/json" id="{name}">{_told(chart)}</script>')
        height = int(chart.light.layout.height)
        return (
            f'<figure><div class="chart" role="img" aria-label="{in_html(chart.words)}" '
            f'data-figure="{name}" style="min-height:{height}px"></div>'
            f"<figcaption>{in_html(chart.words)}</figcaption></figure>"
        )


def differences(one: Any, other: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[list[Any], Any]]:
    """Yield where two JSON documents differ: paths of keys and places, and what stands there in `other`."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from differences(one[key], other[key], (*path, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, (*path, place))
    elif one != other:
        yield list(path), other


def _told(chart: Chart) -> str:
    """Return a chart as JSON that no name in it can end: its light figure, and what differs in the dark."""
    light, dark = _document(chart.light), _document(chart.dark)
    document = {**light, "dark": list(differences(light, dark))}
    return json.dumps(document, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")


def _document(figure: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(figure.to_json())
    return {"data": told["data"], "layout": {**told["layout"], "template": _TEMPLATE}}


def _table(table: Table) -> str:
    columns = {str(name): table.columns.get(str(name), Column(str(name))) for name in table.frame}
    head = "".join(
        f'<th scope="col"{f" title={chr(34)}{in_html(one.help)}{chr(34)}" if one.help else ""}>'
        f"{in_html(one.heading)}</th>"
        for one in columns.values()
    )
    rows = "".join(_row(row, columns) for row in table.frame.itertuples(index=False))
    caption = f"<caption>{in_html(table.caption)}</caption>" if table.caption else ""
    label = in_html(table.caption or "table")
    return (
        f'<div class="table" role="region" aria-label="{label}" tabindex="0"><table>{caption}'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(row: Any, columns: dict[str, Column]) -> str:
    cells = []
    for value, column in zip(row, columns.values(), strict=True):
        known = None if pd.api.types.is_scalar(value) and pd.isna(value) else value
        told = column.written(known)
        kind = "number" if column.format else "short" if len(told) <= _SHORT else "long"
        cells.append(f'<td class="{kind}">{in_html(told)}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _policy(scripts: Sequence[str]) -> str:
    """Return what a browser may do with the page: run these scripts, and speak to nobody."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
