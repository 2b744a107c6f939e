"""Families: how a run trained, and what its networks give by choice, by depth and by weights left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import streamlit as st

from dashboard import words
from dashboard.charts import shown
from dashboard.columns import rung_columns
from dashboard.controls import column_config, is_dark, tell
from dashboard.family_figures import (
    choice_figure,
    curves_figure,
    depth_figure,
    ladder_figure,
    maps_figure,
    position_figure,
)
from dashboard.family_frames import (
    CHOICES,
    best_by_depth,
    choices_frame,
    depth_frame,
    known_networks,
    ladder_frame,
    log_frame,
    rungs,
)
from dashboard.shell import command
from dashboard.stored import escaped, stored
from dashboard.trained import all_runs, judged_of, log_of, run_of
from dashboard.views import View
from edge_bench.errors import EdgeBenchError
from edge_bench.files import Home
from edge_bench.records import ArchConfig, Metric, SearchSpace, Subnet, TransformerSpace
from edge_bench.records.position import PositionFindings
from edge_bench.records.quality import higher_is_better, metric_word, value_text
from edge_bench.runs import Run, name_without_padding, read_positions, run_names

REFRESH_SECONDS = 5
_DAMAGE_TOLD = 3


class Families(View):
    """One run at a time; what is not shown is not read."""

    title = "Families"
    place = 4

    def show(self, home: Home) -> None:
        names = run_names(home)
        if not names:
            st.subheader("No run yet")
            st.write("A run folder is made by training. This trains on scikit-learn's digits, in minutes:")
            st.code(command(["train", "examples/digits.toml"], home), language="shell")
            st.caption(f"home: {escaped(str(home.root))}")
            return
        on_run, on_what = st.columns([2, 3], gap="medium")
        name = on_run.selectbox("Run", names, key="run", bind="query-params")
        what = on_what.segmented_control(
            "Show", list(SECTIONS), default="training", required=True, key="show", bind="query-params"
        )
        try:
            run = run_of(home, name)
            SECTIONS[what or "training"](home, run, names)
        except EdgeBenchError as error:
            tell(error)


def _training(home: Home, run: Run, names: list[str]) -> None:
    live = run.outcome is None
    # The curves of a run that trains grow by themselves; those of one that has ended stay.
    st.fragment(_curves, run_every=REFRESH_SECONDS if live else None)(home, run.folder, live=live)


def _curves(home: Home, folder: str, *, live: bool) -> None:
    try:
        run, lines = run_of(home, folder), log_of(home, folder)
    except EdgeBenchError as error:
        tell(error)
        return
    if live and run.outcome is not None:
        st.rerun()
    _told_damage(lines.damaged)
    _progress(run, lines.found[-1].epoch if lines.found else 0, lines.found[-1].time if lines.found else "")
    if not lines.found:
        st.info("No epoch has ended yet. The first point appears here by itself.")
        return
    learned = next((line.learned[0] for line in lines.found if line.learned), None)
    log = log_frame(lines.found)
    shown(curves_figure(log, learned, dark=is_dark()), words.curves(log, learned), key="curves")
    reached = f", {metric_word(learned)} on training data" if learned else ""
    st.caption(
        f"Loss{escaped(reached)} and learning rate by step, a point an epoch"
        + ("; dotted lines mark where a phase begins." if len(run.phases) > 1 else ".")
    )


def _progress(run: Run, epoch: int, time: str) -> None:
    if run.outcome is None:
        last = f", last heard of at {time}" if time else ""
        st.markdown(f"**Not finished**: epoch {epoch} of {run.epochs}{escaped(last)}.")
        st.caption(
            "It grows by itself while training goes on; `train` goes on with one that was interrupted."
        )
        return
    quality = run.outcome.quality
    reached = f", {metric_word(quality[0])} {value_text(*quality)} (selection)" if quality else ""
    st.markdown(
        f"**Finished**: {run.epochs:,} epochs, {run.outcome.steps:,} steps in {run.outcome.seconds:,.0f} s"
        f"{escaped(reached)}."
    )


def _choices(home: Home, run: Run, names: list[str]) -> None:
    if not isinstance(run.space, SearchSpace) or run.arch is not None:
        _nothing(
            "This run trained one network, which has no choices. A supernet has: a run with a `[space]`.",
            command(["train", "examples/digits.toml"], home),
        )
        return
    networks = _networks(home, run)
    frame = choices_frame(run.space, networks)
    if frame.empty:
        _nothing(
            "None of its networks has been judged yet.",
            command(["extract", run.folder, "--count", "16"], home),
        )
        return
    metric = networks[0][1]
    st.markdown(f"**{len(frame):,} networks judged**, of {run.space.size():,} in the space.")
    places = [place for row in (st.columns(2), st.columns(2)) for place in row]
    for place, axis in zip(places, CHOICES, strict=True):
        figure = choice_figure(
            frame, axis, metric.name, higher_is_better=metric.higher_is_better, dark=is_dark()
        )
        with place:
            shown(figure, words.choice(frame, axis, metric.name), key=f"choice-{axis}")
    st.caption(
        f"{_begins(metric.name)} on selection data by kernel, depth, width and resolution: a "
        "circle is a network, diamonds are the mean of those alike. The other choices differ along each "
        "axis too, so a slope is not the effect of that choice alone."
    )


def _depths(home: Home, run: Run, names: list[str]) -> None:
    if not isinstance(run.space, TransformerSpace):
        _nothing(
            "This run has no layers to drop. A text model trained with `[techniques.layer_drop]` has.",
            command(["train", "examples/reviews.toml", "--data", "labelled_text:FOLDER"], home),
        )
        return
    networks = _networks(home, run)
    frame = depth_frame(run.space, networks)
    if frame.empty:
        _nothing("No depth of it has been judged yet.", command(["extract", run.folder], home))
        return
    metric = networks[0][1]
    best = best_by_depth(frame, higher_is_better=metric.higher_is_better)
    figure = depth_figure(
        frame, best, metric.name, higher_is_better=metric.higher_is_better, dark=is_dark()
    )
    shown(figure, words.depths(best, metric.name), key="depths")
    dropped = "layer_drop" in run.techniques
    st.caption(
        f"{_begins(metric.name)} on selection data by the layers that are kept; a mark is "
        "a choice of layers, the line the best of each depth. "
        + ("Trained with LayerDrop." if dropped else "Trained **without** LayerDrop: expect a steep fall.")
    )


def _ladder(home: Home, run: Run, names: list[str]) -> None:
    runs, damaged = all_runs(home, names)
    _told_damage(damaged)
    ladder = ladder_frame(run, runs)
    if not (ladder["left"] < 1).any():
        _nothing(
            "No sparse run belongs to this one. A ladder of tickets, or runs of one file with "
            "`[techniques.dpf]` at several values of `sparsity`, fill this.",
            command("tickets examples/tickets.toml --rounds 10 --control random_ticket".split(), home),
        )
        return
    metric = str(ladder["metric_name"].iloc[0])
    figure = ladder_figure(ladder, metric, higher_is_better=higher_is_better(metric), dark=is_dark())
    shown(figure, words.ladder(ladder, metric), key="ladder")
    st.caption(
        f"{_begins(metric)} on selection data by the share of weights that is left; the "
        "dense network is level 0, at the left, and its dotted line goes across. Controls have as many "
        "weights as what they stand beside. Bars, if any, reach from the worst to the best seed."
    )
    st.dataframe(
        rungs(ladder),
        hide_index=True,
        column_config=column_config(rung_columns(metric)),
        placeholder="–",
        key="rungs",
    )


def _position(home: Home, run: Run, names: list[str]) -> None:
    lines = read_positions(home)
    _told_damage(lines.damaged)
    found = [one for one in lines.found if _belongs(one, run, names)]
    if not found:
        _nothing(
            "No probe of position has looked at this run's network. A run on images can be probed.",
            command(["analyse", "position", run.folder, "--untrained"], home),
        )
        return
    for number, one in enumerate(found):
        st.markdown(
            f"**{escaped(one.network)}** · {one.padded_convolutions} of {one.wide_convolutions} wide "
            "convolutions padded"
        )
        on_scores, on_maps = st.columns([3, 2], gap="medium")
        with on_scores:
            shown(position_figure(one, dark=is_dark()), words.position(one), key=f"position-{number}")
        maps = maps_figure(one, dark=is_dark())
        if maps is not None:
            with on_maps:
                shown(maps, words.maps(one), key=f"maps-{number}")
    st.caption(
        "Left: how well each map is read out of the image alone (the control), of each stage and of all "
        "together; 1 is the same order of places, 0 none. Right: the maps wanted, and the mean of what was "
        "read out of images held out. Compare networks; do not read a figure by itself."
    )


SECTIONS: Mapping[str, Callable[[Home, Run, list[str]], None]] = {
    "training": _training,
    "choices": _choices,
    "depth": _depths,
    "sparsity": _ladder,
    "position": _position,
}


def _networks(home: Home, run: Run) -> list[tuple[ArchConfig, Metric]]:
    judged = judged_of(home, run.folder)
    _told_damage(judged.damaged)
    records = stored(home)
    subnets: Iterable[Subnet] = records.subnets if records else ()
    return known_networks(judged.found, (one for one in subnets if one.run == run.folder))


def _belongs(found: PositionFindings, run: Run, names: list[str]) -> bool:
    """Say whether what was found is of the run's networks, or of its control without padding."""
    control = name_without_padding(run.name)
    folders = [run.folder, *(name for name in names if name.rpartition("-")[0] == control)]
    return any(found.network.startswith(f"{folder}-") for folder in folders)


def _begins(metric_name: str) -> str:
    """Return a metric's name as a sentence begins."""
    word = metric_word(metric_name)
    return escaped(word[:1].upper() + word[1:])


def _nothing(why: str, filled_by: str) -> None:
    st.info(why)
    st.write("This fills it:")
    st.code(filled_by, language="shell")


def _told_damage(damaged: Iterable[str]) -> None:
    told = list(damaged)
    if not told:
        return
    more = f" … and {len(told) - _DAMAGE_TOLD} more" if len(told) > _DAMAGE_TOLD else ""
    st.warning("Left out, damaged: " + "; ".join(map(escaped, told[:_DAMAGE_TOLD])) + more)
