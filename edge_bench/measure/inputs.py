"""Inputs for a model of which nothing but its tensors is known, and integers as real numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench.errors import ConfigError
from edge_bench.records.artifact import Artifact, TensorSpec

# Where a file leaves a side open: images of this side, sequences of this length.
FREE_IMAGE_SIDE = 224
FREE_LENGTH = 128
# Inputs of a text model's files, as `records.Step` and `RecurrentStep` name them: those that hold tokens,
# and three more.
TOKEN, POSITION, CACHE, STATE = "token", "position", "cache", "state"
TOKENS = frozenset({"tokens", TOKEN, "source"})
# What TensorFlow's converters put around the name of an input.
_NAME = re.compile(r"(?:serving_default_)?(.+?)(?::\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeding:
    """What is told of a text model's random inputs: `length` tokens a sequence, each below `vocabulary`.

    `pad` is no token of a text. In the graph of a step the cache has room for `length` tokens.
    """

    length: int | None = None
    vocabulary: int | None = None
    pad: int = 0


# A file of which nothing is told.
UNTOLD = Feeding()


def feeding_of(artifact: Artifact | None, length: int | None = None) -> Feeding:
    """Return what the record of a file tells of its inputs; a `length` that is asked for goes before.

    Raises:
        ConfigError: the model was made for shorter texts.
    """
    text = artifact.text if artifact else None
    if artifact is None or text is None:
        return Feeding(length=length)
    if length is not None and length > text.length:
        raise ConfigError(
            f"'{artifact.name}' takes texts of up to {text.length} tokens, not of {length}",
            hint=f"--length {text.length}, or less",
        )
    return Feeding(length=length or text.length, vocabulary=text.vocabulary, pad=text.pad)


def unusual_length(artifact: Artifact | None, length: int | None) -> int | None:
    """Return the length that is asked for where it is not the one a file is run on anyway."""
    usual = artifact.text.length if artifact and artifact.text else FREE_LENGTH
    return None if length == usual else length


def random_feeds(
    specs: Sequence[TensorSpec], *, batch: int, feeding: Feeding = UNTOLD, seed: int = 0
) -> dict[str, npt.NDArray[np.generic]]:
    """Return random inputs by name, the same for the same seed.

    Real numbers are uniform in 0…1; quantized integers take their whole range; tokens all that the
    vocabulary has but the padding; other integers are 0 or 1, which every table of tokens, mask and
    segment holds. The position in a cache is its last.

    Raises:
        ConfigError: no input takes sequences of `feeding.length`.
    """
    _check_length(specs, feeding)
    generator = np.random.default_rng(seed)
    return {
        spec.name: _position(specs, spec, batch, feeding)
        if plain_name(spec.name) == POSITION and any(_is_cache(one) for one in specs)
        else _random(spec, batch, feeding, generator)
        for spec in specs
    }


def concrete_shape(spec: TensorSpec, batch: int, feeding: Feeding = UNTOLD) -> tuple[int, ...]:
    """Return the shape to feed: an open side for examples is the batch, others a usual size."""
    usual = FREE_IMAGE_SIDE if len(spec.shape) == 4 else feeding.length or FREE_LENGTH
    axis = batch_axis(spec.shape)
    return tuple(
        side if side is not None else batch if place == axis else usual
        for place, side in enumerate(spec.shape)
    )


def batch_axis(shape: Sequence[int | None]) -> int:
    """Return which side counts the examples: the first, but the third of keys and values.

    Those are [layers, 2, batch, heads, room, width of a head], as `records.Step` says.
    """
    return 2 if len(shape) == 6 and shape[1] == 2 else 0


def fixed_batch_of(spec: TensorSpec) -> int | None:
    """Return how many examples a tensor is fixed at; None of one that is open, or counts none."""
    if not spec.shape or plain_name(spec.name) == POSITION:
        return None
    return spec.shape[batch_axis(spec.shape)]


def plain_name(name: str) -> str:
    """Return a tensor's name without what converters put around it."""
    match = _NAME.fullmatch(name)
    return match[1] if match else name


def quantized(real: npt.NDArray[Any], spec: TensorSpec) -> npt.NDArray[np.generic]:
    """Return inputs as the tensor `spec` takes them, any shape; whole numbers stay what they are."""
    dtype = np.dtype(spec.dtype)
    if spec.scale is None or dtype.kind not in "iu" or real.dtype.kind in "iu":
        return real.astype(dtype)
    limits = np.iinfo(dtype)
    raw = np.rint(real / np.float32(spec.scale)) + (spec.zero_point or 0)
    return np.asarray(raw.clip(limits.min, limits.max), dtype)


def dequantized(raw: npt.NDArray[Any], spec: TensorSpec) -> npt.NDArray[np.float32]:
    """Return what the tensor `spec` answered as real numbers, any shape."""
    if spec.scale is None or raw.dtype.kind not in "iu":
        return raw.astype(np.float32)
    centred = raw.astype(np.float32) - np.float32(spec.zero_point or 0)
    return centred * np.float32(spec.scale)


def _check_length(specs: Sequence[TensorSpec], feeding: Feeding) -> None:
    """Raise unless an input takes sequences of the length that is told."""
    # What a recurrent step remembers is of one size, however long the text.
    if feeding.length is None or {TOKEN, STATE} == {plain_name(spec.name) for spec in specs}:
        return
    takes: set[int | None] = set()
    for spec in specs:
        if len(spec.shape) != 4:
            takes.update(side for at, side in enumerate(spec.shape) if at != batch_axis(spec.shape))
    if not takes & {None, feeding.length}:
        names = ", ".join(f"'{spec.name}' {[side or 'any' for side in spec.shape]}" for spec in specs)
        raise ConfigError(
            f"the model takes no sequences of {feeding.length}; its inputs are {names}",
            hint="leave out --length",
        )


def _is_cache(spec: TensorSpec) -> bool:
    return plain_name(spec.name) == CACHE and len(spec.shape) == 6


def _position(
    specs: Sequence[TensorSpec], spec: TensorSpec, batch: int, feeding: Feeding
) -> npt.NDArray[np.generic]:
    room = next(concrete_shape(one, batch, feeding)[4] for one in specs if _is_cache(one))
    return np.full(concrete_shape(spec, 1, feeding), room - 1, np.dtype(spec.dtype))


def _random(
    spec: TensorSpec, batch: int, feeding: Feeding, generator: np.random.Generator
) -> npt.NDArray[np.generic]:
    shape, dtype = concrete_shape(spec, batch, feeding), np.dtype(spec.dtype)
    if dtype.kind == "f":
        return np.asarray(generator.random(shape), dtype)
    if dtype.kind in "iu" and spec.scale is not None and dtype.itemsize == 1:
        limits = np.iinfo(dtype)
        return np.asarray(generator.integers(limits.min, limits.max, shape, endpoint=True), dtype)
    if feeding.vocabulary is not None and feeding.vocabulary > 1 and plain_name(spec.name) in TOKENS:
        drawn = generator.integers(0, feeding.vocabulary - 1, shape)
        return np.asarray(drawn + (drawn >= feeding.pad), dtype)
    return np.asarray(generator.integers(0, 2, shape), dtype)
