"""Named architectures: cut by `extract`, and cut and written in one go by `export`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_bench import cli
from edge_bench.commands import extract
from edge_bench.documents import to_document
from edge_bench.files import Home
from edge_bench.records import ArchConfig, SearchSpace, Subnet
from edge_bench.store import ResultStore


@pytest.fixture
def run(trained: tuple[Path, Home], home: Home) -> Path:
    """A finished tiny run in the test's own home, named `tiny-…`."""
    folder = home.runs / trained[0].name
    shutil.copytree(trained[0], folder)
    return folder


@pytest.fixture
def space(run: Path) -> SearchSpace:
    from supernet.run import read_record

    return read_record(run).search_space


def document(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Run a command that must go well; return its document."""
    assert cli.main([*words, "--json", "--quiet"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def stored(home: Home) -> list[Subnet]:
    with ResultStore(home.store_url) as store:
        return store.subnets()


def written(folder: Path, arch: ArchConfig) -> str:
    path = folder / "arch.json"
    path.write_text(json.dumps(to_document(arch)), encoding="utf-8")
    return str(path)


def test_every_way_to_name_an_architecture_cuts_it(
    run: Path, space: SearchSpace, home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, space.largest())
    # One of them names a network that another does.
    words = ["--arch", "d2-e3-k5@8", "--arch", "smallest", "--arch", file, "--arch", "largest"]
    rows = document(capsys, "extract", "tiny", *words)["subnets"]
    assert len(rows) == 3
    first, smallest, largest = (subnet.arch for subnet in stored(home))
    assert (smallest, largest) == (space.smallest(), space.largest())
    assert {(block.kernel, block.expand) for block in first.blocks} == {(5, 3)} and first.resolution == 8
    # What was cut is cut again by its key, e.g. where its program was lost.
    [kept] = [subnet for subnet in stored(home) if subnet.arch == largest]
    program = home.absolute(kept.program)
    program.unlink()
    again = document(capsys, "extract", "tiny", "--arch", largest.key, "--arch", kept.id)["subnets"]
    assert [row["id"] for row in again] == [kept.id]
    assert program.is_file()


def test_without_a_name_the_newest_run_is_taken(
    run: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    older = home.runs / "older-00000000"
    shutil.copytree(run, older)
    os.utime(older / "run.json", (1, 1))
    [row] = document(capsys, "extract", "--arch", "smallest")["subnets"]
    assert row["id"].startswith(f"{run.name}-")


def test_export_cuts_what_is_not_stored_yet_and_only_that(
    run: Path, space: SearchSpace, home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"tiny:{written(tmp_path, space.smallest())}"
    [row] = document(capsys, "export", name, "tiny:smallest", "--format", "onnx")["artifacts"]
    [subnet] = stored(home)
    assert subnet.arch == space.smallest() and row["subnet"] == subnet.id
    # The file has the accuracy that cutting told.
    told = {f"{metric.split}_{metric.name}": metric.value for metric in subnet.metrics}
    assert {key: row[key] for key in told} == told

    program = home.absolute(subnet.program)
    os.utime(program, ns=(0, 0))
    document(capsys, "export", f"{run}:smallest", subnet.id, "--format", "onnx")
    assert program.stat().st_mtime_ns == 0
    program.unlink()
    document(capsys, "export", "tiny:smallest", "--format", "onnx")
    assert program.is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["extract", "tiny", "--arch", "largset"], "'largset' is no architecture. Did you mean 'largest'?"),
        (
            ["extract", "tiny", "--arch", "d5-e3-k3"],
            "depth is 5, but stage 0 of space 'lite_32' allows 1, 2",
        ),
        (
            ["extract", "tiny", "--arch", "d2-e3-k9"],
            "kernel is 9, but stage 0 of space 'lite_32' allows 3, 5",
        ),
        (
            ["extract", "tiny", "--arch", "{broken}"],
            "block 1 (source 1) has kernel 9; space 'lite_32' allows 3",
        ),
        (["export", "tiny:smallest@9"], "resolution 9 is not in space 'lite_32'; it may be one of 8, 16"),
        (["export", "tyni:smallest"], "there is no run 'tyni'. Known: tiny"),
        (["export", "tiny:no.json"], "'no.json' cannot be read"),
    ],
)
def test_a_network_that_a_run_does_not_have_is_told_in_one_line(
    words: list[str],
    said: str,
    run: Path,
    space: SearchSpace,
    home: Home,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = Path(written(tmp_path, space.largest())).read_text(encoding="utf-8")
    broken = tmp_path / "broken.json"
    blocks = json.loads(text)
    blocks["blocks"][1]["kernel"] = 9
    broken.write_text(json.dumps(blocks), encoding="utf-8")
    assert cli.main([word.format(broken=broken) for word in words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert stored(home) == [] and not home.artifacts.exists()


def test_a_home_without_a_run_says_so(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["extract", "--arch", "largest"]) == 2
    assert "there is no run yet" in capsys.readouterr().err


def test_of_text_models_the_layers_that_are_kept_and_the_metric_are_told(
    text_subnet: Callable[..., Subnet],
) -> None:
    subnet = text_subnet("translation", {"encoder": (0, 2, 4), "decoder": (0, 3)})
    row = extract.subnet_row(subnet)
    assert row["layers"] == "0,2,4/0,3"
    assert extract.arch_of(row["layers"], subnet.space, []) == subnet.arch
    assert [(one["name"], one["higher_is_better"]) for one in row["metrics"]] == [("bleu", True)] * 2
    [shown] = extract._for_people([extract.subnet_row(text_subnet("language_modelling"))])
    assert shown["tokens"] == 16 and shown["layers"] == "0,1,2,3"
    assert shown["test perplexity (less is better)"] == 6.87
    assert "blocks" not in shown and "resolution" not in shown
