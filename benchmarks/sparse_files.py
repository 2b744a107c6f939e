"""What are zeros worth in a file: its size, its parity and its time, on this machine and on emulated ARM?

Lottery tickets of perceptrons (64-300-100-10 and 64-1024-512-10) on scikit-learn's digits lose their dead
units and are timed against their dense files. The smaller one's time in ONNX Runtime is mostly that of a
call, so the bar is on the larger. Networks of which nine of ten weights are zero are written densely and
sparsely. On x86 and in ONNX Runtime zeros are held against no zeros, to show that they save size only;
under emulation of a Cortex-A72, where one is at hand, XNNPACK takes its sparse kernels or not, as advised.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import arm_emulated
import numpy as np
import report
import torch
import training_runs
from torch import nn
from torch.export import Dim, ExportedProgram

from converters.encodings.sparse import Sparse as SparseTensors
from converters.export import export_subnet
from converters.formats.onnx import Onnx
from converters.formats.tflite import TFLite
from edge_bench.choose.sparse_speed import Sparse, advise
from edge_bench.documents import from_document
from edge_bench.files import Home
from edge_bench.measure.comparison import ComparisonPlan, Side, compare
from edge_bench.measure.compression import gzip_bytes, zstd_bytes
from edge_bench.measure.sandbox import predict
from edge_bench.records import Artifact, SearchSpace, operators
from supernet.ladder import climb
from supernet.network import ElasticNetwork, folded
from supernet.run import RunConfig
from supernet.spaces.lite import Lite
from supernet.spaces.mobilenet_v3 import MobilenetV3
from supernet.sparsity.masks import kept_count, largest, prunable
from supernet.trained import TrainedRun

SPARSITY = 0.9
# What takes sparse kernels lies above, what does not near 1, as steady as an emulation is.
FASTER = 1.4


@dataclass(frozen=True, kw_only=True)
class Settings:
    hidden: tuple[tuple[int, ...], ...]
    rounds: int
    rate: float
    epochs: int
    resolution: int
    widths: tuple[int, ...]
    images: int
    seconds: float


SETTINGS = {
    # 0.8^14 leaves 4.4 % of the weights.
    "smoke": Settings(
        hidden=((300, 100),),
        rounds=2,
        rate=0.8,
        epochs=2,
        resolution=32,
        widths=(24, 40),
        images=4,
        seconds=1,
    ),
    "cpu": Settings(
        hidden=((300, 100), (1024, 512)),
        rounds=14,
        rate=0.2,
        epochs=10,
        resolution=96,
        widths=(24, 40, 80),
        images=32,
        seconds=30,
    ),
}
# Runs under emulation: an inference takes a second, and the Python there has no more than the runtimes.
_TIME = """
import json, sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter
models = []
for file in sys.argv[2:]:
    model = Interpreter(model_path=file, num_threads=1)
    model.allocate_tensors()
    [taken] = model.get_input_details()
    model.set_tensor(taken["index"], np.random.default_rng(0).standard_normal(taken["shape"], np.float32))
    model.invoke()
    models.append(model)
seconds = [[] for _ in models]
for _ in range(int(sys.argv[1])):
    for model, own in zip(models, seconds):
        begun = time.perf_counter()
        model.invoke()
        own.append(time.perf_counter() - begun)
answers = [model.get_tensor(model.get_output_details()[0]["index"]) for model in models]
difference = float(np.abs(answers[0] - answers[-1]).max())
print(json.dumps({"ms": [1000 * float(np.median(own)) for own in seconds], "difference": difference}))
"""


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK, environment=arm_emulated.ENVIRONMENT)
    settings, begun = SETTINGS.get(options.size, SETTINGS["cpu"]), time.perf_counter()
    plan = ComparisonPlan(max_seconds=settings.seconds, precision=0.02)
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        figures = {
            "tickets": [ticket(home, settings, hidden, plan) for hidden in settings.hidden],
            "lite": lite(home, settings, plan, Path(temporary)),
        }
        if options.size != "smoke":
            figures["emulated"] = emulated(settings, Path(temporary), options.environment)
    return report.write(
        "sparse_files",
        options.size,
        figures,
        bars_of(figures),
        data="scikit-learn's digits",
        settings=vars(settings),
        emulated="correctness and the kernels that are taken, no statement about a device's speed",
        seconds=time.perf_counter() - begun,
    )


def bars_of(figures: dict[str, Any]) -> list[report.Bar]:
    found, of_ticket = figures["lite"], figures["tickets"][-1]
    bars = [
        report.Bar(
            name="sparse TFLite against dense with zeros, largest difference of a logit",
            floor=1e-6,
            figure=found["difference"],
            unit="",
            at_most=True,
        ),
        report.Bar(
            name="tickets without dead units, largest difference of a logit",
            floor=1e-5,
            figure=max(one["compact_difference"] for one in figures["tickets"]),
            unit="",
            at_most=True,
        ),
        report.Bar(
            name=f"ticket of {of_ticket['network']}, {of_ticket['left']:.1%} left, in ONNX Runtime, "
            "dense / without dead units",
            floor=1.5,
            figure=1 / of_ticket["compact_to_dense"]["onnx"]["ratio"],
            unit="×",
        ),
    ]
    arm = figures.get("emulated", {})
    if "lite" in arm:
        name = f"lite, {SPARSITY:.0%} zeros, LiteRT on emulated ARM, dense / sparse"
        bars.append(report.Bar(name=name, floor=2.0, figure=arm["lite"]["dense_to_sparse"], unit="×"))
        right = [(one["advised"] == "faster") == (one["dense_to_sparse"] > FASTER) for one in arm.values()]
        name = "networks on emulated ARM of which advise says rightly whether zeros save time"
        bars.append(report.Bar(name=name, floor=len(arm), figure=sum(right), unit="networks"))
    return bars


def ticket(home: Home, settings: Settings, hidden: tuple[int, ...], plan: ComparisonPlan) -> dict[str, Any]:
    """Train a ticket, export it with and without its dead units, and compare the files."""
    config = from_document(RunConfig, tables(settings, hidden))
    *_, last = climb(
        config, rounds=settings.rounds, controls=(), home=home, say=lambda line: None, interactive=False
    )
    run = TrainedRun.open(last.folder)
    subnet = run.cut(run.space.largest(), home=home)
    files: dict[str, dict[str, Artifact]] = {}
    for form, encodings in {"onnx": ("dense", "compact"), "tflite": ("dense", "sparse", "compact")}.items():
        for encoding in encodings:
            (made,) = export_subnet(subnet, home=home, format=form, encoding=encoding)
            files.setdefault(form, {})[encoding] = made
    compact = [one["compact"] for one in files.values()]
    return {
        "network": "-".join(map(str, (64, *hidden, 10))),
        "left": last.left,
        "sparsity": subnet.sparsity,
        "compact_difference": max(one.parity.max_abs_error for one in compact if one.parity),
        "files": {
            one.id.removeprefix(f"{subnet.id}-"): _sizes(one)
            for of_form in files.values()
            for one in of_form.values()
        },
        "compact_to_dense": {
            form: _compared(
                *(home.absolute(one[encoding].file) for encoding in ("dense", "compact")), home, plan
            )
            for form, one in files.items()
        },
    }


def _sizes(one: Artifact) -> dict[str, Any]:
    test = one.metric("test")
    return {
        "bytes": one.size_bytes,
        "gzip_bytes": one.gzip_bytes,
        "zstd_bytes": one.zstd_bytes,
        "weights": one.weights,
        "zeros": one.zeros,
        "macs": one.macs,
        "test_accuracy": test and test.value,
    }


def tables(settings: Settings, hidden: tuple[int, ...]) -> dict[str, Any]:
    return {
        "name": "sparse-files",
        "data": {"kind": "digits"},
        "model": {"kind": "mlp", "resolution": 8, "hidden": list(hidden)},
        "techniques": {"lottery_ticket": {"rewind": "20it", "rate": settings.rate}},
        "training": {
            "epochs": settings.epochs,
            "batch_size": 60,
            "learning_rate": 3e-3,
            "warmup": 0.1,
            "weight_decay": 0.0,
            "label_smoothing": 0.0,
            "augmentation": "none",
            "threads": 1,
            "device": "cpu",
        },
    }


def lite(home: Home, settings: Settings, plan: ComparisonPlan, folder: Path) -> dict[str, Any]:
    """Write a `lite` network densely and sparsely, and hold zeros against no zeros on this machine."""
    space = lite_space(settings.resolution, settings.widths)
    network = random_network(space)
    whole = folder / "whole.onnx"
    Onnx().convert(program_of(network, space), whole)
    pruned(network)
    program = program_of(network, space)
    zeros = folder / "zeros.onnx"
    Onnx().convert(program, zeros)
    dense, sparse = written(program, folder)
    shape = (settings.images, settings.resolution, settings.resolution, 3)
    inputs = np.random.default_rng(0).standard_normal(shape, np.float32)
    answers = [
        predict(file, inputs, runtime="litert", batch=batch) for file in (dense, sparse) for batch in (1, 4)
    ]
    weights, zero = TFLite().count_weights(sparse)
    return {
        "sparsity": zero / weights,
        "difference": float(max(np.abs(one - answers[0]).max() for one in answers[2:])),
        "largest_logit": float(np.abs(answers[0]).max()),
        "files": {
            file.name: {
                "bytes": file.stat().st_size,
                "gzip_bytes": gzip_bytes(file),
                "zstd_bytes": zstd_bytes(file),
            }
            for file in (whole, zeros, dense, sparse)
        },
        "size_only_here": {
            "onnxruntime, zeros to none": _compared(whole, zeros, home, plan),
            "litert, sparse to dense": _compared(dense, sparse, home, plan),
        },
    }


def lite_space(
    resolution: int, widths: tuple[int, ...], *, kernel: int = 3, channels: int = 3
) -> SearchSpace:
    """Return a small `lite` space; its largest network is taken."""
    return Lite(
        widths=widths,
        strides=(2,) * len(widths),
        depths=(2,),
        kernels=(kernel,),
        expands=(6,),
        head_width=640,
        resolutions=(resolution,),
    ).build(input_channels=channels, classes=10)


def mobilenet_space(resolution: int, *, squeeze_excite: bool) -> SearchSpace:
    """Return a small space of MobileNetV3's blocks, every other stage with squeeze-excite or none."""
    return MobilenetV3(
        widths=(16, 24, 40, 80),
        strides=(2, 2, 2, 1),
        activations=("relu", "h_swish", "h_swish", "h_swish"),
        squeeze_excite=(False, squeeze_excite) * 2,
        depths=(2,),
        kernels=(5,),
        expands=(6,),
        head_width=480,
        feature_width=0,
        resolutions=(resolution,),
    ).build(input_channels=3, classes=10)


def random_network(space: SearchSpace) -> nn.Module:
    """Return the largest network of a space, its weights and biases random."""
    torch.manual_seed(0)
    network = folded(ElasticNetwork(space).materialize(space.largest()))
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 1:
                weight.copy_(0.3 * torch.randn(weight.shape))
    return network.eval()


def pruned(network: nn.Module) -> None:
    """Set the smallest weights of a network to zero."""
    weights = {name: network.get_parameter(name) for name in prunable(network)}
    keep = kept_count(sum(weight.numel() for weight in weights.values()), SPARSITY)
    with torch.no_grad():
        for name, mask in largest(weights, keep).items():
            weights[name] *= mask


def program_of(network: nn.Module, space: SearchSpace) -> ExportedProgram:
    side = max(space.resolutions)
    example = torch.zeros(2, space.input_channels, side, side)
    return torch.export.export(network, (example,), dynamic_shapes=({0: Dim("batch")},))


def written(program: ExportedProgram, folder: Path) -> tuple[Path, Path]:
    """Return the dense and the sparse TFLite file of a program."""
    dense, sparse = folder / "dense.tflite", folder / "sparse.tflite"
    TFLite().convert(program, dense)
    sparse.write_bytes(dense.read_bytes())
    SparseTensors().encode(sparse)
    return dense, sparse


def emulated(settings: Settings, folder: Path, environment: Path) -> dict[str, Any]:
    """Return by network what is found on emulated ARM and what is advised, or why nothing can be found."""
    try:
        python = arm_emulated.emulated_python(environment)
    except arm_emulated.CannotEmulate as error:
        return {"left_out": str(error)}
    side, widths = settings.resolution, settings.widths
    spaces = {
        "lite": lite_space(side, widths),
        "lite, kernels of 5": lite_space(side, widths, kernel=5),
        "lite, kernels of 7": lite_space(side, widths, kernel=7),
        "lite, grey images": lite_space(side, widths, channels=1),
        "mobilenet_v3 without squeeze-excite": mobilenet_space(side, squeeze_excite=False),
        "mobilenet_v3": mobilenet_space(side, squeeze_excite=True),
    }
    return {name: on_arm(space, python, folder) for name, space in spaces.items()}


def on_arm(space: SearchSpace, python: Path, folder: Path) -> dict[str, Any]:
    """Return what zeros do to a network under emulation, and what `edge-bench advise` says of it."""
    network = random_network(space)
    pruned(network)
    dense, sparse = written(program_of(network, space), folder)
    layers = operators(space, space.largest())
    told = advise(Sparse(operators=layers, sparsity=SPARSITY), "litert", "aarch64")
    row = {**timed_on_arm(python, dense, sparse), "advised": told.verdict, "reason": told.reason}
    print(space.name, row)
    return row


def timed_on_arm(python: Path, dense: Path, sparse: Path, runs: int = 5) -> dict[str, Any]:
    """Return medians in ms of two files under emulation, taken in turns, and their answers' difference."""
    command = [str(python), "-c", _TIME, str(runs), str(dense), str(sparse)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(ended.stdout)
    dense_ms, sparse_ms = told["ms"]
    return {
        "dense_ms": dense_ms,
        "sparse_ms": sparse_ms,
        "dense_to_sparse": dense_ms / sparse_ms,
        "difference": told["difference"],
    }


def _compared(a: Path, b: Path, home: Home, plan: ComparisonPlan) -> dict[str, Any]:
    runtime = {".onnx": "onnxruntime", ".tflite": "litert"}[a.suffix]
    found = compare(Side(model=a, runtime=runtime), Side(model=b, runtime=runtime), home=home, plan=plan)
    row = {
        "ratio": found.ratio.middle,
        "low": found.ratio.low,
        "high": found.ratio.high,
        "ms": [found.p50_a_ms, found.p50_b_ms],
        "verdict": found.verdict,
    }
    print(a.name, b.name, row)
    return row


if __name__ == "__main__":
    raise SystemExit(main())
