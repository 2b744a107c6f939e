"""Devices to choose among: what each can answer, and what it is, on a small card."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import streamlit as st

import device_profiles
from dashboard.benchmark_frames import value_text
from dashboard.controls import device_control
from dashboard.reading import published
from dashboard.stored import Stored, escaped
from device_profiles import DeviceProfile, predicted_devices
from edge_bench.choose.shipped import UNTOLD
from edge_bench.records import BenchmarkResult, FittedPredictor

# More of them are a list to choose from, with the card of the chosen one below.
CARDS = 6
LINK, CHOSEN, OTHER = "device", "device-card", "device-other"
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
        told.append(f"predicted by {', '.join(errors)}")
    if theirs:
        told.append(f"{len(theirs):,} imported")
    return Card(answers=" · ".join(told) or "nothing known yet", facts=_facts(own, profile))


def device_cards(records: Stored, own: Sequence[str]) -> str:
    """Let a device be chosen by its card: of all that the store knows, and of one's own.

    The one measured on most stands first. One that only others measured is offered beside the cards, and
    has one while it is chosen.
    """
    asked = st.query_params.get(LINK)
    known = dict.fromkeys((*records.devices, *own))
    others = [one for one in predicted_devices() if one not in known]
    shown = [*known, *(one for one in others if one == asked)]
    cards = {one: _card_of(records, one) for one in shown}
    if len(known) > CARDS:
        chosen = device_control(records, also=[*own, *others])
        st.caption(_caption(_card_of(records, chosen)))
        return chosen
    names = list(cards)
    st.html(STYLE)
    on_cards, on_others = st.columns([6, 1])
    with on_cards.container(key="device-cards"):
        chosen = st.radio(
            "Device",
            names,
            index=names.index(asked) if asked in names else 0,
            captions=[_caption(one) for one in cards.values()],
            format_func=escaped,
            horizontal=True,
            key=CHOSEN,
        )
    with on_others.popover("Others", help="devices that you do not have"):
        st.selectbox(
            "Predicted from what others published",
            others,
            index=None,
            key=OTHER,
            on_change=_take_other,
            placeholder="phones, boards, CPUs and GPUs",
        )
    # A link that is bound to the widget would hold names as they are escaped.
    if chosen != (asked or names[0]):
        st.query_params[LINK] = chosen
    return chosen


def _take_other() -> None:
    """Choose a device that has no card yet."""
    chosen = st.session_state[OTHER]
    if chosen:
        st.query_params[LINK] = st.session_state[CHOSEN] = chosen
        st.session_state[OTHER] = None


def _card_of(records: Stored, device: str) -> Card:
    profile = device_profiles.load(device) if device in device_profiles.names() else None
    return card(device, records.results, [*published(device), *records.predictors], profile)


def _caption(one: Card) -> str:
    return "  \n".join(escaped(line) for line in (one.answers, one.facts) if line)


def _errors(predictors: Iterable[FittedPredictor]) -> list[str]:
    """Return each runtime with the mean error of its newest predictor of single images on what it had not
    seen.
    """
    newest = {one.runtime: one for one in predictors if one.batch == 1 and one.unit != "step"}
    told = []
    for runtime, one in newest.items():
        named = "a runtime not told" if runtime == UNTOLD else runtime
        on = " on blocks" if one.held_out_unit == "block" else ""
        told.append(f"{named} (±{one.held_out.mape:.1%}{on})")
    return told


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
