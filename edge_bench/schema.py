"""JSON Schema (2020-12) of what `documents.py` writes and reads, from the dataclasses themselves.

The two agree: what the schema refuses, reading refuses, save that a schema cannot say that a whole number
such as 1.0 is no integer.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Union, get_args, get_origin

_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}


def json_schema(kind: type) -> dict[str, Any]:
    """Return the schema of a dataclass' documents; its parts lie under `$defs`.

    Required is what has neither a default nor may be None: a document of an older version, which has
    fewer keys, fits too.

    Raises:
        TypeError: a field is of a type that documents do not know.
    """
    parts: dict[str, Any] = {}
    reference = _of(kind, parts)
    whole = parts.pop(reference["$ref"].rpartition("/")[2])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole, "$defs": parts}


def _of(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if kind is type(None):
        return {"type": "null"}
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(one, parts) for one in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        items = [_of(one, parts) for one in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if origin in (tuple, list, Sequence):
        return {"type": "array", "items": _of(arguments[0], parts)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _of(arguments[1], parts)}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in parts:
            parts[kind.__name__] = {}
            parts[kind.__name__] = _of_dataclass(kind, parts)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    raise TypeError(f"documents do not know {kind}")


def _of_dataclass(kind: type, parts: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.init]
    return {
        "title": kind.__name__,
        "description": inspect.getdoc(kind) or "",
        "type": "object",
        "properties": {field.name: _of(hints[field.name], parts) for field in fields},
        "required": [field.name for field in fields if _required(field, hints[field.name])],
        "additionalProperties": False,
    }


def _required(field: dataclasses.Field[Any], hint: Any) -> bool:
    defaulted = (field.default, field.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)
    return not defaulted and type(None) not in get_args(hint)
