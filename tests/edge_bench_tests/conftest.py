"""Tiny text models whose answers can be told by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_bench.files import Home, sha256_of
from edge_bench.records import Artifact, Step, TensorSpec, TextInput
from edge_bench.store import ResultStore

# Tokens that the tiny models know, the longest text of their TFLite files, and its padding.
VOCABULARY, LENGTH, PAD = 12, 8, 0


@pytest.fixture(scope="session")
def text_table() -> np.ndarray:
    """What the tiny models look tokens up in: [12, 12], and its first two columns are a classifier's."""
    return np.random.default_rng(3).normal(size=(VOCABULARY, VOCABULARY)).astype(np.float32)


@pytest.fixture(scope="session")
def text_onnx(tmp_path_factory: pytest.TempPathFactory, text_table: np.ndarray) -> Callable[[str], Path]:
    """A function that gives a file of any batch and length, by its kind.

    "classifier": logits [batch, 2] are the sum of the tokens' rows, that of a padding included.
    "language_model": logits [batch, length, 12] are each token's row. "language_model_step": the same, a
    token at a time. "encoder" and "translation_step": what generates says the source's tokens, each of
    them at its place, and then its end.
    """
    folder = tmp_path_factory.mktemp("text")

    def make(kind: str) -> Path:
        path = folder / f"{kind}.onnx"
        if not path.exists():
            _write_onnx(path, kind, text_table)
        return path

    return make


@pytest.fixture(scope="session")
def text_tflite(tmp_path_factory: pytest.TempPathFactory, text_table: np.ndarray) -> Callable[[str], Path]:
    """A function that gives "classifier" or "language_model" of `text_onnx`, for one text of 8 tokens."""
    folder = tmp_path_factory.mktemp("text")

    def make(kind: str) -> Path:
        path = folder / f"{kind}.tflite"
        if not path.exists():
            _write_tflite(path, kind, text_table)
        return path

    return make


@pytest.fixture
def store_texts(
    home: Home, text_onnx: Callable[[str], Path], text_tflite: Callable[[str], Path]
) -> Callable[..., list[Artifact]]:
    """A function that stores the tiny files of a task, and gives their records: the network's first.

    Their tokenizer knows the blank, token 4, and the letters a to g, 5 to 11.
    """

    def store(
        task: str, *, format: Any = "onnx", length: int = LENGTH, truncate: bool = False
    ) -> list[Artifact]:
        pytest.importorskip("tokenizers")
        from edge_bench.text.vocabularies.characters import Characters

        files = {
            "text_classification": ["classifier"],
            "language_modelling": ["language_model", "language_model_step"],
            "translation": ["encoder", "translation_step"],
        }[task]
        folder = home.artifacts / task
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer = folder / "tokenizer.json"
        Characters().train([" abcdefg"]).save(tokenizer)
        artifacts = []
        for kind in files[:1] if format == "tflite" else files:
            file = folder / f"{kind}.{format}"
            shutil.copyfile((text_onnx if format == "onnx" else text_tflite)(kind), file)
            artifacts.append(
                Artifact(
                    id=kind,
                    name=kind,
                    subnet="a-subnet",
                    format=format,
                    precision="fp32",
                    file=home.relative(file),
                    digest=sha256_of(file),
                    size_bytes=file.stat().st_size,
                    inputs=(TensorSpec(name="tokens", dtype="int64", shape=(None, None)),),
                    outputs=(),
                    metrics=(),
                    created="2026-01-01T00:00:00+00:00",
                    class_names=("bad", "good") if len(files) == 1 else (),
                    text=TextInput(
                        tokenizer=home.relative(tokenizer),
                        digest=sha256_of(tokenizer),
                        vocabulary=VOCABULARY,
                        length=length,
                        truncate=truncate,
                    ),
                    step=None
                    if len(files) == 1
                    else Step(program="", digest="", layers=1, heads=1, head_width=1, tokens=4.0),
                    step_of=files[0] if kind != files[0] else None,
                    task=task,
                )
            )
        with ResultStore(home.store_url) as opened:
            for artifact in artifacts:
                opened.add(artifact)
        return artifacts

    return store


def _write_onnx(path: Path, kind: str, rows: np.ndarray) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    constants: dict[str, np.ndarray] = {}

    def node(operator: str, inputs: str, output: str, **options: Any) -> Any:
        return helper.make_node(operator, inputs.split(), [output], **options)

    def end(name: str, type: int, *shape: str | int) -> Any:
        return helper.make_tensor_value_info(name, type, list(shape))

    whole, real = TensorProto.INT64, TensorProto.FLOAT
    tokens = end("tokens", whole, "batch", "length")
    memory = end("memory", real, 1, 2, "batch", 1, "length", 1)
    stepping = [
        end("token", whole, "batch", 1),
        end("position", whole, 1),
        end("cache", real, 1, 2, "batch", 1, "room", 1),
    ]
    stepped = [end("logits", real, "batch", VOCABULARY), end("new_cache", real, 1, 2, "batch", 1, 1, 1)]
    # Keys and values are the tokens themselves, as real numbers.
    caching = [
        node("Cast", "token", "spoken", to=real),
        node("Unsqueeze", "spoken cached_axes", "spoken6"),
        node("Concat", "spoken6 spoken6", "new_cache", axis=1),
    ]
    if kind == "classifier":
        constants = {"table": rows[:, :2].copy(), "axis": np.array([1])}
        nodes = [
            node("Gather", "table tokens", "rows"),
            node("ReduceSum", "rows axis", "logits", keepdims=0),
        ]
        inputs, outputs = [tokens], [end("logits", real, "batch", 2)]
    elif kind == "language_model":
        constants = {"table": rows}
        nodes = [node("Gather", "table tokens", "logits")]
        inputs, outputs = [tokens], [end("logits", real, "batch", "length", VOCABULARY)]
    elif kind == "encoder":
        constants = {"axes": np.array([0, 1, 3, 5])}
        nodes = [
            node("Cast", "tokens", "real", to=real),
            node("Unsqueeze", "real axes", "one"),
            node("Concat", "one one", "memory", axis=1),
        ]
        inputs, outputs = [tokens], [memory]
    elif kind == "language_model_step":
        constants = {"table": rows, "axis": np.array([1]), "cached_axes": np.array([0, 1, 3, 4])}
        nodes = [node("Gather", "table token", "rows"), node("Squeeze", "rows axis", "logits"), *caching]
        inputs, outputs = stepping, stepped
    else:
        constants = {
            "one": np.array([1]),
            "cached_axes": np.array([0, 1, 3, 4]),
            "first": np.array(0),
            "depth": np.array(VOCABULARY),
            "values": np.array([0, 10], np.float32),
        }
        nodes = [
            node("Add", "position one", "next"),
            # The place behind the last one is there too: it is what timing runs on.
            node("Concat", "memory memory", "twice", axis=4),
            node("Gather", "twice next", "there", axis=4),
            node("Gather", "there first", "keys", axis=1),
            node("Squeeze", "keys others", "real"),
            node("Cast", "real", "said", to=whole),
            node("OneHot", "said depth values", "logits"),
            *caching,
        ]
        # [layers, batch, heads, 1, width] is left of `there`: all but the batch are 1.
        constants["others"] = np.array([0, 2, 3, 4])
        inputs, outputs = [*stepping, memory, end("source", whole, "batch", "length")], stepped
    graph = helper.make_graph(
        nodes,
        kind,
        inputs,
        outputs,
        [numpy_helper.from_array(one, name) for name, one in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _write_tflite(path: Path, kind: str, rows: np.ndarray) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    classifies = kind == "classifier"
    table = rows[:, :2].copy() if classifies else rows
    buffers, tensors = [schema.BufferT()], []

    def tensor(name: str, shape: Sequence[int], type: int, content: np.ndarray | None = None) -> int:
        one = schema.TensorT()
        one.name, one.shape, one.type, one.buffer = name, list(shape), type, 0
        if content is not None:
            buffers.append(schema.BufferT())
            buffers[-1].data, one.buffer = np.frombuffer(content.tobytes(), np.uint8), len(buffers) - 1
        tensors.append(one)
        return len(tensors) - 1

    def operator(code: int, inputs: list[int], output: int, type: int, options: Any) -> Any:
        one = schema.OperatorT()
        one.opcodeIndex, one.inputs, one.outputs = code, inputs, [output]
        one.builtinOptionsType, one.builtinOptions = type, options
        return one

    kinds, options = schema.TensorType, schema.BuiltinOptions
    taken = tensor("serving_default_tokens:0", [1, LENGTH], kinds.INT32)
    held = tensor("table", table.shape, kinds.FLOAT32, table)
    found = tensor("rows", [1, LENGTH, table.shape[1]], kinds.FLOAT32)
    operators = [operator(0, [held, taken], found, options.GatherOptions, schema.GatherOptionsT())]
    if classifies:
        axis = tensor("axis", [1], kinds.INT32, np.array([1], np.int32))
        given = tensor("logits", [1, 2], kinds.FLOAT32)
        operators.append(
            operator(1, [found, axis], given, options.ReducerOptions, schema.ReducerOptionsT())
        )
    codes = []
    for builtin in (schema.BuiltinOperator.GATHER, schema.BuiltinOperator.SUM):
        codes.append(schema.OperatorCodeT())
        codes[-1].builtinCode = codes[-1].deprecatedBuiltinCode = builtin
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs = tensors, operators, [taken]
    graph.outputs = [len(tensors) - 1]
    model = schema.ModelT()
    model.version, model.buffers, model.operatorCodes, model.subgraphs = 3, buffers, codes, [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(bytes(builder.Output()))
