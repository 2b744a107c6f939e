"""Ladders of lottery tickets: what a level begins with, and that nothing is trained twice."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from interruption import stopped
from tickets import begun, same, under
from torch import Tensor

from edge_bench import variants
from edge_bench.documents import from_document
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from supernet import checkpoint, ladder
from supernet.controls import CONTROLS, Control
from supernet.ladder import Rung, climb, dense_of, level_of, ticket_of
from supernet.run import CHECKPOINT_FILE, LOG_FILE, SUMMARY_FILE, RunConfig, checked, load_run, read_record
from supernet.sparsity import masked, masks
from supernet.tasks import task_of
from supernet.trained import TrainedRun
from supernet.training_step import TrainingStep

Tables = Callable[..., dict[str, Any]]
ROUNDS, REWIND, STEPS = 2, 4, 12


def run_of(text_tables: Tables) -> RunConfig:
    """Return a run on text of two epochs of 6 steps, halved by each level and rewound to the fourth."""
    tables = text_tables(
        "text_classification",
        training={"epoch_steps": 6, "checkpoint_steps": 4},
        techniques=None,
        model={"layers": 2},
    )
    pruning = {"lottery_ticket": {"rate": 0.5, "rewind": f"{REWIND}it", "exclude": ["*embedding*"]}}
    return checked(from_document(RunConfig, {**tables, "techniques": pruning}))


@pytest.fixture
def config(text_tables: Tables) -> RunConfig:
    """The run that is made a ladder of."""
    return run_of(text_tables)


def run_on_images(name: str, **network: Any) -> RunConfig:
    """Return a run on digits that is as long, of a `[model]` or from a `[start]`."""
    training = {
        "epochs": 2,
        "epoch_steps": 6,
        "checkpoint_steps": 4,
        "batch_size": 16,
        "learning_rate": 0.02,
        "threads": 1,
        "device": "cpu",
    }
    pruning = {"lottery_ticket": {"rate": 0.5, "rewind": f"{REWIND}it", "exclude": ["classifier.*"]}}
    tables = {"name": name, "data": {"kind": "digits"}, "training": training, "techniques": pruning}
    return checked(from_document(RunConfig, {**tables, **network}))


@pytest.fixture(params=["text", "images"])
def any_config(request: pytest.FixtureRequest, text_tables: Tables) -> RunConfig:
    """A run of each kind; that on images has batch norms."""
    if request.param == "text":
        return run_of(text_tables)
    return run_on_images("images", model={"kind": "resnet", "depth": 8, "width": 4, "resolution": 8})


@pytest.fixture(scope="module")
def controlled(text_tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Rung], Home]:
    """Its ladder with all controls, trained; tests leave it as it is."""
    home = Home(tmp_path_factory.mktemp("controlled") / "home")
    return climbed(run_of(text_tables), home, *variants.names(CONTROLS)), home


def climbed(config: RunConfig, home: Home, *controls: str, said: list[str] | None = None) -> list[Rung]:
    say = said.append if said is not None else lambda line: None
    return climb(config, rounds=ROUNDS, controls=controls, home=home, say=say, interactive=False)


def weights(rung: Rung) -> dict[str, Tensor]:
    return checkpoint.read_weights(rung.folder / CHECKPOINT_FILE)


def test_a_level_begins_with_the_rewound_weights_that_were_largest_below(
    any_config: RunConfig, home: Home
) -> None:
    dense, *levels = climbed(any_config, home)
    kept = checkpoint.read_weights(dense.folder / f"kept-{REWIND}.safetensors")
    assert not same(kept, weights(dense))
    below = dense
    for level, rung in enumerate(levels, start=1):
        step, plain, mask = begun(rung.folder, home)
        assert step == REWIND and same(plain, under(mask, kept))
        trained = masked.plain_state(weights(below))
        total = sum(one.numel() for one in mask.values())
        assert masks.count(mask) == masks.kept_count(total, 1 - 0.5**level)
        assert rung.left == masks.count(mask) / total
        stands = torch.cat([trained[name][one] for name, one in mask.items()]).abs()
        fell = torch.cat([trained[name][~one] for name, one in mask.items()]).abs()
        assert stands.min() >= fell.max()
        # Trained under that mask to the end.
        final = weights(rung)
        assert same(masked.mask_in(final), mask)
        assert any((masked.plain_state(final)[name] != plain[name]).any() for name in mask)
        lines = (rung.folder / LOG_FILE).read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["step"] for line in lines] == [6, STEPS]
        below = rung


def test_rewound_to_the_start_nothing_is_kept(config: RunConfig, home: Home) -> None:
    tables = {"lottery_ticket": {"rewind": "0it"}}
    dense, level, _ = climbed(dataclasses.replace(config, techniques=tables), home)
    assert not list(dense.folder.glob("kept-*"))
    step, plain, mask = begun(level.folder, home)
    task = task_of(config.task).begun(config, home, dense.folder)
    assert step == 0 and same(plain, under(mask, task.network(config.seed).state_dict()))


def of(rungs: list[Rung], level: int, name: str = "") -> Rung:
    return next(rung for rung in rungs if (rung.level, rung.control) == (level, name))


@pytest.mark.parametrize("name", variants.names(CONTROLS))
def test_a_control_changes_one_thing_and_not_the_count(
    name: str, controlled: tuple[list[Rung], Home]
) -> None:
    rungs, home = controlled
    dense, ticket, rung = of(rungs, 0), of(rungs, ROUNDS), of(rungs, ROUNDS, name)
    own_ladder = variants.load(Control, CONTROLS, name).own_ladder
    _, _, mask = begun(ticket.folder, home)
    step, plain, found = begun(rung.folder, home)
    kept = checkpoint.read_weights(dense.folder / f"kept-{REWIND}.safetensors")
    below = masked.plain_state(weights(of(rungs, ROUNDS - 1, name)))
    assert masks.count(found) == masks.count(mask) and rung.left == ticket.left
    layers = {one: int(mask[one].sum()) for one in mask}
    if name in ("layer_shuffled", "one_shot"):
        assert step == REWIND and same(plain, under(found, kept)) and not same(found, mask)
    elif name in ("random_ticket", "new_initialisation"):
        drawn = torch.cat([plain[one][found[one]] for one in found])
        assert step == 0 and not torch.isin(drawn, torch.cat([kept[one].flatten() for one in found])).any()
        assert same(found, mask) == (name == "new_initialisation")
    elif name == "rewind_to_start":
        assert step == 0 and own_ladder
    else:
        assert step == REWIND and own_ladder and same(plain, under(found, below))
    if name == "layer_shuffled":
        assert {one: int(found[one].sum()) for one in found} == layers
    training = [read_record(one.folder).config.training for one in (ticket, rung)]
    assert (training[0] == training[1]) == (name != "fine_tuning")


def test_finished_levels_are_found_and_one_more_goes_on_from_them(
    config: RunConfig, controlled: tuple[list[Rung], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    rungs, home = controlled
    trained: list[str] = []
    train = ladder.train
    monkeypatch.setattr(
        ladder, "train", lambda config, **rest: (trained.append(config.name), train(config, **rest))[1]
    )
    again = climbed(config, home, "one_shot")
    assert not trained and [rung.folder for rung in again] == [
        rung.folder for rung in rungs if rung.control in ("", "one_shot")
    ]
    climb(config, rounds=3, controls=(), home=home, say=lambda line: None, interactive=False)
    assert trained == ["text_classification-level3"]


def test_controls_are_trained_beside_the_levels_that_are_asked_for(
    config: RunConfig, controlled: tuple[list[Rung], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    rungs, home = controlled
    # All is found: nothing is left to train.
    monkeypatch.delattr(ladder, "train")
    controls = ("one_shot", "fine_tuning")

    def rows(*levels: int) -> list[Rung]:
        return climb(
            config,
            rounds=ROUNDS,
            controls=controls,
            control_levels=levels,
            home=home,
            say=lambda line: None,
            interactive=False,
        )

    late = [(rung.level, rung.control) for rung in rows(2)]
    assert late == [(0, ""), (1, ""), (1, "fine_tuning"), (2, ""), (2, "one_shot"), (2, "fine_tuning")]
    early = [(rung.level, rung.control) for rung in rows(1)]
    assert early == [(0, ""), (1, ""), (1, "one_shot"), (1, "fine_tuning"), (2, "")]
    assert all(rung in rungs for rung in rows(1, 2))
    with pytest.raises(ConfigError, match="at level 3; there are levels 1 to 2"):
        rows(3)


@pytest.mark.parametrize("saves", [1, 5])
def test_a_ladder_that_was_interrupted_ends_as_an_undisturbed_one(
    saves: int, any_config: RunConfig, tmp_path: Path
) -> None:
    homes = Home(tmp_path / "undisturbed"), Home(tmp_path / "disturbed")
    undisturbed = climbed(any_config, homes[0])
    stopped(lambda: climbed(any_config, homes[1]), saves=saves)
    resumed = climbed(any_config, homes[1])
    assert [rung.folder.name for rung in resumed] == [rung.folder.name for rung in undisturbed]
    assert all(same(weights(a), weights(b)) for a, b in zip(undisturbed, resumed, strict=True))


def test_a_level_is_cut_like_any_run_and_tells_what_it_is(controlled: tuple[list[Rung], Home]) -> None:
    rungs, home = controlled
    for rung in (of(rungs, 1), of(rungs, 2, "one_shot")):
        run = TrainedRun.open(rung.folder)
        subnet = run.cut(run.space.largest(), home=home)
        notes = subnet.notes["lottery_ticket"]
        assert subnet.technique == "lottery_ticket" and subnet.run == rung.folder.name
        assert (notes["level"], notes.get("control", "")) == (rung.level, rung.control)
        assert 1 - notes["pruned"] == rung.left and notes["left_by_layer"].keys()
        network = torch.export.load(home.absolute(subnet.program)).state_dict
        zeros = sum(int((one == 0).sum()) for one in network.values() if one.ndim > 1)
        total = sum(one.numel() for one in network.values() if one.ndim > 1)
        assert subnet.sparsity == pytest.approx(zeros / total) and zeros > 0.2 * total


def test_a_subnet_of_a_supernet_is_made_a_ticket(trained: tuple[Path, Home], home: Home) -> None:
    original, _ = trained
    shutil.copytree(original, home.runs / original.name)
    config = run_on_images("subnet", start={"run": original.name, "keep": "smallest"})
    dense, level, _, drawn, _ = climbed(config, home, "new_initialisation")
    _, plain, mask = begun(level.folder, home)
    kept = checkpoint.read_weights(dense.folder / f"kept-{REWIND}.safetensors")
    assert same(plain, under(mask, kept)) and not any("classifier" in name for name in mask)
    _, other, _ = begun(drawn.folder, home)
    assert not any(torch.equal(plain[name], other[name]) for name in mask)
    run = TrainedRun.open(level.folder)
    assert run.record.arch is not None
    subnet = run.cut(run.record.arch, home=home)
    assert subnet.technique.endswith("lottery_ticket") and subnet.sparsity > 0.3


def test_progress_is_told_level_by_level(config: RunConfig, home: Home) -> None:
    said: list[str] = []
    climbed(config, home, "one_shot", said=said)
    told = [line for line in said if line.startswith("level")]
    assert [line.partition(", accuracy")[0] for line in told] == [
        "level 0 of 2: 100.0 % left",
        "level 1 of 2: 50.0 % left",
        "level 1 of 2, control one_shot: 50.0 % left",
        "level 2 of 2: 25.0 % left",
        "level 2 of 2, control one_shot: 25.0 % left",
    ]
    assert told[0].endswith(" %")


def test_known_ladders_keep_their_names(config: RunConfig) -> None:
    ticket = ticket_of(config)
    data = {**config.data, "path": "/reviews"}
    run = dataclasses.replace(config, data=data)
    dense = dense_of(run, ticket)
    first = level_of(run, 1, "", dense=dense, below=dense)
    second = level_of(run, 2, "one_shot", dense=dense, below=first)
    assert [f"{one.name}-{one.digest}" for one in (dense, first, second)] == [
        "text_classification-aa235a44",
        "text_classification-level1-877af692",
        "text_classification-level2-one_shot-53610cd8",
    ]


def test_options_that_change_nothing_rename_no_level(config: RunConfig) -> None:
    table = config.techniques["lottery_ticket"]
    said = dataclasses.replace(config, techniques={"lottery_ticket": {**table, "scope": "global"}})
    dense = dense_of(config, ticket_of(config))
    names = {level_of(one, 1, "", dense=dense, below=dense).digest for one in (config, said)}
    assert len(names) == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rate": 1.0}, "rate is 1; it must be at least 0 and below 1"),
        ({"rate": 0.0}, "rate is 0; it must be above 0"),
        ({"rewind": "soon"}, "'soon' is no step of training"),
        ({"rewind": "3ep"}, "keep holds 3ep, step 18; it must be 1it to 2ep"),
        ({"exclude": ["head.*"]}, "exclude holds 'head"),
    ],
)
def test_options_that_do_not_fit_are_told(
    changes: dict[str, Any], told: str, config: RunConfig, home: Home
) -> None:
    run = dataclasses.replace(config, techniques={"lottery_ticket": {"rewind": "0it", **changes}})
    with pytest.raises(ConfigError, match=told):
        climbed(run, home)
    assert not list(home.runs.glob(f"*/{SUMMARY_FILE}")), "no run was trained for nothing"


def test_a_level_by_itself_says_what_trains_it(config: RunConfig, home: Home) -> None:
    with pytest.raises(ConfigError, match="trained level by level") as raised:
        ladder.train(config, home=home, say=lambda line: None, interactive=False)
    assert "edge-bench tickets" in raised.value.hint
    dense = dense_of(config, ticket_of(config))
    level = level_of(config, 1, "", dense=dense, below=dense)
    (dense.folder(home)).mkdir(parents=True)
    with pytest.raises(Exception, match="holds no run.json"):
        ladder.train(level, home=home, say=lambda line: None, interactive=False)


def test_an_elastic_supernet_is_refused_with_the_reason(run_file: Path, home: Home) -> None:
    with pytest.raises(ConfigError, match=r"elastic network of a \[space\].*shared by subnets"):
        climbed(load_run(run_file), home)


def test_weights_are_kept_as_they_were_behind_a_step(config: RunConfig, home: Home) -> None:
    plain = dataclasses.replace(config, techniques={})
    training = dataclasses.replace(plain.training, keep=("1ep", "3it"))
    folder = ladder.train(
        dataclasses.replace(plain, training=training), home=home, say=lambda line: None, interactive=False
    )
    assert {path.name for path in folder.glob("kept-*")} == {"kept-3.safetensors", "kept-6.safetensors"}
    assert (folder / SUMMARY_FILE).is_file()
    assert TrainingStep.parse("1ep", steps_per_epoch=6).count == 6
