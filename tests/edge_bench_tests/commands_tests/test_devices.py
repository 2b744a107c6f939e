"""`edge-bench devices`: what is known of a device, and who says so."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import device_profiles
from edge_bench import errors
from edge_bench.cli import main

Run = Callable[..., subprocess.CompletedProcess[str]]


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == errors.OK
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == errors.USAGE
    told = capsys.readouterr()
    assert not told.out and told.err.count("edge-bench: ") == 1
    return told.err


def test_every_device_file_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "list"]) == errors.OK
    shown = capsys.readouterr().out
    told = document(capsys, "devices", "list")["devices"]
    assert [one["id"] for one in told] == list(device_profiles.names())
    assert all(one["id"] in shown and one["name"] in shown for one in told)
    assert document(capsys, "devices")["devices"] == told


def test_this_machine_shows_live_facts(capsys: pytest.CaptureFixture[str]) -> None:
    told = document(capsys, "devices", "show", "this-machine")["device"]
    assert told["read_here"] and told["latency_source"] == "measured"
    facts = {name: fact["value"] for name, fact in told["facts"].items()}
    assert facts["python"] == platform.python_version()
    assert facts["machine"] == platform.machine()
    assert facts["memory_mb"] == round(psutil.virtual_memory().total / 1e6)
    assert {fact["source"] for fact in told["facts"].values()} == {"read on the spot"}
    assert main(["devices", "show", "this-machine"]) == errors.OK
    shown = capsys.readouterr().out
    assert platform.machine() in shown and "read on the spot" in shown


def test_another_device_shows_each_fact_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    told = document(capsys, "devices", "show", "raspberry-pi-4")["device"]
    assert told["facts"]["cpu"]["value"] == "ARM Cortex-A72"
    assert "HAT" in told["facts"]["cpu"]["source"]
    assert told["latency_source"] == "predicted" and told["published"]
    assert main(["devices", "show", "raspberry-pi-4"]) == errors.OK
    shown = capsys.readouterr().out
    assert "ARM Cortex-A72" in shown and "latencies: predicted" in shown
    assert all(one["source"] in shown for one in told["published"])


def test_a_device_of_whole_models_claims_no_predictor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "show", "sa7255p-adp"]) == errors.OK
    shown = capsys.readouterr().out
    assert "latencies: imported" in shown and "predictor" not in shown


def test_a_predicted_device_tells_how_it_was_fitted_its_error_range_and_citation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (told,) = document(capsys, "devices", "show", "samsung-note-10")["device"]["predictors"]
    assert told["unit"] == "block" and told["held_out_unit"] == "network" and told["batch"] == 1
    assert main(["devices", "show", "samsung-note-10"]) == errors.OK
    shown = capsys.readouterr().out
    assert told["source"] in shown and told["method"] in shown and "ICLR 2020" in told["source"]
    assert f"MAPE {100 * told['mape']:.1f} %" in shown and "kernel 3 to 7" in shown
    assert "a number of threads that its source does not tell" in shown


@pytest.mark.parametrize("columns", [80, 120])
def test_the_list_is_readable_at_any_width(capsys: pytest.CaptureFixture[str], columns: int) -> None:
    assert main(["devices", "list"]) == errors.OK
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= columns
    (note,) = [line for line in lines if line.lstrip().startswith("samsung-note-10 ")]
    assert "predicted" in note and "%" in note


def test_an_unknown_device_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    told = refusal(capsys, "devices", "show", "rpi4")
    assert "unknown device 'rpi4'. Known: " in told and "Did you mean 'raspberry-pi-4'?" in told


def test_what_is_missing_or_too_much_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "needs the id of a device" in refusal(capsys, "devices", "show")
    assert "devices show this-machine" in refusal(capsys, "devices", "list", "this-machine")
    assert "'list', 'show'" in refusal(capsys, "devices", "lost")


def test_the_base_install_is_enough_and_nothing_is_written(base_install: Run, tmp_path: Path) -> None:
    listed = base_install("devices", "list", "--home", str(tmp_path / "home"))
    assert listed.returncode == errors.OK and "this-machine" in listed.stdout
    shown = base_install("devices", "show", "this-machine", "--json", "--home", str(tmp_path / "home"))
    assert json.loads(shown.stdout)["device"]["facts"]["cpu"]["value"]
    assert not (tmp_path / "home").exists()
