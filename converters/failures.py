"""What a converting library raised, as one line."""

from __future__ import annotations

from edge_bench.errors import ConversionError, UnsupportedOperator


def failed(format: str, error: Exception) -> ConversionError:
    """Return the error that says why a library could not convert, unsupported operators apart.

    The library's own first cause is told; what it raised around that is advice on its own bugs.
    """
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    told = lines[0] if lines else type(cause).__name__
    if "No ONNX function found" in told or "Lowering not found" in told:
        return UnsupportedOperator(f"the network has an operator without a form in {format}: {told}")
    return ConversionError(f"the network cannot be converted to {format}: {told}")
