"""Pick: a device and a budget in, one recommendation out, with its reasons and its files."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.controls import (
    budget_control,
    column_config,
    device_control,
    is_dark,
    one_task,
    records_or_advice,
)
from dashboard.figures import trade_off_figure
from dashboard.frames import (
    alternatives_table,
    identity,
    kind_of,
    milliseconds,
    quality_interval,
)
from dashboard.stored import Stored, candidates_of, escaped, file_within, frame_of
from dashboard.views import View
from edge_bench.choose import pick as choosing
from edge_bench.choose.candidates import newest_results
from edge_bench.choose.card import model_card
from edge_bench.choose.snippets import TOKENIZER, Picked, observation_of, run_script
from edge_bench.errors import NoCandidate
from edge_bench.files import Home
from edge_bench.records import Artifact, Budget, Candidate, Metric
from edge_bench.records.quality import metric_word, value_text

PRESETS: dict[choosing.Preset, str] = {
    "accuracy": "the best quality within the budget",
    "balanced": "the fastest within a point of the best",
    "speed": "the fastest",
}
CHART_HEIGHT = 460


class Pick(View):
    """The recommendation stands beside the chart that it was read from."""

    title = "Pick"
    place = 1

    def show(self, home: Home) -> None:
        records = records_or_advice(home)
        if records is not None:
            _choose(records, home)


@st.fragment
def _choose(records: Stored, home: Home) -> None:
    on_device, on_preset, on_budget = st.columns([2, 3, 4], gap="medium")
    with on_device:
        device = device_control(records)
        frame = one_task(frame_of(records, device))
    if frame.empty:
        st.info("Nothing is measured on this device and no predictor covers what is stored.")
        return
    with on_preset:
        preset = _preset()
    with on_budget:
        budget = Budget(max_latency_ms=budget_control(frame), **_more_limits())
    known = set(frame["id"])
    candidates = [one for one in candidates_of(records, device) if identity(one) in known]
    try:
        picked = choosing.pick(candidates, budget, preset=preset)
    except NoCandidate as error:
        _refused(error, frame, budget)
        return
    _recommended(picked, frame, budget, records, home)
    _alternatives(picked, frame)
    _files(picked, budget, preset, records, home)


def _preset() -> choosing.Preset:
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


def _more_limits() -> dict[str, float | None]:
    """Ask for the limits that few have, out of the way of those who have none."""
    with st.expander(
        "Size and memory", expanded=any(name in st.query_params for name in ("size", "memory"))
    ):
        on_size, on_memory = st.columns(2)
        size = on_size.number_input(
            "File, at most MB",
            min_value=0.001,
            value=None,
            placeholder="any",
            format="%.3g",
            key="size",
            bind="query-params",
        )
        memory = on_memory.number_input(
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


def _recommended(
    picked: choosing.Pick, frame: pd.DataFrame, budget: Budget, records: Stored, home: Home
) -> None:
    one = picked.recommended
    words, chart = st.columns([5, 6], gap="large")
    with words:
        st.subheader(escaped(one.name), anchor=False)
        threads = f"{one.threads} thread{'s' if one.threads > 1 else ''}"
        layers = f", layers {one.layers}" if one.layers else ""
        st.markdown(escaped(f"{kind_of(one.format, one.precision)}, {one.runtime}, {threads}{layers}"))
        on_quality, on_latency = st.columns(2)
        _quality(on_quality, one.test_metric or one.metric)
        with on_latency:
            of = "of a text" if one.generation else one.latency_is
            st.metric(f"latency, {of}", milliseconds(one.latency_ms))
            st.caption(_whence(one))
        for doubt in _doubts(one, budget):
            st.warning(doubt)
        st.markdown("**Why**\n\n" + "\n".join(f"- {escaped(reason)}" for reason in picked.reasons))
    with chart:
        _chart(frame, budget, chosen=[identity(one)])


def _whence(one: Candidate) -> str:
    """Say where a latency comes from, and its interval where there is one."""
    if one.source == "imported":
        return escaped(f"imported: measured by {one.origin}, not here")
    return f"{one.source}, {milliseconds(one.latency_low_ms)} to {milliseconds(one.latency_high_ms)}"


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
        budget_ms=budget.max_latency_ms,
        chosen=chosen,
        dark=is_dark(),
        height=CHART_HEIGHT,
        selectable=False,
    )
    st.plotly_chart(figure, key="chart", config={"displayModeBar": False})


def _alternatives(picked: choosing.Pick, frame: pd.DataFrame) -> None:
    if not picked.alternatives:
        return
    chosen = frame[frame["id"] == identity(picked.recommended)].iloc[0]
    others = frame[frame["id"].isin([identity(one) for one in picked.alternatives])]
    st.markdown("**Alternatives** · the nearest on the front within the budget")
    st.dataframe(
        alternatives_table(others, chosen),
        hide_index=True,
        column_config=column_config(frame),
        placeholder="–",
        key="others",
    )


def _files(
    picked: choosing.Pick, budget: Budget, preset: choosing.Preset, records: Stored, home: Home
) -> None:
    one = picked.recommended
    st.markdown("**Take it away**")
    files = {
        artifact.id: (artifact, path)
        for artifact in records.artifacts
        if (artifact.id == one.artifact or (one.subnet is not None and artifact.subnet == one.subnet))
        and (path := file_within(home, artifact.file)) is not None
    }
    with st.container(horizontal=True):
        # The picked file stands first, with what speaks of it, and then that of its steps.
        for artifact, path in sorted(files.values(), key=lambda row: _place(row[0], one)):
            chosen = artifact.id == one.artifact
            kind = kind_of(artifact.format, artifact.precision)
            of = " of steps" if artifact.step_of else ""
            label = f"{kind}{of}, {artifact.size_bytes / 1e6:.3g} MB"
            primary = one.artifact in (artifact.id, artifact.step_of)
            _download(label, path.read_bytes, path.name, key=artifact.id, primary=primary)
            if chosen:
                _papers(picked, artifact, path, records, home)
    if one.artifact not in files:
        st.write("The picked file itself is not there yet. This command writes it:")
        st.code(_command(one, budget, preset, records, home), language="shell")


def _place(artifact: Artifact, one: Candidate) -> tuple[bool, bool]:
    return artifact.id != one.artifact, artifact.step_of != one.artifact


def _papers(picked: choosing.Pick, artifact: Artifact, path: Path, records: Stored, home: Home) -> None:
    """Offer the model card, a script that runs the file, and of a text model its tokenizer."""
    subnet = next((subnet for subnet in records.subnets if subnet.id == artifact.subnet), None)
    text = artifact.text or (subnet.text if subnet else None)
    told = (text, artifact.preprocessing, subnet and subnet.preprocessing, observation_of(artifact, subnet))
    if not any(told):
        return
    one = picked.recommended
    step = next((file for file in records.artifacts if file.step_of == artifact.id), None)
    of_runtime = [result for result in records.results if result.runtime == one.runtime]
    result = newest_results(of_runtime, one.device).get(artifact.id) if one.source != "predicted" else None
    _download(
        "Model card",
        lambda: model_card(picked, artifact, subnet, result, step),
        f"{path.stem}-card.md",
        key="card",
    )
    step_file = Path(step.file).name if step else ""
    _download(
        "Script that runs it",
        lambda: run_script(Picked.of(artifact, subnet, file=path.name, step_file=step_file)),
        "run_model.py",
        key="script",
    )
    tokenizer = text and file_within(home, text.tokenizer)
    if tokenizer:
        _download("Tokenizer", tokenizer.read_bytes, TOKENIZER, key="tokenizer")


def _download(
    label: str, data: Callable[[], bytes | str], name: str, *, key: str, primary: bool = False
) -> None:
    st.download_button(
        escaped(label),
        data=data,
        file_name=name,
        mime="application/octet-stream",
        key=f"download-{key}",
        help=escaped(name),
        on_click="ignore",
        type="primary" if primary else "secondary",
    )


def _command(one: Candidate, budget: Budget, preset: str, records: Stored, home: Home) -> str:
    words = ["edge-bench", "pick", "--device", one.device]
    # The command looks at one run: that of the network which the page recommends.
    words += [
        word for subnet in records.subnets if subnet.id == one.subnet for word in ("--run", subnet.run)
    ]
    limits = {
        "--max-latency-ms": budget.max_latency_ms,
        "--max-size-mb": budget.max_size_mb,
        "--max-peak-memory-mb": budget.max_peak_memory_mb,
    }
    for option, limit in limits.items():
        words += [] if limit is None else [option, f"{limit:.10g}"]
    return shlex.join([*words, "--preset", preset, "--home", str(home.root)])
