"""Arms that lack a part of the early phase: what they begin with, and that nothing is trained twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from interruption import stopped
from tickets import begun, same, under

from edge_bench.documents import from_document
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from supernet import checkpoint, early_phase, ladder
from supernet.early_phase import Arm, compare, level_nearest, notation, perturbations_of, pretraining_of
from supernet.run import CHECKPOINT_FILE, SUMMARY_FILE, RunConfig, checked, load_run, read_record
from supernet.tasks import task_of

Tables = Callable[..., dict[str, Any]]
REWIND, STEPS, LEVEL = 4, 12, 2
PERTURBED = ("noise", "reinitialise:keep_signs=true", "shuffle_within_filter")
PRETRAINED = ("random_labels", "blurred:factor=2+rotation")


def run_of(**changes: Any) -> RunConfig:
    """Return a run on digits of two epochs of 6 steps, halved by each level and rewound to the fourth."""
    tables: dict[str, Any] = {
        "name": "small",
        "data": {"kind": "digits"},
        "model": {"kind": "mlp", "resolution": 8, "hidden": [12, 8]},
        "techniques": {"lottery_ticket": {"rate": 0.5, "rewind": f"{REWIND}it"}},
        "training": {
            "epochs": 2,
            "epoch_steps": 6,
            "checkpoint_steps": 3,
            "batch_size": 16,
            "learning_rate": 0.02,
            "threads": 1,
            "device": "cpu",
        },
    }
    return checked(from_document(RunConfig, {**tables, **changes}))


def compared(
    run: RunConfig,
    home: Home,
    *,
    level: int = LEVEL,
    perturb: tuple[str, ...] = PERTURBED,
    pretrain: tuple[str, ...] = PRETRAINED,
    steps: str = "",
) -> list[Arm]:
    return compare(
        run,
        level=level,
        perturbations=perturbations_of(perturb),
        pretraining=pretraining_of(pretrain, run),
        pretraining_steps=steps,
        home=home,
        say=lambda line: None,
        interactive=False,
    )


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Arm], Home]:
    """All arms at the second level, trained; tests leave them as they are."""
    home = Home(tmp_path_factory.mktemp("arms") / "home")
    return compared(run_of(), home), home


def of(arms: list[Arm], name: str) -> Arm:
    return next(arm for arm in arms if arm.name == name)


def test_arms_come_in_the_order_they_were_asked_for(arms: tuple[list[Arm], Home]) -> None:
    assert [(arm.kind, arm.name) for arm in arms[0]] == [
        ("ticket", "ticket"),
        *(("perturbation", name) for name in PERTURBED),
        *(("pretraining", name) for name in ("none", *PRETRAINED)),
    ]
    assert all(arm.left == arms[0][0].left == 0.25 and arm.level == LEVEL for arm in arms[0])
    for arm in arms[0]:
        assert (arm.selection.split, arm.test.split) == ("selection", "test")
        assert (arm.early_steps, arm.steps) == (0 if arm.name == "none" else REWIND, STEPS - REWIND)


def test_the_ticket_is_that_of_the_ladder(arms: tuple[list[Arm], Home], monkeypatch: Any) -> None:
    monkeypatch.delattr(ladder, "train")
    rungs = ladder.climb(
        run_of(), rounds=LEVEL, controls=(), home=arms[1], say=lambda line: None, interactive=False
    )
    assert rungs[-1].folder == of(arms[0], "ticket").folder


@pytest.mark.parametrize("name", PERTURBED)
def test_a_perturbed_ticket_has_its_mask_and_step_and_other_weights(
    name: str, arms: tuple[list[Arm], Home]
) -> None:
    step, plain, mask = begun(of(arms[0], "ticket").folder, arms[1])
    other_step, perturbed, other_mask = begun(of(arms[0], name).folder, arms[1])
    assert step == other_step == REWIND and same(mask, other_mask)
    assert same(perturbed, under(mask, perturbed))
    for key in plain:
        assert torch.equal(plain[key], perturbed[key]) == (key not in mask)


def test_a_pretrained_ladder_begins_with_what_was_learned_of_other_examples(
    arms: tuple[list[Arm], Home],
) -> None:
    found, home = arms
    [before] = home.runs.glob("small-random_labels-*")
    learned = checkpoint.read_weights(before / CHECKPOINT_FILE)
    assert dict(read_record(before).config.pretraining) == {"random_labels": {}}
    step, plain, mask = begun(of(found, "random_labels").folder, home)
    assert step == REWIND and same(plain, under(mask, learned))
    # Its mask is its own: nothing in it has seen the labels before that step.
    assert not same(mask, begun(of(found, "ticket").folder, home)[2])
    config = read_record(of(found, "random_labels").folder).config
    assert not config.pretraining
    chain = [config]
    while chain[-1].techniques["lottery_ticket"]["level"]:
        options = chain[-1].techniques["lottery_ticket"]
        assert options["dense"] == before.name
        chain.append(read_record(home.runs / options["below"]).config)
    assert len(chain) == LEVEL + 1


def test_without_pretraining_it_begins_with_the_initial_weights_at_the_same_step(
    arms: tuple[list[Arm], Home],
) -> None:
    step, plain, mask = begun(of(arms[0], "none").folder, arms[1])
    run = run_of()
    initial = task_of(run.task).begun(run, arms[1], arms[1].root).network(run.seed).state_dict()
    assert step == REWIND and same(plain, under(mask, initial))


def test_pretraining_may_take_other_steps_than_those_it_stands_for(home: Home) -> None:
    [_, none, arm] = compared(run_of(), home, level=0, perturb=(), pretrain=("random_labels",), steps="7it")
    assert (none.early_steps, arm.early_steps, arm.steps) == (0, 7, STEPS - REWIND)
    [before] = home.runs.glob("small-random_labels-*")
    step, plain, _ = begun(arm.folder, home)
    assert step == REWIND and same(plain, checkpoint.read_weights(before / CHECKPOINT_FILE))
    assert '"steps": 7' in (before / SUMMARY_FILE).read_text(encoding="utf-8")


def test_at_level_0_all_weights_stand(home: Home) -> None:
    ticket, arm = compared(run_of(), home, level=0, perturb=("shuffle_globally",), pretrain=())
    assert ticket.left == arm.left == 1.0
    [dense] = home.runs.glob("small-[0-9a-f]*")
    kept = checkpoint.read_weights(dense / f"kept-{REWIND}.safetensors")
    step, plain, mask = begun(ticket.folder, home)
    assert step == REWIND and same(plain, kept) and all(one.all() for one in mask.values())
    shuffled = begun(arm.folder, home)[1]
    values = [torch.cat([one[name].flatten() for name in mask]).sort().values for one in (plain, shuffled)]
    assert torch.equal(*values)


def test_texts_are_compared_too(text_tables: Tables, home: Home) -> None:
    tables = text_tables(
        "text_classification",
        training={"epoch_steps": 4, "epochs": 1},
        techniques=None,
        model={"layers": 1},
    )
    pruning = {"lottery_ticket": {"rate": 0.5, "rewind": "2it", "exclude": ["*embedding*"]}}
    run = checked(from_document(RunConfig, {**tables, "techniques": pruning}))
    found = compared(run, home, level=1, perturb=("shuffle_within_layer",), pretrain=("all",))
    assert [arm.name for arm in found] == ["ticket", "shuffle_within_layer", "none", "random_labels"]


def test_finished_arms_are_found_and_others_are_added(
    arms: tuple[list[Arm], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, home = arms
    trained: list[str] = []
    train = ladder.train

    def told(config: RunConfig, **rest: Any) -> Path:
        if not (config.folder(home) / SUMMARY_FILE).is_file():
            trained.append(config.name)
        return train(config, **rest)

    monkeypatch.setattr(ladder, "train", told)
    monkeypatch.setattr(early_phase, "train", told)
    assert compared(run_of(), home) == found and not trained
    more = compared(run_of(), home, perturb=("noise:deviations=2",), pretrain=())
    assert trained == ["small-level2-noise"] and more[1].folder != of(found, "noise").folder


@pytest.mark.parametrize("saves", [2, 13, 20])
def test_arms_that_were_interrupted_end_as_undisturbed_ones(
    saves: int, arms: tuple[list[Arm], Home], home: Home
) -> None:
    asked = {"perturb": PERTURBED[:1], "pretrain": PRETRAINED[:1]}
    stopped(lambda: compared(run_of(), home, **asked), saves=saves)
    resumed = compared(run_of(), home, **asked)
    for arm in resumed:
        undisturbed = of(arms[0], arm.name)
        assert arm.folder.name == undisturbed.folder.name
        assert (arm.selection, arm.test) == (undisturbed.selection, undisturbed.test)
        weights = [checkpoint.read_weights(one.folder / CHECKPOINT_FILE) for one in (arm, undisturbed)]
        assert same(*weights)


def test_the_level_nearest_to_a_share_is_found() -> None:
    assert [level_nearest(left, 0.2) for left in (1.0, 0.81, 0.2, 0.045, 0.0115)] == [0, 1, 7, 14, 20]
    assert level_nearest(0.25, 0.5) == 2
    for left in (0.0, 1.5):
        with pytest.raises(ConfigError, match="above 0 and at most 1"):
            level_nearest(left, 0.2)


def test_arms_are_named_as_they_are_asked_for() -> None:
    words = ["noise:deviations=2", "noise:deviations=0.5,of_weights=rewound", "shuffle-within-layer"]
    tables = perturbations_of([*words, "noise:deviations=2"])
    assert tables[1] == {"kind": "noise", "deviations": 0.5, "of_weights": "rewound"}
    assert [notation(table) for table in tables] == [*words[:2], "shuffle_within_layer"]
    everything = perturbations_of(["all"])
    assert perturbations_of([notation(table) for table in everything]) == everything
    assert {table["kind"] for table in everything} > {"noise", "shuffle_globally"}
    both = pretraining_of(["blurred:factor=2+random_labels", "all"], run_of())
    assert both == [
        {"blurred": {"factor": 2}, "random_labels": {}},
        {"blurred": {}},
        {"random_labels": {}},
        {"rotation": {}},
    ]


def test_what_cannot_be_compared_is_told(run_file: Path, home: Home, text_tables: Tables) -> None:
    run = run_of()
    with pytest.raises(ConfigError, match="not of the form NAME or NAME:KEY=VALUE"):
        perturbations_of(["noise:2"])
    with pytest.raises(ConfigError, match="level is -1"):
        compared(run, home, level=-1)
    with pytest.raises(ConfigError, match="rewind is 0it: no step is left"):
        compared(run_of(techniques={"lottery_ticket": {"rewind": "0it"}}), home)
    with pytest.raises(ConfigError, match="no kind of pre-training is asked for"):
        compared(run, home, pretrain=(), steps="3it")
    with pytest.raises(ConfigError, match=r"\[pretraining.blurred\] is given in the run file"):
        compared(run_of(pretraining={"blurred": {"factor": 2}}), home)
    with pytest.raises(ConfigError, match=r"elastic network of a \[space\]"):
        compared(load_run(run_file), home, pretrain=())
    modelling = checked(from_document(RunConfig, text_tables("language_modelling")))
    with pytest.raises(ConfigError, match="no kind of pre-training is for language modelling"):
        pretraining_of(["all"], modelling)
    assert not home.runs.exists()
