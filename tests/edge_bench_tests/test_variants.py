"""A file in a folder is a variant: found without registration, imported when asked for."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_bench import cli, variants
from edge_bench.errors import USAGE, EdgeBenchError, MissingExtra, UnknownVariant

PACKAGE = "variants_of_a_test"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that holds one role, `Shape`, and one variant, `round`."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("class Shape: ...\n", encoding="utf-8")
    drop(folder, "round")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def drop(folder: Path, name: str, *, first: str = "", body: str | None = None) -> None:
    """Write a variant as a contributor would: one file with one class, and nothing else anywhere."""
    shape = f"class {name.title().replace('_', '')}(Shape): ...\n"
    text = f'"""{name} things"""\n{first}\nfrom {PACKAGE} import Shape\n{shape if body is None else body}'
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    importlib.invalidate_caches()


def role() -> type:
    return importlib.import_module(PACKAGE).Shape


def test_a_file_dropped_into_the_folder_is_found_without_registration(folder: Path) -> None:
    assert variants.names(PACKAGE) == ("round",)
    drop(folder, "half_open")
    assert variants.names(PACKAGE) == ("half_open", "round")
    assert variants.load(role(), PACKAGE, "half_open").__name__ == "HalfOpen"
    assert variants.load(role(), PACKAGE, "half-open").__name__ == "HalfOpen"


def test_listing_and_summaries_import_nothing(folder: Path) -> None:
    drop(folder, "broken", first="raise RuntimeError('imported')")
    assert variants.names(PACKAGE) == ("broken", "round")
    assert variants.summary(PACKAGE, "broken") == "broken things"
    assert f"{PACKAGE}.broken" not in sys.modules


def test_a_file_whose_name_starts_with_an_underscore_is_no_variant(folder: Path) -> None:
    drop(folder, "_shared")
    assert variants.names(PACKAGE) == ("round",)


def test_loading_one_variant_imports_no_other(folder: Path) -> None:
    drop(folder, "broken", first="raise RuntimeError('imported')")
    assert variants.load(role(), PACKAGE, "round").__name__ == "Round"


def test_an_unknown_name_tells_the_role_the_known_and_the_nearest(folder: Path) -> None:
    drop(folder, "square")
    with pytest.raises(UnknownVariant, match=r"unknown shape 'squre'. Known: round, square.*'square'"):
        variants.load(role(), PACKAGE, "squre")
    with pytest.raises(UnknownVariant, match=r"unknown shape 'squre'"):
        variants.syntax(PACKAGE, "squre", role="shape")


@pytest.mark.parametrize(
    ("library", "extra"),
    [
        ("tensorboard", "tensorboard"),
        ("onnxruntime", "onnxruntime"),
        ("ai_edge_litert.interpreter", "litert"),
        ("torch.nn", "train"),
        ("pandas", "tables"),
        ("PIL.Image", "images"),
        ("sklearn.datasets", "digits"),
        ("streamlit", "dashboard"),
    ],
)
def test_a_missing_extra_gives_the_exact_install_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, library: str, extra: str
) -> None:
    # None in sys.modules makes the import fail as it does where the library is not installed.
    monkeypatch.setitem(sys.modules, library.partition(".")[0], None)
    if "." in library:
        monkeypatch.delitem(sys.modules, library, raising=False)
    drop(folder, "needy", first=f"import {library}")
    with pytest.raises(MissingExtra) as raised:
        variants.load(role(), PACKAGE, "needy")
    assert raised.value.hint == f"pip install 'edge-bench[{extra}]'"
    assert raised.value.status == USAGE


def test_a_library_that_no_extra_brings_is_not_explained_away(folder: Path) -> None:
    drop(folder, "lost", first="import no_such_library_anywhere")
    with pytest.raises(ModuleNotFoundError, match="no_such_library_anywhere"):
        variants.load(role(), PACKAGE, "lost")


@pytest.mark.parametrize(("body", "count"), [("", 0), ("class A(Shape): ...\nclass B(Shape): ...\n", 2)])
def test_a_file_holds_exactly_one_public_class_of_its_role(folder: Path, body: str, count: int) -> None:
    drop(folder, "odd", body=body)
    with pytest.raises(TypeError, match=f"holds {count} public Shapes"):
        variants.load(role(), PACKAGE, "odd")


def test_what_a_variant_imports_or_keeps_private_is_not_the_variant(folder: Path) -> None:
    body = f"from {PACKAGE}.round import Round\nclass _Base(Shape): ...\nclass Own(_Base): ...\n"
    drop(folder, "derived", body=body)
    assert variants.load(role(), PACKAGE, "derived").__name__ == "Own"


def test_a_command_is_a_variant_like_any_other() -> None:
    assert "bench" in variants.names(cli.COMMANDS)
    assert all(variants.summary(cli.COMMANDS, name) for name in variants.names(cli.COMMANDS))


@pytest.mark.parametrize(
    "error", [UnknownVariant("runtime", "onx", ["onnx"]), MissingExtra("torch", "train")]
)
def test_an_error_reaches_another_process_whole(error: EdgeBenchError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error)
    assert vars(again) == vars(error)
