"""A TFLite file as the objects of its schema, and back."""

from __future__ import annotations

import flatbuffers
from ai_edge_litert import schema_py_generated as schema


def read(content: bytes) -> schema.ModelT:
    """Return a file as objects."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def written(model: schema.ModelT, size: int) -> bytes:
    """Return objects as a file; `size` is about how many bytes it will have."""
    builder = flatbuffers.Builder(size)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
