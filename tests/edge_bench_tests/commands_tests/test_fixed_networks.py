"""A network without choices through the commands, from its run file to a pick."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dashboard.frames import candidate_frame
from edge_bench import cli
from edge_bench.choose.candidates import candidates
from edge_bench.choose.shipped import shipped
from edge_bench.errors import OK, USAGE
from edge_bench.files import Home
from edge_bench.records import THIS_MACHINE, PlainSpace
from edge_bench.store import ResultStore, document_of

RUN = """
name = "small"
[model]
kind = "resnet"
depth = 8
width = 4
resolution = 8
[data]
kind = "digits"
[training]
epochs = 3
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


@pytest.mark.slow
def test_a_network_without_choices_goes_from_its_run_file_to_a_pick(
    answer: Answer, tmp_path: Path, home: Home
) -> None:
    pytest.importorskip("edge_bench.data.digits")
    path = tmp_path / "small.toml"
    path.write_text(RUN, encoding="utf-8")
    status, run = answer("train", str(path))
    assert status == OK and run["architectures"] == 1
    status, cut = answer("extract")
    [row] = cut["subnets"]
    assert (status, row["blocks"], row["resolution"]) == (OK, 0, 8)
    # The one network, by whatever name.
    status, again = answer("extract", "--arch", "smallest")
    assert (status, again["subnets"][0]["id"]) == (OK, row["id"])
    status, exported = answer("export", "--format", "onnx")
    [file] = exported["artifacts"]
    assert status == OK and file["parity"] < 1e-4 and file["border_parity"] < 1e-4
    status, _ = answer("bench", file["id"], "--max-seconds", "0.5", "--runtime", "onnxruntime")
    assert status in (OK, 4)

    with ResultStore(home.store_url) as store:
        [subnet] = store.subnets()
        found = candidates([subnet], store.artifacts(), store.results(), [], device=THIS_MACHINE)
        # Others' measurements of blocks answer for it too, and say what they have not measured.
        foretold = candidates([subnet], [], [], shipped("raspberry-pi-4"), device="raspberry-pi-4")
    assert isinstance(subnet.space, PlainSpace)
    _, schema = answer("results", "schema", "--kind", "subnet")
    jsonschema.validate(document_of(subnet), schema)
    frame = candidate_frame(found)
    assert file["id"] in set(frame["name"])
    status, picked = answer("pick", "--max-latency-ms", "1000")
    assert status == OK
    card = (Path(picked["files"][0]).parent / "model_card.md").read_text(encoding="utf-8")
    assert "space `resnet`" in card and "multiply-accumulates an image" in card
    assert foretold and all("adds or pools" in one.warning for one in foretold)


@pytest.mark.parametrize("command", ["fit", "fit accuracy", "search small --max-latency-ms 1"])
def test_what_chooses_among_networks_says_that_there_is_one(
    command: str, answer: Answer, tmp_path: Path
) -> None:
    pytest.importorskip("edge_bench.data.digits")
    path = tmp_path / "small.toml"
    path.write_text(RUN, encoding="utf-8")
    answer("train", str(path), "--set", "training.epochs=1")
    answer("extract")
    status, told = answer(*command.split())
    assert status == USAGE and "one network" in told["error"]["message"]
