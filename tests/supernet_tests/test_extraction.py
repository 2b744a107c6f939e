"""Subnets cut from a run: where they lie, what is recorded, and that their programs stand alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_bench import cli
from edge_bench.errors import ConfigError, InvalidArch, TrainingError
from edge_bench.files import Home, sha256_of
from edge_bench.records import ArchConfig, Metric, operators
from edge_bench.store import ResultStore
from supernet import checkpoint
from supernet.extraction import Judged, extract_arch, extract_front, keep, spread_archs
from supernet.run import CHECKPOINT_FILE, RUN_FILE, read_record
from supernet.spaces.lite_32 import LiteAt32

SPACE = LiteAt32().build(input_channels=1, classes=10)


def judged(macs: int, accuracy: float) -> Judged:
    metric = Metric(name="accuracy", value=accuracy, higher_is_better=True, split="selection", examples=100)
    return Judged(arch=SPACE.smallest(), macs=macs, metric=metric)


def test_both_ends_and_the_front_are_kept_before_anything_else() -> None:
    front = [judged(10, 0.5), judged(20, 0.7), judged(40, 0.9)]
    behind = [judged(15, 0.4), judged(30, 0.6), judged(80, 0.8)]
    kept = keep([*behind, *front], 4)
    assert [one.macs for one in kept] == [10, 20, 40, 80]
    # Then what fills the widest gap.
    assert [one.macs for one in keep([*behind, *front], 5)] in ([10, 15, 20, 40, 80], [10, 20, 30, 40, 80])


def test_a_front_of_more_than_there_is_room_for_is_thinned_evenly() -> None:
    front = [judged(2**power, power / 20) for power in range(13)]
    assert [one.macs for one in keep(front, 4)] in ([1, 64, 512, 4096], [1, 8, 64, 4096])
    assert keep(front, 50) == front


def test_screened_architectures_are_spread_in_log_macs() -> None:
    archs = spread_archs(SPACE, 20, np.random.default_rng(0))
    assert (archs[0], archs[-1]) == (SPACE.smallest(), SPACE.largest())
    assert len({arch.key for arch in archs}) == 22
    macs = [sum(op.macs for op in operators(SPACE, arch)) for arch in archs]
    halves = np.log(macs) < np.log([macs[0], macs[-1]]).mean()
    assert 6 <= halves.sum() <= 16


def test_a_front_is_cut_recorded_and_saved(trained: tuple[Path, Home]) -> None:
    folder, home = trained
    seen: list[tuple[int, int]] = []
    subnets = extract_front(
        folder, home=home, count=3, screened=4, report=lambda what, done, total: seen.append((done, total))
    )
    assert seen == [(done, 9) for done in range(1, 10)]
    assert [subnet.macs for subnet in subnets] == sorted(subnet.macs for subnet in subnets)
    space = subnets[0].space
    assert subnets[0].arch == space.smallest() and subnets[-1].arch == space.largest()
    for subnet in subnets:
        assert subnet.id == f"{folder.name}-{subnet.arch.key}"
        assert subnet.digest == sha256_of(home.absolute(subnet.program))
        assert subnet.preprocessing.size == subnet.arch.resolution
        assert {metric.split for metric in subnet.metrics} == {"selection", "test"}
    again = extract_front(folder, home=home, count=3, screened=4)
    assert [s.metrics for s in again] == [s.metrics for s in subnets]


def test_a_program_runs_without_the_training_code_at_any_batch(trained: tuple[Path, Home]) -> None:
    folder, home = trained
    space = read_record(folder).search_space
    subnet = extract_arch(folder, space.sample(np.random.default_rng(1)), home=home)
    script = (
        "import sys, torch\n"
        "program = torch.export.load(sys.argv[1]).module()\n"
        "x = torch.rand(7, 1, int(sys.argv[2]), int(sys.argv[2]))\n"
        "whole = program(x)\n"
        "assert whole.shape == (7, 10)\n"
        "one_by_one = torch.cat([program(x[i:i + 1]) for i in range(7)])\n"
        "assert (whole - one_by_one).abs().max() < 1e-4\n"
        "assert not [name for name in sys.modules if name.startswith('supernet')]\n"
    )
    path = home.absolute(subnet.program)
    words = [sys.executable, "-c", script, str(path), str(subnet.arch.resolution)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    kinds = {str(node.target) for node in torch.export.load(path).graph.nodes if node.op == "call_function"}
    assert not [kind for kind in kinds if "batch_norm" in kind]


def test_an_architecture_outside_the_space_is_refused(trained: tuple[Path, Home]) -> None:
    folder, home = trained
    arch = read_record(folder).search_space.smallest()
    with pytest.raises(InvalidArch, match="resolution 20 is not in space 'lite_32'; it may be .* 8, 16"):
        extract_arch(folder, replace(arch, resolution=20), home=home)


def test_an_unfinished_run_is_told_from_a_finished_one(trained: tuple[Path, Home], tmp_path: Path) -> None:
    folder, home = trained
    (tmp_path / RUN_FILE).write_bytes((folder / RUN_FILE).read_bytes())
    with pytest.raises(TrainingError, match=r"is not finished \(not begun\)"):
        extract_front(tmp_path, home=home, count=2, screened=0)
    module = torch.nn.Linear(1, 1)
    half = checkpoint.Progress(run=read_record(folder).digest, step=1, steps=9, seconds=0.0)
    checkpoint.save(tmp_path / CHECKPOINT_FILE, module, torch.optim.SGD(module.parameters()), half)
    with pytest.raises(TrainingError, match=r"is not finished \(at step 1 of 9\)"):
        extract_front(tmp_path, home=home, count=2, screened=0)


def test_a_count_that_keeps_nothing_is_refused(trained: tuple[Path, Home]) -> None:
    with pytest.raises(ConfigError, match="count is 1"):
        extract_front(trained[0], home=trained[1], count=1, screened=0)


def test_the_commands_train_and_cut_and_fill_the_store(
    run_file: Path, home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    few = ["--set", "training.epochs=1", "--data", "digits"]
    assert cli.main(["train", str(run_file), *few, "--json", "--quiet"]) == 0
    run = json.loads(capsys.readouterr().out)
    assert {"run", "epochs", "images_per_second", "seconds", "folder"} <= run.keys()

    assert cli.main(["extract", run["run"], "--count", "2", "--screen", "1", "--json", "--quiet"]) == 0
    rows = json.loads(capsys.readouterr().out)["subnets"]
    assert len(rows) == 2 and {"id", "params", "macs", "metrics"} <= rows[0].keys()

    path = tmp_path / "arch.json"
    arch = read_record(Path(run["folder"])).search_space.sample(np.random.default_rng(3))
    blocks = [{"source": b.source, "kernel": b.kernel, "expand": b.expand} for b in arch.blocks]
    path.write_text(json.dumps({"space": arch.space, "resolution": arch.resolution, "blocks": blocks}))
    assert cli.main(["extract", "tiny", "--arch", str(path), "--quiet"]) == 0
    assert "1 subnets of" in capsys.readouterr().out
    with ResultStore(home.store_url) as store:
        assert {subnet.id for subnet in store.subnets()} == {
            *(row["id"] for row in rows),
            f"{run['run']}-{arch.key}",
        }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "no.toml"], "there is no file 'no.toml'"),
        (["train", "{run}", "--data", "nowhere"], "neither a folder nor a kind of data"),
        (["train", "{run}", "--set", "training.epoch=1"], "Did you mean 'epochs'"),
        (["extract", "nothing"], "there is no run 'nothing'"),
        (["extract", "{trained}", "--arch", "no.json"], "'no.json' cannot be read"),
        (["extract", "{trained}", "--arch", "{run}"], "is not JSON"),
    ],
)
def test_commands_answer_mistakes_in_one_line(
    words: list[str],
    said: str,
    run_file: Path,
    trained: tuple[Path, Home],
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [word.format(run=run_file, trained=trained[0]) for word in words]
    assert cli.main(given) == 2
    assert said in capsys.readouterr().err


def test_an_architecture_is_read_back_from_its_document(tmp_path: Path) -> None:
    from edge_bench.commands.extract import read_arch

    path = tmp_path / "arch.json"
    path.write_text(
        '{"space": "lite_32", "resolution": 8, "blocks": [{"source": 0, "kernel": 3, "expend": 2}]}'
    )
    with pytest.raises(ConfigError, match="Did you mean 'expand'"):
        read_arch(path)
    path.write_text('{"space": "lite_32", "resolution": 8, "blocks": []}')
    assert read_arch(path) == ArchConfig(space="lite_32", resolution=8, blocks=())
