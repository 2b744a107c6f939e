"""An architecture block by block: a table of what each block computes, and its drawing in HTML.

Pure functions. The drawing is a table, so that assistive software reads it; every name is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from dashboard.names import in_html
from edge_bench.records import (
    AnySpace,
    ArchConfig,
    Operator,
    RecurrentSpace,
    SearchSpace,
    TransformerSpace,
    operators,
)
from edge_bench.records.transformer import layer_macs

MACS, WEIGHTS, MAPS = "#1f77c9", "#d55e00", "#00936b"
# The widest map is drawn so wide, the largest so high, in pixels.
_WIDE, _HIGH = 72, 30
_WORDS = {
    "pointwise": "1×1 convolution",
    "squeeze_excite": "squeeze-excite",
    "add": "residual",
    "global_pool": "mean of each map",
    "group_norm": "group norm",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnBlock:
    """A row of the drawing. Widths are channels, sides pixels (of text: tokens).

    `weights` are those of its matrices and filters, of images with biases after folding of norms.
    """

    name: str
    what: str
    input_width: int
    output_width: int
    input_side: int
    output_side: int
    macs: int
    weights: int


def drawn_blocks(space: AnySpace, arch: ArchConfig) -> list[DrawnBlock]:
    """Return the blocks of a network in the order they run.

    Raises:
        InvalidArch: `arch` is not in `space`.
    """
    if isinstance(space, TransformerSpace):
        return _of_transformer(space, arch)
    if isinstance(space, RecurrentSpace):
        space.check(arch)
        return _of_recurrent(space)
    listed = operators(space, arch)
    blocks: list[DrawnBlock] = []
    for number, group in groupby(listed, key=lambda one: one.block):
        together = list(group)
        if number < 0:
            blocks += [_alone(one) for one in together]
        else:
            blocks.append(_together(space, arch, number, together))
    return blocks


def architecture_html(blocks: Sequence[DrawnBlock], *, unit: str) -> str:
    """Return the drawing: maps to scale, and MACs and weights as bars in proportion.

    Args:
        blocks: what `drawn_blocks` gives.
        unit: what a side is counted in: "px", or "tokens".
    """
    macs, weights = (max(max(column, default=0), 1) for column in _columns(blocks))
    widest = max((one.output_width for one in blocks), default=1)
    largest = max((one.output_side for one in blocks), default=1)
    rows = []
    for one in blocks:
        wide = max(2, round(_WIDE * one.output_width / widest))
        high = max(2, round(_HIGH * one.output_side / largest))
        sides = dict.fromkeys((one.input_side, one.output_side))
        rows.append(
            f'<tr><th scope="row">{in_html(one.name)}</th>'
            '<td class="eb-map" aria-hidden="true">'
            f'<span style="width:{wide}px;height:{high}px"></span></td>'
            f"<td>{in_html(one.what)}</td><td>{one.input_width:,} → {one.output_width:,}</td>"
            f"<td>{' → '.join(map(str, sides))} {in_html(unit)}</td>"
            f"{_bar(one.macs, macs, MACS)}{_bar(one.weights, weights, WEIGHTS)}</tr>"
        )
    total_macs, total_weights = (sum(column) for column in _columns(blocks))
    return (
        f"{_STYLE}"
        f'<p class="eb-told" id="eb-told">{len(blocks)} rows in the order they run, '
        f"{_count(total_macs)} MACs and {_count(total_weights)} weights in all. A green box is the map "
        "that leaves a row: as wide as its channels, as high as its side.</p>"
        '<div class="eb-arch" tabindex="0" role="region" aria-label="Architecture, block by block">'
        '<table aria-describedby="eb-told">'
        '<thead><tr><th scope="col">block</th><th scope="col" aria-hidden="true">map</th>'
        '<th scope="col">computes</th><th scope="col">channels</th><th scope="col">side</th>'
        '<th scope="col">MACs</th><th scope="col">weights</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def steps_html(steps: Iterable[tuple[str, Sequence[str], str]]) -> str:
    """Return boxes with arrows between them: title, lines, and where its training is shown, or ""."""
    boxes = []
    for title, lines, address in steps:
        told = "".join(f"<div>{in_html(line)}</div>" for line in lines if line)
        link = (
            f'<div><a href="{in_html(address)}" target="_self">how it trained</a></div>' if address else ""
        )
        boxes.append(f"<li><strong>{in_html(title)}</strong>{told}{link}</li>")
    return f'{_STYLE}<ol class="eb-steps">{"".join(boxes)}</ol>'


_STYLE = f"""<style>
.eb-arch {{ overflow-x: auto; font-size: .85rem; }}
.eb-arch table {{ border-collapse: collapse; min-width: 620px; width: 100%; }}
.eb-told {{ font-size: .85rem; opacity: .75; }}
.eb-arch th, .eb-arch td {{ padding: .2rem .6rem; text-align: left; white-space: nowrap;
  border: 0; border-bottom: 1px solid rgba(128,128,128,.25); }}
.eb-arch td:nth-child(3) {{ white-space: normal; }}
.eb-arch .eb-map {{ width: {_WIDE}px; }}
.eb-arch .eb-map span {{ display: inline-block; background: {MAPS}; border-radius: 2px;
  vertical-align: middle; }}
.eb-arch .eb-bar {{ display: block; height: 6px; border-radius: 2px; margin-top: 2px; }}
.eb-arch .eb-amount {{ min-width: 90px; }}
ol.eb-steps {{ display: flex; flex-wrap: wrap; gap: 1.6rem; list-style: none; margin: 0;
  padding: 0 !important;
  font-size: .85rem; }}
.eb-steps li {{ position: relative; flex: 1 1 150px; min-width: 0; margin: 0; padding: .5rem .7rem;
  border: 1px solid rgba(128,128,128,.45); border-radius: .4rem; overflow-wrap: anywhere; }}
.eb-steps li:not(:last-child)::after {{ content: "→"; position: absolute; right: -1.35rem; top: 40%; }}
@media (max-width: 640px) {{
  .eb-steps li {{ flex-basis: 100%; }}
  .eb-steps li:not(:last-child)::after {{ content: "↓"; right: 50%; top: auto; bottom: -1.5rem; }}
}}
.eb-steps a {{ color: inherit; text-decoration: underline; }}
</style>"""


def _columns(blocks: Sequence[DrawnBlock]) -> tuple[list[int], list[int]]:
    return [one.macs for one in blocks], [one.weights for one in blocks]


def _bar(amount: int, most: int, paint: str) -> str:
    return (
        f'<td class="eb-amount">{_count(amount)}<span class="eb-bar" aria-hidden="true" '
        f'style="width:{100 * amount / most:.1f}%;background:{paint}"></span></td>'
    )


def _count(amount: int) -> str:
    """Return a count as people read it: 1.23 M, 45.6 k, 789."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if amount >= size:
            return f"{amount / size:.3g} {letter}"
    return str(amount)


def _together(space: AnySpace, arch: ArchConfig, number: int, together: Sequence[Operator]) -> DrawnBlock:
    first, last = together[0], together[-1]
    if isinstance(space, SearchSpace):
        block = arch.blocks[number]
        depthwise = next(one for one in together if one.kind == "depthwise")
        parts = [f"expand {block.expand}", f"{block.kernel}×{block.kernel} depthwise"]
        parts += [f"stride {depthwise.stride}"] if depthwise.stride > 1 else []
        kinds = {one.kind for one in together}
        parts += [_WORDS[kind] for kind in ("squeeze_excite", "add") if kind in kinds]
        name = f"block {number}, stage {space.stage_of(block.source)}"
        what = ", ".join(parts)
    else:
        name = f"block {number}"
        what = ", ".join(_named(one) for one in together)
    return DrawnBlock(
        name=name,
        what=what,
        input_width=first.input_channels,
        output_width=last.output_channels,
        input_side=first.input_size,
        output_side=last.output_size,
        macs=sum(one.macs for one in together),
        weights=sum(one.weights for one in together),
    )


def _alone(one: Operator) -> DrawnBlock:
    return DrawnBlock(
        name=one.kind.replace("_", " "),
        what=_named(one),
        input_width=one.input_channels,
        output_width=one.output_channels,
        input_side=one.input_size,
        output_side=one.output_size,
        macs=one.macs,
        weights=one.weights,
    )


def _named(one: Operator) -> str:
    words = _WORDS.get(one.kind, one.kind)
    if one.kind in ("convolution", "depthwise", "pool"):
        words = f"{one.kernel}×{one.kernel} {words}"
    stride = f", stride {one.stride}" if one.stride > 1 else ""
    return f"{words}{stride}{f', {one.activation}' if one.activation else ''}"


def _of_transformer(space: TransformerSpace, arch: ArchConfig) -> list[DrawnBlock]:
    space.check(arch)

    def row(name: str, what: str, before: int, after: int, macs: int, weights: int) -> DrawnBlock:
        return DrawnBlock(
            name=name,
            what=what,
            input_width=before,
            output_width=after,
            input_side=space.length,
            output_side=space.length,
            macs=macs,
            weights=weights,
        )

    blocks = [
        row(
            "embedding",
            f"a vector for each of {space.vocabulary:,} tokens",
            space.vocabulary,
            space.width,
            0,
            space.vocabulary * space.width,
        )
    ]
    for stack, kept in space.kept(arch).items():
        crossed = stack == "decoder" and bool(space.encoder_layers)
        attention = f"attention of {space.heads} heads" + (", and to the source" if crossed else "")
        weights = (8 if crossed else 4) * space.width**2 + 2 * space.width * space.hidden
        for layer in kept:
            blocks.append(
                row(
                    f"{stack} layer {layer}",
                    f"{attention}, feed-forward of {space.hidden:,}",
                    space.width,
                    space.width,
                    layer_macs(space, stack, space.length),
                    weights,
                )
            )
    answers = space.length if space.decoder_layers else 1
    head = space.width * space.outputs
    return [*blocks, row("head", "linear", space.width, space.outputs, answers * head, head)]


def _of_recurrent(space: RecurrentSpace) -> list[DrawnBlock]:
    rows = [
        ("embedding", f"a vector for each of {space.vocabulary:,} tokens", space.vocabulary, space.width)
    ]
    rows += [
        (f"layer {layer}", "LSTM, four gates", space.width, space.width) for layer in range(space.layers)
    ]
    rows += [("head", "linear", space.width, space.outputs)]
    blocks = []
    for name, what, before, after in rows:
        weights = 8 * before * after if name.startswith("layer") else before * after
        blocks.append(
            DrawnBlock(
                name=name,
                what=what,
                input_width=before,
                output_width=after,
                input_side=space.length,
                output_side=space.length,
                macs=0 if name == "embedding" else space.length * weights,
                weights=weights,
            )
        )
    return blocks
