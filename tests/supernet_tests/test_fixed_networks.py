"""Runs on images that train one network: of a `[model]`, or going on from another run (`[start]`)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from interruption import stopped
from safetensors.torch import load_file
from torch import nn

from edge_bench.documents import from_document
from edge_bench.errors import ConfigError, EdgeBenchError, InvalidArch
from edge_bench.files import Home
from edge_bench.records import PlainSpace, macs_of
from edge_bench.runs import JUDGED_FILE
from edge_bench.store import ResultStore
from supernet.extraction import extract_arch, extract_front
from supernet.run import CHECKPOINT_FILE, SUMMARY_FILE, RunConfig, checked, read_record
from supernet.tasks.image_classification import ImageClassification
from supernet.trained import TrainedRun
from supernet.trainer import train

RESNET = {"kind": "resnet", "depth": 8, "width": 4, "resolution": 8}
TRAINING = {"epochs": 2, "batch_size": 64, "learning_rate": 0.01, "threads": 1, "device": "cpu"}


def run(**tables: Any) -> RunConfig:
    """Return a tiny run on digits; `training` is changed in part, other tables are given whole."""
    pytest.importorskip("edge_bench.data.digits")
    training = {**TRAINING, **tables.pop("training", {})}
    document = {"name": "fixed", "data": {"kind": "digits"}, "training": training, **tables}
    return checked(from_document(RunConfig, document))


def ended(config: RunConfig, home: Home) -> Path:
    return train(config, home=home, say=lambda line: None, interactive=False)


@pytest.mark.parametrize("kind", ["mlp", "lenet", "resnet", "convnet"])
def test_a_network_learns_and_the_one_there_is_is_cut(kind: str, home: Home) -> None:
    model = RESNET if kind == "resnet" else {"kind": kind, "resolution": 8}
    folder = ended(run(model=model, training={"epochs": 8}), home)
    summary = json.loads((folder / SUMMARY_FILE).read_text())
    assert summary["architectures"] == 1 and summary["largest_accuracy"] > 0.5
    assert "smallest_accuracy" not in summary
    [subnet] = extract_front(folder, home=home, count=6, screened=20)
    assert isinstance(subnet.space, PlainSpace) and subnet.space.name == kind
    assert (subnet.technique, subnet.sparsity) == ("plain", 0)
    assert subnet.macs == macs_of(subnet.space, subnet.arch) > 0
    metric = subnet.metric("selection")
    assert metric is not None and metric.value == summary["largest_accuracy"]
    names = {name.rpartition(".")[2] for name in torch.export.load(home.root / subnet.program).state_dict}
    assert names == {"weight", "bias"}


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_resumed_run_equals_an_undisturbed_one(average: float, tmp_path: Path) -> None:
    config = run(model=RESNET, training={"epochs": 1, "checkpoint_steps": 4, "average": average})
    undisturbed, home = ended(config, Home(tmp_path / "one")), Home(tmp_path / "two")
    stopped(lambda: ended(config, home))
    one, two = (load_file(folder / CHECKPOINT_FILE) for folder in (undisturbed, ended(config, home)))
    assert one.keys() == two.keys()
    assert [name for name in one if name != "random.torch" and not torch.equal(one[name], two[name])] == []


@pytest.fixture
def supernet(trained: tuple[Path, Home], tmp_path: Path) -> tuple[Path, Home]:
    """A copy of the finished tiny supernet, in a home of its own."""
    home = Home(tmp_path / "supernet")
    folder = home.runs / trained[0].name
    shutil.copytree(trained[0], folder)
    return folder, home


@pytest.mark.parametrize("by_id", [False, True])
def test_a_run_begins_with_the_very_subnet_it_names(by_id: bool, supernet: tuple[Path, Home]) -> None:
    folder, home = supernet
    opened = TrainedRun.open(folder)
    arch = opened.space.smallest()
    opened.judge(arch)
    dense = opened.cut(arch, home=home)
    config = run(start={"run": folder.name, "keep": dense.id if by_id else "smallest"})
    task = ImageClassification.begun(config, home, config.folder(home))
    network = task.network(config.seed)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    images = torch.linspace(-1, 1, 3 * arch.resolution**2).reshape(3, 1, arch.resolution, arch.resolution)
    program = torch.export.load(home.root / dense.program).module()
    torch.testing.assert_close(network.eval()(images), program(images), rtol=0, atol=1e-5)


def test_a_run_begins_with_a_subnet_that_was_cut_by_its_architecture(supernet: tuple[Path, Home]) -> None:
    folder, home = supernet
    dense = TrainedRun.open(folder).cut(TrainedRun.open(folder).space.smallest(), home=home)
    (folder / JUDGED_FILE).unlink(missing_ok=True)
    with ResultStore(home.store_url) as store:
        store.add(dense)
    config = run(start={"run": folder.name, "keep": dense.id})
    assert ImageClassification.begun(config, home, config.folder(home)).facts.arch == dense.arch


def test_a_subnet_that_is_trained_sparse_sits_beside_its_dense_original(
    supernet: tuple[Path, Home],
) -> None:
    folder, home = supernet
    space = TrainedRun.open(folder).space
    dense = extract_arch(folder, space.middle(), home=home)
    config = run(
        start={"run": folder.name, "keep": "middle"},
        techniques={"dpf": {"sparsity": 0.8}},
        training={"epochs": 4},
    )
    sparse_run = ended(config, home)
    before = load_file(folder / CHECKPOINT_FILE)
    # What a run began from is not needed any more.
    shutil.rmtree(folder)
    [sparse] = extract_front(sparse_run, home=home, count=6, screened=20)
    assert (sparse.space, sparse.arch, sparse.macs) == (dense.space, dense.arch, dense.macs)
    assert (dense.technique, sparse.technique) == ("once_for_all", "dpf")
    assert dense.sparsity == 0 and abs(sparse.sparsity - 0.8) < 1e-3 and sparse.notes["dpf"]
    after = load_file(sparse_run / CHECKPOINT_FILE)
    # Batch norms are trained on too.
    learned = after["weights.layers.stem.norm.weight"]
    assert not torch.allclose(learned, before["weights.stem.norm.weight"], atol=1e-4)

    opened = TrainedRun.open(sparse_run)
    with pytest.raises(InvalidArch, match="trained one network alone"):
        opened.judge(space.smallest())
    with pytest.raises(ConfigError, match="trained one network alone"):
        opened.record.elastic_space  # noqa: B018


def test_a_fixed_network_goes_on_with_its_weights(home: Home) -> None:
    first = ended(run(model=RESNET, training={"epochs": 6}), home)
    # So small a rate that what was learned stays.
    config = run(name="on", start={"run": first.name}, training={"epochs": 1, "learning_rate": 1e-6})
    second = ended(config, home)
    assert read_record(second).search_space == read_record(first).search_space
    told = [
        json.loads((folder / SUMMARY_FILE).read_text())["largest_accuracy"] for folder in (first, second)
    ]
    assert abs(told[0] - told[1]) < 0.02
    third = ended(run(name="further", start={"run": second.name}, training={"epochs": 1}), home)
    shutil.rmtree(first)
    shutil.rmtree(second)
    [subnet] = extract_front(third, home=home, count=2, screened=0)
    assert subnet.space == read_record(third).search_space


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        ("d9-e2-k3", "depth is 9, but stage 0"),
        ("0,2,4", r"\[start\] keep is '0,2,4'; it may be smallest"),
        ("smallest@7", "resolution 7 is not in space"),
    ],
)
def test_a_network_that_is_not_in_the_run_is_told(
    keep: str, said: str, supernet: tuple[Path, Home]
) -> None:
    folder, home = supernet
    with pytest.raises(EdgeBenchError, match=said):
        ended(run(start={"run": folder.name, "keep": keep}), home)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"model": {**RESNET, "depth": 9}}, r"depth is 9; it must be 6n \+ 2"),
        ({"model": {**RESNET, "width": 0}}, "width holds 0; valid choices: 1 or more"),
        ({"model": {"kind": "lenet", "resolution": 3}}, "resolution is 3; it must be 4 to 4096"),
        ({"model": {"kind": "mlp", "hidden": [8, 0]}}, "hidden holds 0"),
        ({"model": RESNET, "space": {"kind": "lite"}}, r"\[space\] is given, but a run of one network"),
        ({"model": RESNET, "schedule": {"kind": "progressive_shrinking"}}, r"\[schedule\] is given"),
        ({"model": RESNET, "start": {"run": "x"}}, r"\[model\] and \[start\] are both given"),
        ({"model": RESNET, "tokenizer": {"kind": "bpe"}}, r"\[tokenizer\] is given"),
    ],
)
def test_tables_that_make_no_run_are_told(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run(**tables)


def test_options_of_a_model_name_the_run_and_defaults_do_not() -> None:
    plain = run(model={"kind": "resnet"})
    assert run(model={"kind": "resnet", "depth": 20, "width": 16}).digest == plain.digest
    assert run(model={"kind": "resnet", "depth": 14}).digest != plain.digest
    assert [phase.name for phase in plain.planned] == ["all"]
