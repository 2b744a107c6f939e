"""Does a file of half the layers take half the time, and does each file answer as its network does?

Latency: networks of all layers, of half of them at even distances, and of none (embedding and head, which
are counted apart) are cut out of one untrained transformer, written as files and measured in turns: a
classifier, a language model and its step, a translator's encoder and its step. The figure is
(half - none) / (all - none).

Parity: networks trained for a few steps on real text are cut to all and to half of their layers and
exported; the figure is the largest difference of what file and network answer to real samples.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
import torch
import training_runs
from torch import Tensor, nn

from converters import FORMATS
from converters.export import export_subnet
from converters.formats import Converter
from edge_bench import variants
from edge_bench.documents import from_document
from edge_bench.files import Home
from edge_bench.measure.sandbox import survey
from edge_bench.records import TransformerSpace
from edge_bench.records.transformer import every_other
from supernet.models import Model, TextNetwork
from supernet.programs import save_program
from supernet.transformer import Stack

LENGTH = 128
PARITY_FLOORS = {"onnx": 1e-4, "tflite": 1e-4}


@dataclass(frozen=True, kw_only=True)
class Settings:
    layers: int = 6
    width: int = 128
    vocabulary: int = 2000
    rounds: int = 30
    training_steps: int = 30
    tasks: tuple[str, ...] = ("reviews", "language", "translation")
    models: tuple[str, ...] = ("encoder", "decoder", "encoder_decoder")


SETTINGS = {
    "smoke": Settings(
        layers=2, width=32, rounds=2, training_steps=2, tasks=("language",), models=("encoder",)
    ),
    "cpu": Settings(),
    "gpu": Settings(width=256, training_steps=300),
}
# The options of a model that say how many layers each stack has.
STACKS: dict[str, tuple[str, ...]] = {
    "encoder": ("layers",),
    "decoder": ("layers",),
    "encoder_decoder": ("encoder_layers", "decoder_layers"),
}


def main() -> int:
    options = report.arguments(__doc__)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        latencies = list(latencies_of(settings, Path(temporary)))
        parities = list(parities_of(settings, Home(Path(temporary) / "home")))
    for one in latencies:
        print(f"{one['graph']:24}{one['format']:8}" + "".join(f"{ms:9.3f}" for ms in one["ms"].values()))
    bars = [
        bar
        for one in latencies
        for bar in (
            report.Bar(
                name=f"half the layers against all, {one['graph']}, {one['format']}",
                floor=0.6,
                figure=one["ratio"],
                unit="times",
                at_most=True,
            ),
            report.Bar(
                name=f"no less than it should, {one['graph']}, {one['format']}",
                floor=0.45,
                figure=one["ratio"],
                unit="times",
            ),
        )
    ]
    bars += [
        report.Bar(
            name=f"{form} against module, worst of {sum(one['format'] == form for one in parities)} files",
            floor=floor,
            figure=max(one["max_abs_error"] for one in parities if one["format"] == form),
            unit="largest difference",
            at_most=True,
        )
        for form, floor in PARITY_FLOORS.items()
    ]
    return report.write(
        "half_depth_files",
        options.size,
        {"latencies": latencies, "parities": parities},
        bars,
        data="random tokens (latency); SST-2, WikiText-2, Multi30k (parity)",
        settings=vars(settings),
        seed=0,
        seconds=time.perf_counter() - begun,
    )


def latencies_of(settings: Settings, folder: Path) -> Iterator[dict[str, Any]]:
    for kind in settings.models:
        torch.manual_seed(0)
        model = from_document(
            variants.load(Model, "supernet.models", kind),
            {"width": settings.width, "length": LENGTH, **dict.fromkeys(STACKS[kind], settings.layers)},
        )
        space = model.space(
            vocabulary=settings.vocabulary, outputs=2 if kind == "encoder" else settings.vocabulary
        )
        whole = model.build(space, pad=0).eval()
        half = whole.cut(space.spread(dict.fromkeys(space.layers, settings.layers // 2)))
        none = copy.deepcopy(whole)
        for name, module in list(none._modules.items()):
            if isinstance(module, Stack):
                none._modules[name] = Stack()
        for graph in ("network", "step"):
            depths = {"all": whole, "half": half, "none": none}
            programs = {depth: graph_of(network, graph, depth) for depth, network in depths.items()}
            if programs["all"] is None:
                continue
            for form in variants.names(FORMATS):
                yield measured(f"{kind} {graph}", form, programs, space, settings, folder)


def graph_of(network: TextNetwork, graph: str, depth: str) -> nn.Module | None:
    """Return the module of a graph; of no layers, what reads tokens in and logits out."""
    if graph == "network":
        return (
            network.reader() if depth != "none" or network.space.encoder_layers == 0 else _Embedded(network)
        )
    stepper = network.stepper()
    return _StepWithoutLayers(network) if stepper is not None and depth == "none" else stepper


class _Embedded(nn.Module):
    """An encoder without layers: its embedding and, of a classifier, its head."""

    def __init__(self, network: TextNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> Tensor:
        if self.network.space.decoder_layers:
            encoded: Tensor = self.network.encoded(tokens)  # type: ignore[operator]
            return encoded
        logits: Tensor = self.network(tokens)
        return logits


class _StepWithoutLayers(nn.Module):
    def __init__(self, network: TextNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, token: Tensor, position: Tensor) -> Tensor:
        network: Any = self.network
        x = network.embedding(token, position)
        head = (
            network.logits if hasattr(network, "logits") else lambda x: network.classifier(network.norm(x))
        )
        logits: Tensor = head(x)[:, 0]
        return logits


def measured(
    name: str,
    form: str,
    modules: dict[str, nn.Module | None],
    space: TransformerSpace,
    settings: Settings,
    folder: Path,
) -> dict[str, Any]:
    converter = variants.load(Converter, FORMATS, form)()
    files = []
    for depth, module in modules.items():
        assert module is not None
        program = folder / f"{name}-{depth}.pt2".replace(" ", "-")
        if not program.exists():
            examples, free = inputs_of(
                module, settings.layers // 2 if depth == "half" else settings.layers, space
            )
            save_program(module.eval(), examples, free, program)
        file = program.with_suffix(f".{form}")
        converter.convert(torch.export.load(program), file, length=LENGTH)
        files.append(file)
    taken = survey(files, runtime=converter.runtime, rounds=settings.rounds, round_ms=40)
    whole, half, none = taken
    return {
        "graph": name,
        "format": form,
        "ms": dict(zip(modules, taken, strict=True)),
        "ratio": (half - none) / (whole - none),
    }


def inputs_of(module: nn.Module, layers: int, space: TransformerSpace) -> tuple[Any, Any]:
    """Return example inputs of a graph of so many layers and which of their sides are free."""
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=LENGTH)
    names = module.forward.__code__.co_varnames[1 : module.forward.__code__.co_argcount]
    head = (space.heads, space.width // space.heads)
    known: dict[str, tuple[Tensor, Any]] = {
        "tokens": (torch.ones(2, LENGTH - 1, dtype=torch.long), {0: batch, 1: length}),
        "token": (torch.ones(2, 1, dtype=torch.long), {0: batch}),
        "position": (torch.tensor([3]), {}),
        "cache": (
            torch.zeros(layers, 2, 2, head[0], LENGTH - 1, head[1]),
            {2: batch, 4: torch.export.Dim("room", max=LENGTH)},
        ),
        "memory": (torch.zeros(layers, 2, 2, head[0], LENGTH - 2, head[1]), {2: batch, 4: length}),
        "source": (torch.ones(2, LENGTH - 2, dtype=torch.long), {0: batch, 1: length}),
    }
    examples = tuple(known[name][0] for name in names)
    return examples, {name: known[name][1] for name in names}


def parities_of(settings: Settings, home: Home) -> Iterator[dict[str, Any]]:
    for example in settings.tasks:
        run = training_runs.trained(home, tables_of(example, settings))
        space = run.space
        assert isinstance(space, TransformerSpace)
        kept = {stack: every_other(count, count // 2) for stack, count in space.layers.items()}
        for arch in (space.largest(), space.keeping(kept)):
            subnet = run.cut(arch, home=home)
            for form in variants.names(FORMATS):
                for artifact in export_subnet(subnet, home=home, format=form):
                    assert artifact.parity is not None
                    yield {
                        "artifact": artifact.name,
                        "format": form,
                        "max_abs_error": artifact.parity.max_abs_error,
                        "batch_sizes": artifact.parity.batch_sizes,
                        "examples": artifact.parity.examples,
                    }


def tables_of(example: str, settings: Settings) -> dict[str, Any]:
    import tomllib

    tables = tomllib.loads((report.ROOT / "examples" / f"{example}.toml").read_text(encoding="utf-8"))
    text = report.data_folder() / "text"
    data: dict[str, dict[str, Any]] = {
        "reviews": {"path": str(text / "sst2")},
        "language": {
            "path": str(text / "wikitext2"),
            "train": "valid.txt.gz",
            "test": "test.txt.gz",
            "limit_characters": 20_000,
        },
        "translation": {"path": str(text / "multi30k")},
    }
    tables["data"] |= data[example]
    model = tables["model"]
    model |= {"width": settings.width, **dict.fromkeys(STACKS[model["kind"]], settings.layers)}
    tables["training"] |= {"epochs": 1, "epoch_steps": settings.training_steps, "threads": 1}
    return tables


if __name__ == "__main__":
    raise SystemExit(main())
