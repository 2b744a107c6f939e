"""`edge-bench doctor`: what works here, and the line that brings what does not."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_bench import cli, errors, variants
from edge_bench.cli import main
from edge_bench.commands import doctor

Run = Callable[..., subprocess.CompletedProcess[str]]


def examined(
    capsys: pytest.CaptureFixture[str], *arguments: str, status: int = errors.OK
) -> dict[str, Any]:
    assert main(["doctor", *arguments, "--json"]) == status
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def by(rows: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in rows}


def test_a_whole_install_has_no_problem(capsys: pytest.CaptureFixture[str]) -> None:
    told = examined(capsys)
    assert told["problems"] == []
    assert all(one["version"] for one in told["base"])
    assert {one["package"] for one in told["packages"] if one["ours"]} == {
        "edge_bench",
        "supernet",
        "converters",
        "dashboard",
        "device_profiles",
    }
    assert main(["doctor"]) == errors.OK
    assert "the base works" in capsys.readouterr().out


def test_extras_are_those_that_the_installed_metadata_states(capsys: pytest.CaptureFixture[str]) -> None:
    stated = importlib.metadata.metadata("edge-bench").get_all("Provides-Extra")
    assert [one["extra"] for one in examined(capsys)["extras"]] == stated
    # An extra that names others brings what they bring.
    required = doctor._required()
    assert required["all"] >= required["train"] | required["dashboard"] | required["export"]
    assert {"pandas", "pyarrow", "streamlit"} <= required["dashboard"]
    assert "pandas" not in required[""] and {"numpy", "sqlalchemy"} <= required[""]


def test_every_command_and_runtime_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    told = examined(capsys)
    listed = [one["command"].replace("-", "_") for one in told["commands"]]
    assert listed == list(variants.names(cli.COMMANDS))
    runtimes = by(told["runtimes"], "runtime")
    assert set(runtimes) == set(variants.names(doctor.RUNTIMES)) - {doctor.SCRIPTED}
    assert runtimes["onnxruntime"]["works"]
    assert runtimes["onnxruntime"]["version"] == importlib.metadata.version("onnxruntime")


def test_every_extra_that_a_command_needs_exists() -> None:
    assert {extra for needed in doctor.NEEDS.values() for extra in needed} <= set(doctor._required())


def test_a_bare_install_tells_what_works_and_the_line_for_the_rest(base_install: Run) -> None:
    ran = base_install("doctor", "--json")
    assert ran.returncode == errors.OK, ran.stderr
    told = json.loads(ran.stdout)
    commands = by(told["commands"], "command")
    assert all(commands[name]["works"] for name in ("devices", "doctor", "results"))
    assert not any(commands[name]["works"] for name in ("train", "export", "bench", "dashboard"))
    assert commands["train"]["install"] == "pip install 'edge-bench[train]'"
    assert commands["bench"]["install"] == (
        "pip install 'edge-bench[litert]' or pip install 'edge-bench[onnxruntime]'"
    )
    extras = by(told["extras"], "extra")
    assert not any(one["installed"] for one in extras.values())
    assert extras["tables"]["missing"] == ["pandas", "pyarrow"]
    assert extras["tables"]["install"] == "pip install 'edge-bench[tables]'"
    runtimes = by(told["runtimes"], "runtime")
    assert not runtimes["litert"]["works"]
    assert runtimes["litert"]["install"] == "pip install 'edge-bench[litert]'"
    assert "pip install 'edge-bench[train]'" in base_install("doctor").stdout


def test_a_runtime_that_is_installed_and_does_not_load_is_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "_LOAD", "import os; os.abort()")
    found = doctor._runtime("onnxruntime")
    assert not found["works"] and "status -6" in found["problem"] and not found["install"]


def test_a_home_that_takes_no_files_is_a_problem_and_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("a file", encoding="utf-8")
    below = str(tmp_path / "file" / "home")
    told = examined(capsys, "--home", below, status=errors.GATE_FAILED)
    assert not told["home"]["writable"] and "not a folder" in told["home"]["problem"]
    assert any(below in problem and "--home" in problem for problem in told["problems"])
    fresh = examined(capsys, "--home", str(tmp_path / "a" / "b"))
    assert fresh["home"]["writable"] and fresh["home"]["free_mb"] > 0
    assert not (tmp_path / "a").exists()


def test_a_folder_that_hides_one_of_our_packages_is_a_problem(tmp_path: Path) -> None:
    # As where a user runs `python -m edge_bench` beside a folder of their own called `converters`.
    (tmp_path / "converters").mkdir()
    (tmp_path / "converters" / "__init__.py").write_text("", encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "edge_bench", "doctor", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == errors.GATE_FAILED
    (problem,) = json.loads(ran.stdout)["problems"]
    assert "'converters' is taken from" in problem and str(tmp_path) in problem


def test_another_distribution_with_one_of_our_packages_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other_thing-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other-thing\nVersion: 1.0\n")
    (other / "top_level.txt").write_text("dashboard\n")
    monkeypatch.syspath_prepend(tmp_path)
    (problem,) = examined(capsys, status=errors.GATE_FAILED)["problems"]
    assert "'dashboard' also comes with other-thing" in problem


def test_what_a_verdict_can_draw_on_here_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    told = by(examined(capsys)["measuring"], "source")
    assert {"clock governor", "pressure (/proc/pressure/cpu)", "CPU time (/proc/stat)"} <= set(told)
    assert told["CPU time (/proc/stat)"]["available"] == Path("/proc/stat").exists()
