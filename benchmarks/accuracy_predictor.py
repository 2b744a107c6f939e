"""How well are the accuracies of subnets predicted from some hundreds that were measured?

Trains a supernet and runs `edge-bench fit accuracy`, as a user would. Beside the errors on held-out
subnets stand those of the baselines; those of as many subnets drawn at random instead of chosen; and how
far the held-out measurements agree with themselves, since no predictor ranks better than they are known.
"cpu" and "gpu" use CIFAR-10, "smoke" scikit-learn's digits. The held-out subnets take part in neither the
fit nor the choice of the predictor, and the test split is never looked at.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report

from edge_bench.choose.accuracy_fitting import (
    Measured,
    errors_of,
    fit_accuracy,
    measure_chosen,
    measure_held_out,
    measured,
    open_accuracy_predictor,
)
from edge_bench.choose.active import random_rows
from edge_bench.choose.encoding import Encoding
from edge_bench.documents import to_document
from edge_bench.statistics import kendall

SEED = 0
RESAMPLES = 200
# One thread, so that the run is the same to the last bit wherever it is trained again.
RUN = """
name = "accuracy-predictor"
[space]
kind = "lite_32"
stem_stride = 2
stem_width = 16
widths = [16, 24, 40]
expands = [1, 2, 4]
head_width = 128
[data]
kind = "cifar10"
selection_fraction = 0.2
[training]
epochs = {epochs}
batch_size = 64
threads = 1
"""
SMOKE_RUN = """
name = "accuracy-predictor-smoke"
[space]
kind = "lite_32"
stem_width = 8
widths = [8, 16]
strides = [2, 2]
depths = [1, 2]
head_width = 32
resolutions = [8, 16]
[data]
kind = "digits"
[training]
epochs = 8
threads = 1
"""


@dataclass(frozen=True)
class Size:
    run: str
    nets: int
    held_out: int


SIZES = {
    "smoke": Size(SMOKE_RUN, nets=60, held_out=30),
    "cpu": Size(RUN.format(epochs=4), nets=300, held_out=100),
    "gpu": Size(RUN.format(epochs=60), nets=300, held_out=100),
}


def main() -> int:
    home_option = {"help": "keep run and measurements in this folder, and go on from what it holds"}
    options = report.arguments(__doc__, home=home_option)
    size = SIZES[options.size]
    with nullcontext(options.home) if options.home else tempfile.TemporaryDirectory() as home:
        run_file = Path(home) / "accuracy_predictor.toml"
        run_file.parent.mkdir(parents=True, exist_ok=True)
        run_file.write_text(size.run, encoding="utf-8")
        trained = document("train", str(run_file), "--home", home)
        began = time.perf_counter()
        counts = ("--nets", str(size.nets), "--held-out", str(size.held_out), "--seed", str(SEED))
        fitted = document("fit", "accuracy", "--run", trained["run"], *counts, "--home", home)
        seconds = time.perf_counter() - began
        more = compared(Path(trained["folder"]), size)
    told = fitted["accuracy_predictor"]
    kept = ("largest_accuracy", "smallest_accuracy", "architectures", "seconds", "training_images")
    figures = {"training": {key: trained[key] for key in kept}, "fit": told, "fit_seconds": seconds, **more}
    print(json.dumps(figures, indent=1))
    facts = {"seed": SEED, "run_file": size.run}
    return report.write(
        "accuracy_predictor", options.size, figures, bars(told, more, options.size), **facts
    )


def document(*command: str) -> dict[str, Any]:
    """Run a command and return what it answers; end where it fails."""
    ended = report.edge_bench(*command, "--json")
    if ended.returncode:
        raise SystemExit(f"edge-bench {command[0]} ended with status {ended.returncode}")
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def compared(folder: Path, size: Size) -> dict[str, Any]:
    """Return the errors of chosen and of random networks at equal counts, and the ceilings of noise.

    What `fit accuracy` measured is in the run's folder, so only the random networks are measured anew.
    """
    from supernet.trained import TrainedRun

    trained = TrainedRun.open(folder)
    encoding = Encoding(trained.space)
    held_out = measure_held_out(encoding, trained.judge_all, size.held_out, seed=SEED)
    chosen = measure_chosen(encoding, trained.judge_all, size.nets, without=held_out.rows, seed=SEED)
    drawn = random_rows(encoding, 2 * size.nets, np.random.default_rng([SEED, size.nets]))
    taken = {row.tobytes() for row in held_out.rows}
    free = drawn[[row.tobytes() not in taken for row in drawn]][: size.nets]
    random = measured(encoding, trained.judge_all, free)
    by_count = {
        count: {
            name: errors(encoding, first(some, count), held_out)
            for name, some in (("chosen", chosen), ("random", random))
        }
        for count in (size.nets // 3, 2 * size.nets // 3, size.nets)
    }
    return {
        "by_count": by_count,
        "ceiling_kendall": ceilings(trained, encoding, held_out),
        "spread_points": {
            name: 100 * float(some.values.std())
            for name, some in (("chosen", chosen), ("random", random), ("held_out", held_out))
        },
    }


def first(some: Measured, count: int) -> Measured:
    return Measured(rows=some.rows[:count], metrics=some.metrics[:count])


def errors(encoding: Encoding, fitted: Measured, held_out: Measured) -> dict[str, Any]:
    """Fit as `fit accuracy` does; return the held-out errors, of all and of the two halves of the set."""
    made = fit_accuracy(encoding, fitted, held_out, run="compared", seed=SEED)
    predicted = open_accuracy_predictor(made, encoding.space).predict(held_out.rows)
    uniform = len(held_out) - len(held_out) // 2
    return {
        "kind": made.kind,
        **to_document(made.held_out),
        "uniform": to_document(errors_of(predicted[:uniform], held_out.values[:uniform])),
        "spread": to_document(errors_of(predicted[uniform:], held_out.values[uniform:])),
    }


def ceilings(trained: Any, encoding: Encoding, held_out: Measured) -> dict[str, float]:
    """Return the mean Kendall tau between the held-out measurements and resampled ones.

    "binomial" draws each network's right answers anew and independently, as if each had been judged
    on images of its own. "images" draws the images anew, the same for all networks, as is the case.
    """
    generator = np.random.default_rng(SEED)
    values, examples = held_out.values, held_out.metrics[0].examples
    independent = generator.binomial(examples, values, (RESAMPLES, len(values))) / examples
    right = np.stack([right_answers(trained, arch) for arch in encoding.decode(held_out.rows)])
    weights = generator.multinomial(examples, np.full(examples, 1 / examples), RESAMPLES)
    shared = weights @ right.T / examples
    return {
        "binomial": statistics.fmean(kendall(one, values) for one in independent),
        "images": statistics.fmean(kendall(one, values) for one in shared),
    }


def right_answers(trained: Any, arch: Any) -> np.ndarray:
    """Return for each image of the selection split whether it is answered rightly."""
    import torch

    from supernet.evaluation import BATCH, calibrated

    inputs, labels = trained.task.images.split("selection", arch.resolution)
    plain = calibrated(trained.network, arch, trained.task.images)
    with torch.inference_mode():
        answers = torch.cat([plain(batch).argmax(1) for batch in inputs.split(BATCH)])
    right: np.ndarray = (answers == labels).numpy().astype(np.int64)
    return right


def bars(told: dict[str, Any], more: dict[str, Any], size: str) -> list[report.Bar]:
    macs = told["baselines"]["macs"]
    whole = more["by_count"][told["fitted"]]
    ratio = whole["chosen"]["rmse_points"] / whole["random"]["rmse_points"]
    found = [
        report.Bar(
            name="RMSE against the curve through MACs",
            floor=macs["rmse_points"],
            figure=told["rmse_points"],
            unit="points",
            at_most=True,
        ),
    ]
    if size != "smoke":
        found = [
            report.Bar(name="Kendall tau, held out", floor=0.75, figure=told["kendall"], unit="tau"),
            report.Bar(
                name="Kendall tau against the curve through MACs",
                floor=macs["kendall"],
                figure=told["kendall"],
                unit="tau",
            ),
            *found,
            report.Bar(
                name="RMSE of chosen networks against as many random ones",
                floor=1.0,
                figure=ratio,
                unit="times",
                at_most=True,
            ),
        ]
    return found


if __name__ == "__main__":
    raise SystemExit(main())
