"""What every runtime must do: a file put into `measure/runtimes/` is tested by being there.

Files that edge-bench did not make are opened in the sandbox only; these two are made by the tests.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_bench import variants
from edge_bench.errors import ConfigError, InvalidModel, MissingExtra
from edge_bench.measure.inputs import concrete_shape, random_feeds
from edge_bench.measure.inspection import RUNTIMES, formats, precedence, readers
from edge_bench.measure.runtimes import Runtime, Tensors

NOISE = np.random.default_rng(0).bytes(4096)


@pytest.fixture(params=[(name, ending) for name in variants.names(RUNTIMES) for ending in formats(name)])
def opened(request: pytest.FixtureRequest) -> tuple[Runtime, str]:
    """A runtime and one of the endings it reads."""
    name, ending = request.param
    try:
        return variants.load(Runtime, RUNTIMES, name)(), ending
    except (MissingExtra, ModuleNotFoundError) as error:
        pytest.skip(str(error))


@pytest.fixture
def runtime(opened: tuple[Runtime, str]) -> Runtime:
    return opened[0]


@pytest.fixture
def model(opened: tuple[Runtime, str], tiny_onnx: Path, tiny_tflite: Path, tmp_path: Path) -> Path:
    script = tmp_path / "tiny.scripted"
    script.write_text(json.dumps({"latencies_ms": [1.0, 2.0]}), encoding="utf-8")
    return {"onnx": tiny_onnx, "tflite": tiny_tflite, "scripted": script}[opened[1]]


def copied(feeds: Tensors) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in feeds.items()}


def test_the_name_is_the_file_and_the_formats_are_told_without_import(runtime: Runtime) -> None:
    assert runtime.name in variants.names(RUNTIMES)
    assert formats(runtime.name) == runtime.formats
    assert runtime.version()


def test_inputs_stay_as_they_are(runtime: Runtime, model: Path) -> None:
    session = runtime.open(model, threads=1)
    feeds = random_feeds(session.inputs, batch=1)
    before = copied(feeds)
    session.run(feeds)
    session.prepare(feeds)
    session.invoke()
    assert all(np.array_equal(feeds[name], before[name]) for name in feeds)


def test_equal_inputs_give_equal_outputs_whatever_ran_between(runtime: Runtime, model: Path) -> None:
    session = runtime.open(model, threads=1)
    feeds, others = random_feeds(session.inputs, batch=1), random_feeds(session.inputs, batch=1, seed=1)
    first = session.run(feeds)
    kept = copied(first)
    second = session.run(others)
    session.prepare(others)
    session.invoke()
    third = session.run(feeds)
    for spec in session.outputs:
        assert np.array_equal(first[spec.name], kept[spec.name]), "an answer changed after the fact"
        assert np.array_equal(third[spec.name], kept[spec.name])
        assert not np.array_equal(second[spec.name], kept[spec.name])


def test_outputs_are_as_stated(runtime: Runtime, model: Path) -> None:
    session = runtime.open(model, threads=1)
    outputs = session.run(random_feeds(session.inputs, batch=1))
    assert list(outputs) == [spec.name for spec in session.outputs]
    for spec in session.outputs:
        assert outputs[spec.name].dtype.name == spec.dtype
        assert outputs[spec.name].shape == concrete_shape(spec, 1)


@pytest.mark.parametrize("batch", [1, 3])
def test_an_open_batch_becomes_the_one_wanted(runtime: Runtime, model: Path, batch: int) -> None:
    session = runtime.open(model, threads=1, batch=batch)
    feeds = random_feeds(session.inputs, batch=batch)
    whole = session.run(feeds)[session.outputs[0].name]
    assert len(whole) == batch
    single = runtime.open(model, threads=1, batch=1)
    for index in range(batch):
        one = single.run({name: array[index : index + 1] for name, array in feeds.items()})
        np.testing.assert_allclose(one[single.outputs[0].name][0], whole[index], rtol=1e-5)


def test_two_threads_answer_as_one_does(runtime: Runtime, model: Path) -> None:
    one, two = (runtime.open(model, threads=threads) for threads in (1, 2))
    feeds = random_feeds(one.inputs, batch=1)
    for spec in one.outputs:
        np.testing.assert_allclose(one.run(feeds)[spec.name], two.run(feeds)[spec.name], rtol=1e-5)


def test_both_file_formats_hold_the_network_the_tests_made(runtime: Runtime, model: Path) -> None:
    if runtime.name == "scripted":
        pytest.skip("a script is no network")
    session = runtime.open(model, threads=1)
    inputs = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
    logits = session.run({session.inputs[0].name: inputs})[session.outputs[0].name]
    np.testing.assert_allclose(logits, inputs @ np.arange(12, dtype=np.float32).reshape(4, 3))
    assert session.precision == "fp32"


@pytest.mark.parametrize("content", [b"", b"no model at all", NOISE], ids=["empty", "text", "noise"])
def test_what_is_no_model_is_refused_by_name(
    opened: tuple[Runtime, str], tmp_path: Path, content: bytes
) -> None:
    runtime, ending = opened
    file = tmp_path / f"broken.{ending}"
    file.write_bytes(content)
    with pytest.raises((InvalidModel, ConfigError), match="broken"):
        runtime.open(file, threads=1)


def test_one_runtime_comes_first_for_each_ending() -> None:
    endings = {ending for name in variants.names(RUNTIMES) for ending in formats(name)}
    for ending in endings:
        precedences = [precedence(name) for name in readers(ending)]
        assert precedences == sorted(set(precedences)), f"two runtimes claim .{ending}"
    assert readers("onnx")[0] == "onnxruntime" and readers("tflite")[0] == "litert"
