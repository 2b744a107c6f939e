"""What can go wrong, as one tree; `cli.py` turns each into one line, a hint and an exit status.

A message says what was given and what would work; the hint says what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar

OK = 0
OUR_FAULT = 1
USAGE = 2
GATE_FAILED = 3
TOO_NOISY = 4
UNREACHABLE = 5
INVALID_MODEL = 6
INTERRUPTED = 130


class EdgeBenchError(Exception):
    """Base of every error that edge-bench raises on purpose.

    `status` is the exit status of the command that ends with it.
    """

    status: ClassVar[int] = OUR_FAULT

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        # For another process: by default the class would be called with the message alone.
        return _made_again, (type(self), self.args, self.__dict__)


class ConfigError(EdgeBenchError):
    """A run file, option or key that cannot be used."""

    status = USAGE


class UnknownVariant(ConfigError):
    """No file of that name lies in the folder of variants."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__(f"unknown {kind} '{name}'. Known: {', '.join(names)}.{did_you_mean(name, names)}")


class MissingExtra(EdgeBenchError):
    """A library that comes with an extra is not installed."""

    status = USAGE

    def __init__(self, wanted: str, extra: str) -> None:
        super().__init__(
            f"'{wanted}' is not installed; it comes with the extra '{extra}'",
            hint=f"pip install 'edge-bench[{extra}]'",
        )
        self.extra = extra


class InvalidArch(EdgeBenchError):
    """An architecture that its search space does not contain; names the block."""

    status = USAGE


class DataError(EdgeBenchError):
    """A file or row of data that cannot be read; says what was expected."""

    status = USAGE


class TrainingError(EdgeBenchError):
    """Loss not finite (phase and step named), or a checkpoint that belongs to another run."""


class ConversionError(EdgeBenchError):
    """An export that failed."""

    status = INVALID_MODEL


class UnsupportedOperator(ConversionError):
    """The format has no form for one of the network's operators."""


class ParityError(ConversionError):
    """The exported file does not answer as the network does."""


class BenchmarkError(EdgeBenchError):
    """A measurement that could not be made."""


class RuntimeUnavailable(BenchmarkError):
    """The runtime cannot open this format, or is not installed."""

    status = USAGE


class InvalidModel(BenchmarkError):
    """The file is no model that the runtime accepts."""

    status = INVALID_MODEL


class ModelCrashed(BenchmarkError):
    """The runtime died, ran out of its limits, or did not answer in time; the parent lives."""

    status = INVALID_MODEL


class DeviceUnreachable(BenchmarkError):
    """The device did not answer."""

    status = UNREACHABLE


class UnstableTiming(BenchmarkError):
    """The machine was too busy for a number to mean anything."""

    status = TOO_NOISY


class NotFittedError(EdgeBenchError):
    """A prediction was asked of a predictor that has seen no measurement."""

    status = USAGE


class StoreError(EdgeBenchError):
    """Something could not be written to or read from the store or its folder."""


class NoCandidate(EdgeBenchError):
    """Nothing fits the budget; the message names the nearest miss."""

    status = GATE_FAILED


def error_of(kind: str, message: str, hint: str) -> EdgeBenchError:
    """Return an error that another process told, as an object of the same class, or an `InvalidModel`."""
    found = globals().get(kind, InvalidModel)
    cls = found if isinstance(found, type) and issubclass(found, EdgeBenchError) else InvalidModel
    error = cls.__new__(cls)
    EdgeBenchError.__init__(error, message, hint=hint)
    return error


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest of `known`, or an empty string."""
    nearest = difflib.get_close_matches(given, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""


def _made_again(kind: type[EdgeBenchError], args: tuple[Any, ...], state: dict[str, Any]) -> EdgeBenchError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error
