"""Options that say how images become a file's inputs, and its outputs classes."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge_bench.errors import ConfigError
from edge_bench.measure.adoption import LAYOUTS, Seeing

OPTIONS = "--labels, --size, --layout, --mean and --std"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="the name of each output, one a line (default: the data's classes in their order)",
    )
    parser.add_argument(
        "--size", type=int, metavar="PIXELS", help="where the file takes images of any size"
    )
    parser.add_argument(
        "--layout", choices=sorted(LAYOUTS), help="where the channels stand (default: as the shape shows)"
    )
    numbers = "one number, or one a channel with commas"
    parser.add_argument("--mean", metavar="X[,X,X]", help=f"of pixels between 0 and 1: {numbers}")
    parser.add_argument(
        "--std",
        metavar="X[,X,X]",
        help=f"an input is (pixel / 255 - mean) / std: {numbers} (default: from a quantized input's "
        "range, else mean 0 and std 1)",
    )


def seeing_of(options: argparse.Namespace) -> Seeing:
    """Return what the options say; `ConfigError` for what cannot be meant."""
    return Seeing(
        size=_positive(options.size),
        mean=_numbers("--mean", options.mean),
        std=_numbers("--std", options.std),
        layout=options.layout,
    )


def labels_of(options: argparse.Namespace) -> list[str]:
    """Return the lines of the file of labels, or none where none is named."""
    return _names(options.labels) if options.labels else []


def _names(path: Path) -> list[str]:
    try:
        lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--labels '{path}' cannot be read as text: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise ConfigError(f"{option} is '{text}'; numbers are expected, e.g. 0.5 or 0.5,0.4,0.4") from None
    if option == "--std" and not all(value > 0 for value in values):
        raise ConfigError(f"--std is '{text}'; numbers above 0 are expected")
    return values


def _positive(size: int | None) -> int | None:
    if size is not None and not 1 <= size <= 4096:
        raise ConfigError(f"--size is {size}; from 1 to 4096 pixels are expected")
    return size
