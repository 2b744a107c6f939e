"""Does a device of 64-bit ARM do its part? An agent under emulation measures what a controller hands it.

No ARM board is needed: Debian's packages and the aarch64 wheels run under `qemu-aarch64-static` as a
Cortex-A72 would run them. That shows that the device side works on ARM and answers as this machine does;
it says nothing of speed, and its latencies are kept out of the figures.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import report

QEMU = "qemu-aarch64-static"
TOOLS = (QEMU, "debootstrap", "dpkg")
PACKAGES = "apt-get install qemu-user-static debootstrap"
RELEASE, PYTHON = "bookworm", "python3.11"
# What a device installs: the base and the runtimes.
WHEELS = ("numpy", "psutil", "rich", "sqlalchemy", "onnxruntime", "ai-edge-litert")
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
# The runtimes look for their processor here, and crash where they find none, or one of another kind.
CPUINFO = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
# The option that names the folder of the ARM system.
ENVIRONMENT = {
    "type": Path,
    "default": report.ROOT / "build" / "arm",
    "help": "where the ARM system is put together, and looked for (default: build/arm)",
}
MODELS = {
    "smoke": ("mlperf_tiny/kws_ref_model_float32.tflite", "mlperf_tiny_onnx/ic_K1_resnet.onnx"),
    "cpu": (
        "mlperf_tiny/kws_ref_model_float32.tflite",
        "mlperf_tiny/kws_ref_model.tflite",
        "mlperf_tiny/pretrainedResnet.tflite",
        "mlperf_tiny/pretrainedResnet_quant.tflite",
        "mlperf_tiny_onnx/ic_K1_resnet.onnx",
        "mlperf_tiny_onnx/kws_K1_kws_ref_model.onnx",
    ),
}
NAME = "emulated-arm"
# Processors add in another order; in integers that may end two steps of 1/127 apart.
FLOAT_LIMIT, INTEGER_LIMIT = 1e-4, 2 / 127
_PREDICT = """
import sys
from pathlib import Path
import numpy as np
from edge_bench.measure.inspection import runtime_for
from edge_bench.measure.sandbox import describe, predict
model, given, answer = map(Path, sys.argv[1:])
if not given.exists():
    [taken], _ = describe(model, runtime=runtime_for(model))
    shape = [side or 1 for side in taken.shape[1:]]
    np.save(given, np.random.default_rng(0).random([4, *shape], np.float32))
np.save(answer, predict(model, np.load(given), runtime=runtime_for(model), batch=1))
"""


class CannotEmulate(Exception):
    """Something that the emulation needs is not on this machine; says what."""


def main() -> int:
    options = report.arguments(__doc__, environment=ENVIRONMENT)
    folder = report.data_folder() / "external_models"
    models = [folder / name for name in MODELS.get(options.size, MODELS["cpu"])]
    if missing := [str(path) for path in models if not path.is_file()]:
        print(f"no {missing[0]}; name the folder of data by EDGE_BENCH_DATA")
        return 2
    try:
        python = emulated_python(options.environment)
    except CannotEmulate as error:
        print(error)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(models, python, Path(scratch))
    rows = figures["models"]
    bars = [
        report.Bar(
            name="files that an agent on ARM measures and hands over",
            floor=len(models),
            figure=sum(row["exit"] == 0 for row in rows),
            unit="files",
        ),
        *_agreement(rows),
    ]
    emulated = f"{QEMU} -cpu cortex-a72: correctness on ARM, no statement about speed"
    return report.write("arm_emulated", options.size, figures, bars, emulated=emulated)


def _agreement(rows: Sequence[Mapping[str, Any]]) -> list[report.Bar]:
    """Return the bars on the largest difference of outputs, of what computes in integers apart."""
    bars = []
    for kind, limit in (("float", FLOAT_LIMIT), ("integer", INTEGER_LIMIT)):
        found = [row["difference"] for row in rows if _kind(row) == kind]
        name = f"outputs of {kind} files on ARM against this machine, relative to the largest"
        if found:
            bars.append(report.Bar(name=name, floor=limit, figure=max(found), unit="", at_most=True))
    return bars


def _kind(row: Mapping[str, Any]) -> str:
    return "" if row["exit"] else "integer" if row["precision"] == "int8" else "float"


def emulated_python(folder: Path) -> Path:
    """Return a Python that runs ARM code, with the runtimes installed; made in `folder` if it is new.

    It is a script, so that what it starts by `sys.executable` runs under emulation too.

    Raises:
        CannotEmulate: a tool is missing here, or a package or wheel cannot be had.
    """
    folder = folder.resolve()
    root, wheels = folder / "root", folder / "wheels"
    python = root / "usr" / "bin" / PYTHON
    if (folder / "ready").exists():
        return python
    if missing := [
        tool for tool in TOOLS if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin")
    ]:
        raise CannotEmulate(f"no {', '.join(missing)} on this machine: {PACKAGES}")
    shutil.rmtree(folder, ignore_errors=True)
    root.mkdir(parents=True)
    system = ("--include=python3,libstdc++6,libgomp1", RELEASE, str(folder / "packages"))
    _do("debootstrap", "--arch=arm64", "--foreign", "--variant=minbase", *system)
    for package in sorted((folder / "packages" / "var" / "cache" / "apt" / "archives").glob("*.deb")):
        _do("dpkg", "-x", str(package), str(root))
    shutil.rmtree(folder / "packages")
    platforms = [f"--platform={name}_aarch64" for name in PLATFORMS]
    pins = str(report.ROOT / "constraints.txt")
    target = ("--target", str(wheels), "--python-version", "3.11", "--only-binary=:all:", "-c", pins)
    _do(_pip_python(), "-m", "pip", "install", "--quiet", *platforms, *target, *WHEELS)
    for name, text in {
        "proc/cpuinfo": CPUINFO,
        "sys/devices/system/cpu/possible": "0\n",
        "sys/devices/system/cpu/present": "0\n",
        "usr/lib/python3/dist-packages/wheels.pth": f"{wheels}\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    real = python.rename(python.with_name(f"{PYTHON}.arm"))
    run = f"exec {shutil.which(QEMU)} -0 '{python}' -cpu cortex-a72 -L '{root}' '{real}'"
    python.write_text(f'#!/bin/sh\n{run} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    _do(str(python), "-c", "import numpy, psutil, sqlalchemy")
    (folder / "ready").touch()
    return python


def measure(models: Sequence[Path], python: Path, scratch: Path) -> dict[str, Any]:
    """Queue every model for an agent under emulation, and compare what it answers with this machine."""
    home, token = scratch / "home", scratch / "token"
    added = report.edge_bench("devices", "add", NAME, "--agent", "--json", "--home", str(home))
    token.write_text(json.loads(added.stdout)["token"], encoding="utf-8")
    token.chmod(0o600)
    server = _start(sys.executable, "devices", "serve", "--port", "0", "--home", str(home))
    agent = None
    try:
        assert server.stderr is not None
        url = server.stderr.readline().split()[2].rstrip(";")
        agent_words = ("agent", "--controller", url, "--token-file", str(token))
        agent = _start(str(python), *agent_words, "--home", str(scratch / "device"), stderr=None)
        rows = [_row(model, python, home, scratch) for model in models]
    finally:
        for process in (agent, server):
            if process is not None:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=120)
    told = subprocess.run(
        [python, "-c", "import platform; print(platform.machine())"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {"machine_of_the_device": told.stdout.strip(), "models": rows}


def _row(model: Path, python: Path, home: Path, scratch: Path) -> dict[str, Any]:
    ended = report.edge_bench(
        *("bench", str(model), "--device", NAME, "--json", "--home", str(home)),
        *("--max-seconds", "5", "--precision", "0.5"),
    )
    row: dict[str, Any] = {"file": f"{model.parent.name}/{model.name}", "exit": ended.returncode}
    if ended.returncode == 0:
        [result] = json.loads(ended.stdout)["results"]
        kept = ("format", "runtime", "runtime_version", "precision", "device", "runs", "verdict")
        row |= {name: result[name] for name in kept}
        row["difference"] = _difference(model, python, scratch)
    else:
        row |= {"precision": None, "said": ended.stdout.strip()[-300:]}
    print("  ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    return row


def _difference(model: Path, python: Path, scratch: Path) -> float:
    """Return the largest difference of the outputs here and on ARM, as a share of the largest output."""
    answers = []
    for number, one in enumerate((sys.executable, str(python))):
        paths = (model, scratch / f"{model.name}-given.npy", scratch / f"{model.name}-{number}.npy")
        _do(one, "-c", _PREDICT, *map(str, paths))
        answers.append(np.load(paths[2]).astype(np.float64))
    here, there = answers
    return float(np.abs(here - there).max() / np.abs(here).max())


def _start(python: str, *words: str, stderr: int | None = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [python, "-m", "edge_bench", *words],
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
        env=_here(),
    )


def _do(*words: str) -> None:
    ended = subprocess.run(words, capture_output=True, text=True, check=False, env=_here())
    if ended.returncode:
        said = (ended.stderr.strip() or ended.stdout.strip() or "it said nothing").splitlines()[-1]
        raise CannotEmulate(f"{Path(words[0]).name} ended with status {ended.returncode}: {said}")


def _here() -> Mapping[str, str]:
    """Return the environment in which the checkout is what both Pythons import."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    return {**os.environ, "PYTHONPATH": str(report.ROOT), "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _pip_python() -> str:
    """Return a Python that has pip; this one may have been made without."""
    ended = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    return sys.executable if ended.returncode == 0 else sys._base_executable  # type: ignore[attr-defined]


if __name__ == "__main__":
    raise SystemExit(main())
