"""Variants: one file each in a folder, listed without importing, imported when asked for.

Nothing registers itself and no list is kept by hand: a file in the folder *is* the variant, and
the one class in it that derives from the folder's role is what `load` returns.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
from pathlib import Path
from typing import Any, TypeVar

from edge_bench.errors import MissingExtra, UnknownVariant

R = TypeVar("R")

# Where a library is imported under another name than it is installed by.
_DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "pil": "pillow",
    "flatbuffers": "ai-edge-litert",
    "yaml": "pyyaml",
    "mlperf_loadgen": "mlcommons-loadgen",
}


def names(package: str) -> tuple[str, ...]:
    """Return the names of the variants in `package`, sorted, importing none of them."""
    return tuple(sorted(path.stem for path in _folder(package).glob("*.py") if path.stem[0] != "_"))


def summary(package: str, name: str) -> str:
    """Return the first line of a variant's docstring without importing the file."""
    return (ast.get_docstring(syntax(package, name, role="variant")) or "").partition("\n")[0]


def syntax(package: str, name: str, *, role: str) -> ast.Module:
    """Return a variant's file as a syntax tree, without importing it; `role` is for the message.

    Raises:
        UnknownVariant: no such file; the nearest name is told.
    """
    stem = name.replace("-", "_")
    if stem not in (known := names(package)):
        raise UnknownVariant(role, name, known)
    return ast.parse((_folder(package) / f"{stem}.py").read_text(encoding="utf-8"))


def stated(package: str, name: str, attribute: str, *, role: str = "variant") -> Any:
    """Return the plain value of a class attribute that a variant's file states, without importing it.

    Raises:
        UnknownVariant: no such file; the nearest name is told.
        TypeError: the file states no such attribute.
    """
    for node in ast.walk(syntax(package, name, role=role)):
        if isinstance(node, ast.Assign) and any(ast.unparse(one) == attribute for one in node.targets):
            return ast.literal_eval(node.value)
    raise TypeError(f"{role} '{name}' states no {attribute}")


def load(role: type[R], package: str, name: str) -> type[R]:
    """Import the variant `name` of `package` and return its class.

    Args:
        role: the abstract class that every variant of the folder derives from.
        package: dotted name of the folder, e.g. "edge_bench.measure.runtimes".
        name: the file's name; a dash may stand for an underscore.

    Raises:
        UnknownVariant: no such file; the nearest name is told.
        MissingExtra: the file needs a library that is not installed.
    """
    stem = name.replace("-", "_")
    if stem not in (known := names(package)):
        raise UnknownVariant(role.__name__.lower(), name, known)
    try:
        module = importlib.import_module(f"{package}.{stem}")
    except ModuleNotFoundError as error:
        raise explain(error) from error
    found = [
        item
        for item in vars(module).values()
        if inspect.isclass(item)
        and issubclass(item, role)
        and item.__module__ == module.__name__
        and not item.__name__.startswith("_")
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__name__} holds {len(found)} public {role.__name__}s; it must be one")
    return found[0]


def explain(error: ModuleNotFoundError) -> Exception:
    """Return a `MissingExtra` with the install line where an extra brings the module, else `error`.

    The extras are read from the installed distribution's own metadata, so this list cannot age.
    """
    # Here, since every child of the sandbox imports this module and few come to this line: 45 ms of CPU.
    import importlib.metadata

    wanted = (error.name or "").partition(".")[0]
    distribution = _DISTRIBUTIONS.get(wanted.lower(), wanted).lower().replace("_", "-")
    for requirement in importlib.metadata.requires("edge-bench") or ():
        needed = re.match(r"[A-Za-z0-9._-]+", requirement)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if needed and extra and needed[0].lower().replace("_", "-") == distribution:
            return MissingExtra(wanted, extra[1])
    return error


def _folder(package: str) -> Path:
    # find_spec imports the parent packages only, never the variants.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no folder of variants called '{package}'", name=package)
    return Path(spec.submodule_search_locations[0])
