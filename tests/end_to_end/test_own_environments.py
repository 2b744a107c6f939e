"""Runtimes that need an environment of their own, each built with pip as a user would build it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_bench.errors import INVALID_MODEL, OK

ROOT = Path(__file__).parents[2]
ANSWER = """
import json, sys
from pathlib import Path
import numpy as np
from edge_bench.measure.sandbox import predict
inputs = np.random.default_rng(0).random((5, 4), np.float32)
answers = {batch: predict(Path(sys.argv[1]), inputs, runtime=sys.argv[2], batch=batch) for batch in (1, 3)}
right = inputs @ np.arange(12, dtype=np.float32).reshape(4, 3)
print(json.dumps({batch: float(abs(answer - right).max()) for batch, answer in answers.items()}))
"""
CONVERT = """
import sys
import tensorflow as tf

def converted(function, path):
    module = tf.Module()
    traced = tf.function(function, input_signature=[tf.TensorSpec([None, 4], tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    open(path, "wb").write(converter.convert())

def inverse(x):
    return tf.reshape(tf.linalg.inv(tf.reshape(x, [-1, 2, 2]) + 3 * tf.eye(2)), [-1, 4])

def reading(x):
    return x + tf.cast(tf.strings.length(tf.io.read_file("/etc/passwd")), tf.float32)

converted(inverse, sys.argv[1])
converted(reading, sys.argv[2])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    ran(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT))
    return next(folder.glob("*.whl"))


def environment(folder: Path, wheel: Path, extra: str, *pip: str) -> Path:
    """Make an environment with edge-bench and one extra; return its Python."""
    ran(sys.executable, "-m", "venv", str(folder))
    python = folder / "bin" / "python"
    quiet = ("--quiet", "--disable-pip-version-check")
    ran(str(python), "-m", "pip", "install", *quiet, *pip, f"{wheel}[{extra}]")
    return python


def ran(*command: str, status: int = OK, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=3000, check=False)
    assert ended.returncode == status, ended.stderr[-3000:]
    return ended


def benched(python: Path, model: Path, *words: str) -> dict[str, Any]:
    command = ("-m", "edge_bench", "bench", str(model), "--json", "--quiet", "--max-seconds", "0.5")
    told = json.loads(ran(str(python), *command, *words, cwd=python.parent).stdout)
    result: dict[str, Any] = told["results"][0]
    return result


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="tflite-runtime has wheels up to Python 3.11")
def test_the_base_install_and_tflite_runtime_measure_in_an_environment_with_numpy_1(
    wheel: Path, tiny_tflite: Path, tmp_path: Path
) -> None:
    python = environment(tmp_path / "env", wheel, "tflite-runtime")
    version = ran(str(python), "-c", "import numpy; print(numpy.__version__)").stdout.strip()
    assert version.startswith("1.26.")
    result = benched(python, tiny_tflite)
    # LiteRT is not there, so this is what reads the ending.
    assert result["runtime"] == "tflite_runtime" and result["p50_ms"] > 0
    errors = json.loads(ran(str(python), "-c", ANSWER, str(tiny_tflite), "tflite_runtime").stdout)
    assert max(errors.values()) < 1e-4
    doctor = json.loads(ran(str(python), "-m", "edge_bench", "doctor", "--json").stdout)
    assert [one["works"] for one in doctor["runtimes"] if one["runtime"] == "tflite_runtime"] == [True]


@pytest.mark.slow
def test_tensorflow_runs_files_with_its_own_operators_and_none_that_touch_files(
    wheel: Path, tmp_path: Path
) -> None:
    python = environment(tmp_path / "env", wheel, "flex,litert")
    inverse, reading = tmp_path / "inverse.tflite", tmp_path / "reading.tflite"
    ran(str(python), "-c", CONVERT, str(inverse), str(reading))
    assert benched(python, inverse, "--runtime", "tensorflow")["p50_ms"] > 0
    bench = (str(python), "-m", "edge_bench", "bench")
    refused = ran(*bench, str(inverse), status=INVALID_MODEL)
    assert "--runtime tensorflow" in refused.stderr
    refused = ran(*bench, str(reading), "--runtime", "tensorflow", status=INVALID_MODEL)
    assert "ReadFile" in refused.stderr
