"""Run files: what `--set` changes, and what is told of a file that does not fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge_bench import config
from edge_bench.errors import USAGE, ConfigError


@dataclass(frozen=True, kw_only=True)
class Training:
    batch_size: int = 32
    learning_rate: float = 0.1
    optimizer: str = "sgd"
    sizes: tuple[int, ...] = (1, 2)
    resume: bool = False


@dataclass(frozen=True, kw_only=True)
class Run:
    name: str
    training: Training = field(default_factory=Training)
    data: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text('name = "trial"\n[training]\nbatch_size = 16\n', encoding="utf-8")
    return path


def test_a_file_mirrors_its_dataclass_and_defaults_fill_in(file: Path) -> None:
    assert config.load(Run, file) == Run(name="trial", training=Training(batch_size=16))


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("training.batch_size=64", {"batch_size": 64}),
        ("training.learning_rate=1e-3", {"learning_rate": 1e-3}),
        ("training.learning_rate=1", {"learning_rate": 1.0}),
        ("training.optimizer=adamw", {"optimizer": "adamw"}),
        ('training.optimizer="a = b"', {"optimizer": "a = b"}),
        ("training.optimizer=a=b", {"optimizer": "a=b"}),
        ("training.sizes=[3, 5, 7]", {"sizes": (3, 5, 7)}),
        ("training.resume=true", {"resume": True}),
        (" training.resume = true ", {"resume": True}),
    ],
)
def test_set_changes_one_value_and_nothing_else(file: Path, override: str, found: dict[str, Any]) -> None:
    expected = Run(name="trial", training=Training(**{"batch_size": 16} | found))
    assert config.load(Run, file, overrides=[override]) == expected


def test_set_makes_a_table_that_the_file_lacks_and_the_last_one_wins(file: Path) -> None:
    overrides = ["data.kind=digits", "data.fold=1", "data.fold=2"]
    assert config.load(Run, file, overrides=overrides).data == {"kind": "digits", "fold": 2}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("training.batch_sise=64", r"unknown key 'training\.batch_sise'.*Did you mean 'batch_size'"),
        ("trianing.batch_size=64", "unknown key 'trianing'.*Did you mean 'training'"),
        ("training.batch_size=many", r"training\.batch_size is 'many'; it must be a whole number"),
        ("training.batch_size", "--set 'training.batch_size' is not of the form key=value"),
        ("=64", "--set '=64' is not of the form key=value"),
        ("name.first=x", "'name' is a value, not a table"),
    ],
)
def test_a_set_that_does_not_fit_says_what_would(file: Path, override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        config.load(Run, file, overrides=[override])
    assert raised.value.status == USAGE


def test_an_unknown_key_names_the_file_and_the_nearest_key(file: Path) -> None:
    file.write_text('name = "trial"\n[training]\nlearning_rates = 0.1\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run\.toml: unknown key 'training\.learning_rates'") as raised:
        config.load(Run, file)
    assert "Did you mean 'learning_rate'?" in raised.value.message


def test_reading_leaves_the_file_as_it_was(file: Path) -> None:
    before = file.read_bytes()
    config.load(Run, file, overrides=["training.batch_size=64"])
    assert file.read_bytes() == before


def test_what_is_no_toml_file_is_told_apart(tmp_path: Path, file: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        config.load(Run, tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="is a folder"):
        config.load(Run, tmp_path)
    file.write_text("name = \n", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not TOML.*line 1"):
        config.load(Run, file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not TOML"):
        config.load(Run, file)
