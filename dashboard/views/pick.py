"""Pick: a device and a budget in, one recommendation out, with its reasons and its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import words
from dashboard.charts import shown
from dashboard.columns import candidate_columns
from dashboard.controls import (
    budget_control,
    column_config,
    is_dark,
    no_candidate,
    one_task,
    records_or_advice,
)
from dashboard.device_cards import device_cards
from dashboard.frames import (
    identity,
    kind_of,
    milliseconds,
    quality_interval,
)
from dashboard.job_bar import job_bar, measure_button
from dashboard.measuring import to_measure
from dashboard.pick_frames import picks_frame
from dashboard.stored import Stored, candidates_of, escaped, frame_of, own_devices
from dashboard.taking import take_away
from dashboard.trade_off_figures import trade_off_figure
from dashboard.views import View
from edge_bench.choose import pick as choosing
from edge_bench.choose.chances import chance, told_chance
from edge_bench.choose.percentiles import MEDIAN, P90
from edge_bench.choose.presets import Preset
from edge_bench.errors import NoCandidate
from edge_bench.files import Home
from edge_bench.records import Budget, Candidate, Metric
from edge_bench.records.quality import metric_word, value_text

PRESETS: dict[Preset, str] = {
    "accuracy": "the best quality within the budget",
    "balanced": "the fastest within a point of the best",
    "speed": "the fastest",
}
CHART_HEIGHT = 420


class Pick(View):
    """The recommendation stands beside the chart that it was read from."""

    title = "Pick"
    place = 1

    def show(self, home: Home) -> None:
        records = records_or_advice(home)
        if records is not None:
            job_bar(records, home)
            _choose(records, home)


@st.fragment
def _choose(records: Stored, home: Home) -> None:
    own = own_devices(home)
    device = device_cards(records, own)
    frame = one_task(frame_of(records, device))
    if frame.empty:
        no_candidate(device, home)
        return
    on_preset, on_percentile, on_budget, on_more = st.columns([5, 3, 8, 4], gap="medium")
    with on_preset:
        preset = _preset()
    task = frame["task"].iloc[0]
    candidates = candidates_of(records, device, task=task)
    with on_percentile:
        # Of a text that is generated nobody knows it.
        known = any(one.source != "predicted" and one.generation is None for one in candidates)
        percentile = _percentile() if known else MEDIAN
    if percentile == P90:
        tails = candidates_of(records, device, percentile=P90, task=task)
        _tell_left_out(len(candidates) - len(tails))
        if not tails:
            return
        tail_frame = frame_of(records, device, percentile=P90)
        candidates, frame = tails, tail_frame[tail_frame["task"] == task]
    with on_budget:
        limit_ms = budget_control(frame, of=P90 if percentile == P90 else "median")
    with on_more:
        budget = Budget(max_latency_ms=limit_ms, **_more_limits())
    try:
        picked = choosing.pick(candidates, budget, preset=preset)
    except NoCandidate as error:
        _refused(error, frame, budget)
        return
    _recommended(picked, frame, partial(measure_button, records=records, home=home, own=own))
    _picks(picked, frame)
    _measure_others(picked, records, home, own)
    _why(picked)
    take_away(picked, records, home)


def _preset() -> Preset:
    options = tuple(PRESETS)
    chosen = st.segmented_control(
        "Preset",
        options,
        default=options[0],
        required=True,
        help="  \n".join(f"**{name}**: {meaning}" for name, meaning in PRESETS.items()),
        key="preset",
        bind="query-params",
    )
    return chosen or options[0]


def _percentile() -> str:
    chosen = st.segmented_control(
        "Budget of",
        (MEDIAN, P90),
        default=MEDIAN,
        required=True,
        help=f"**{MEDIAN}**: half of all inferences are faster  \n**{P90}**: nine of ten are; it is known "
        "of files that were measured",
        key="percentile",
        bind="query-params",
    )
    return chosen or MEDIAN


def _tell_left_out(count: int) -> None:
    if count:
        st.caption(
            f"{count:,} candidates whose {P90} nobody measured are left out: a predictor tells medians. "
            "Measure them to have them here."
        )


def _more_limits() -> dict[str, float | None]:
    """Ask for the limits that few have, out of the way of those who have none."""
    with st.expander(
        "Size and memory", expanded=any(name in st.query_params for name in ("size", "memory"))
    ):
        size = st.number_input(
            "File, at most MB",
            min_value=0.001,
            value=None,
            placeholder="any",
            format="%.3g",
            key="size",
            bind="query-params",
        )
        memory = st.number_input(
            "Peak memory, at most MB",
            min_value=1.0,
            value=None,
            placeholder="any",
            format="%.4g",
            key="memory",
            bind="query-params",
        )
    return {"max_size_mb": size, "max_peak_memory_mb": memory}


def _refused(error: NoCandidate, frame: pd.DataFrame, budget: Budget) -> None:
    st.warning(f"{escaped(error.message[:1].upper() + error.message[1:])}.")
    if error.hint:
        st.caption(escaped(error.hint))
    _chart(frame, budget, chosen=())


def _recommended(picked: choosing.Pick, frame: pd.DataFrame, button: Callable[..., None]) -> None:
    one, budget = picked.recommended, picked.budget
    on_words, on_chart = st.columns([5, 6], gap="large")
    with on_words:
        st.subheader(escaped(one.name), anchor=False)
        threads = (
            f"{one.threads} thread{'s' if one.threads > 1 else ''}" if one.threads else "threads not told"
        )
        layers = f", layers {one.layers}" if one.layers else ""
        st.markdown(escaped(f"{kind_of(one.format, one.precision)}, {one.runtime}, {threads}{layers}"))
        on_quality, on_latency, on_chance = st.columns([3, 4, 3])
        _quality(on_quality, one.test_metric or one.metric)
        with on_latency:
            of = "of a text" if one.generation else one.latency_is
            st.metric(f"latency, {of}", milliseconds(one.latency_ms))
            st.caption(_whence(one))
        _chance(on_chance, one, budget)
        for doubt in _doubts(one, budget):
            st.warning(doubt)
        hollow = one.source != "measured"
        button(one, label="Measure it now" if hollow else "Measure it again", primary=hollow)
    with on_chart:
        _chart(frame, budget, chosen=[identity(one)])


def _whence(one: Candidate) -> str:
    """Say where a latency comes from, and its interval where there is one."""
    if one.source == "imported":
        return escaped(f"imported: measured by {one.origin}, not here")
    return f"{one.source}, {milliseconds(one.latency_low_ms)} to {milliseconds(one.latency_high_ms)}"


def _chance(place: DeltaGenerator, one: Candidate, budget: Budget) -> None:
    """Say how likely the budget is met, where there is one."""
    if budget == Budget():
        return
    probability = chance(one, budget)
    place.metric(
        "meets the budget",
        "–" if probability is None else told_chance(probability),
        help="The probability, read off the intervals of what is limited. It speaks of this machine as it "
        "was measured, or of networks like those that the predictor learnt from.",
    )
    if probability is None:
        place.caption("whoever measured it told no interval")


def _doubts(one: Candidate, budget: Budget) -> Iterator[str]:
    """Yield why the recommended one may miss the budget all the same."""
    limit = budget.max_latency_ms
    if limit is not None and one.latency_high_ms > limit:
        yield (
            f"It may miss the budget: its latency's interval ends at {milliseconds(one.latency_high_ms)}, "
            f"above {limit:.4g} ms."
        )
    unknown = [
        what
        for what, limit, cost in (
            ("file size", budget.max_size_mb, one.size_bytes),
            ("peak memory", budget.max_peak_memory_mb, one.peak_memory_mb),
        )
        if limit is not None and cost is None
    ]
    if unknown:
        yield f"Its {' and '.join(unknown)} is not known, so that limit is not held against it."


def _quality(place: DeltaGenerator, metric: Metric) -> None:
    place.metric(
        escaped(f"{metric_word(metric.name)}, {metric.split}"), value_text(metric.name, metric.value)
    )
    interval = quality_interval(metric)
    if interval is not None:
        low, high = (value_text(metric.name, end) for end in interval)
        place.caption(f"{low} to {high} on {metric.examples:,} examples")


def _chart(frame: pd.DataFrame, budget: Budget, *, chosen: Sequence[str]) -> None:
    figure = trade_off_figure(
        frame,
        budget=budget.max_latency_ms,
        chosen=chosen,
        dark=is_dark(),
        height=CHART_HEIGHT,
        selectable=False,
    )
    shown(figure, words.trade_offs(frame, budget.max_latency_ms), key="chart", theme=None)


def _picks(picked: choosing.Pick, frame: pd.DataFrame) -> None:
    """Show the recommended one among its neighbours on the front, at most five in all."""
    st.markdown("**Picks** · the nearest on the front within the budget")
    st.dataframe(
        picks_frame(picked, frame),
        hide_index=True,
        column_config=column_config(candidate_columns(frame)),
        placeholder="–",
        key="picks",
    )


def _measure_others(picked: choosing.Pick, records: Stored, home: Home, own: Sequence[str]) -> None:
    """Offer to measure what stands among the picks by a prediction alone."""
    hollow = [one for one in picked.alternatives if one.source == "predicted"]
    if hollow and not to_measure(hollow[0], records, home, own=own).why_not:
        with st.container(horizontal=True):
            for one in hollow:
                measure_button(one, records, home, own=own, label=f"Measure {one.name}")


def _why(picked: choosing.Pick) -> None:
    why, change = st.columns(2, gap="large")
    why.markdown("**Why**\n\n" + _listed(picked.reasons))
    change.markdown("**What would change the answer**\n\n" + _listed(picked.changes))


def _listed(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(sentence)}" for sentence in sentences)
