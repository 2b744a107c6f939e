"""what this machine can do, and what is missing with the line that installs it"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import edge_bench
from edge_bench import variants
from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.errors import GATE_FAILED, OK, ConfigError, MissingExtra
from edge_bench.files import Home, refused
from edge_bench.measure.environment import fingerprint
from edge_bench.measure.inspection import formats, missing_import, readers
from edge_bench.measure.kernel import UNAVAILABLE
from edge_bench.measure.runtimes import RUNTIMES
from edge_bench.measure.witness import witness

NAME = "edge-bench"
COMMANDS = "edge_bench.commands"
# Plays latencies from a script and loads no model.
SCRIPTED = "scripted"
# The extras that a command needs to do all it promises; one that is not here needs the base alone.
# They cannot be read from the command's imports: converters, data and predictors are loaded by name.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "extract": ("train",),
    "export": ("export",),
    "fit": ("choose", "export"),
    "pick": ("choose",),
    "dashboard": ("choose", "dashboard"),
    "quickstart": ("choose", "digits", "export", "train"),
}
# Need any runtime, whichever extra brings it.
MEASURES = ("bench", "bench_parity", "check", "compare")
LOAD_SECONDS = 120
_LOAD = (
    "import sys; sys.path.append(sys.argv[1]); from edge_bench import variants; "
    "from edge_bench.measure.runtimes import Runtime; "
    f"print(variants.load(Runtime, {RUNTIMES!r}, sys.argv[2])().version())"
)


class Doctor(Command):
    """Looks and changes nothing. Ends with 0 where the base works, whatever extras are missing."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        pass

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        extras = _extras()
        runtimes = [_runtime(name) for name in variants.names(RUNTIMES) if name != SCRIPTED]
        document: dict[str, Any] = {
            "edge_bench": edge_bench.__version__,
            "python": {"version": platform.python_version(), "executable": sys.executable},
            "machine": fingerprint(),
            "home": _home(context.home),
            "base": [_distribution(name) for name in sorted(_required()[""])],
            "extras": extras,
            "runtimes": runtimes,
            "packages": _packages(),
            "measuring": _measuring(),
            "commands": _commands(extras, runtimes),
        }
        document["problems"] = _problems(document)
        status = GATE_FAILED if document["problems"] else OK
        return Outcome(document=document, text=_told(document), status=status)


def _required() -> dict[str, set[str]]:
    """Return the distributions that each extra brings, those of the base under an empty name.

    From the installed distribution's own metadata; an extra that names other extras brings theirs.
    """
    direct: dict[str, set[str]] = {"": set()}
    others: dict[str, set[str]] = {}
    for line in importlib.metadata.requires(NAME) or ():
        name, inner = re.match(r"([\w.-]+)\s*(?:\[([^]]*)\])?", line).groups()  # type: ignore[union-attr]
        marker = re.search(r"extra\s*==\s*['\"]([\w.-]+)", line)
        extra = marker[1] if marker else ""
        direct.setdefault(extra, set())
        if name == NAME:
            others.setdefault(extra, set()).update(word.strip() for word in (inner or "").split(","))
        else:
            direct[extra].add(name)

    def brought(extra: str) -> set[str]:
        return direct.get(extra, set()).union(*(brought(other) for other in others.get(extra, ())))

    return {extra: brought(extra) for extra in direct}


def _extras() -> list[dict[str, Any]]:
    try:
        required = _required()
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(
            f"{NAME} is on the path but not installed, so its extras are not known",
            hint=f"pip install -e {_root()}",
        ) from None
    found = []
    for extra in (extra for extra in required if extra):
        missing = sorted(name for name in required[extra] if _distribution(name)["version"] is None)
        found.append(
            {"extra": extra, "installed": not missing, "missing": missing, "install": _install([extra])}
        )
    return found


def _install(extras: Sequence[str]) -> str:
    return f"pip install '{NAME}[{','.join(sorted(extras))}]'"


def _distribution(name: str) -> dict[str, Any]:
    try:
        return {"distribution": name, "version": importlib.metadata.version(name)}
    except importlib.metadata.PackageNotFoundError:
        return {"distribution": name, "version": None}


def _runtime(name: str) -> dict[str, Any]:
    """Return whether a runtime loads. It is tried in a child: a library may be there and crash."""
    found: dict[str, Any] = {"runtime": name, "works": False, "version": None, "problem": "", "install": ""}
    missing = missing_import(name)
    if missing:
        explained = variants.explain(ModuleNotFoundError(f"no {missing}", name=missing))
        install = explained.hint if isinstance(explained, MissingExtra) else f"pip install {missing}"
        return {**found, "problem": "not installed", "install": install}
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-c", _LOAD, str(_root()), name],
            capture_output=True,
            text=True,
            timeout=LOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {**found, "problem": f"did not load within {LOAD_SECONDS} s"}
    if child.returncode != 0:
        said = child.stderr.strip().splitlines()
        return {**found, "problem": said[-1] if said else f"loading ended with status {child.returncode}"}
    return {**found, "works": True, "version": child.stdout.split()[-1]}


def _home(home: Home) -> dict[str, Any]:
    """Say whether the home folder, or the nearest one above it that exists, takes files."""
    existing = next(path for path in (home.root, *home.root.parents) if path.exists())
    told = {"folder": str(home.root), "free_mb": round(shutil.disk_usage(existing).free / 1e6)}
    try:
        with tempfile.TemporaryFile(dir=existing):
            return {**told, "writable": True, "problem": ""}
    except OSError as error:
        return {**told, "writable": False, "problem": refused(error) or str(error)}


def _packages() -> list[dict[str, Any]]:
    """Say of each top-level package of ours whether it is ours alone, and whether it is what loads.

    Two of the five have common names; another distribution, or a folder on the path, may have the same.
    """
    owners = importlib.metadata.packages_distributions()
    listed = importlib.metadata.distribution(NAME).read_text("top_level.txt") or ""
    found = []
    for package in listed.split():
        others = sorted(set(owners.get(package, ())) - {NAME})
        spec = importlib.util.find_spec(package)
        folder = str(Path(spec.origin).resolve().parent) if spec and spec.origin else ""
        ours = not others and folder == str(_root() / package)
        found.append({"package": package, "ours": ours, "others": others, "folder": folder})
    return found


def _measuring() -> list[dict[str, Any]]:
    """Say which sources a benchmark's verdict can draw on here."""
    seen = witness()
    governor = fingerprint()["governor"]
    advice = {"performance": "the clock stays up", UNAVAILABLE: ""}
    rows: list[tuple[str, bool, str]] = [
        (
            "clock governor",
            governor != UNAVAILABLE,
            advice.get(governor, f"{governor}: 'performance' gives steadier latencies"),
        ),
        ("pressure (/proc/pressure/cpu)", seen.pressure_us is not None, "waiting tasks are noticed"),
        ("CPU time (/proc/stat)", seen.ticks is not None, "work of others and of the host is noticed"),
        ("run delay (schedstat)", seen.run_delay_ns is not None, "waiting for a CPU is told from sleeping"),
        ("CPU quota (cpu.stat)", seen.quota_us is not None, "a container's limit is noticed"),
        ("thermal zones", seen.temperature_c is not None, "temperatures are recorded"),
        (
            "throttling",
            seen.throttled is not None or seen.slowed is not None,
            "a CPU that is slowed to cool is noticed",
        ),
        ("clock frequency", seen.frequency is not None, "a falling clock is noticed"),
    ]
    return [
        {"source": source, "available": there, "tells": tells if there else ""}
        for source, there, tells in rows
    ]


def _commands(
    extras: Sequence[Mapping[str, Any]], runtimes: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    installed = {one["extra"] for one in extras if one["installed"]}
    measures = any(one["works"] for one in runtimes)
    found = []
    for name in variants.names(COMMANDS):
        missing = [extra for extra in NEEDS.get(name, ()) if extra not in installed]
        install = _install(missing) if missing else ""
        if name in MEASURES and not measures:
            usual = {readers(ending)[0] for one in runtimes for ending in formats(one["runtime"])}
            install = " or ".join(one["install"] for one in runtimes if one["runtime"] in usual)
        works = not missing and (name not in MEASURES or measures)
        found.append({"command": name.replace("_", "-"), "works": works, "install": install})
    return found


def _problems(document: Mapping[str, Any]) -> list[str]:
    problems = [
        f"'{one['distribution']}' is missing though edge-bench needs it: pip install {one['distribution']}"
        for one in document["base"]
        if one["version"] is None
    ]
    for one in document["packages"]:
        if one["others"]:
            problems.append(
                f"the package '{one['package']}' also comes with {', '.join(one['others'])}: "
                "install edge-bench in an environment of its own"
            )
        elif not one["ours"]:
            place = f"is taken from '{one['folder']}'" if one["folder"] else "is not found"
            problems.append(f"the package '{one['package']}' {place}, not from '{_root()}'")
    home = document["home"]
    if not home["writable"]:
        problems.append(
            f"'{home['folder']}' takes no files: {home['problem']}; "
            "name another folder by --home or EDGE_BENCH_HOME"
        )
    return problems


def _told(document: Mapping[str, Any]) -> str:
    machine, home, python = document["machine"], document["home"], document["python"]
    lines = [
        f"edge-bench {document['edge_bench']}, Python {python['version']} ({python['executable']})",
        f"{machine['cpu']}, {machine['usable_cores']} cores usable of {machine['logical_cores']}, "
        f"{machine['memory_mb']} MB memory, {machine['os']}",
        f"home {home['folder']}: {'takes files' if home['writable'] else home['problem']}, "
        f"{home['free_mb']} MB free",
    ]
    lines += [table([{**one, "works": _yes(one["works"])} for one in document["commands"]])]
    lines += [table([{**one, "works": _yes(one["works"])} for one in document["runtimes"]])]
    extras = [
        {
            "extra": one["extra"],
            "installed": _yes(one["installed"]),
            "install": "" if one["installed"] else one["install"],
        }
        for one in document["extras"]
    ]
    lines += [table(extras)]
    lines += [table([{**one, "available": _yes(one["available"])} for one in document["measuring"]])]
    lines += [f"problem: {one}" for one in document["problems"]] or ["the base works"]
    return "\n".join(lines)


def _yes(true: bool) -> str:
    return "yes" if true else "no"


def _root() -> Path:
    return Path(edge_bench.__file__).resolve().parents[1]
