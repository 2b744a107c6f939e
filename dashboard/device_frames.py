"""Devices as tables: which model takes how long where, what is known of a device, how well it is predicted.

Pure functions, no widget and no cache; units stand in the names of columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dashboard.benchmark_frames import newest, value_text
from dashboard.frames import kind_of
from device_profiles import DeviceProfile
from edge_bench.choose.depths import predicted_depth
from edge_bench.choose.fitting import fits, predict, space_key
from edge_bench.measure.ratios import rate_interval
from edge_bench.records import (
    Artifact,
    BenchmarkResult,
    Candidate,
    FittedPredictor,
    Prediction,
    RecurrentSpace,
    Subnet,
    TransformerSpace,
)
from edge_bench.statistics import relative_errors, spearman

MODELS_SHOWN = 30
COLUMNS = "model name device runtime precision threads latency_ms low_ms high_ms source origin".split()
# Of several latencies of one model on one device, the first of these is shown.
_TRUST = {"measured": 0, "imported": 1, "predicted": 2}
OPEN = "measuring it decides whether it is on the front"
ON_FRONT = "it is on the front by a prediction alone"
WIDE = "its interval is the widest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How predictions did on files that were measured: errors as fractions, `held` of `count` intervals."""

    count: int
    mape: float
    bias: float
    held: int
    held_low: float
    held_high: float
    spearman: float


def latencies(
    artifacts: Iterable[Artifact],
    results: Iterable[BenchmarkResult],
    candidates: Mapping[str, Iterable[Candidate]],
) -> pd.DataFrame:
    """Return one row for each model, device, runtime and number of threads, in `COLUMNS`.

    A model is a file, or a network in a format that it was not exported to yet. Measured and imported
    latencies are of single inferences, one after another, the newest of each; where there is none,
    the prediction is told.

    Args:
        artifacts: for the names of files.
        results: of all devices.
        candidates: of each device those that could run there.
    """
    names = {one.id: one.name for one in artifacts}
    rows = []
    plain = [one for one in results if one.plain and math.isfinite(one.p50_ms)]
    for one in newest(plain, "artifact", "digest", "device", "runtime", "threads"):
        middle, low, high = one.p50_bounds_ms
        rows.append(
            {
                "model": one.artifact or one.digest,
                "name": names.get(one.artifact or "", one.model),
                "device": one.device,
                "runtime": one.runtime,
                "precision": one.precision or "unknown",
                "threads": one.threads or 0,
                "latency_ms": middle,
                "low_ms": low,
                "high_ms": high,
                "source": "measured" if one.measured_here else "imported",
                "origin": "" if one.measured_here else one.origin,
            }
        )
    known = {(row["model"], row["device"], row["runtime"]) for row in rows}
    for device, those in candidates.items():
        for candidate in those:
            model = candidate.artifact or f"{candidate.subnet}-{candidate.format}-{candidate.precision}"
            # That of a whole text is no single inference.
            if (
                candidate.source != "predicted"
                or candidate.generation
                or (model, device, candidate.runtime) in known
            ):
                continue
            rows.append(
                {
                    "model": model,
                    "name": candidate.name,
                    "device": device,
                    "runtime": candidate.runtime,
                    "precision": candidate.precision,
                    "threads": candidate.threads,
                    "latency_ms": candidate.latency_ms,
                    "low_ms": candidate.latency_low_ms,
                    "high_ms": candidate.latency_high_ms,
                    "source": "predicted",
                    "origin": candidate.origin,
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def one_a_cell(frame: pd.DataFrame) -> pd.DataFrame:
    """Return of each model on each device one latency, the models that are fastest on average first.

    What was measured comes before what was imported and that before a prediction, then fewer threads
    before more, then the faster runtime.
    """
    ordered = frame.assign(_trust=frame["source"].map(_TRUST)).sort_values(
        ["_trust", "threads", "latency_ms"], kind="stable"
    )
    cells = ordered.drop_duplicates(["model", "device"]).drop(columns="_trust")
    # Devices differ by far more than models: each latency counts by how it stands on its device.
    logs = np.log(cells["latency_ms"].clip(lower=1e-9).to_numpy(np.float64))
    typical = pd.Series(logs, index=cells.index).groupby(cells["device"]).transform("median")
    pace = pd.Series(logs - typical.to_numpy(np.float64), index=cells.index)
    pace = pace.groupby(cells["model"]).transform("mean")
    return cells.assign(_pace=pace).sort_values(["_pace", "model"], kind="stable").drop(columns="_pace")


def thinned(cells: pd.DataFrame, count: int = MODELS_SHOWN) -> pd.DataFrame:
    """Return the cells of at most `count` models, an even share from the first to the last."""
    models = cells["model"].drop_duplicates()
    if len(models) <= count:
        return cells
    kept = models.iloc[np.linspace(0, len(models) - 1, count).astype(int)]
    return cells[cells["model"].isin(kept)]


def facts(profile: DeviceProfile | None, results: Iterable[BenchmarkResult], device: str) -> pd.DataFrame:
    """Return what is known of a device, a row each, with its source.

    Beside the facts of its profile stands what the newest result that was measured on it says.
    """
    rows: list[dict[str, str]] = []
    if profile is not None:
        rows.append({"fact": "name", "value": profile.name, "source": "profile"})
        rows += [
            {"fact": _words(name), "value": value_text(fact.value), "source": fact.source}
            for name, fact in profile.facts().items()
        ]
        rows += [
            {"fact": "published", "value": one.what, "source": one.source} for one in profile.published
        ]
    seen = [one for one in results if one.device == device and one.environment]
    if seen:
        last = seen[-1]
        by = "read there" if last.measured_here else f"told by {last.origin}"
        source = f"{by} on {last.created[:10]}"
        rows += [
            {"fact": _words(name), "value": value_text(value), "source": source}
            for name, value in last.environment.items()
            if value not in (None, "", "unavailable")
        ]
    return pd.DataFrame(rows, columns=["fact", "value", "source"])


def predictor_text(fitted: FittedPredictor) -> str:
    """Return what tells a predictor from the others of its device."""
    threads = "unknown threads" if not fitted.threads else f"{fitted.threads} thread"
    threads += "s" if fitted.threads > 1 else ""
    parts = [fitted.runtime, fitted.precision, threads]
    parts += [] if fitted.batch == 1 else [f"batch {fitted.batch}"]
    parts += [] if fitted.unit == "network" else [f"of {fitted.unit}s"]
    return ", ".join([*parts, fitted.space or "any space", fitted.created[:10]])


def calibration_frame(
    fitted: FittedPredictor,
    subnets: Iterable[Subnet],
    artifacts: Iterable[Artifact],
    results: Iterable[BenchmarkResult],
) -> pd.DataFrame:
    """Return a row for each stored measurement that a predictor answers for: measured and predicted, in ms.

    `residual` is the prediction over the measurement less 1; `inside` says whether the measured median
    lies within the predicted interval. Only what edge-bench measured on the predictor's device, with its
    runtime, precision and threads, counts, and of each file the newest.
    """
    networks = {one.id: one for one in subnets}
    files = {one.id: one for one in artifacts}
    rows = []
    for result in newest(_measured_alike(fitted, results), "artifact"):
        artifact = files.get(result.artifact or "")
        subnet = networks.get(artifact.subnet or "") if artifact else None
        if artifact is None or subnet is None or not _covers(fitted, artifact, subnet):
            continue
        prediction = _predicted(fitted, subnet)
        middle, low, high = result.p50_bounds_ms
        rows.append(
            {
                "name": artifact.name,
                "kind": kind_of(artifact.format, artifact.precision),
                "measured_ms": middle,
                "measured_low_ms": low,
                "measured_high_ms": high,
                "predicted_ms": prediction.latency_ms,
                "low_ms": prediction.low_ms,
                "high_ms": prediction.high_ms,
                "residual": prediction.latency_ms / middle - 1,
                "inside": prediction.low_ms <= middle <= prediction.high_ms,
                "warning": prediction.warning,
            }
        )
    columns = (
        "name kind measured_ms measured_low_ms measured_high_ms predicted_ms low_ms high_ms residual inside"
        " warning"
    ).split()
    return pd.DataFrame(rows, columns=columns).sort_values("measured_ms", ignore_index=True)


def calibration(frame: pd.DataFrame) -> Calibration:
    """Return how the predictions of a `calibration_frame` of one row or more did."""
    predicted, measured = (frame[name].to_numpy(np.float64) for name in ("predicted_ms", "measured_ms"))
    held = int(frame["inside"].sum())
    low, high = rate_interval(held, len(frame))
    return Calibration(
        count=len(frame),
        mape=float(relative_errors(predicted, measured).mean()),
        bias=float(frame["residual"].median()),
        held=held,
        held_low=low,
        held_high=high,
        spearman=spearman(predicted, measured) if len(frame) > 1 else math.nan,
    )


def measure_next(frame: pd.DataFrame, count: int = 5) -> pd.DataFrame:
    """Return the predicted rows of a frame of candidates that are worth most to measure, with `why`.

    First those that would be on the front at the lower end of their interval and not at the upper one,
    then those on the front at either end, then the others; the relatively widest interval first.

    Args:
        frame: rows as `frames.candidate_frame` makes them, all of one metric.
        count: how many.
    """
    predicted = frame["source"] == "predicted"
    quality = frame["metric"].where(frame["higher_is_better"], -frame["metric"])
    ordered = frame.assign(_quality=quality).sort_values("latency_ms")
    times, best = ordered["latency_ms"].to_numpy(), ordered["_quality"].cummax().to_numpy()

    def beaten(at_ms: pd.Series[float]) -> pd.Series[bool]:
        """Say which rows another one outdoes that is no slower than `at_ms`; none outdoes itself."""
        place = np.searchsorted(times, at_ms.to_numpy(), side="right") - 1
        known = np.where(place >= 0, best[np.maximum(place, 0)], -math.inf)
        return pd.Series(known > quality.to_numpy(), index=frame.index)

    fast, slow = beaten(frame["low_ms"]), beaten(frame["high_ms"])
    rank = np.select([~fast & slow, ~fast], [0, 1], 2)
    why = np.select([rank == 0, rank == 1], [OPEN, ON_FRONT], WIDE)
    found = frame.assign(why=why, width=frame["high_ms"] / frame["low_ms"], _rank=rank)[predicted]
    found = found.sort_values(["_rank", "width", "id"], ascending=[True, False, True], kind="stable")
    return found.drop(columns="_rank").head(count)


def _measured_alike(
    fitted: FittedPredictor, results: Iterable[BenchmarkResult]
) -> Iterable[BenchmarkResult]:
    wanted = (fitted.device, fitted.runtime, fitted.threads, fitted.batch, fitted.precision)
    return (
        one
        for one in results
        if (one.device, one.runtime, one.threads, one.batch, one.precision) == wanted
        and one.plain
        and one.measured_here
        and one.latencies_ms
    )


def _covers(fitted: FittedPredictor, artifact: Artifact, subnet: Subnet) -> bool:
    """Say whether a predictor answers for a file: a dense one of a network it was fitted for."""
    if artifact.encoding != "dense" or isinstance(subnet.space, RecurrentSpace):
        return False
    if isinstance(subnet.space, TransformerSpace):
        unit = "step" if artifact.step_of else "network"
        return (fitted.space, fitted.unit) == (space_key(subnet.space), unit)
    return fits(fitted, subnet.space)


def _predicted(fitted: FittedPredictor, subnet: Subnet) -> Prediction:
    if isinstance(subnet.space, TransformerSpace):
        return predicted_depth(fitted, subnet.space, subnet.arch)
    assert not isinstance(subnet.space, RecurrentSpace)
    return predict(fitted, subnet.space, subnet.arch)


def _words(name: str) -> str:
    return name.replace("_", " ")


def labels(cells: pd.DataFrame) -> dict[str, str]:
    """Return the name of each model of some cells, in their order; alike names are told apart."""
    named = cells.drop_duplicates("model")
    twice = named["name"].duplicated(keep=False)
    return {
        str(model): f"{name} ({str(model)[:8]})" if again else str(name)
        for model, name, again in zip(named["model"], named["name"], twice, strict=True)
    }


def by_device(cells: pd.DataFrame) -> Sequence[str]:
    """Return the devices of some cells, those of most models first."""
    return list(cells["device"].value_counts().index)
