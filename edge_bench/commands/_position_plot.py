"""The plot of a probe of position as SVG: scores by depth, and maps read out beside those wanted."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from edge_bench.records.position import PositionFindings

Map = npt.NDArray[np.floating]

# After Okabe and Ito (2008), apart for colour-blind eyes; the mark repeats what the colour says.
COLOURS = {"H": "#0072b2", "V": "#d55e00", "G": "#009e73", "HS": "#cc79a7", "VS": "#8a6d00"}
MARKS = {"H": "●", "V": "▲", "G": "■", "HS": "◆", "VS": "▼"}
INK, FAINT = "#30333d", "#d9dbe0"
LEFT, TOP, CHART, HIGH = 56, 64, 430, 230
TILE, GAP, LABEL = 62, 8, 66
ROW = HIGH + 118
LOWEST = -0.2
WORDS = {"all": "all stages", "image": "image only"}


def position_svg(found: Sequence[PositionFindings], targets: Mapping[str, Map]) -> str:
    """Return the plot as the text of an SVG file.

    Args:
        found: what was found, a row of the plot for each network.
        targets: the maps that were to be read out, from 0 to 1.
    """
    width = LEFT + CHART + 50 + LABEL + len(targets) * (TILE + GAP) + 20
    height = TOP + len(found) * ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _word(16, 28, "Position read out of frozen feature maps", size=16, weight="bold"),
        _word(
            16,
            46,
            "left: rank correlation with the wanted map; right: mean map read out of held-out images",
        ),
    ]
    for number, one in enumerate(found):
        parts += _network(one, targets, TOP + number * ROW)
    return "\n".join([*parts, "</svg>", ""])


def _network(found: PositionFindings, targets: Mapping[str, Map], top: float) -> Iterable[str]:
    told = f"{found.padded_convolutions} of {found.wide_convolutions} wide convolutions padded"
    yield _word(16, top + 18, f"{found.network}: {told}", size=13, weight="bold")
    yield from _chart(found, list(targets), top + 36)
    yield from _tiles(found, targets, LEFT + CHART + 50, top + 36)


def _chart(found: PositionFindings, targets: Sequence[str], top: float) -> Iterable[str]:
    sources = found.sources
    step = CHART / max(1, len(sources))

    def x(place: int) -> float:
        return LEFT + step * (place + 0.5)

    def y(value: float) -> float:
        return top + HIGH * (1 - (max(value, LOWEST) - LOWEST) / (1 - LOWEST))

    for value in (-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        stroke = INK if value == 0 else FAINT
        yield (
            f'<line x1="{LEFT}" x2="{LEFT + CHART}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
            f'stroke="{stroke}"/>'
        )
        yield _word(LEFT - 8, y(value) + 4, f"{value:.1f}", anchor="end")
    sizes = {stage.name: f"{stage.channels} × {stage.side} px" for stage in found.stages}
    for place, source in enumerate(sources):
        yield _word(x(place), top + HIGH + 18, _short(WORDS.get(source, source)), anchor="middle", size=11)
        if source in sizes:
            yield _word(x(place), top + HIGH + 33, sizes[source], anchor="middle", size=10)
    for target in targets:
        values = [found.score(source, target).mean_spearman for source in sources]
        colour = COLOURS[target]
        # Lines join depths only: the image is no depth, and all stages together are none either.
        depths = " ".join(f"{x(place):.1f},{y(values[place]):.1f}" for place in range(1, len(sources) - 1))
        yield f'<polyline points="{depths}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for place, value in enumerate(values):
            yield _word(x(place), y(value) + 4.5, MARKS[target], anchor="middle", colour=colour, size=13)
    for number, target in enumerate(targets):
        left = LEFT + 8 + 52 * number
        yield _word(left, top + HIGH + 56, MARKS[target], colour=COLOURS[target], size=13)
        yield _word(left + 16, top + HIGH + 56, target)


def _tiles(found: PositionFindings, targets: Mapping[str, Map], left: float, top: float) -> Iterable[str]:
    rows = {"wanted": targets, **{WORDS[name]: found.predicted[name] for name in ("all", "image")}}
    for column, target in enumerate(targets):
        yield _word(left + LABEL + column * (TILE + GAP) + TILE / 2, top + 4, target, anchor="middle")
    for row, (name, maps) in enumerate(rows.items()):
        above = top + 12 + row * (TILE + GAP)
        yield _word(left + LABEL - 8, above + TILE / 2 + 4, name, anchor="end", size=11)
        for column, target in enumerate(targets):
            at = left + LABEL + column * (TILE + GAP)
            yield (
                f'<image x="{at}" y="{above}" width="{TILE}" height="{TILE}" '
                f'style="image-rendering:pixelated" href="{_png(np.asarray(maps[target]))}"/>'
            )
            yield (
                f'<rect x="{at}" y="{above}" width="{TILE}" height="{TILE}" fill="none" stroke="{FAINT}"/>'
            )


def _png(values: Map) -> str:
    """Return a map from 0 (black) to 1 (white) as the address of a picture within the file."""
    kept = io.BytesIO()
    Image.fromarray((255 * np.clip(values, 0, 1)).round().astype(np.uint8)).save(kept, "PNG")
    return f"data:image/png;base64,{base64.b64encode(kept.getvalue()).decode()}"


def _short(name: str) -> str:
    """Return the end of a long name of a module, which tells it from the others."""
    name = name.removeprefix("layers.")
    return name if len(name) <= 11 else f"…{name[-10:]}"


def _word(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: str = "normal",
    colour: str = INK,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}">{html.escape(text)}</text>'
    )
