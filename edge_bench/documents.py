"""Frozen dataclasses to plain documents (what JSON and TOML can say) and back.

One reader serves records and run files, so that an unknown key, a missing key or a wrong type
is told the same way everywhere: where it stands, what was given, what would work.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, Union, get_args, get_origin

from edge_bench.errors import ConfigError, did_you_mean

T = TypeVar("T")
_SCALARS = (int, float, str, bool)


def to_document(value: Any) -> Any:
    """Return `value` as dicts, lists and scalars; fields that hold None are left out.

    Leaving None out keeps the document, and so the digest, of a record stable when a later
    version of its class gains an optional field.
    """
    # First, since most of what a result holds are thousands of latencies.
    if type(value) in _SCALARS:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: to_document(item) for name, item in named if item is not None}
    if isinstance(value, Mapping):
        return {str(key): to_document(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_document(item) for item in value]
    return value


def from_document(kind: type[T], document: Any, *, where: str = "") -> T:
    """Build a `kind` (a dataclass, or any type its fields may have) from a plain document.

    Args:
        kind: the type wanted.
        document: dicts, lists and scalars, as `to_document` makes or JSON and TOML give.
        where: the dotted place of `document` inside a larger one, for messages.

    Raises:
        ConfigError: an unknown or missing key, or a value of another type.
    """
    return typing.cast(T, _build(kind, document, where))


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a record or document: sorted keys, no spaces."""
    return json.dumps(to_document(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any, *, length: int = 12) -> str:
    """Return the first `length` hexadecimal digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def _build(kind: Any, given: Any, where: str) -> Any:
    if kind is Any or isinstance(kind, TypeVar):
        return given
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _build_union(arguments, given, where)
    if origin is typing.Literal:
        if given not in arguments:
            known = ", ".join(map(repr, arguments))
            near = did_you_mean(str(given), map(str, arguments))
            raise ConfigError(f"{where} is {given!r}; it may be one of {known}.{near}")
        return given
    if origin is tuple:
        return _build_tuple(arguments, given, where)
    if origin in (list, Sequence):
        _expect(given, (list, tuple), "a list", where)
        return [_build(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(given)]
    if origin in (dict, Mapping):
        _expect(given, (dict,), "a table", where)
        return {key: _build(arguments[1], item, f"{where}.{key}") for key, item in given.items()}
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(typing.cast(type, kind), given, where)
    if kind is float and isinstance(given, int) and not isinstance(given, bool):
        return float(given)
    if kind is int and isinstance(given, bool):
        _expect(given, (), "a whole number", where)
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    _expect(given, (kind,), words.get(kind, kind.__name__), where)
    return given


def _build_dataclass(kind: type, given: Any, where: str) -> Any:
    _expect(given, (dict,), "a table", where)
    hints = _hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    for key in given:
        if key not in fields:
            place = f"{where}.{key}" if where else key
            raise ConfigError(
                f"unknown key '{place}'. Known: {', '.join(fields)}.{did_you_mean(key, fields)}"
            )
    missing = [
        name
        for name, field in fields.items()
        if name not in given
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        and type(None) not in get_args(hints[name])
    ]
    if missing:
        raise ConfigError(f"missing key '{f'{where}.' if where else ''}{missing[0]}'")
    built = {
        name: _build(hints[name], given[name], f"{where}.{name}" if where else name)
        if name in given
        else None
        for name, field in fields.items()
        if name in given or _required(field)
    }
    return kind(**built)


# Evaluating annotations takes longer than reading a block of latencies.
_hints = functools.lru_cache(typing.get_type_hints)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _build_union(arguments: tuple[Any, ...], given: Any, where: str) -> Any:
    if given is None and type(None) in arguments:
        return None
    error: ConfigError | None = None
    for kind in arguments:
        if kind is type(None):
            continue
        try:
            return _build(kind, given, where)
        except ConfigError as raised:
            error = error or raised
    raise error or ConfigError(f"{where} may not be {given!r}")


def _build_tuple(arguments: tuple[Any, ...], given: Any, where: str) -> tuple[Any, ...]:
    _expect(given, (list, tuple), "a list", where)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        # Thousands of latencies: what is of the right type already needs no closer look.
        if arguments[0] in _SCALARS and set(map(type, given)) <= {arguments[0]}:
            return tuple(given)
        arguments = (arguments[0],) * len(given)
    if len(arguments) != len(given):
        raise ConfigError(f"{where} has {len(given)} entries; it must have {len(arguments)}")
    pairs = zip(arguments, given, strict=True)
    return tuple(_build(kind, item, f"{where}[{index}]") for index, (kind, item) in enumerate(pairs))


def _expect(given: Any, kinds: tuple[type, ...], words: str, where: str) -> None:
    if not isinstance(given, kinds) or not kinds:
        raise ConfigError(f"{where or 'the document'} is {given!r}; it must be {words}")
