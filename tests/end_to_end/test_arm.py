"""The device side on 64-bit ARM, under emulation."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_an_agent_on_arm_measures_and_answers_as_this_machine_does(
    tiny_onnx: Path, tiny_tflite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = importlib.import_module("arm_emulated")
    try:
        python = script.emulated_python(ROOT / "build" / "arm")
    except script.CannotEmulate as error:
        pytest.skip(str(error))
    told = script.measure([tiny_onnx, tiny_tflite], python, tmp_path)
    assert told["machine_of_the_device"] == "aarch64"
    assert [(row["exit"], row["runtime"], row["device"]) for row in told["models"]] == [
        (0, "onnxruntime", script.NAME),
        (0, "litert", script.NAME),
    ]
    assert all(row["difference"] < 1e-5 for row in told["models"])
