"""What a report tells of a device: what runs there how fast and how well, and what to pick."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import pandas as pd

import device_profiles
from dashboard import device_frames, words
from dashboard.benchmark_figures import blocks_figure, distribution_figure, operators_figure
from dashboard.benchmark_frames import operators, results_frame
from dashboard.columns import LATENCY_COLUMNS, candidate_columns
from dashboard.device_figures import calibration_figure, heat_figure, residuals_figure
from dashboard.frames import candidate_frame, front, identity, matching, milliseconds, named_quality, table
from dashboard.pick_frames import picks_frame
from dashboard.report.parts import Chart, Listed, Part, Section, Table
from dashboard.trade_off_figures import trade_off_figure
from edge_bench.choose import pick as choosing
from edge_bench.choose.presets import PRESETS, Preset
from edge_bench.choose.takeaway import result_behind
from edge_bench.errors import NoCandidate
from edge_bench.records import Artifact, BenchmarkResult, Budget, Candidate, FittedPredictor, Subnet

TRADE_OFFS_HEIGHT, CHART_HEIGHT = 460, 380
# A report is read, not searched: the store holds the rest.
ROWS, RESULTS, MEASURED, PREDICTORS = 100, 200, 3, 4


def heat_section(
    artifacts: Iterable[Artifact],
    results: Iterable[BenchmarkResult],
    candidates: Mapping[str, Sequence[Candidate]],
) -> Iterator[Section]:
    """Yield the map of models by devices, where any latency is known."""
    latencies = device_frames.latencies(artifacts, results, candidates)
    if latencies.empty:
        return
    cells = device_frames.one_a_cell(latencies)
    drawn = device_frames.thinned(cells)
    chart = Chart.of(
        f"Median latency of models by device in ms: {words.heat(cells)}.",
        partial(heat_figure, drawn),
    )
    how = "Fastest models on top. Italics behind ≈ in a dotted frame: predicted; *: imported; –: not known."
    yield Section(title="Models × devices", parts=[chart, how])


def device_section(
    device: str,
    candidates: Sequence[Candidate],
    results: Sequence[BenchmarkResult],
    predictors: Sequence[FittedPredictor],
    records: tuple[Sequence[Subnet], Sequence[Artifact]],
    *,
    budget: Budget,
    preset: Preset,
) -> Section:
    """Return what is told of one device.

    Args:
        device: its name.
        candidates: what could run there, by the percentile of latency that is meant.
        results: of that device.
        predictors: of that device.
        records: all networks and files that are reported.
        budget: what may be spent.
        preset: what is wanted of the pick.
    """
    parts: list[Part] = []
    shown: dict[str, BenchmarkResult] = {}
    frame = candidate_frame(candidates)
    for task in frame["task"].value_counts().index:
        rows = matching(frame, task=[task])
        those = [one for one in candidates if one.judged_by == task]
        parts.append(Section(title=str(task), parts=list(_choice(rows, those, budget, preset))))
        for one in _recommended(those, budget):
            result = result_behind(one, results)
            if result is not None and result.latencies_ms:
                shown[result.id] = result
    if frame.empty:
        parts.append("No candidate is known here: nothing is measured and nothing predicted.")
    parts += _measured(results, list(shown.values())[:MEASURED])
    parts += _predicted(predictors, *records, results)
    parts += _facts(device, results)
    return Section(title=device, parts=parts)


def _choice(
    frame: pd.DataFrame, candidates: Sequence[Candidate], budget: Budget, preset: Preset
) -> Iterator[Part]:
    """Yield the chart of trade-offs with what is picked, why, and the table behind them."""
    picked = None
    try:
        picked = choosing.pick(candidates, budget, preset=preset)
    except NoCandidate as error:
        yield f"{error.message[:1].upper()}{error.message[1:]}."
    chosen = [identity(picked.recommended)] if picked else []
    limit_ms = budget.max_latency_ms
    yield Chart.of(
        words.trade_offs(frame, limit_ms),
        partial(
            trade_off_figure,
            frame,
            budget=limit_ms,
            chosen=chosen,
            height=TRADE_OFFS_HEIGHT,
            selectable=False,
        ),
    )
    columns = candidate_columns(frame)
    if picked is not None:
        caption = f"Picks within {_told(budget)}, preset {preset}"
        yield Table(caption=caption, frame=picks_frame(picked, frame), columns=columns)
        yield Section(title="Why", parts=[Listed(picked.reasons)])
        yield Section(title="What would change the answer", parts=[Listed(picked.changes)])
        yield _by_preset(candidates, budget)
    best = front(frame)
    rest = frame[~frame["id"].isin(best["id"])]
    rows = pd.concat([best, rest.head(max(ROWS - len(best), 0))]).sort_values(["latency_ms", "id"])
    some = f", {len(rows):,} of {len(frame):,}: the front and the fastest" if len(rows) < len(frame) else ""
    yield Table(caption=f"Candidates{some}", frame=table(rows, best, limit_ms), columns=columns)


def _told(budget: Budget) -> str:
    limits = {
        "latency {:.4g} ms": budget.max_latency_ms,
        "size {:.4g} MB": budget.max_size_mb,
        "peak memory {:.4g} MB": budget.max_peak_memory_mb,
    }
    told = [form.format(limit) for form, limit in limits.items() if limit is not None]
    return ", ".join(told) or "no limit"


def _recommended(candidates: Sequence[Candidate], budget: Budget) -> Iterator[Candidate]:
    for preset in PRESETS:
        try:
            yield choosing.pick(candidates, budget, preset=preset).recommended
        except NoCandidate:
            return


def _by_preset(candidates: Sequence[Candidate], budget: Budget) -> Table:
    rows = [
        {
            "preset": preset,
            "name": one.name,
            "quality (selection)": named_quality(one.metric.name, one.metric.value),
            "latency": milliseconds(one.latency_ms),
            "source": one.source,
        }
        for preset, one in zip(PRESETS, _recommended(candidates, budget), strict=True)
    ]
    return Table(caption="What each preset picks", frame=pd.DataFrame(rows))


def _measured(results: Sequence[BenchmarkResult], shown: Sequence[BenchmarkResult]) -> Iterator[Section]:
    """Yield every result's verdict, and the runs of those that were picked."""
    if not results:
        return
    newest = sorted(results, key=lambda one: one.created, reverse=True)
    some = f", the newest {RESULTS:,} of {len(newest):,}" if len(newest) > RESULTS else ""
    listed = Table(caption=f"Results{some}", frame=results_frame(newest[:RESULTS]), columns=LATENCY_COLUMNS)
    yield Section(title="Benchmarks", parts=[*(_result(one) for one in shown), listed])


def _result(result: BenchmarkResult) -> Section:
    cause = f" Cause: {result.verdict_cause}" if result.verdict_cause else ""
    parts: list[Part] = [
        f"{result.verdict}: {words.VERDICTS[result.verdict]}{cause}",
        Chart.of(
            f"Which share of the runs took at most how long, {words.distribution(result)}.",
            partial(distribution_figure, {result.model: result}, height=CHART_HEIGHT),
        ),
        Chart.of(
            f"Median of each block over time: {words.course(result)}.",
            partial(blocks_figure, result, height=CHART_HEIGHT),
        ),
    ]
    if result.operators:
        frame = operators(result)
        parts.append(
            Chart.of(
                f"Time of operators: {words.operators(frame)}.",
                partial(operators_figure, frame),
            )
        )
    return Section(title=result.model, parts=parts)


def _predicted(
    predictors: Sequence[FittedPredictor],
    subnets: Sequence[Subnet],
    artifacts: Sequence[Artifact],
    results: Sequence[BenchmarkResult],
) -> Iterator[Section]:
    """Yield how well the newest predictors foretold what was measured since."""
    parts: list[Part] = []
    for fitted in list(reversed(predictors))[:PREDICTORS]:
        frame = device_frames.calibration_frame(fitted, subnets, artifacts, results)
        if not frame.empty:
            parts.append(
                Section(title=device_frames.predictor_text(fitted), parts=list(_calibration(frame)))
            )
    if parts:
        yield Section(title="How well it is predicted", parts=parts)


def _calibration(frame: pd.DataFrame) -> Iterator[Chart]:
    told = words.calibration(device_frames.calibration(frame))
    yield Chart.of(
        f"Predicted over measured latency: {told}.",
        partial(calibration_figure, frame, height=CHART_HEIGHT),
    )
    yield Chart.of(
        f"Residuals over measured latency: {told}.",
        partial(residuals_figure, frame, height=CHART_HEIGHT),
    )


def _facts(device: str, results: Iterable[BenchmarkResult]) -> Iterator[Section]:
    profile = device_profiles.load(device) if device in device_profiles.names() else None
    facts = device_frames.facts(profile, results, device)
    if not facts.empty:
        yield Section(title="Facts", parts=[Table(caption="", frame=facts)])
