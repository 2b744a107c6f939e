"""The scripts beside text models run by themselves, and answer what the files say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_bench.choose.snippets import Picked, run_script
from edge_bench.records import Artifact, RecurrentStep, Subnet
from edge_bench.text.tokenizer import BEGIN, END, Tokenizer
from edge_bench.text.vocabularies.characters import Characters

LETTERS = "abcdefgh "
TOKENS = 4 + len(LETTERS)
LENGTH, LAYERS, HEADS, WIDTH = 16, 2, 2, 4
ENTRY = [LAYERS, 2, 1, HEADS, 1, WIDTH]
GENERATOR = np.random.default_rng(3)
EMBEDDING = GENERATOR.normal(size=(TOKENS, WIDTH)).astype(np.float32)
HEAD = GENERATOR.normal(size=(WIDTH, TOKENS)).astype(np.float32)
# Padding, what begins a text and what is unknown are never the likeliest.
HEAD[:, [0, 1, 3]] = 0
Make = Callable[..., Subnet]
MakeFiles = Callable[..., list[Artifact]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a tokenizer of single letters."""
    folder = tmp_path / "picked"
    folder.mkdir()
    Characters().train([LETTERS]).save(folder / "tokenizer.json")
    return folder


def write(path: Path, nodes: list[onnx.NodeProto], ends: Sequence[Sequence[onnx.ValueInfoProto]]) -> None:
    weights = {
        "embedding": EMBEDDING,
        "head": HEAD,
        "entry": np.array(ENTRY, np.int64),
        "row": np.array([1, 1, 1, 1, -1, WIDTH], np.int64),
        "sum": np.array([1, WIDTH], np.int64),
        "sides": np.array([0, 1, 3, 4], np.int64),
        "middle": np.array([1], np.int64),
    }
    used = {name for node in nodes for name in node.input}
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items() if name in used]
    graph = helper.make_graph(nodes, "text", *ends, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(str(path))


def value(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def write_classifier(path: Path) -> None:
    """Logits are the sum of the embeddings of all tokens, times the head."""
    nodes = [
        helper.make_node("Gather", ["embedding", "tokens"], ["embedded"]),
        helper.make_node("ReduceSum", ["embedded", "middle"], ["summed"], keepdims=0),
        helper.make_node("MatMul", ["summed", "head"], ["logits"]),
    ]
    ends = (
        [value("tokens", TensorProto.INT64, "batch", "length")],
        [value("logits", TensorProto.FLOAT, "batch", TOKENS)],
    )
    write(path, nodes, ends)


def write_encoder(path: Path) -> None:
    """The memory of every layer and head holds the embeddings of the source's tokens."""
    nodes = [
        helper.make_node("Gather", ["embedding", "tokens"], ["embedded"]),
        helper.make_node("Reshape", ["embedded", "row"], ["rows"]),
        helper.make_node("Expand", ["rows", "entry"], ["memory"]),
    ]
    ends = (
        [value("tokens", TensorProto.INT64, "batch", "length")],
        [value("memory", TensorProto.FLOAT, LAYERS, 2, "batch", HEADS, "length", WIDTH)],
    )
    write(path, nodes, ends)


def write_step(path: Path, *, translates: bool) -> None:
    """Logits are the summed embeddings of token, cache and memory, times the head."""
    nodes = [
        helper.make_node("Gather", ["embedding", "token"], ["embedded"]),
        helper.make_node("Reshape", ["embedded", "row"], ["rows"]),
        helper.make_node("Expand", ["rows", "entry"], ["new_cache"]),
        helper.make_node("ReduceMean", ["cache"], ["meant"], axes=[0, 1, 3], keepdims=0),
        helper.make_node("ReduceSum", ["meant", "middle"], ["past"], keepdims=0),
        helper.make_node("Reshape", ["embedded", "sum"], ["present"]),
        helper.make_node("Add", ["past", "present"], ["state" if not translates else "text"]),
        helper.make_node("MatMul", ["state", "head"], ["logits"]),
    ]
    inputs = [
        value("token", TensorProto.INT64, "batch", 1),
        value("position", TensorProto.INT64, 1),
        value("cache", TensorProto.FLOAT, LAYERS, 2, "batch", HEADS, "room", WIDTH),
    ]
    if translates:
        nodes[-1:-1] = [
            helper.make_node("ReduceMean", ["memory"], ["known"], axes=[0, 1, 3], keepdims=0),
            helper.make_node("ReduceSum", ["known", "middle"], ["source_sum"], keepdims=0),
            helper.make_node("Add", ["text", "source_sum"], ["state"]),
        ]
        inputs += [
            value("memory", TensorProto.FLOAT, LAYERS, 2, "batch", HEADS, "length", WIDTH),
            value("source", TensorProto.INT64, "batch", "length"),
        ]
    outputs = [
        value("logits", TensorProto.FLOAT, "batch", TOKENS),
        value("new_cache", TensorProto.FLOAT, *ENTRY),
    ]
    write(path, nodes, (inputs, outputs))


def write_recurrent_step(path: Path) -> None:
    """Logits are the sum of all that the state holds, to which each token's embedding is added, times the
    head.
    """
    nodes = [
        helper.make_node("Gather", ["embedding", "token"], ["embedded"]),
        helper.make_node("Unsqueeze", ["embedded", "middle"], ["added"]),
        helper.make_node("Add", ["state", "added"], ["new_state"]),
        helper.make_node("ReduceMean", ["new_state"], ["summed"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["summed", "head"], ["logits"]),
    ]
    inputs = [
        value("token", TensorProto.INT64, "batch", 1),
        value("state", TensorProto.FLOAT, "batch", LAYERS, 2, WIDTH),
    ]
    outputs = [
        value("logits", TensorProto.FLOAT, "batch", TOKENS),
        value("new_state", TensorProto.FLOAT, "batch", LAYERS, 2, WIDTH),
    ]
    write(path, nodes, (inputs, outputs))


def expected(tokens: list[int], source: Sequence[int] = ()) -> list[int]:
    """Return what the files say after `tokens`, greedily."""
    tokens = list(tokens)
    while len(tokens) < LENGTH and tokens[-1] != END:
        state = EMBEDDING[[*tokens, *source]].sum(0)
        tokens.append(int((state @ HEAD).argmax()))
    return tokens


def ran(folder: Path, script: str, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    assert "edge_bench" not in script
    (folder / "run_model.py").write_text(script, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-I", "-X", "utf8", str(folder / "run_model.py"), *words],
        cwd=folder.parent,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


def script_of(subnet: Subnet, files: list[Artifact], **text: bool) -> str:
    assert subnet.text is not None
    subnet = replace(subnet, text=replace(subnet.text, **text))
    network = replace(files[0], text=subnet.text, inputs=())
    return run_script(Picked.of(network, subnet, file="model.onnx", step_file="step.onnx"))


@pytest.fixture
def classifier(text_subnet: Make, text_files: MakeFiles) -> tuple[Subnet, list[Artifact]]:
    subnet = text_subnet("text_classification")
    names = tuple(f"${{n}} '{place}' \\n" for place in range(TOKENS))
    return subnet, [replace(file, class_names=names) for file in text_files(subnet)]


def test_each_line_is_printed_behind_its_class(
    folder: Path, classifier: tuple[Subnet, list[Artifact]]
) -> None:
    write_classifier(folder / "model.onnx")
    lines = ["abc", "hh g", "", "<end>b", "é"]
    ended = ran(folder, script_of(*classifier), text="\n".join(lines) + "\n")
    assert ended.returncode == 0, ended.stderr
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    names = classifier[1][0].class_names
    for line, told in zip(lines, ended.stdout.splitlines(), strict=True):
        state = EMBEDDING[[BEGIN, *tokenizer.encode(line), END]].sum(0)
        assert told == f"{names[int((state @ HEAD).argmax())]}\t{line}"


def test_a_text_that_is_too_long_is_refused_or_cut_as_the_network_was_trained(
    folder: Path, classifier: tuple[Subnet, list[Artifact]]
) -> None:
    write_classifier(folder / "model.onnx")
    ended = ran(folder, script_of(*classifier), text="a" * 40)
    assert ended.returncode == 1
    assert "a text has 42 tokens, begin and end included; at most 16 will do" in ended.stderr
    cut = ran(folder, script_of(*classifier, truncate=True), text="a" * 40)
    same = ran(folder, script_of(*classifier), text="a" * (LENGTH - 2))
    assert cut.stdout.split("\t")[0] == same.stdout.split("\t")[0] != ""


def test_a_line_is_translated_with_a_memory_of_its_source_and_a_cache_of_its_own(
    folder: Path, text_subnet: Make, text_files: MakeFiles
) -> None:
    write_encoder(folder / "model.onnx")
    write_step(folder / "step.onnx", translates=True)
    subnet = text_subnet("translation", {"decoder": (0, 1)})
    lines = ["abc", "hgfe", "a b", "ccc"]
    (folder / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    ended = ran(folder, script_of(subnet, text_files(subnet)), str(folder / "lines.txt"))
    assert ended.returncode == 0, ended.stderr
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    said = [tokenizer.decode(expected([BEGIN], [BEGIN, *tokenizer.encode(line), END])) for line in lines]
    assert ended.stdout.split("\n")[:-1] == said
    assert len(set(said)) > 1 and all(said)


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_text_is_gone_on_with(
    recurrent: bool, folder: Path, text_subnet: Make, text_files: MakeFiles
) -> None:
    subnet = text_subnet("language_modelling", {"decoder": (0, 3)})
    if recurrent:
        write_recurrent_step(folder / "step.onnx")
        step = RecurrentStep(program="", digest="", layers=LAYERS, width=WIDTH, tokens=1.0)
        subnet = replace(subnet, step=step)
    else:
        write_step(folder / "step.onnx", translates=False)
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    for given in ("abc", "h g", ""):
        ended = ran(folder, script_of(subnet, text_files(subnet)), *given.split(" "))
        assert ended.returncode == 0, ended.stderr
        begun = tokenizer.encode(given) or [BEGIN]
        assert ended.stdout == tokenizer.decode(expected(begun)) + "\n"
    ended = ran(folder, script_of(subnet, text_files(subnet)), "a" * 30)
    assert "the text has 30 tokens; at most 16 will do" in ended.stderr
