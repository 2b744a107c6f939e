"""Every weight is written, zeros too: what every runtime reads, and the file that compresses well."""

from __future__ import annotations

from converters.encodings import Encoding


class Dense(Encoding):
    """The file as it is converted."""

    formats = ("onnx", "tflite")
    precisions = ("fp32", "int8")
