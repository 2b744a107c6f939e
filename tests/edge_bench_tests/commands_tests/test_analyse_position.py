"""`edge-bench analyse position`: a run, a subnet or several networks, with controls where asked for."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_bench.cli import main
from edge_bench.documents import from_document
from edge_bench.errors import OK, USAGE
from edge_bench.files import Home
from edge_bench.records.position import TARGETS, PositionFindings

RUN = """
name = "{name}"
[model]
kind = "{kind}"
resolution = 8
{options}
[data]
kind = "digits"
[training]
epochs = 1
threads = 1
device = "cpu"
"""
CONVNET = "widths = [4, 6]\nstrides = [1, 1]"
QUICK = ["--steps", "3", "--images", "40", "--held-out", "6", "--seeds", "2", "--quiet"]

Train = Callable[..., str]


@pytest.fixture
def trained_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Train:
    """A function that trains a tiny run by a name and gives the name of its folder."""
    pytest.importorskip("edge_bench.data.digits")

    def make(name: str = "net", *, kind: str = "convnet", options: str = CONVNET) -> str:
        file = tmp_path / f"{name}.toml"
        file.write_text(RUN.format(name=name, kind=kind, options=options), encoding="utf-8")
        assert main(["train", str(file), "--quiet", "--json"]) == OK
        return Path(json.loads(capsys.readouterr().out)["folder"]).name

    return make


def analysed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["analyse", "position", *arguments, *QUICK, "--json"]) == OK
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["analyse", "position", *arguments, "--quiet"]) == USAGE
    return capsys.readouterr().err


def test_a_run_and_its_subnet_tell_the_same_and_leave_the_same_file(
    home: Home, trained_run: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained_run()
    document = analysed(capsys, run)
    [found] = document["networks"]
    assert found["network"].startswith(f"{run}-")
    assert (found["padded_convolutions"], found["wide_convolutions"]) == (2, 2)
    assert [stage["side"] for stage in found["stages"]] == [8, 8]
    assert len(found["scores"]) == 4 * len(TARGETS)
    file = home.probes / "position" / f"{found['network']}.json"
    assert found["file"] == str(file)
    before = file.read_bytes()
    kept = from_document(PositionFindings, json.loads(before))
    assert kept.score("all", "H").mean_spearman == next(
        one["spearman"] for one in found["scores"] if (one["source"], one["target"]) == ("all", "H")
    )
    assert main(["extract", run, "--quiet"]) == OK
    capsys.readouterr()
    # By the subnet's id, from the program alone.
    assert analysed(capsys, found["network"])["networks"] == [found]
    assert file.read_bytes() == before
    # And by the architecture, named once more: each network is probed once.
    assert analysed(capsys, found["network"], f"{run}:largest")["networks"] == [found]


def test_controls_stand_beside_a_run_in_the_table_and_in_the_plot(
    home: Home, trained_run: Train, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run, plot = trained_run(), tmp_path / "out" / "plot.svg"
    options = ["--without-padding", "--untrained", "--targets", "H,G", "--plot", str(plot)]
    assert main(["analyse", "position", "net", *options, *QUICK]) == OK
    text = capsys.readouterr().out
    networks = sorted(file.stem for file in (home.probes / "position").glob("*.json"))
    assert len(networks) == 3 and sorted(one.name for one in plot.parent.iterdir()) == ["plot.svg"]
    assert any(one.startswith(run) and one.endswith("-untrained") for one in networks)
    assert any(one.startswith("net-without-padding-") for one in networks)
    assert text.count("2 of 2 convolutions wider than a pixel are padded") == 2
    assert text.count("0 of 2 convolutions wider than a pixel are padded") == 1
    assert text.count("image") == 3 and f"plot: {plot}" in text
    drawn = ElementTree.parse(plot).getroot()
    names = "{http://www.w3.org/2000/svg}"
    words = [one.text or "" for one in drawn.iter(f"{names}text")]
    assert all(any(word.startswith(f"{name}: ") for word in words) for name in networks)
    # Wanted, of all stages and of the image alone, by two targets, for each network.
    pictures = [one.get("href", "") for one in drawn.iter(f"{names}image")]
    assert len(pictures) == 3 * 2 * 3 and all(one.startswith("data:image/png") for one in pictures)
    assert len(list(drawn.iter(f"{names}polyline"))) == 3 * 2


def test_what_cannot_be_probed_is_told_with_what_would_do(
    trained_run: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "there is no run or subnet 'nothing'" in refused(capsys, "nothing")
    mlp = trained_run("flat", kind="mlp", options="hidden = [8]")
    told = refused(capsys, mlp)
    assert "has no feature maps to probe" in told and "probe a network with convolutions" in told
    told = refused(capsys, "flat", "--without-padding")
    assert "no network that can be trained without padding" in told and '"convnet"' in told
    trained_run("bare", options=f'{CONVNET}\npadding = "none"')
    assert "is the control itself" in refused(capsys, "bare", "--without-padding")
    assert "did you mean 'bare" in refused(capsys, "barr").lower()
    assert "unknown target 'X'. Known: H, V, G, HS, VS" in refused(capsys, "bare", "--targets", "X")
    assert "must end in .svg" in refused(capsys, "bare", "--plot", "plot.png")
    assert "--seeds is 0" in refused(capsys, "bare", "--seeds", "0")


def test_a_run_on_text_and_its_subnet_are_refused(
    text_run: Callable[[str], tuple[Path, Home]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = text_run("text_classification")
    assert "is for text classification; only networks for images" in refused(capsys, str(folder))
    assert main(["extract", str(folder), "--depth", "2", "--quiet", "--json"]) == OK
    [subnet] = json.loads(capsys.readouterr().out)["subnets"]
    assert "is for text classification; only networks for images" in refused(capsys, subnet["id"])
