"""A policy through the commands, from its run file to a script that acts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboard.frames import candidate_frame
from edge_bench import cli
from edge_bench.choose.candidates import candidates
from edge_bench.data import open_control
from edge_bench.errors import OK, InvalidModel
from edge_bench.files import Home
from edge_bench.measure.playing import played
from edge_bench.records import THIS_MACHINE
from edge_bench.store import ResultStore

pytest.importorskip("gymnasium")

RUN = """
name = "cart"
[data]
kind = "gymnasium"
environments = 8
epoch_frames = 1600
episodes = 10
step_limit = 60
[model]
kind = "policy"
hidden = [16, 16]
[training]
epochs = 3
batch_size = 32
optimizer = "rmsprop"
learning_rate = 2e-3
weight_decay = 0.0
threads = 1
device = "cpu"
"""
Answer = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Answer:
    """A function that runs a command in this process and returns its status and document."""

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        status = cli.main([*words, "--json"])
        return status, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def cut(answer: Answer, tmp_path: Path) -> dict[str, Any]:
    """The row of the policy that is trained and cut."""
    path = tmp_path / "cart.toml"
    path.write_text(RUN, encoding="utf-8")
    assert answer("train", str(path))[0] == OK
    status, told = answer("extract")
    assert status == OK
    [row] = told["subnets"]
    return dict(row)


@pytest.mark.slow
def test_a_policy_goes_from_its_run_file_to_a_script_that_acts(
    answer: Answer, cut: dict[str, Any], home: Home
) -> None:
    status, exported = answer("export", "--format", "onnx,tflite", "--precision", "fp32,int8")
    files = {f"{one['format']}-{one['precision']}": one for one in exported["artifacts"]}
    assert status == OK and len(files) == 4
    # What is played through a file is what the network itself returns.
    selection = next(one["value"] for one in cut["metrics"] if one["split"] == "selection")
    for name in ("onnx-fp32", "tflite-fp32"):
        assert files[name]["selection_return"] == pytest.approx(selection) and files[name]["parity"] < 1e-4
    status, told = answer(
        "bench", files["onnx-fp32"]["id"], "--max-seconds", "0.5", "--accuracy", "gymnasium"
    )
    assert status in (OK, 4) and "test episodes of CartPole-v1" in json.dumps(told)
    with ResultStore(home.store_url) as store:
        found = candidates(store.subnets(), store.artifacts(), store.results(), [], device=THIS_MACHINE)
    assert found[0].metric.name == "return" and found[0].metric.higher_is_better
    assert files["onnx-fp32"]["id"] in set(candidate_frame(found)["name"])
    status, picked = answer("pick", "--max-latency-ms", "1000")
    assert status == OK
    folder = Path(picked["files"][0]).parent
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    assert "4 numbers that CartPole-v1 shows" in card and "multiply-accumulates an observation" in card

    environments = open_control({"kind": "gymnasium"}).open(3)
    observed = environments.begin(3)
    lines = "\n".join(" ".join(map(str, one)) for one in observed.tolist())
    ended = subprocess.run(
        [sys.executable, "-I", str(folder / "run_model.py")],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(ended.stdout.split()) == 3 and set(ended.stdout.split()) <= {"0", "1"}


def test_without_the_environments_a_file_is_written_and_not_judged(
    answer: Answer, cut: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where the library is not installed.
    monkeypatch.setitem(sys.modules, "edge_bench.data.gymnasium", None)
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    status, exported = answer("export", "--format", "onnx")
    [file] = exported["artifacts"]
    assert status == OK and file["parity"] < 1e-4 and "selection_return" not in file


def test_a_file_of_another_kind_does_not_act(tiny_onnx: Path) -> None:
    table = {"kind": "gymnasium", "environment": "CartPole-v1", "episodes": 2, "step_limit": 5}
    with pytest.raises(InvalidModel, match="answers \\[None, 3\\]; the environment has 2 actions"):
        played(tiny_onnx, table, "test", runtime="onnxruntime")
    with pytest.raises(InvalidModel, match=r"one of \[batch, 6\] is expected"):
        played(tiny_onnx, {**table, "environment": "Acrobot-v1"}, "test", runtime="onnxruntime")


def test_a_file_returns_what_its_actions_bring(tiny_onnx: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(tiny_onnx))
    # Always to the left: the pole falls soon.
    weights = np.zeros((4, 2), np.float32)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "weights"))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2
    path = tmp_path / "left.onnx"
    onnx.save(model, str(path))
    metric = played(path, {"kind": "gymnasium", "episodes": 20}, "test", runtime="onnxruntime")
    assert 8 <= metric.value <= 11 and (metric.name, metric.examples) == ("return", 20)


def test_a_policy_without_its_dead_units_is_smaller_and_returns_the_same(
    answer: Answer, cut: dict[str, Any], home: Home, tmp_path: Path
) -> None:
    path = tmp_path / "cart.toml"
    sparse = ("--set", "techniques.one_shot_pruning.sparsity=0.9", "--set", "name=sparse")
    assert answer("train", str(path), *sparse)[0] == OK
    answer("extract", "sparse")
    for encoding in ("dense", "compact"):
        status, _ = answer("export", "--format", "onnx", "--encoding", encoding)
        assert status == OK
    with ResultStore(home.store_url) as store:
        dense, compact = store.artifacts()
    assert (dense.encoding, compact.encoding) == ("dense", "compact")
    assert dense.params and compact.params and compact.params < dense.params
    assert compact.macs and dense.macs and compact.macs < dense.macs
    assert compact.metrics == dense.metrics
