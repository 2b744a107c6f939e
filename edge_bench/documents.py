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
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar, Union, get_args, get_origin

from edge_bench.errors import ConfigError, did_you_mean

T = TypeVar("T")
_SCALARS = (int, float, str, bool)
# Where a value stands: in what, and by which key or number. It is put into words only where that is told.
_Place: typing.TypeAlias = "str | tuple[_Place, str | int]"
_Reader = Callable[[Any, _Place], Any]


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
    return typing.cast(T, _reader(typing.cast(Hashable, kind))(document, where))


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a record or document: sorted keys, no spaces."""
    return json.dumps(to_document(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any, *, length: int = 12) -> str:
    """Return the first `length` hexadecimal digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


# Evaluating annotations takes longer than reading a block of latencies, so each type's reader is made once.
@functools.cache
def _reader(kind: Hashable) -> _Reader:
    """Return the function that reads values of a type."""
    if kind is Any or isinstance(kind, TypeVar):
        return lambda given, place: given
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _union_reader(arguments)
    if origin is typing.Literal:
        return _choice_reader(arguments)
    if origin is tuple:
        return _tuple_reader(arguments)
    if origin in (list, Sequence):
        return _list_reader(_reader(arguments[0]))
    if origin in (dict, Mapping):
        return _table_reader(_reader(arguments[1]))
    known = typing.cast(type, kind)
    return _dataclass_reader(known) if dataclasses.is_dataclass(known) else _plain_reader(known)


def _plain_reader(kind: type) -> _Reader:
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}

    def read(given: Any, place: _Place) -> Any:
        if type(given) is kind:
            return given
        if kind is float and isinstance(given, int) and not isinstance(given, bool):
            return float(given)
        kinds = () if kind is int and isinstance(given, bool) else (kind,)
        _expect(given, kinds, words.get(kind, kind.__name__), place)
        return given

    return read


def _choice_reader(choices: Sequence[Any]) -> _Reader:
    def read(given: Any, place: _Place) -> Any:
        if given not in choices:
            known = ", ".join(map(repr, choices))
            near = did_you_mean(str(given), map(str, choices))
            raise ConfigError(f"{_told(place)} is {given!r}; it may be one of {known}.{near}")
        return given

    return read


def _list_reader(item: _Reader) -> _Reader:
    def read(given: Any, place: _Place) -> Any:
        _expect(given, (list, tuple), "a list", place)
        return [item(one, (place, index)) for index, one in enumerate(given)]

    return read


def _table_reader(item: _Reader) -> _Reader:
    def read(given: Any, place: _Place) -> Any:
        _expect(given, (dict,), "a table", place)
        return {key: item(one, (place, key)) for key, one in given.items()}

    return read


def _union_reader(kinds: Sequence[Any]) -> _Reader:
    readers = [_reader(kind) for kind in kinds if kind is not type(None)]
    nullable = len(readers) < len(kinds)

    def read(given: Any, place: _Place) -> Any:
        if given is None and nullable:
            return None
        error: ConfigError | None = None
        for reader in readers:
            try:
                return reader(given, place)
            except ConfigError as raised:
                error = error or raised
        raise error or ConfigError(f"{_told(place)} may not be {given!r}")

    return read


def _tuple_reader(kinds: tuple[Any, ...]) -> _Reader:
    any_length = len(kinds) == 2 and kinds[1] is Ellipsis
    readers = [_reader(kind) for kind in kinds if kind is not Ellipsis]
    scalar = {kinds[0]} if any_length and kinds[0] in _SCALARS else set()

    def read(given: Any, place: _Place) -> Any:
        _expect(given, (list, tuple), "a list", place)
        # Thousands of latencies: what is of the right type already needs no closer look.
        if scalar and set(map(type, given)) <= scalar:
            return tuple(given)
        if any_length:
            return tuple(readers[0](item, (place, index)) for index, item in enumerate(given))
        if len(kinds) != len(given):
            raise ConfigError(f"{_told(place)} has {len(given)} entries; it must have {len(kinds)}")
        pairs = zip(readers, given, strict=True)
        return tuple(reader(item, (place, index)) for index, (reader, item) in enumerate(pairs))

    return read


def _dataclass_reader(kind: type) -> _Reader:
    def read(given: Any, place: _Place) -> Any:
        _expect(given, (dict,), "a table", place)
        # Not before it is needed: a record may hold others of its kind.
        readers, needed, without_default = _fields(kind)
        if not given.keys() <= readers.keys():
            key = next(key for key in given if key not in readers)
            known, near = ", ".join(readers), did_you_mean(key, readers)
            raise ConfigError(f"unknown key '{_told((place, key))}'. Known: {known}.{near}")
        if not needed <= given.keys():
            missing = next(name for name in readers if name in needed and name not in given)
            raise ConfigError(f"missing key '{_told((place, missing))}'")
        built = {name: read(given[name], (place, name)) for name, read in readers.items() if name in given}
        return kind(**dict.fromkeys(without_default - built.keys()), **built)

    return read


@functools.cache
def _fields(kind: type) -> tuple[Mapping[str, _Reader], frozenset[str], frozenset[str]]:
    """Return the readers of a dataclass' fields, which must be given, and which have no default."""
    hints = typing.get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.init]
    without_default = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    needed = {name for name in without_default if type(None) not in get_args(hints[name])}
    readers = {field.name: _reader(hints[field.name]) for field in fields}
    return readers, frozenset(needed), frozenset(without_default)


def _told(place: _Place) -> str:
    """Return a place as people write it: `stages[2].width`."""
    if isinstance(place, str):
        return place
    outer, key = _told(place[0]), place[1]
    if isinstance(key, int):
        return f"{outer}[{key}]"
    return f"{outer}.{key}" if outer else key


def _expect(given: Any, kinds: tuple[type, ...], words: str, place: _Place) -> None:
    if not isinstance(given, kinds) or not kinds:
        raise ConfigError(f"{_told(place) or 'the document'} is {given!r}; it must be {words}")
