"""Depths cut from a transformer as ONNX files: plain graphs of any batch and length, and their steps."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from converters.formats.onnx import Onnx
from edge_bench.files import Home
from edge_bench.measure.runtimes.onnxruntime import OnnxRuntime
from edge_bench.records import TransformerSpace
from edge_bench.text.stepping import FileStepper
from supernet.models import TransformerNetwork
from supernet.run import load_run
from supernet.tasks import task_of
from supernet.tasks._text import TextTask

RUN = """
name = "tiny"
[data]
kind = "{data}"
path = "{path}"
[model]
kind = "{model}"
{layers}
width = 8
heads = 2
length = 16
[tokenizer]
kind = "characters"
"""
MODELS = {
    "text_classification": ("labelled_text", "encoder", "layers = 4"),
    "language_modelling": ("running_text", "decoder", "layers = 4"),
    "translation": ("parallel_text", "encoder_decoder", "encoder_layers = 4\ndecoder_layers = 3"),
}
KEPT: dict[str, dict[Any, tuple[int, ...]]] = {
    "text_classification": {"encoder": (0, 3)},
    "language_modelling": {"decoder": (0, 2)},
    "translation": {"encoder": (1, 3), "decoder": (2,)},
}
# Of a fresh network of those depths: of what reads, and of what generates (to itself and to the source).
ATTENTIONS = {"text_classification": (2,), "language_modelling": (2, 2), "translation": (2, 2)}
TASKS = pytest.mark.parametrize("task", MODELS)


@dataclass(frozen=True)
class Cut:
    """A network with the layers of `KEPT`, the files of its programs, and what is told of its step."""

    network: TransformerNetwork
    files: list[Path]
    told: dict[str, Any]


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Cut]:
    """A function that gives a task's network, its weights random, as it is cut and converted."""

    @functools.cache
    def make(name: str) -> Cut:
        folder = tmp_path_factory.mktemp(name)
        task, home = begun(name, folder), Home(folder / "home")
        whole = task.network(0).eval()
        arch = task.space.keeping(KEPT[name])
        (folder / "home").mkdir()
        told = task.cut(whole, arch, folder=folder / "home", home=home)
        files = []
        for stored in (told, told["step"]):
            if stored is not None:
                program = stored["program"] if isinstance(stored, dict) else stored.program
                files.append(folder / f"{len(files)}.onnx")
                Onnx().convert(torch.export.load(home.absolute(program)), files[-1])
        return Cut(whole.cut(arch), files, told)

    return make


def begun(name: str, folder: Path) -> TextTask:
    """Return a task with data of some words."""
    data, model, layers = MODELS[name]
    for split in ("train", "selection", "test"):
        if name == "text_classification":
            (folder / f"{split}.tsv").write_text("a bad one\t0\na good one\t1\n" * 3, encoding="utf-8")
        elif name == "language_modelling":
            (folder / f"{split}.txt").write_text("one after the other, " * 9, encoding="utf-8")
        else:
            (folder / f"{split}.en").write_text("a dog\na cat\n" * 3, encoding="utf-8")
            (folder / f"{split}.de").write_text("ein Hund\neine Katze\n" * 3, encoding="utf-8")
    file = folder / "run.toml"
    file.write_text(RUN.format(data=data, path=folder, model=model, layers=layers), encoding="utf-8")
    task = task_of(name).begun(load_run(file), Home(folder / "home"), folder)
    assert isinstance(task, TextTask)
    return task


@TASKS
def test_a_cut_network_is_a_plain_graph_of_its_depth(task: str, cut: Callable[[str], Cut]) -> None:
    for file, attentions in zip(cut(task).files, ATTENTIONS[task], strict=True):
        model = onnx.load(str(file))
        kinds = Counter(node.op_type for node in model.graph.node)
        assert kinds["Softmax"] == attentions
        random = {kind for kind in kinds if kind.startswith("Random") or kind in ("Bernoulli", "Dropout")}
        assert not random and not kinds.keys() & {"If", "Loop", "Scan"} and not model.functions


@TASKS
def test_one_file_answers_as_the_module_at_any_batch_and_length(
    task: str, cut: Callable[[str], Cut]
) -> None:
    made = cut(task)
    feeds = [{"tokens": tokens_of(made, *shape)} for shape in ((3, 7), (1, 12), (2, 16))]
    reader = made.network.reader().eval()
    session = OnnxRuntime().open(made.files[0], threads=1)
    for given in feeds:
        with torch.no_grad():
            expected = reader(torch.from_numpy(given["tokens"]))
        expected = expected if isinstance(expected, torch.Tensor) else expected["memory"]
        (only,) = session.run(given).values()
        np.testing.assert_allclose(only, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("task", ["language_modelling", "translation"])
def test_steps_of_the_file_answer_what_the_network_answers_to_the_whole_text(
    task: str, cut: Callable[[str], Cut]
) -> None:
    made = cut(task)
    source, target = tokens_of(made, 2, 9), tokens_of(made, 2, 6)
    given = [torch.from_numpy(rows) for rows in ((source, target) if task == "translation" else (target,))]
    with torch.no_grad():
        expected = made.network(*given).numpy()
    network, step = (OnnxRuntime().open(file, threads=1) for file in made.files)
    stepper = FileStepper(step.run, made.told["step"], room=16)
    if task == "translation":
        stepper.start(2, memory=network.run({"tokens": source})["memory"], source=source)
    else:
        stepper.start(2)
    for position in range(target.shape[1]):
        logits = stepper.step(target[:, position], position)
        np.testing.assert_allclose(logits, expected[:, position], atol=1e-4)


def tokens_of(made: Cut, batch: int, length: int) -> np.ndarray:
    """Return random tokens, begun; the first text of several is padded at its end."""
    assert isinstance(made.network.space, TransformerSpace)
    tokens = np.random.default_rng(length).integers(4, made.network.space.vocabulary, (batch, length))
    tokens[:, 0] = 1
    if batch > 1 and length > 6:
        tokens[0, -2:] = 0
    return tokens
