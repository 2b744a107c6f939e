"""Run files: what is read, what is refused, and which folder a run gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_bench.errors import ConfigError, TrainingError, UnknownVariant
from edge_bench.files import Home
from supernet.models import ImageModel, TextModel
from supernet.models.policy import Policy
from supernet.run import RUN_FILE, RunConfig, find_run, load_run, read_record

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_value_that_is_its_default_names_the_same_folder(tiny: Callable[..., RunConfig]) -> None:
    plain = tiny()
    assert tiny("training.momentum=0.9", "seed=0", "space.divisor=8").digest == plain.digest
    assert tiny("training.momentum=0.8").digest != plain.digest
    assert tiny("space.divisor=4").digest != plain.digest
    assert plain.folder(Home(Path("/h"))) == Path(f"/h/runs/tiny-{plain.digest}")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.batchsize=3", "unknown key 'training.batchsize'.*Did you mean 'batch_size'"),
        ("space.kernel=[3]", "unknown key 'space.kernel'.*Did you mean 'kernels'"),
        ("data.kind='digit'", "unknown datasource 'digit'.*Did you mean 'digits'"),
        ("training.batch_size=0", "training.batch_size is 0; it must be at least 2"),
        ("training.epochs=0", "training.epochs is 0; it must be at least 1"),
        ("training.warmup=1.5", "training.warmup is 1.5; it must lie between 0 and 1"),
        ("training.learning_rate=0", "learning_rate is 0; it must be above 0"),
        ("training.optimizer='adam'", "may be one of 'adamw', 'sgd'"),
        ("name='a/b'", "name is 'a/b'"),
        ("space.resolutions=[1, 16]", "resolutions holds 1"),
        ("phases=[{name='x', epochs=1, open=['kernels']}]", "Did you mean 'kernel'"),
    ],
)
def test_what_cannot_be_used_is_named(tiny: Callable[..., RunConfig], override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tiny(override)


def test_an_unknown_kind_of_space_names_the_nearest(tiny: Callable[..., RunConfig]) -> None:
    with pytest.raises(UnknownVariant, match="Did you mean 'mobilenet_v3'"):
        tiny("space={kind='mobilenet_v2'}")


def test_phases_take_the_place_of_the_one_phase(tiny: Callable[..., RunConfig]) -> None:
    config = tiny("schedule={kind='sandwich', warmup_share=0.5}")
    assert [(phase.name, phase.epochs) for phase in config.planned] == [("largest", 1), ("all", 1)]
    config = tiny("phases=[{name='largest', epochs=3, open=[]}, {name='all', epochs=1}]")
    assert [(phase.name, phase.epochs) for phase in config.planned] == [("largest", 3), ("all", 1)]


def test_a_relative_path_of_data_means_the_same_from_any_folder(
    tiny: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("edge_bench.data.folder")
    monkeypatch.chdir(tmp_path)
    assert tiny("data={kind='folder', path='pictures'}").data["path"] == str(tmp_path / "pictures")


def test_a_run_is_found_by_path_folder_name_and_name(trained: tuple[Path, Home]) -> None:
    folder, home = trained
    assert find_run(str(folder), home) == folder
    assert find_run(folder.name, home) == folder
    assert find_run("tiny", home) == folder


def test_an_unknown_run_is_told_with_those_that_are_known(trained: tuple[Path, Home]) -> None:
    folder, home = trained
    with pytest.raises(ConfigError, match=f"no run 'tinny'. Known: {folder.name}"):
        find_run("tinny", home)
    with pytest.raises(ConfigError, match="There is none yet"):
        find_run("tiny", Home(home.root / "other"))


def test_a_name_of_several_runs_is_not_guessed(home: Home) -> None:
    for name in ("mine-00000001", "mine-00000002"):
        (home.runs / name).mkdir(parents=True)
        (home.runs / name / RUN_FILE).touch()
    with pytest.raises(ConfigError, match="one of several runs: mine-00000001, mine-00000002"):
        find_run("mine", home)


def test_a_run_keeps_its_complete_configuration(
    trained: tuple[Path, Home], tiny: Callable[..., RunConfig]
) -> None:
    record = read_record(trained[0])
    assert record.config == dataclasses.replace(tiny(), data=record.config.data, space=record.config.space)
    assert record.digest == tiny().digest
    assert set(record.versions) == {"edge_bench", "python", "torch", "numpy"}


def test_a_damaged_run_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is no run folder"):
        read_record(tmp_path)
    (tmp_path / RUN_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(TrainingError, match="run.json' cannot be read"):
        read_record(tmp_path)


@pytest.mark.parametrize("name", [path.name for path in sorted(EXAMPLES.glob("*.toml"))])
def test_every_example_is_a_run_file(name: str) -> None:
    run = load_run(EXAMPLES / name)
    # What it describes can be opened: a space with networks in it, or one network.
    if run.start:
        # What it goes on from is a run of another example.
        assert run.name == name.removesuffix(".toml")
        assert load_run(EXAMPLES / f"{run.start.run}.toml").task == run.task
    elif run.model and run.task == "image_classification":
        assert run.name == name.removesuffix(".toml")
        model = run.open_model()
        assert isinstance(model, ImageModel) and model.space(channels=1, classes=2).size() == 1
    elif run.task == "image_classification":
        assert run.data["kind"] == name.removesuffix(".toml")
        assert run.open_space().build(input_channels=1, classes=2).size() > 1
    else:
        assert run.name == name.removesuffix(".toml")
        model = run.open_model()
        if isinstance(model, TextModel):
            several = model.space(vocabulary=300, outputs=300).size() > 1
            # Where there are shallower networks, they are trained to be cut out.
            assert several == ("layer_drop" in run.open_techniques())
        else:
            assert isinstance(model, Policy) and model.space(observed=4, actions=2).size() == 1
