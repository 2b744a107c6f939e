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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "advised", "least", "most"), [(3, "faster", 2, 20), (7, "size only", 0.5, 1.5)]
)
def test_zeros_of_a_lite_network_save_time_on_arm_where_advise_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kernel: int,
    advised: str,
    least: float,
    most: float,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    emulation, script = importlib.import_module("arm_emulated"), importlib.import_module("sparse_files")
    try:
        python = emulation.emulated_python(ROOT / "build" / "arm")
    except emulation.CannotEmulate as error:
        pytest.skip(str(error))
    told = script.on_arm(script.lite_space(96, (24, 40, 80), kernel=kernel), python, tmp_path)
    assert told["advised"] == advised
    assert told["difference"] <= 1e-6
    # Another kernel is taken or not: that is a factor, far from what a busy machine may shift.
    assert least <= told["dense_to_sparse"] <= most
