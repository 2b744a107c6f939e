"""Devices to choose among: what each can answer, and what it is, on a small card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

import device_profiles
from dashboard.benchmark_frames import value_text
from dashboard.controls import device_control
from dashboard.stored import Stored, escaped
from device_profiles import DeviceProfile
from edge_bench.records import BenchmarkResult, FittedPredictor

# More of them are a list to choose from, with the card of the chosen one below.
CARDS = 6
LINK = "device"
# The facts that tell one device from another, in the order in which they are read.
_TOLD = ("soc", "cpu", "accelerator", "cores", "ram_mb", "memory_mb")
# A selected card stands out by its edge too, not by its colour alone.
STYLE = """<style>
.st-key-device-cards [role=radiogroup] { gap: .6rem; align-items: stretch; }
.st-key-device-cards [role=radiogroup] > div {
  border: 1px solid rgba(128, 132, 149, .4); border-radius: .5rem; padding: .35rem .8rem .35rem .6rem;
}
.st-key-device-cards [role=radiogroup] > div[data-selected] {
  border-color: currentColor; box-shadow: inset 0 0 0 1px currentColor;
}
</style>"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is told of a device: what latencies it has and where they come from, and what it is."""

    answers: str
    facts: str


def card(
    device: str,
    results: Iterable[BenchmarkResult],
    predictors: Iterable[FittedPredictor],
    profile: DeviceProfile | None,
) -> Card:
    """Return the card of a device, from all that is stored and from its profile, where it has one."""
    own = [one for one in results if one.device == device]
    here = {one.artifact or one.digest for one in own if one.measured_here}
    theirs = {one.artifact or one.digest for one in own if not one.measured_here}
    told = []
    if here:
        told.append(f"{len(here):,} file{'s' if len(here) > 1 else ''} measured")
    errors = _errors(one for one in predictors if one.device == device)
    if errors:
        told.append(
            "predicted by " + ", ".join(f"{runtime} (±{share:.1%})" for runtime, share in errors.items())
        )
    if theirs:
        told.append(f"{len(theirs):,} imported")
    return Card(answers=" · ".join(told) or "nothing known yet", facts=_facts(own, profile))


def device_cards(records: Stored, own: Sequence[str]) -> str:
    """Let a device be chosen by its card: of all that the store knows, and of one's own.

    The one measured on most stands first.
    """
    cards = {one: _card_of(records, one) for one in dict.fromkeys((*records.devices, *own))}
    if len(cards) > CARDS:
        chosen = device_control(records, also=own)
        st.caption(_caption(cards[chosen]))
        return chosen
    names, asked = list(cards), st.query_params.get(LINK)
    st.html(STYLE)
    with st.container(key="device-cards"):
        chosen = st.radio(
            "Device",
            names,
            index=names.index(asked) if asked in names else 0,
            captions=[_caption(one) for one in cards.values()],
            format_func=escaped,
            horizontal=True,
            key="device-card",
        )
    # A link that is bound to the widget would hold names as they are escaped.
    if chosen != (asked or names[0]):
        st.query_params[LINK] = chosen
    return chosen


def _card_of(records: Stored, device: str) -> Card:
    profile = device_profiles.load(device) if device in device_profiles.names() else None
    return card(device, records.results, records.predictors, profile)


def _caption(one: Card) -> str:
    return "  \n".join(escaped(line) for line in (one.answers, one.facts) if line)


def _errors(predictors: Iterable[FittedPredictor]) -> Mapping[str, float]:
    """Return the mean error on what was held out, of each runtime's newest predictor of single images."""
    return {one.runtime: one.held_out.mape for one in predictors if one.batch == 1 and one.unit != "step"}


def _facts(results: list[BenchmarkResult], profile: DeviceProfile | None) -> str:
    """Return what a device is in one line: as its profile says, else as its newest result does."""
    known = {name: fact.value for name, fact in profile.facts().items()} if profile else {}
    seen = [one.environment for one in results if one.environment]
    known = {**(seen[-1] if seen else {}), **known}
    told = [_fact(name, known[name]) for name in _TOLD if known.get(name) not in (None, "", "unavailable")]
    return ", ".join(dict.fromkeys(told))


def _fact(name: str, value: object) -> str:
    if name == "cores":
        return f"{value} cores" if value != 1 else "1 core"
    if name in ("ram_mb", "memory_mb") and isinstance(value, int | float):
        return f"{value / 1e3:.3g} GB"
    return value_text(value)
