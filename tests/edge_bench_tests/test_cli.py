"""What the command line promises whatever the command: one line, a hint, a status, one document."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edge_bench import cli, errors, variants
from edge_bench.commands import Command, Outcome

HEAVY = {"torch", "tensorflow", "streamlit", "pandas", "onnxruntime", "sklearn"}


def test_importing_edge_bench_loads_nothing_heavy() -> None:
    code = "import sys, edge_bench, edge_bench.cli; print(' '.join(sys.modules))"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert not HEAVY & {name.partition(".")[0] for name in printed.split()}


def test_help_lists_every_command_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == errors.OK
    printed = capsys.readouterr().out
    for name in variants.names(cli.COMMANDS):
        typed = name.replace("_", " ", 1).replace("_", "-")
        assert f"  {typed}  " in printed
        assert variants.summary(cli.COMMANDS, name)[:40] in printed


@pytest.mark.parametrize("name", variants.names(cli.COMMANDS))
def test_every_command_tells_its_options_without_heavy_imports(name: str) -> None:
    code = textwrap.dedent(f"""
        import sys
        from edge_bench.cli import main
        try:
            main(["{name}", "--help"])
        except SystemExit as left:
            assert not left.code
        print("loaded", *sys.modules)
    """)
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    told, _, modules = printed.partition("loaded")
    assert "--json" in told and "--home" in told
    assert not HEAVY & {word.partition(".")[0] for word in modules.split()}


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trian"]) == errors.USAGE
    assert "Did you mean 'train'?" in capsys.readouterr().err


def test_an_unknown_option_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--no-such-option", "x"]) == errors.USAGE
    told = capsys.readouterr().err
    assert told.count("edge-bench:") == 1 and "Traceback" not in told


@pytest.mark.parametrize(
    "words",
    [
        "devices show --json raspberry-pi-4",
        "devices --json show raspberry-pi-4",
        "--json devices show raspberry-pi-4",
    ],
)
def test_what_every_command_takes_may_stand_anywhere(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words.split()) == errors.OK
    assert json.loads(capsys.readouterr().out)["device"]["id"] == "raspberry-pi-4"


def test_a_home_may_stand_before_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # A folder called as the command is no second command.
    for words in (["--home", "results", "results"], ["--quiet", "--home=other", "results", "--json"]):
        assert cli.main(words) == errors.OK
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"results", "other"}


def test_a_commands_own_options_may_stand_between_its_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(tmp_path / name) for name in ("a.onnx", "b.onnx")]
    assert cli.main(["bench", files[0], "--threads", "2", files[1]]) == errors.USAGE
    told = capsys.readouterr()
    # Both were taken as files; that they are not there is another matter.
    assert all(file in told.out + told.err for file in files)


def test_an_error_is_one_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "nowhere.toml", "--json"]) == errors.USAGE
    told = json.loads(capsys.readouterr().out)["error"]
    assert told["kind"] == "ConfigError" and "nowhere.toml" in told["message"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "no permission"),
        (errno.ENOTDIR, "not a folder"),
    ],
)
def test_a_disk_that_refuses_is_told_in_words(
    number: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main_raising(OSError(number, "refused", "/some/file"), monkeypatch) == errors.OUR_FAULT
    told = capsys.readouterr().err
    assert words in told and "/some/file" in told and "--home" in told


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _main_raising(KeyboardInterrupt(), monkeypatch) == errors.INTERRUPTED


def test_a_missing_library_names_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = ModuleNotFoundError("no torch", name="torch.nn")
    assert _main_raising(missing, monkeypatch) == errors.USAGE
    assert "pip install 'edge-bench[train]'" in capsys.readouterr().err


def test_the_five_packages_are_typed_and_ours() -> None:
    from importlib.metadata import packages_distributions

    owners = packages_distributions()
    for package in ("edge_bench", "supernet", "converters", "dashboard", "device_profiles"):
        # An editable install lists no files, so a package may be missing, but never another's.
        assert set(owners.get(package, ["edge-bench"])) == {"edge-bench"}
        assert (Path(cli.__file__).parents[1] / package / "py.typed").is_file()


def _main_raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    class Failing(Command):
        def arguments(self, parser: object) -> None:
            pass

        def run(self, options: object, context: object) -> Outcome:
            raise error

    monkeypatch.setattr(variants, "load", lambda *_: Failing)
    return cli.main(["train"])
