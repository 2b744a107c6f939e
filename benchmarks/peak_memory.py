"""How near do predicted peaks of memory and sizes of files come to measured ones?

Untrained networks of `lite_32` and `mobilenet_v3` are written as ONNX and TFLite and weighed, each in a
process of its own. For each space and runtime, every network is predicted by a fit on the others, as `fit`
does it; the published models by a fit on all untrained networks of their runtime, of which none is alike.
Beside it stand two plain guesses fitted on the same networks: the mean peak, and a line through the file's
size. Since Python and the runtime make most of a small model's peak, the part above the least peak is told
too. Sizes are those of exported files where `--home` names a store that holds some, else of the untrained.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import report

from converters import sketches
from edge_bench import variants
from edge_bench.choose.candidates import RUNTIMES
from edge_bench.choose.memory import file_bytes, fit_memory, footprint, peak_memory
from edge_bench.commands._surveying import draw
from edge_bench.measure import footprint as of_files
from edge_bench.measure.sandbox import weigh
from edge_bench.records import Footprint
from edge_bench.store import ResultStore
from supernet.spaces import Space

SEED = 20261124
SPACES = {"lite_32": 10, "mobilenet_v3": 1000}
NETWORKS = {"smoke": 5, "cpu": 20, "gpu": 20}
WRITERS = {"onnx": sketches.write_onnx, "tflite": sketches.write_tflite}
# Stated before anything was measured.
WITHIN, SHARE = 0.15, 0.9
SIZE_WITHIN = 0.02

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Weighed:
    """A model of a space, or of the group "published": what its tensors take, its file, and its peak."""

    name: str
    group: str
    runtime: str
    footprint: Footprint
    size_bytes: int
    predicted_size: int | None
    peak_mb: float


def main() -> int:
    options = report.arguments(
        __doc__, home={"metavar": "FOLDER", "help": "whose exported files tell the errors of sizes"}
    )
    untrained = _untrained(NETWORKS[options.size])
    published = _published(most=4 if options.size == "smoke" else None)
    groups: dict[str, dict[str, Any]] = {}
    errors, bases = [], {}
    for runtime in RUNTIMES.values():
        for space in SPACES:
            seen = [one for one in untrained if (one.runtime, one.group) == (runtime, space)]
            predicted = _left_out(seen)
            groups[f"{space}, {runtime}"] = _judged(seen, predicted, _plain(seen))
            errors.append(_errors(seen, predicted))
        everything = [one for one in untrained if one.runtime == runtime]
        fitted = fit_memory([one.footprint for one in everything], [one.peak_mb for one in everything])
        bases[runtime] = fitted.base_mb
        unlike = [one for one in published if one.runtime == runtime]
        if unlike:
            predicted = np.array([peak_memory(fitted, one.footprint).peak_mb for one in unlike])
            groups[f"published, {runtime}"] = _judged(unlike, predicted, _guesses(everything, unlike))
            errors.append(_errors(unlike, predicted))
    sizes = _exported(options.home) if options.home else []
    sizes = sizes or [(one.size_bytes, one.predicted_size) for one in untrained if one.predicted_size]
    off = np.array([abs(predicted - size) / size for size, predicted in sizes])
    _show(groups)
    together = np.concatenate(errors)
    bars = [
        report.Bar(
            name=f"peaks within {WITHIN:.0%}, untrained and published",
            floor=SHARE,
            figure=float((together <= WITHIN).mean()),
            unit="of networks",
        ),
        report.Bar(
            name=f"sizes within {SIZE_WITHIN:.0%}",
            floor=SHARE,
            figure=float((off <= SIZE_WITHIN).mean()),
            unit="of files",
        ),
    ]
    figures = {
        "groups": groups,
        "all": {"networks": len(together), "mape": float(together.mean()), "worst": float(together.max())},
        "runtime_itself_mb": bases,
        "sizes": {"files": len(off), "mape": float(off.mean()), "worst": float(off.max())},
        "models": [_row(one) for one in (*untrained, *published)],
    }
    return report.write("peak_memory", options.size, figures, bars, sizes_of_exported=bool(options.home))


def _untrained(count: int) -> list[Weighed]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, classes in SPACES.items():
            space = variants.load(Space, "supernet.spaces", name)().build(input_channels=3, classes=classes)
            for arch in draw(space, count, 0, seed=SEED).fitted:
                for form, runtime in RUNTIMES.items():
                    file = Path(folder) / f"net.{form}"
                    WRITERS[form](space, arch, file)
                    found.append(
                        Weighed(
                            name=arch.key[:8],
                            group=name,
                            runtime=runtime,
                            footprint=footprint(space, arch),
                            size_bytes=file.stat().st_size,
                            predicted_size=file_bytes(space, arch, form=form),
                            peak_mb=weigh(file, runtime=runtime, timeout_s=300),
                        )
                    )
    return found


def _published(most: int | None) -> list[Weighed]:
    folder = report.data_folder() / "external_models"
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".tflite", ".onnx"))[:most]
    found = []
    for file in files:
        told = of_files.footprint(file)
        if told is None or told.activations_bytes is None:
            print(f"left out, its shapes are not told: {file.name}")
            continue
        runtime = RUNTIMES[file.suffix.removeprefix(".")]
        peak_mb = weigh(file, runtime=runtime, timeout_s=300)
        found.append(Weighed(file.name, "published", runtime, told, file.stat().st_size, None, peak_mb))
    return found


def _left_out(seen: Sequence[Weighed]) -> Floats:
    """Return the peak of each network, predicted by a fit on the others."""
    predicted = []
    for place, one in enumerate(seen):
        others = [other for number, other in enumerate(seen) if number != place]
        fitted = fit_memory([other.footprint for other in others], [other.peak_mb for other in others])
        predicted.append(peak_memory(fitted, one.footprint).peak_mb)
    return np.array(predicted)


def _plain(seen: Sequence[Weighed]) -> dict[str, Floats]:
    """Return the plain guesses for each network, fitted on the others."""
    guesses = [_guesses([*seen[:place], *seen[place + 1 :]], [one]) for place, one in enumerate(seen)]
    return {name: np.concatenate([one[name] for one in guesses]) for name in guesses[0]}


def _guesses(seen: Sequence[Weighed], unseen: Sequence[Weighed]) -> dict[str, Floats]:
    """Return guesses that know nothing of activations, fitted on the networks `seen`."""
    peaks = np.array([one.peak_mb for one in seen])
    slope, start = np.polyfit([one.size_bytes for one in seen], peaks, 1)
    return {
        "mean peak": np.full(len(unseen), peaks.mean()),
        "line through the file's size": slope * np.array([one.size_bytes for one in unseen]) + start,
    }


def _errors(seen: Sequence[Weighed], predicted: Floats) -> Floats:
    peaks = np.array([one.peak_mb for one in seen])
    return np.abs(predicted - peaks) / peaks


def _judged(seen: Sequence[Weighed], predicted: Floats, plain: dict[str, Floats]) -> dict[str, Any]:
    errors, peaks = _errors(seen, predicted), np.array([one.peak_mb for one in seen])
    above = peaks - peaks.min()
    off = np.abs(predicted - peaks)
    return {
        "networks": len(seen),
        "peak_mb": [float(peaks.min()), float(peaks.max())],
        "mape": float(errors.mean()),
        "worst": float(errors.max()),
        "within_10_percent": float((errors <= 0.1).mean()),
        "within_20_percent": float((errors <= 0.2).mean()),
        "error_of_the_part_above_the_least_peak": float(off.sum() / above.sum()) if above.sum() else None,
        "plain_mape": {name: float(_errors(seen, guess).mean()) for name, guess in plain.items()},
    }


def _exported(home: str) -> list[tuple[int, int]]:
    """Return measured and predicted sizes of the float32 files that a store holds."""
    with ResultStore(f"sqlite:///{Path(home).absolute()}/store.sqlite") as store:
        subnets = {one.id: one for one in store.subnets()}
        files = [one for one in store.artifacts() if one.subnet in subnets and one.precision == "fp32"]
    return [
        (file.size_bytes, file_bytes(of.space, of.arch, form=file.format))
        for file in files
        if (of := subnets[file.subnet or ""])
    ]


def _show(groups: dict[str, dict[str, Any]]) -> None:
    for name, one in groups.items():
        plain = ", ".join(f"{guess} {error:.1%}" for guess, error in one["plain_mape"].items())
        print(
            f"{name:28}{one['networks']:3} networks, {one['peak_mb'][0]:5.1f} to {one['peak_mb'][1]:5.1f} "
            f"MB: MAPE {one['mape']:.1%}, worst {one['worst']:.1%}, within 10 % "
            f"{one['within_10_percent']:.0%}, 20 % {one['within_20_percent']:.0%} ({plain})"
        )


def _row(one: Weighed) -> dict[str, Any]:
    return {
        "name": one.name,
        "group": one.group,
        "runtime": one.runtime,
        "weights_bytes": one.footprint.weights_bytes,
        "activations_bytes": one.footprint.activations_bytes,
        "size_bytes": one.size_bytes,
        "predicted_size_bytes": one.predicted_size,
        "peak_mb": one.peak_mb,
    }


if __name__ == "__main__":
    raise SystemExit(main())
