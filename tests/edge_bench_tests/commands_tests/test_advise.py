"""`edge-bench advise`: of a run file, a run, a subnet or a file, on a device that is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_bench.cli import main
from edge_bench.errors import USAGE
from edge_bench.files import Home
from edge_bench.records import Artifact, Subnet
from edge_bench.store import ResultStore


def advised(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Return the document of `edge-bench advise` with these words."""
    assert main(["advise", *words, "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_a_run_file_is_advised_on_before_anything_is_trained(
    run_file: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    told = advised(capsys, str(run_file), "--device", "raspberry-pi-4", "--sparsity", "0.8")
    onnxruntime, litert = told["advice"]
    assert (onnxruntime["runtime"], onnxruntime["verdict"]) == ("onnxruntime", "size only")
    faults = {one["name"]: one["change"] for one in litert["conditions"] if not one["holds"]}
    # Digits are grey, and the largest network of the space has kernels of 7.
    assert litert["verdict"] == "size only" and "3 channels" in faults["stem"]
    assert told["isa"] == "ARMv8-A, 64 bits" and not home.runs.exists()


def test_a_finished_run_and_its_architectures_are_advised_on(
    trained: tuple[Path, Home], capsys: pytest.CaptureFixture[str]
) -> None:
    run, home = trained
    common = ("--device", "raspberry-pi-4", "--sparsity", "0.5", "--home", str(home.root))
    whole, small = advised(capsys, str(run), *common), advised(capsys, f"{run}:smallest", *common)
    assert whole["network"] == "tiny" and small["network"].endswith(":smallest")
    names = [one["name"] for one in small["advice"][1]["conditions"] if not one["holds"]]
    assert names == ["zeros", "stem"]


def test_the_table_names_what_to_change(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", str(run_file), "--device", "raspberry-pi-4", "--sparsity", "0.6"]) == 0
    told = capsys.readouterr().out
    assert "size only" in told and "prune to more than 67%" in told and "faster" not in told


def test_a_text_model_gets_size_only(
    home: Home, text_subnet: Callable[..., Subnet], capsys: pytest.CaptureFixture[str]
) -> None:
    subnet = text_subnet("text_classification")
    with ResultStore(home.store_url) as store:
        store.add(subnet)
    told = advised(capsys, subnet.id, "--device", "raspberry-pi-4", "--sparsity", "0.9")
    assert {one["verdict"] for one in told["advice"]} == {"size only"}


def test_a_network_without_zeros_is_asked_how_many(
    home: Home, text_subnet: Callable[..., Subnet], capsys: pytest.CaptureFixture[str]
) -> None:
    with ResultStore(home.store_url) as store:
        store.add(text_subnet("text_classification"))
    assert main(["advise", text_subnet("text_classification").id]) == USAGE
    assert "has no zeros yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing", "--sparsity", "0.8"], "no subnet, artifact or run 'nothing'"),
        (["nothing", "--sparsity", "80"], "is no share between 0 and 1"),
        (["made-elsewhere", "--sparsity", "0.8"], "was made elsewhere"),
    ],
)
def test_what_is_not_known_is_told(
    home: Home, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with ResultStore(home.store_url) as store:
        store.add(
            Artifact(
                id="made-elsewhere",
                name="made-elsewhere",
                subnet=None,
                format="onnx",
                precision="fp32",
                file="nowhere.onnx",
                digest="",
                size_bytes=1,
                inputs=(),
                outputs=(),
                metrics=(),
                created="2026-01-01T00:00:00+00:00",
            )
        )
    assert main(["advise", *words]) == USAGE
    assert said in capsys.readouterr().err


def test_an_unknown_device_is_told_with_the_nearest(
    run_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["advise", str(run_file), "--device", "raspberry-4", "--sparsity", "0.8"]) == USAGE
    assert "Did you mean 'raspberry-pi-4'" in capsys.readouterr().err
