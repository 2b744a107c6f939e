"""Benchmarks: what one measurement is worth, where its time goes, and how it stands against another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import streamlit as st

from dashboard import benchmark_frames as told
from dashboard import shell, words
from dashboard.benchmark_figures import (
    blocks_figure,
    distribution_figure,
    operators_figure,
    sweep_figure,
)
from dashboard.charts import shown
from dashboard.controls import is_dark, records_or_advice
from dashboard.figures import colour
from dashboard.frames import kind_of, milliseconds
from dashboard.stored import Stored, escaped
from dashboard.views import View
from edge_bench.files import Home
from edge_bench.measure.comparison import ComparisonPlan
from edge_bench.records import THIS_MACHINE, BenchmarkResult

RESULT, AGAINST = "result", "against"
ANSWERS = {
    "faster": "B is faster than A.",
    "slower": "B is slower than A.",
    "no difference seen": "No difference is seen.",
}
CHART_HEIGHT = 380
FILES_LISTED = 2_000


class Benchmarks(View):
    """One result from its verdict to its operators; beside it, where asked, a second one."""

    title = "Benchmarks"
    place = 3

    def show(self, home: Home) -> None:
        records = records_or_advice(home)
        if records is None:
            return
        if not records.results:
            st.info("No file is measured yet. This measures every exported file:")
            st.code(shell.command(["bench", "--all"], home), language="shell")
            return
        _explore(records, home)


@st.fragment
def _explore(records: Stored, home: Home) -> None:
    result = _chosen(records.results, RESULT)
    if result is None:
        return
    _verdict(result)
    _numbers(result)
    if result.latencies_ms:
        on_distribution, on_course = st.columns(2, gap="large")
        with on_distribution:
            _distribution(result)
        with on_course:
            _course(result)
    else:
        st.info(
            f"{escaped(result.origin)} reported its own statistics and no latency of a single run, so that "
            "there is no distribution to draw."
        )
    _operators(result, home)
    on_threads, on_runtimes = st.columns(2, gap="large")
    with on_threads:
        _sweep(records, result, "threads", home)
    with on_runtimes:
        _sweep(records, result, "runtime", home)
    _compare(records, result, home)


def _chosen(results: Sequence[BenchmarkResult], which: str) -> BenchmarkResult | None:
    """Let a result be chosen by its device, its file and how it was measured; the link names it.

    The first one stands there from the start, a second one only where the link or a hand names it.
    """
    first = which == RESULT
    linked = next((one for one in results if one.id == st.query_params.get(which)), None)
    usual = linked or (results[-1] if first else None)
    on_device, on_file, on_setting = st.columns([2, 4, 4], gap="medium")
    devices = sorted({one.device for one in results})
    device = on_device.selectbox(
        "Device" if first else "B's device",
        devices,
        index=devices.index(usual.device) if usual else None,
        placeholder="compare with …",
        key=f"{which}-device",
    )
    if device is None:
        st.query_params.pop(which, None)
        return None
    of_device = [one for one in results if one.device == device]
    names = {(one.digest, one.model): one.model for one in of_device}
    files = sorted(list(names)[-FILES_LISTED:], key=lambda file: (names[file], file))
    file = (usual.digest, usual.model) if usual else None
    if file in names and file not in files:
        files.append(file)
    chosen_file = on_file.selectbox(
        "File" if first else "B's file",
        files,
        index=files.index(file) if file in files else 0,
        format_func=lambda one: _file_text(one, list(names.values())),
        key=f"{which}-file-{device}",
    )
    # The newest first: it is what people come for.
    of_file = [one for one in reversed(of_device) if (one.digest, one.model) == chosen_file]
    settings = {one.id: told.setting_text(one) for one in of_file}
    setting = on_setting.selectbox(
        "Measurement" if first else "B's measurement",
        list(settings),
        index=list(settings).index(usual.id) if usual and usual.id in settings else 0,
        format_func=settings.__getitem__,
        key=f"{which}-setting-{chosen_file}-{device}",
    )
    chosen = next((one for one in of_file if one.id == setting), None)
    if chosen is not None:
        st.query_params[which] = chosen.id
    return chosen


def _file_text(file: tuple[str, str], names: Sequence[str]) -> str:
    digest, name = file
    return name if names.count(name) < 2 else f"{name} ({digest[:8]})"


def _verdict(result: BenchmarkResult) -> None:
    cause = f" Cause: {escaped(result.verdict_cause)}" if result.verdict_cause else ""
    text = f"**{result.verdict}**: {words.VERDICTS[result.verdict]}{cause}"
    (st.success if result.verdict == "clean" else st.warning)(text)
    if not result.measured_here:
        st.caption(f"measured by {escaped(result.origin)}, not here; p50 is told as {result.p50_is}")
    for note in result.notes:
        st.caption(escaped(note))


def _numbers(result: BenchmarkResult) -> None:
    middle, low, high = result.p50_bounds_ms
    told_ms = {
        "p50": (middle, f"{milliseconds(low)} to {milliseconds(high)}" if low < high else ""),
        "p90": (result.p90_ms, _bound(result.p90_bound_ms)),
        "p99": (result.p99_ms, _bound(result.p99_bound_ms)),
        "first": (result.first_ms, "the first inference"),
        "load": (result.load_ms, "until it could run"),
    }
    with st.container(horizontal=True, gap="large"):
        for name, (value, detail) in told_ms.items():
            if value is not None and not math.isnan(value):
                with st.container(width="content"):
                    st.metric(name, milliseconds(value))
                    st.caption(detail)
        if result.peak_memory_mb is not None:
            with st.container(width="content"):
                st.metric("peak memory", f"{result.peak_memory_mb:.1f} MB")
    stopped = f"; it ended because {result.stopped_by}" if result.stopped_by else ""
    if result.runs:
        st.caption(
            escaped(
                f"{result.runs:,} runs in {sum(one.counted for one in result.blocks)} blocks count, "
                f"measured {told.minute_of(result.created)} in {result.runtime} "
                f"{result.runtime_version}{stopped}"
            )
        )


def _bound(bound_ms: float | None) -> str:
    return "too few runs for a bound" if bound_ms is None else f"below {milliseconds(bound_ms)}, 99 % sure"


def _distribution(result: BenchmarkResult) -> None:
    st.markdown("**Latencies** · which share of the runs took at most how long")
    told_words = words.distribution(result)
    shown(
        distribution_figure({result.model: result}, dark=is_dark(), height=CHART_HEIGHT),
        f"Distribution of latencies, {told_words}",
        key="distribution",
    )
    st.caption(told_words)


def _course(result: BenchmarkResult) -> None:
    st.markdown("**Course** · median of each block, from its tenth to its ninetieth percentile")
    told_words = words.course(result)
    shown(
        blocks_figure(result, dark=is_dark(), height=CHART_HEIGHT),
        f"Latency over time: {told_words}",
        key="course",
    )
    reasons = sorted({block.reason for block in result.blocks if not block.counted and block.reason})
    st.caption(escaped("; ".join([told_words, *reasons[:3]])))


def _operators(result: BenchmarkResult, home: Home) -> None:
    st.markdown("**Operators** · what each takes, in a pass of its own")
    if not result.operators:
        st.write("This result was not profiled. This command does it:")
        st.code(shell.bench_again(result, home, "--profile"), language="shell")
        return
    grouped = st.segmented_control(
        "Group operators",
        ("each", "by kind"),
        default="each",
        required=True,
        key="operators",
        bind="query-params",
        label_visibility="collapsed",
    )
    frame = told.operators(result, by_kind=grouped == "by kind")
    told_words = words.operators(frame)
    shown(operators_figure(frame, dark=is_dark()), f"Time of operators: {told_words}", key="operator-bars")
    st.caption(escaped(told_words))
    for placement in result.placements:
        kinds = ", ".join(f"{count} {kind}" for kind, count in placement.operators.items())
        ran = f"{placement.where} ran {kinds}"
        if placement.wanted:
            st.caption(escaped(ran))
        else:
            st.warning(escaped(f"{ran}: these fell back from what was asked for"))


def _sweep(records: Stored, result: BenchmarkResult, over: told.Swept, home: Home) -> None:
    other = "runtime" if over == "threads" else "threads"
    st.markdown(f"**{'Threads' if over == 'threads' else 'Runtimes'}** · the same file, the same {other}")
    swept = told.sweep(records.results, result, over)
    if len(swept) < 2:
        st.write(f"Measured with one {'thread count' if over == 'threads' else 'runtime'} only.")
        if over == "threads":
            st.code(shell.bench_again(result, home, "--threads", "1,2,4"), language="shell")
        else:
            st.write(
                "`edge-bench doctor` lists the runtimes that are there; `--runtime A,B` takes several."
            )
        return
    frame = told.sweep_frame(swept, over)
    told_words = words.sweep(swept, over)
    shown(
        sweep_figure(
            frame,
            over,
            paint=colour(kind_of(result.format, result.precision or "")),
            dark=is_dark(),
            height=320,
        ),
        f"Median latency by {over}. {told_words}",
        key=f"sweep-{over}",
    )
    doubtful = [f"{getattr(one, over)} ({one.verdict})" for one in swept if one.verdict != "clean"]
    st.caption(escaped(told_words + (f". Not clean: {', '.join(doubtful)}" if doubtful else "")))


def _compare(records: Stored, a: BenchmarkResult, home: Home) -> None:
    st.subheader("A against B", anchor=False)
    st.caption(f"A: {escaped(a.model)}, {escaped(told.setting_text(a))}")
    b = _chosen(records.results, AGAINST)
    if b is None:
        return
    if b.id == a.id:
        st.info("A and B are the same measurement. Choose another one.")
        return
    unlike = told.unlike(a, b)
    if unlike:
        st.warning(escaped(f"Their latencies are not of the same thing. {'; '.join(unlike)}."))
    _ratio(a, b)
    if a.latencies_ms and b.latencies_ms:
        alike = a.model == b.model
        one, other = (told.setting_text(side) if alike else side.model for side in (a, b))
        shown(
            distribution_figure({f"A: {one}": a, f"B: {other}": b}, dark=is_dark(), height=CHART_HEIGHT),
            f"Distributions of A, {words.distribution(a)}, and of B, {words.distribution(b)}",
            key="both",
        )
    _differences(a, b)
    if a.device == b.device == THIS_MACHINE and not unlike:
        st.write("They were measured at different times. Measured in turns, what drifts meets both alike:")
        pairs = [("--runtime", a.runtime, b.runtime), ("--threads", a.threads or 1, b.threads or 1)]
        options = [word for name, one, other in pairs for word in (name, f"{one},{other}")]
        st.code(
            shell.command(["compare", shell.named(a), shell.named(b), *options], home), language="shell"
        )


def _ratio(a: BenchmarkResult, b: BenchmarkResult) -> None:
    ratio = told.ratio_of(a, b)
    if math.isnan(ratio.middle):
        st.info("One of the two tells no latency to compare.")
        return
    if ratio.low is None or ratio.high is None:
        st.metric("latency of B over A", f"{ratio.middle:.3f} ×")
        st.caption("no interval, since one of the two tells none: no answer")
        return
    st.metric("latency of B over A", f"{ratio.middle:.3f} ×")
    margin = ComparisonPlan().margin
    answer = ANSWERS[ratio.answer(margin)]
    if ratio.within(margin):
        answer += f" If there is one, it is below {margin:.0%}."
    st.markdown(
        f"{answer} Interval {ratio.low:.3f} to {ratio.high:.3f}: as far apart as both 95 % intervals allow."
    )
    doubts = [f"{name} is {one.verdict}" for name, one in (("A", a), ("B", b)) if one.verdict != "clean"]
    if doubts:
        st.warning(f"{' and '.join(doubts)}: the difference may be that of the machine.")


def _differences(a: BenchmarkResult, b: BenchmarkResult) -> None:
    st.markdown("**What differs** between the two measurements and their machines")
    frame = told.differences(a, b)
    if frame.empty:
        st.write("Nothing that was recorded: the same settings and the same environment.")
    else:
        st.dataframe(frame, hide_index=True, key="differences")
