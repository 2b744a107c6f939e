"""What `bench` answers: results as tables for a terminal of any width, and as a document."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_bench.choose.generation import runs_network
from edge_bench.commands import Outcome, cell, table
from edge_bench.documents import to_document
from edge_bench.errors import INTERRUPTED, OK, EdgeBenchError
from edge_bench.measure.drift import Drift, drift
from edge_bench.measure.environment import changes
from edge_bench.measure.inputs import CACHE, TOKENS, plain_name
from edge_bench.records import Artifact, BenchmarkResult, quality
from edge_bench.records.result import OperatorTime, Placement

# The columns in the order of a row, and in the order in which a narrow terminal keeps them.
COLUMNS = (
    "model runtime threads precision quality tokens samples p50_ms ± p90_ms p90_bound_ms p99_ms samples/s"
    " load_ms first_ms memory_mb runs verdict"
).split()
KEPT = (
    "model p50_ms verdict ± runtime threads tokens samples samples/s quality p90_ms load_ms memory_mb"
    " first_ms p90_bound_ms p99_ms runs precision"
).split()
# Where standard output is no terminal there is room for all of them.
MODEL_WIDTH = 26
CURVE_WIDTH = 60
CURVE_ROWS = 8
OPERATOR_ROWS = 12
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Failure:
    """What was asked for and the error it ended with."""

    model: str
    error: EdgeBenchError
    runtime: str = ""


def outcome(
    results: Sequence[BenchmarkResult],
    failures: Sequence[Failure],
    skipped: Sequence[Failure] = (),
    *,
    lasts: Mapping[str, BenchmarkResult | None],
    artifacts: Sequence[Artifact] = (),
    interrupted: bool = False,
) -> Outcome:
    """Return the answer of a command that measured; its status is that of the worst failure.

    `lasts` holds, by a result's id, the newest one before it that was measured in the same way;
    `artifacts` are the stored files among those that were measured.
    """
    document: dict[str, Any] = {
        "results": [
            {**documented(result), "since_last": since(lasts[result.id], result)} for result in results
        ]
    }
    lines = [table([row(result) for result in results], columns=columns(results))] if results else []
    for result in results:
        lines += [*told(result), *_changed(lasts[result.id], result)]
    if spoken := texts(results, artifacts):
        document["texts"] = spoken
        lines += [_text_told(one) for one in spoken]
    if skipped:
        document["skipped"] = [_failure(one) for one in skipped]
        lines += [f"left out: {Path(one.model).name}: {one.error.message}" for one in skipped]
    if failures:
        document["failures"] = [_failure(one) for one in failures]
        lines += [f"failed: {one.model}: {one.error.message}" for one in failures]
    status = max((one.error.status for one in failures), default=OK)
    if interrupted:
        document["interrupted"] = True
        lines.append("interrupted: what is above is stored")
        status = INTERRUPTED
    return Outcome(document=document, text="\n".join(lines), status=status)


def texts(results: Sequence[BenchmarkResult], artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Return what each text model takes: for `tokens` at once, and for one token where it generates.

    `text_ms` is what generating a text of `generated_tokens` takes, as many as one of the data has:
    that many steps, of a translation behind its source of `tokens`.
    """
    known = {artifact.id: artifact for artifact in artifacts if artifact.text}
    found = []
    for result in results:
        artifact = known.get(result.artifact or "")
        if artifact is None or artifact.step_of is not None:
            continue
        way = (result.runtime, result.threads, result.batch, result.samples_per_query)
        steps = [
            one
            for one in results
            if one.artifact in known
            and known[one.artifact].step_of == artifact.id
            and (one.runtime, one.threads, one.batch, one.samples_per_query) == way
        ]
        row: dict[str, Any] = {"model": result.model, "runtime": result.runtime, "threads": result.threads}
        row |= {"task": artifact.task, "tokens": tokens_of(result), "whole_ms": result.p50_ms}
        if steps and artifact.step:
            token_ms, count = steps[-1].p50_ms, artifact.step.tokens
            source_ms = result.p50_ms if runs_network(artifact.task) else 0.0
            row |= {
                "token_ms": token_ms,
                "generated_tokens": count,
                "text_ms": source_ms + count * token_ms,
            }
        found.append(row)
    return found


def tokens_of(result: BenchmarkResult) -> int | None:
    """Return how long the texts were that a file was run on; None of one that takes no text."""
    shapes = result.environment.get("input_shapes", {})
    named = {plain_name(name): shape for name, shape in shapes.items()}
    if CACHE in named and len(named[CACHE]) == 6:
        return int(named[CACHE][4])
    return next((int(named[one][1]) for one in sorted(TOKENS & named.keys()) if len(named[one]) == 2), None)


def _text_told(one: Mapping[str, Any]) -> str:
    name = f"{one['model']} ({one['runtime']}, {_threads(one['threads'])})"
    line = f"{name}: {one['whole_ms']:.4g} ms for {one['tokens']} tokens at once"
    if "token_ms" not in one:
        return line
    return (
        f"{line}, {one['token_ms']:.4g} ms a token that it generates: {one['text_ms']:.4g} ms for a text "
        f"of {one['generated_tokens']:.3g}"
    )


def documented(result: BenchmarkResult) -> dict[str, Any]:
    """Return a result's summary and what a table has no room for; raw latencies are in the store."""
    moved = drift(result)
    return {
        **result.summary(),
        "tokens": tokens_of(result),
        "loads_ms": list(result.loads_ms),
        "notes": list(result.notes),
        "metrics": to_document(result.metrics),
        "operators": to_document(result.operators),
        "placements": to_document(result.placements),
        "footprint": to_document(result.footprint) if result.footprint else None,
        "drift": None if moved is None else to_document(moved),
        "curve": _curve(result) if moved is not None else [],
    }


def told(result: BenchmarkResult) -> list[str]:
    """Return a result in sentences: its verdict, and what its mode, scenario and passes add."""
    name = f"{result.model} ({result.runtime}, {_threads(result.threads)})"
    lines = [f"{name}: {result.verdict}: {result.verdict_cause}"]
    if result.mode != "burst" or result.scenario != "single_stream":
        lines.append(f"  {_kind(result)}")
    if result.loads_ms:
        low, high = min(result.loads_ms), max(result.loads_ms)
        lines.append(
            f"  load {result.load_ms:.4g} ms (from {low:.4g} to {high:.4g}), "
            f"first inference {result.p50_ms:.4g} ms, in {len(result.loads_ms)} fresh processes"
        )
    if (moved := drift(result)) is not None:
        lines += [f"  {line}" for line in _drifted(result, moved)]
    elif result.mode == "sustained":
        lines.append("  too few points count to compare the end with the start: allow more seconds")
    lines += [f"  {line}" for line in (*profiled(result.operators), *placed(result.placements))]
    lines += [f"  {line}" for line in weighed(result)]
    lines += [f"  note: {note}" for note in result.notes]
    return lines


def since(last: BenchmarkResult | None, result: BenchmarkResult) -> dict[str, Any] | None:
    """Return what has changed around a result since the last, of what both tell; None of a first one."""
    if last is None:
        return None
    pairs = changes(last.environment, result.environment)
    known = {name: list(pair) for name, pair in pairs.items() if None not in pair}
    return {"id": last.id, "created": last.created, "p50_ms": last.p50_ms, "changes": known}


def _changed(last: BenchmarkResult | None, result: BenchmarkResult) -> list[str]:
    found = since(last, result)
    if found is None or not found["changes"]:
        return []
    words = (f"{name.replace('_', ' ')} {old} → {new}" for name, (old, new) in found["changes"].items())
    return [
        f"  changed since {found['created']}, when p50 was {found['p50_ms']:.4g} ms: {', '.join(words)}"
    ]


def weighed(result: BenchmarkResult) -> list[str]:
    """Say what of the peak memory is the model's and what the runtime adds."""
    of, peak_mb = result.footprint, result.peak_memory_mb
    if of is None or peak_mb is None:
        return []
    weights_mb = of.weights_bytes / 1e6
    if of.activations_bytes is None:
        return [f"memory: {peak_mb:.1f} MB at the peak, of which weights {weights_mb:.3g} MB"]
    activations_mb = of.activations_bytes * (result.batch or 1) / 1e6
    return [
        f"memory: {peak_mb:.1f} MB at the peak: weights {weights_mb:.3g} MB, activations "
        f"{activations_mb:.3g} MB, Python and the runtime {peak_mb - weights_mb - activations_mb:.1f} MB"
    ]


def profiled(operators: Sequence[OperatorTime]) -> list[str]:
    """Show the operators by share; what comes after the largest is summed up in a line."""
    if not operators:
        return []
    rows = [
        {"share": f"{one.share:.1%}", "ms": one.mean_ms, "calls": one.calls, "kind": one.kind}
        | {"name": one.name, "where": one.where}
        for one in operators[:OPERATOR_ROWS]
    ]
    places = {one.where for one in operators}
    columns = [name for name in rows[0] if name != "where" or len(places) > 1]
    rest = operators[OPERATOR_ROWS:]
    total_ms = sum(one.mean_ms for one in operators)
    return [
        f"{len(operators)} operators take {total_ms:.4g} ms of an inference while they are watched:",
        *table(rows, columns=columns).splitlines(),
        *([f"and {len(rest)} more with {sum(one.share for one in rest):.1%}"] if rest else []),
    ]


def placed(placements: Sequence[Placement]) -> list[str]:
    """Say what fell back from the provider or delegate that was wanted."""
    if not placements:
        return []
    count = sum(sum(one.operators.values()) for one in placements)
    wanted = next((one.where for one in placements if one.wanted), "a delegate")
    back = [one for one in placements if not one.wanted]
    if not back:
        return [f"wanted {wanted}: none of {count} operators fell back"]
    return [
        f"wanted {wanted}: {sum(one.operators.values())} of {count} operators fell back to {one.where}: "
        + ", ".join(f"{number} {kind}" for kind, number in sorted(one.operators.items()))
        for one in back
    ]


def _kind(result: BenchmarkResult) -> str:
    """Say what a latency is of and when it was measured, where that is not the usual."""
    when = {
        "paced": f"after {result.interval_ms or 0:g} ms of idling each",
        "cold": "the first inference of a fresh process each",
        "sustained": "without a pause",
    }.get(result.mode, "back to back")
    if result.scenario == "single_stream":
        return f"{result.mode}: {when}"
    rate = result.samples_per_second
    figure = {
        "multi_stream": f"p99 {result.p99_ms:.4g} ms a query",
        "offline": f"{rate:.4g} samples/s" if rate else "",
    }.get(result.scenario, "")
    scenario = result.scenario.replace("_", "-")
    return f"{scenario}: {result.samples_per_query} examples a query, {when}: {figure}"


def _drifted(result: BenchmarkResult, moved: Drift) -> list[str]:
    curve = _curve(result)
    heights = [point["p50_ms"] for point in curve]
    low, high = min(heights), max(heights)
    rows = [curve[index * (len(curve) - 1) // max(1, CURVE_ROWS - 1)] for index in range(CURVE_ROWS)]
    rows = list({point["at_s"]: point for point in rows}.values())
    known = [name for name in rows[0] if any(point[name] is not None for point in rows)]
    unknown = " and ".join(
        word
        for name, word in (("temperature_c", "temperature"), ("frequency_mhz", "clock"))
        if name not in known
    )
    return [
        f"at the end {moved.ratio - 1:+.1%} of the start ({moved.low - 1:+.1%} to {moved.high - 1:+.1%}): "
        f"p50 {moved.start_ms:.4g} ms in the first tenth, {moved.end_ms:.4g} ms in the last",
        f"{sparkline(heights)}  p50 from {low:.4g} to {high:.4g} ms over {curve[-1]['at_s']:.0f} s",
        *table(rows, columns=known).splitlines(),
        *([f"{unknown}: unavailable on this machine"] if unknown else []),
    ]


def sparkline(values: Sequence[float], *, width: int = CURVE_WIDTH) -> str:
    """Return the values as bars, medians of neighbours where they are too many.

    The highest bar stands for the largest value, or for a tenth above the least: less is a flat line.
    """
    count = min(width, len(values))
    edges = [index * len(values) // count for index in range(count + 1)]
    shown = [
        sorted(values[start:end])[(end - start) // 2] for start, end in zip(edges, edges[1:], strict=False)
    ]
    low = min(shown)
    span = max(max(shown) - low, low / 10)
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1)) if span else 0] for value in shown)


def _curve(result: BenchmarkResult) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    for block in result.blocks:
        if block.counted and block.at_s is not None:
            middle = sorted(block.latencies_ns)[len(block.latencies_ns) // 2] / 1e6
            points.append(
                {
                    "at_s": round(block.at_s, 3),
                    "p50_ms": middle,
                    "temperature_c": block.temperature_c,
                    "frequency_mhz": block.frequency_mhz,
                }
            )
    return points


def columns(results: Sequence[BenchmarkResult]) -> list[str]:
    """Return the columns that say something of these results and fit this terminal."""
    rows = [row(result) for result in results]
    present = [name for name in KEPT if any(one[name] is not None for one in rows)]
    if not sys.stdout.isatty():
        return [name for name in COLUMNS if name in present]
    left = shutil.get_terminal_size().columns - 1
    chosen: set[str] = set()
    for name in present:
        wanted = max(len(name), *(len(cell(one[name])) for one in rows))
        # Two blanks and a rule; a long name of a model is folded.
        left -= 3 + (min(wanted, MODEL_WIDTH) if name == "model" else wanted)
        if left < 0:
            break
        chosen.add(name)
    return [name for name in COLUMNS if name in chosen]


def row(result: BenchmarkResult) -> dict[str, Any]:
    """Return a result as a row of the table; a cell that says nothing of it is None."""
    middle, low, high = result.p50_bounds_ms
    width = f"{max(high - middle, middle - low) / middle:.1%}" if middle else None
    return {
        **result.summary(),
        "±": width,
        "memory_mb": result.peak_memory_mb,
        "tokens": tokens_of(result),
        "samples": result.samples_per_query if result.samples_per_query > 1 else None,
        "samples/s": result.samples_per_second if result.scenario == "offline" else None,
        "quality": quality.told(result.metrics[0]) if result.metrics else None,
    }


def _failure(one: Failure) -> dict[str, Any]:
    return {
        "model": one.model,
        "runtime": one.runtime,
        "kind": type(one.error).__name__,
        "message": one.error.message,
        "status": one.error.status,
    }


def _threads(count: int | None) -> str:
    return "1 thread" if count == 1 else f"{count or 'unknown'} threads"
