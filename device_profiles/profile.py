"""A device as data: one TOML file each, every fact with its source.

Nothing is registered: a file in `devices/` is a device, its name is the id. This package stands
alone, so it has its own errors and its own strict reader; the command line translates the errors.
"""

from __future__ import annotations

import difflib
import tomllib
import typing
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

FOLDER = Path(__file__).parent / "devices"
V = TypeVar("V")
LatencySource = Literal["measured", "predicted", "imported", "published", "none"]


class ProfileError(Exception):
    """A device file that cannot be used; says where, what was given and what would work."""


class UnknownDevice(ProfileError):
    """No file of that name lies in the folder of devices; the nearest is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact(Generic[V]):
    """What is known of a device, and the public source that says so."""

    value: V
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Latencies of this device that somebody has published, and where."""

    what: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """A device. A fact that no source tells is None.

    `latency_source` says where the latencies that edge-bench gives for it come from: "imported" are
    those of whole models, "published" those that only networks of other search spaces have, "none" where
    it gives none. `reported_as` are the names that published tables and other programs give it. With
    `read_here` the device is the machine that edge-bench runs on: the file holds no facts, they are read
    on the spot. `ram_mb` counts millions of bytes; `runtimes`, `threads` and `batches` (images at once)
    are those that its latencies were measured with.
    """

    id: str
    name: str
    latency_source: LatencySource
    read_here: bool = False
    reported_as: tuple[str, ...] = ()
    soc: Fact[str] | None = None
    cpu: Fact[str] | None = None
    isa: Fact[str] | None = None
    cores: Fact[int] | None = None
    ram_mb: Fact[float] | None = None
    accelerator: Fact[str] | None = None
    runtimes: Fact[tuple[str, ...]] | None = None
    threads: Fact[tuple[int, ...]] | None = None
    batches: Fact[tuple[int, ...]] | None = None
    published: tuple[Published, ...] = ()

    def facts(self) -> dict[str, Fact[Any]]:
        """Return the facts that are known, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if isinstance(value, Fact)}


def names(folder: Path = FOLDER) -> tuple[str, ...]:
    """Return the ids of all devices, sorted, reading none of them."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def load(name: str, folder: Path = FOLDER) -> DeviceProfile:
    """Read the device `name`.

    Raises:
        UnknownDevice: no such file; the nearest name is told.
        ProfileError: the file is no TOML, or a key or value does not fit.
    """
    if name not in (known := names(folder)):
        near = _did_you_mean(name, known)
        raise UnknownDevice(f"unknown device '{name}'. Known: {', '.join(known)}.{near}")
    path = folder / f"{name}.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return _profile(name, document)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"'{path}' is not TOML: {error}") from error
    except ProfileError as error:
        raise ProfileError(f"'{path}': {error}") from error


def _profile(name: str, document: dict[str, Any]) -> DeviceProfile:
    hints = typing.get_type_hints(DeviceProfile)
    del hints["id"]
    _check_keys(document, hints, ("name", "latency_source"), "")
    read: dict[str, Any] = {key: _read(hints[key], given, key) for key, given in document.items()}
    profile = DeviceProfile(id=name, **read)
    if profile.read_here and (told := profile.facts()):
        raise ProfileError(
            f"'{next(iter(told))}' is given, but read_here says that facts are read on the spot"
        )
    return profile


def _read(kind: Any, given: Any, where: str) -> Any:
    """Return what a key of type `kind` holds; `where` is its dotted place, for messages."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if type(None) in arguments:
        return _read(arguments[0], given, where)
    if origin is Literal:
        return _one_of(arguments, given, where)
    if origin is tuple:
        _expect(given, list, "a list", where)
        return tuple(_read(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(given))
    if origin is Fact:
        value, source = _sourced(given, "value", where)
        return Fact(value=_read(arguments[0], value, f"{where}.value"), source=source)
    if kind is Published:
        what, source = _sourced(given, "what", where)
        return Published(what=_read(str, what, f"{where}.what"), source=source)
    words = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    if kind is float and type(given) is int:
        return float(given)
    _expect(given, kind, words[kind], where)
    return given


def _sourced(given: Any, key: str, where: str) -> tuple[Any, str]:
    """Return the value and the source in a table of exactly these two; the source is never empty."""
    _expect(given, dict, f"a table of '{key}' and 'source'", where)
    _check_keys(given, (key, "source"), (key, "source"), where)
    source = _read(str, given["source"], f"{where}.source")
    if not source.strip():
        raise ProfileError(f"{where}.source is empty; every fact names its public source")
    return given[key], source


def _check_keys(given: dict[str, Any], known: Iterable[str], required: Iterable[str], where: str) -> None:
    names = list(known)
    place = f"{where}." if where else ""
    for key in given:
        if key not in names:
            near = _did_you_mean(key, names)
            raise ProfileError(f"unknown key '{place}{key}'. Known: {', '.join(names)}.{near}")
    for key in required:
        if key not in given:
            raise ProfileError(f"missing key '{place}{key}'")


def _one_of(choices: tuple[str, ...], given: Any, where: str) -> str:
    if given not in choices:
        near = _did_you_mean(str(given), choices)
        raise ProfileError(f"{where} is {given!r}; it may be one of {', '.join(choices)}.{near}")
    return str(given)


def _expect(given: Any, kind: type, words: str, where: str) -> None:
    # `type`, not `isinstance`: true is no whole number.
    if type(given) is not kind:
        raise ProfileError(f"{where} is {given!r}; it must be {words}")


def _did_you_mean(given: str, known: Iterable[str]) -> str:
    # Device names are long and abbreviated boldly ('rpi4'), so that a loose likeness counts.
    nearest = difflib.get_close_matches(given.lower(), list(known), n=1, cutoff=0.4)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""
