"""Export of text subnets: files that belong together appear together, judged by running them."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch.export import ExportedProgram

from converters.export import export_subnet
from converters.formats.onnx import Onnx
from converters.parity import compared_by_name
from converters.programs import Named
from edge_bench.cli import main
from edge_bench.data import open_texts
from edge_bench.errors import ConfigError, ConversionError, DataError, ParityError
from edge_bench.files import Home, sha256_of
from edge_bench.records import Artifact, Step, Subnet, TextInput
from edge_bench.store import ResultStore
from edge_bench.text.encoding import encoded, padded
from edge_bench.text.tokenizer import Tokenizer
from edge_bench.text.vocabularies.characters import Characters

LETTERS = "abcdefgh"
CLASSES = ("bad", "good", "so-so")
Programs = Callable[[str], tuple[ExportedProgram, ...]]


def write_texts(task: str, folder: Path) -> dict[str, str]:
    """Write a task's data, words of the first eight letters, and return its `[data]` table."""
    generator = np.random.default_rng(0)

    def word() -> str:
        return "".join(generator.choice(list(LETTERS), generator.integers(1, 8)))

    folder.mkdir()
    for split in ("train", "selection", "test"):
        if task == "text_classification":
            rows = (f"{word()}\t{CLASSES[row % 3]}\n" for row in range(11))
            (folder / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
        elif task == "language_modelling":
            running = "".join(word() for _ in range(20))
            (folder / f"{split}.txt").write_text(running, encoding="utf-8")
        else:
            for ending in ("en", "de"):
                lines = "".join(f"{word()}\n" for _ in range(11))
                (folder / f"{split}.{ending}").write_text(lines, encoding="utf-8")
    kinds = {"text_classification": "labelled_text", "language_modelling": "running_text"}
    return {"kind": kinds.get(task, "parallel_text"), "path": str(folder)}


@pytest.fixture(scope="module")
def store_subnet(
    text_programs: Programs, text_subnet: Callable[..., Subnet], tiny_step: Step
) -> Callable[[str, Home], Subnet]:
    """A function that stores a task's tiny network and its tokenizer in a home, and returns its record."""

    def make(task: str, home: Home) -> Subnet:
        subnet = text_subnet(task)
        folder = home.runs / subnet.run
        folder.mkdir(parents=True)
        saved = []
        for name, program in zip(("network", "step"), text_programs(task), strict=False):
            torch.export.save(program, folder / f"{name}.pt2")
            digest = sha256_of(folder / f"{name}.pt2")
            saved.append({"program": home.relative(folder / f"{name}.pt2"), "digest": digest})
        tokenizer = folder / "tokenizer.json"
        Characters().train([LETTERS]).save(tokenizer)
        return replace(
            subnet,
            **saved[0],
            data=write_texts(task, folder / "data"),
            class_names=CLASSES if task == "text_classification" else (),
            step=replace(tiny_step, **saved[1]) if len(saved) > 1 else None,
            text=TextInput(
                tokenizer=home.relative(tokenizer), digest=sha256_of(tokenizer), vocabulary=12, length=9
            ),
        )

    return make


@dataclass(frozen=True)
class Export:
    home: Home
    subnet: Subnet
    artifacts: tuple[Artifact, ...]


@pytest.fixture(scope="module")
def exported(
    store_subnet: Callable[[str, Home], Subnet], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Export]:
    """A function that gives a task's network as exported; tests leave the files as they are."""

    @functools.cache
    def subnet_of(task: str) -> tuple[Home, Subnet]:
        home = Home(tmp_path_factory.mktemp(task))
        return home, store_subnet(task, home)

    @functools.cache
    def make(task: str, format: str, precision: str = "fp32") -> Export:
        home, subnet = subnet_of(task)
        return Export(home, subnet, export_subnet(subnet, home=home, format=format, precision=precision))

    return make


def test_a_classifier_is_one_file_and_its_accuracy_that_of_the_network(
    exported: Callable[..., Export], text_programs: Programs
) -> None:
    made = exported("text_classification", "onnx")
    subnet, (artifact,) = made.subnet, made.artifacts
    file = made.home.absolute(artifact.file)
    assert sha256_of(file) == artifact.digest and file.stat().st_size == artifact.size_bytes
    assert [(one.name, one.shape) for one in artifact.inputs] == [("tokens", (None, None))]
    assert artifact.task == subnet.task and artifact.step is None and artifact.step_of is None
    assert artifact.parity and artifact.parity.batch_sizes == (1, 8)
    examples = open_texts(subnet.data).load("test")
    rows = encoded(Tokenizer.load(made.home.absolute(subnet.text.tokenizer)), examples.texts, subnet.text)
    network = Named(text_programs(subnet.task)[0])
    answered = [network.answers({"tokens": padded([row], 0)})["logits"].argmax() for row in rows]
    assert artifact.metric("test").value == pytest.approx((answered == examples.labels).mean())
    assert artifact.metric("selection").examples == 11


# The longest to write.
LONG = pytest.param("language_modelling", "tflite", marks=pytest.mark.slow)


@pytest.mark.parametrize(("task", "format"), [("translation", "onnx"), LONG])
def test_what_generates_is_two_files_and_its_tokenizer(
    exported: Callable[..., Export], task: str, format: str
) -> None:
    made = exported(task, format)
    home, subnet, (network, step) = made.home, made.subnet, made.artifacts
    assert network.id == f"{subnet.id}-{format}-fp32" and step.id == f"{subnet.id}-step-{format}-fp32"
    assert (network.step_of, step.step_of) == (None, network.id)
    assert network.step == step.step == subnet.step
    for artifact, name in ((network, subnet.id), (step, f"{subnet.id}-step")):
        assert artifact.file == f"artifacts/{subnet.id}/{name}-fp32.{format}"
        assert sha256_of(home.absolute(artifact.file)) == artifact.digest
        assert artifact.text == replace(subnet.text, tokenizer=f"artifacts/{subnet.id}/tokenizer.json")
        assert artifact.parity.batch_sizes == ((1, 8) if format == "onnx" else (1,))
        assert 0 < artifact.parity.max_abs_error <= artifact.parity.tolerance
    assert sha256_of(home.artifacts / subnet.id / "tokenizer.json") == subnet.text.digest
    assert [one.split for one in network.metrics] == ["selection", "test"] and not step.metrics
    assert {one.name for one in network.metrics} == {subnet.metrics[0].name}


@pytest.mark.parametrize(("task", "format"), [("text_classification", "onnx"), LONG])
def test_int8_is_held_to_its_quality_alone(exported: Callable[..., Export], task: str, format: str) -> None:
    exact = exported(task, format).artifacts
    rounded = exported(task, format, "int8").artifacts
    for one, other in zip(exact, rounded, strict=True):
        assert other.precision == "int8" and other.file == one.file.replace("fp32", "int8")
        assert other.parity.tolerance is None and other.parity.max_abs_error > one.parity.max_abs_error
    before, after = exact[0].metric("test"), rounded[0].metric("test")
    assert after.value == pytest.approx(before.value, rel=0.1) and after.examples == before.examples


def test_every_matrix_and_table_is_of_8_bits_in_onnx(exported: Callable[..., Export]) -> None:
    made = exported("text_classification", "onnx", "int8")
    graph = onnx.load(str(made.home.absolute(made.artifacts[0].file))).graph
    constants = {one.name: onnx.numpy_helper.to_array(one).dtype for one in graph.initializer}
    weights = [node.input[1] for node in graph.node if node.op_type == "MatMulInteger"]
    # Four in each of two attentions, one behind each, and one for the classes.
    assert [constants[name] for name in weights] == [np.int8] * 11
    # Tokens and places.
    tables = [node.input[0] for node in graph.node if node.op_type == "Gather"]
    assert [constants[name] for name in tables if name in constants] == [np.uint8] * 2
    left = [node.input[1] for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    assert not set(left) & constants.keys()


def test_no_file_is_left_behind_where_the_step_answers_otherwise(
    home: Home, store_subnet: Callable[[str, Home], Subnet], monkeypatch: pytest.MonkeyPatch
) -> None:
    subnet = store_subnet("translation", home)
    convert = Onnx.convert

    def wrong(self: Onnx, program: ExportedProgram, target: Path, *, length: int = 1) -> None:
        convert(self, program, target, length=length)
        model = onnx.load(str(target))
        if "token" in [one.name for one in model.graph.input]:
            (bias,) = [one for one in model.graph.initializer if one.name.endswith("words.bias")]
            values = onnx.numpy_helper.to_array(bias) + np.float32(0.01)
            bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
            onnx.save(model, str(target))

    monkeypatch.setattr(Onnx, "convert", wrong)
    with pytest.raises(ParityError, match=r"by 0\.01 in 'logits' at batch 1") as told:
        export_subnet(subnet, home=home, format="onnx")
    assert "take another format" in told.value.hint
    assert not list((home.artifacts / subnet.id).iterdir())


def test_a_file_that_errs_in_batches_only_is_refused(text_programs: Programs, tmp_path: Path) -> None:
    program = text_programs("text_classification")[0]
    Onnx().convert(program, tmp_path / "network.onnx")
    network = Named(program)
    rows = [{"tokens": np.full((batch, 5), 4)} for batch in (1, 8)]

    class Other(Named):
        def answers(self, feeds):  # type: ignore[no-untyped-def]
            return {name: array + (len(array) > 1) for name, array in network.answers(feeds).items()}

    with pytest.raises(ParityError, match="by 1 in 'logits' at batch 8; at most 0.0001"):
        compared_by_name(
            tmp_path / "network.onnx",
            {1: rows[:1], 8: rows[1:]},
            Other(program),
            runtime="onnxruntime",
            tolerance=1e-4,
        )


def test_what_does_not_belong_to_the_subnet_is_refused(
    home: Home, store_subnet: Callable[[str, Home], Subnet], tmp_path: Path
) -> None:
    subnet = store_subnet("text_classification", home)
    pairs = write_texts("translation", tmp_path / "pairs")
    with pytest.raises(DataError, match="the subnet dog, cat"):
        export_subnet(replace(subnet, class_names=("dog", "cat")), home=home, format="onnx")
    with pytest.raises(ConfigError, match="the data is for translation, subnet .* for text_classification"):
        export_subnet(subnet, home=home, format="onnx", data=pairs)
    home.absolute(subnet.text.tokenizer).write_text("{}", encoding="utf-8")
    with pytest.raises(ConversionError, match="is not the tokenizer that was saved") as told:
        export_subnet(subnet, home=home, format="onnx")
    assert told.value.hint.startswith("cut it again: edge-bench extract")
    home.absolute(subnet.text.tokenizer).unlink()
    with pytest.raises(ConversionError, match="the tokenizer of subnet .* is not at"):
        export_subnet(subnet, home=home, format="onnx")


def test_a_set_of_which_a_part_is_damaged_is_written_again(
    home: Home,
    store_subnet: Callable[[str, Home], Subnet],
    exported: Callable[..., Export],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subnet = store_subnet("translation", home)
    with ResultStore(home.store_url) as store:
        store.add(subnet)
    made = exported("translation", "onnx")
    ready = [made.home.absolute(one.file) for one in made.artifacts]

    def convert(self: Onnx, program: ExportedProgram, target: Path, *, length: int = 1) -> None:
        shutil.copyfile(ready["token" in program.graph_signature.user_inputs], target)

    monkeypatch.setattr(Onnx, "convert", convert)

    def is_written(*options: str) -> bool:
        """Export; return whether the network's file is another than the one marked by a time of its own."""
        assert main(["export", subnet.id, "--format", "onnx", "--json", *options]) == 0
        rows = json.loads(capsys.readouterr().out)["artifacts"]
        assert [row["id"] for row in rows] == [f"{subnet.id}-onnx-fp32", f"{subnet.id}-step-onnx-fp32"]
        with ResultStore(home.store_url) as store:
            for one in store.artifacts():
                assert sha256_of(home.absolute(one.file)) == one.digest
        file = home.absolute(rows[0]["file"])
        written = file.stat().st_mtime_ns != 0
        os.utime(file, ns=(0, 0))
        return written

    assert is_written()
    assert not is_written()
    for part in ("*-step-*.onnx", "tokenizer.json"):
        (damaged,) = (home.artifacts / subnet.id).glob(part)
        damaged.write_bytes(b"damaged")
        assert is_written()
    other = write_texts("translation", home.root / "other")
    assert is_written("--data", f"parallel_text:{other['path']}")
    with ResultStore(home.store_url) as store:
        assert [dict(one.data) for one in store.artifacts()] == [other, other]
