"""What a model itself takes of memory, before any runtime adds its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes of all weights, and of the activations that must be held at once, of one example.

    A process takes more: the runtime itself, weights packed anew, memory got in large pieces.
    `activations_bytes` is None where a file does not tell the shapes of what it computes.
    """

    weights_bytes: int
    activations_bytes: int | None
