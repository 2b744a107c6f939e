"""Programs with tokens, caches and several outputs as files: their names, free sides and answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch.export import Dim, ExportedProgram

from converters import FORMATS
from converters.formats import Converter
from converters.formats.onnx import Onnx
from converters.programs import Named, signature_of
from edge_bench import variants
from edge_bench.errors import ConversionError
from edge_bench.measure.sandbox import describe, run

LENGTH, LAYERS = 9, 2
# A task, which of its programs, and how many attentions that has.
PARTS = [
    ("text_classification", 0, LAYERS),
    ("language_modelling", 0, LAYERS),
    ("translation", 0, LAYERS),
    ("translation", 1, 2 * LAYERS),
]
of_every_part = pytest.mark.parametrize(
    ("task", "part"),
    [
        pytest.param(*one[:2], marks=pytest.mark.slow if one[0] == "language_modelling" else ())
        for one in PARTS
    ],
)
Programs = Callable[[str], tuple[ExportedProgram, ...]]


@pytest.fixture(scope="module", params=variants.names(FORMATS))
def converter(request: pytest.FixtureRequest) -> Converter:
    return variants.load(Converter, FORMATS, request.param)()


@pytest.fixture(scope="module")
def files(text_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that gives the fp32 file of one of a task's programs; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("texts")

    def make(converter: Converter, task: str, part: int) -> Path:
        file = folder / f"{task}-{part}.{converter.format}"
        if not file.exists():
            converter.convert(text_programs(task)[part], file, length=LENGTH)
        return file

    return make


def test_a_program_tells_what_it_takes_and_answers(text_programs: Programs) -> None:
    _, step = text_programs("translation")
    told = signature_of(step)
    assert [(one.name, one.dtype) for one in told.inputs] == [
        ("token", torch.int64),
        ("position", torch.int64),
        ("cache", torch.float32),
        ("memory", torch.float32),
        ("source", torch.int64),
    ]
    assert told.inputs[2].sides == (LAYERS, 2, None, 2, None, 4)
    assert told.outputs == ("logits", "new_cache")
    assert told.inputs[2].example({"batch": 1, "room": 7}).shape == (LAYERS, 2, 1, 2, 7, 4)


def test_a_program_of_keywords_and_plain_outputs_is_fed_by_name() -> None:
    class Odd(torch.nn.Module):
        def forward(self, token: torch.Tensor, cache: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return cache.sum((0, 1, 3, 4, 5)) + token[:, 0], cache * 2

    feeds = {"cache": torch.ones(1, 2, 2, 1, 3, 2), "token": torch.full((2, 1), 5)}
    batch = Dim("batch")
    free = {"cache": {2: batch}, "token": {0: batch}}
    named = Named(torch.export.export(Odd(), (), feeds, dynamic_shapes=free))
    answered = named.answers({name: tensor.numpy() for name, tensor in feeds.items()})
    assert answered["logits"].tolist() == [17, 17] and answered["new_cache"].shape == (1, 2, 2, 1, 3, 2)


@of_every_part
def test_a_file_answers_as_the_program_at_any_batch_and_length_it_takes(
    task: str, part: int, converter: Converter, text_programs: Programs, files: Callable[..., Path]
) -> None:
    program, file = text_programs(task)[part], files(converter, task, part)
    shapes = [(3, 7, 4), (1, LENGTH, LENGTH), (2, 1, 6)] if converter.free_sides else [(1, LENGTH, LENGTH)]
    for number, (batch, length, room) in enumerate(shapes):
        feeds = feeds_of(program, batch=batch, length=length, room=room, seed=number)
        answered = run(file, feeds, runtime=converter.runtime, batch=batch)
        expected = Named(program).answers(feeds)
        assert answered.keys() == expected.keys()
        for key, array in expected.items():
            np.testing.assert_allclose(answered[key], array, atol=converter.tolerance)


def test_ends_keep_the_names_of_the_program(
    converter: Converter, text_programs: Programs, files: Callable[..., Path]
) -> None:
    inputs, outputs = describe(files(converter, "translation", 1), runtime=converter.runtime)
    step = text_programs("translation")[1]
    assert [one.name for one in inputs] == [one.name for one in signature_of(step).inputs]
    assert [one.name for one in outputs] == ["logits", "new_cache"]
    free = None if converter.free_sides else 1
    assert outputs[1].shape == (LAYERS, 2, free, 2, 1, 4)


def test_tokens_are_int32_in_tflite_and_int64_in_onnx(
    converter: Converter, files: Callable[..., Path]
) -> None:
    inputs, _ = describe(files(converter, "translation", 1), runtime=converter.runtime)
    tokens = {one.name: one.dtype for one in inputs if one.dtype != "float32"}
    wanted = {"onnx": "int64", "tflite": "int32"}[converter.format]
    assert tokens == dict.fromkeys(("token", "position", "source"), wanted)


def test_free_sides_are_named_in_onnx(files: Callable[..., Path]) -> None:
    graph = onnx.load(str(files(Onnx(), "translation", 1))).graph
    named = {
        end.name: [side.dim_param or side.dim_value for side in end.type.tensor_type.shape.dim]
        for end in (*graph.input, *graph.output)
    }
    assert named == {
        "token": ["batch", 1],
        "position": [1],
        "cache": [LAYERS, 2, "batch", 2, "room", 4],
        "memory": [LAYERS, 2, "batch", 2, "length", 4],
        "source": ["batch", "length"],
        "logits": ["batch", 12],
        "new_cache": [LAYERS, 2, "batch", 2, 1, 4],
    }


@pytest.mark.parametrize(("task", "part", "attentions"), PARTS)
def test_the_graph_is_plain(task: str, part: int, attentions: int, files: Callable[..., Path]) -> None:
    model = onnx.load(str(files(Onnx(), task, part)))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Softmax") == attentions
    assert not {"If", "Loop", "Scan", "RandomUniform", "RandomNormal", "Dropout"} & set(kinds)
    assert not model.functions


@pytest.mark.parametrize("side", ["batch", "length"])
def test_a_program_whose_length_or_batch_is_fixed_is_refused(side: str, tmp_path: Path) -> None:
    network = torch.nn.Embedding(5, 3)
    free = {"batch": {1: Dim("length")}, "length": {0: Dim("batch")}}[side]

    class Tokens(torch.nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return network(tokens)

    example = torch.ones(2, 4, dtype=torch.int64)
    fixed = torch.export.export(Tokens(), (example,), dynamic_shapes=(free,))
    with pytest.raises(ConversionError, match=f"fixes the {side} of 'tokens' at") as told:
        Onnx().convert(fixed, tmp_path / "fixed.onnx")
    assert f"dynamic {side}" in told.value.hint
    assert not list(tmp_path.iterdir())


@of_every_part
def test_int8_weights_are_near_the_network_and_take_what_it_takes(
    task: str,
    part: int,
    converter: Converter,
    text_programs: Programs,
    files: Callable[..., Path],
    tmp_path: Path,
) -> None:
    program, source = text_programs(task)[part], files(converter, task, part)
    target = tmp_path / f"int8.{converter.format}"
    converter.quantize_weights(source, target)
    assert describe(target, runtime=converter.runtime) == describe(source, runtime=converter.runtime)
    feeds = feeds_of(program, batch=1, length=LENGTH, room=LENGTH, seed=3)
    answered, expected = run(target, feeds, runtime=converter.runtime), Named(program).answers(feeds)
    for key, array in expected.items():
        error = np.abs(answered[key] - array).max()
        assert 1e-7 < error <= 0.1 * np.abs(array).max()


def feeds_of(program: ExportedProgram, *, batch: int, length: int, room: int, seed: int) -> dict[str, Any]:
    """Return random inputs of a program; the last token of a source of some length is padding."""
    generator = np.random.default_rng(seed)
    sizes = {"batch": batch, "length": length, "room": room}
    feeds: dict[str, Any] = {}
    for one in signature_of(program).inputs:
        shape = tuple(one.example(sizes).shape)
        if one.name == "position":
            feeds[one.name] = np.array([room - 1])
        elif one.dtype == torch.int64:
            feeds[one.name] = generator.integers(1, 12, shape)
            if length > 2 and one.name != "token":
                feeds[one.name][:, -1] = 0
        else:
            feeds[one.name] = generator.standard_normal(shape, np.float32)
    return feeds
