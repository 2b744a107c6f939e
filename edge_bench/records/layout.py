"""How a model file takes images: where its channels stand, how many there are, how large images are."""

from __future__ import annotations

from dataclasses import dataclass

from edge_bench.records.artifact import TensorSpec

CHANNELS = (1, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayout:
    """A square image [batch, …]: channels last or first. A `size` of None may be any."""

    channels: int
    channels_last: bool
    size: int | None


def image_layout(spec: TensorSpec, *, format: str, channels_last: bool | None = None) -> ImageLayout | None:
    """Return how an input takes images, or None where it takes no square image of 1 or 3 channels.

    Where both ends could be the channels, as in [1, 3, 3, 3], the format decides: TFLite files have
    them last, ONNX files first, unless it is known.
    """
    if len(spec.shape) != 4:
        return None
    _, first, middle, last = spec.shape
    ways = (
        (False, first, (middle, last)),
        (True, last, (first, middle)),
    )
    likely = format == "tflite" if channels_last is None else channels_last
    tried = [way for way in ways if channels_last is None or way[0] == channels_last]
    for last_ones, channels, sides in sorted(tried, key=lambda way: way[0] != likely):
        known = {side for side in sides if side is not None}
        if channels in CHANNELS and len(known) <= 1:
            return ImageLayout(channels=channels, channels_last=last_ones, size=next(iter(known), None))
    return None
