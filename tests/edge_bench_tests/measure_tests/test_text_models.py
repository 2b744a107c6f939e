"""Files that take tokens: what they are fed, what they answer, and what they are refused for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_bench.errors import ConfigError, InvalidModel
from edge_bench.measure.footprint import footprint
from edge_bench.measure.inputs import Feeding, quantized, random_feeds
from edge_bench.measure.sandbox import describe, predict, run
from edge_bench.records import TensorSpec

Maker = Callable[[str], Path]
STEP = (
    TensorSpec(name="token", dtype="int64", shape=(None, 1)),
    TensorSpec(name="position", dtype="int64", shape=(1,)),
    TensorSpec(name="cache", dtype="float32", shape=(3, 2, None, 2, None, 4)),
    TensorSpec(name="memory", dtype="float32", shape=(3, 2, None, 2, None, 4)),
    TensorSpec(name="source", dtype="int64", shape=(None, None)),
)


def test_random_tokens_are_those_of_the_vocabulary_without_the_padding() -> None:
    spec = TensorSpec(name="tokens", dtype="int64", shape=(None, None))
    tokens = random_feeds([spec], batch=3, feeding=Feeding(length=400, vocabulary=5, pad=2))["tokens"]
    assert tokens.shape == (3, 400)
    assert set(np.unique(tokens)) == {0, 1, 3, 4}


def test_a_step_is_fed_a_cache_that_is_full_but_for_its_last_place() -> None:
    feeds = random_feeds(STEP, batch=2, feeding=Feeding(length=16, vocabulary=50))
    assert {name: array.shape for name, array in feeds.items()} == {
        "token": (2, 1),
        "position": (1,),
        "cache": (3, 2, 2, 2, 16, 4),
        "memory": (3, 2, 2, 2, 16, 4),
        "source": (2, 16),
    }
    assert feeds["position"].tolist() == [15]
    assert feeds["source"].max() > 1


def test_a_recurrent_step_takes_texts_of_any_length_and_its_state_is_of_one_size() -> None:
    step = (
        TensorSpec(name="token", dtype="int64", shape=(None, 1)),
        TensorSpec(name="state", dtype="float32", shape=(None, 2, 2, 8)),
    )
    feeds = random_feeds(step, batch=3, feeding=Feeding(length=500, vocabulary=50))
    assert {name: array.shape for name, array in feeds.items()} == {"token": (3, 1), "state": (3, 2, 2, 8)}
    assert feeds["token"].max() > 1


def test_a_file_without_a_record_gets_small_tokens_and_the_usual_length() -> None:
    feeds = random_feeds(STEP, batch=1)
    assert feeds["position"].tolist() == [127] and feeds["cache"].shape == (3, 2, 1, 2, 128, 4)
    assert set(np.unique(feeds["source"])) == {0, 1}


def test_a_length_that_no_input_takes_is_refused() -> None:
    fixed = TensorSpec(name="serving_default_tokens:0", dtype="int32", shape=(1, 64))
    image = TensorSpec(name="image", dtype="float32", shape=(None, 3, None, None))
    assert random_feeds([fixed], batch=1, feeding=Feeding(length=64, vocabulary=9))
    for spec in (fixed, image):
        with pytest.raises(ConfigError, match=r"no sequences of 32; its inputs are '"):
            random_feeds([spec], batch=1, feeding=Feeding(length=32))


def test_whole_numbers_are_never_scaled() -> None:
    spec = TensorSpec(name="x", dtype="int8", shape=(None,), scale=0.5, zero_point=3)
    assert quantized(np.array([1, 2, 3]), spec).tolist() == [1, 2, 3]


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_file_answers_to_tokens_in_batches(batch: int, text_onnx: Maker, text_table: np.ndarray) -> None:
    tokens = np.random.default_rng(0).integers(0, 12, (5, 7))
    answers = predict(text_onnx("language_model"), tokens, runtime="onnxruntime", batch=batch)
    np.testing.assert_allclose(answers, text_table[tokens], rtol=1e-6)


def test_a_file_of_narrower_integers_gets_them(text_tflite: Maker, text_table: np.ndarray) -> None:
    tokens = np.random.default_rng(0).integers(0, 12, (3, 8))
    answers = predict(text_tflite("language_model"), tokens, runtime="litert", batch=1)
    np.testing.assert_allclose(answers, text_table[tokens], rtol=1e-6)


def test_keys_and_values_of_several_texts_are_joined_along_the_texts(text_onnx: Maker) -> None:
    tokens = np.random.default_rng(0).integers(0, 12, (5, 7))
    memory = predict(text_onnx("encoder"), tokens, runtime="onnxruntime", batch=2)
    assert memory.shape == (1, 2, 5, 1, 7, 1)
    assert memory[0, 1, :, 0, :, 0].tolist() == tokens.tolist()


def test_a_file_of_several_inputs_is_run_by_their_names(text_onnx: Maker) -> None:
    tokens = np.array([[1, 7, 9, 2], [1, 5, 2, 0]])
    memory = run(text_onnx("encoder"), {"tokens": tokens}, runtime="onnxruntime", batch=2)["memory"]
    feeds = {
        "token": np.array([[1], [4]]),
        "position": np.array([1]),
        "cache": np.zeros((1, 2, 2, 1, 6, 1), np.float32),
        "memory": memory,
        "source": tokens,
    }
    told = run(text_onnx("translation_step"), feeds, runtime="onnxruntime", batch=2)
    assert told["logits"].argmax(axis=1).tolist() == [9, 2]
    assert told["new_cache"][0, 1, :, 0, 0, 0].tolist() == [1, 4]


def test_inputs_that_are_not_the_files_are_refused_by_name(text_onnx: Maker) -> None:
    with pytest.raises(InvalidModel, match="takes the inputs tokens; given are words"):
        run(text_onnx("classifier"), {"words": np.ones((1, 3), int)}, runtime="onnxruntime")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_step_of_any_batch_states_its_five_inputs(runtime: str, text_onnx: Maker) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    inputs, outputs = describe(text_onnx("translation_step"), runtime=runtime)
    assert {one.name: one.shape for one in inputs} == {
        "token": (None, 1),
        "position": (1,),
        "cache": (1, 2, None, 1, None, 1),
        "memory": (1, 2, None, 1, None, 1),
        "source": (None, None),
    }
    assert [one.name for one in outputs] == ["logits", "new_cache"]


def test_activations_are_told_where_shapes_follow_from_the_texts_length(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "zero": np.array(0),
        "one": np.array(1),
        "table": np.zeros((64, 4), np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["tokens"], ["sides"]),
            helper.make_node("Gather", ["sides", "one"], ["length"]),
            # Of what a range holds onnx tells nothing before it is run.
            helper.make_node("Range", ["zero", "length", "one"], ["places"]),
            helper.make_node("Gather", ["table", "places"], ["placed"]),
            helper.make_node("Gather", ["table", "tokens"], ["rows"]),
            helper.make_node("Add", ["rows", "placed"], ["logits"]),
        ],
        "placed",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length", 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    file = tmp_path / "placed.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(file))
    told = footprint(file, feeding=Feeding(length=10))
    # Held at once: tokens (80 bytes), places (80) until they are looked up, then both lookups (160 each).
    assert told is not None and told.activations_bytes == 80 + 160 + 160
