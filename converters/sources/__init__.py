"""Models made by other libraries, one file a kind: each turns them into a file that a runtime reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar


class Source(ABC):
    """A kind of model that must be converted before it runs.

    `recognises` looks and loads nothing. `convert` loads what is given, so it runs in the sandbox's
    child alone (`bring.converted`); its libraries are imported inside it, since every kind is asked
    whether it recognises a file. `needs_trust` says that to load one may run code it holds.
    """

    format: ClassVar[str]
    needs_trust: ClassVar[bool] = False

    @abstractmethod
    def recognises(self, given: Path) -> bool:
        """Say whether a file or folder looks like this kind."""

    @abstractmethod
    def convert(self, given: Path, target: Path) -> None:
        """Write `given` as a file in `format` to `target`.

        Raises:
            InvalidModel: it is none of this kind, or holds code.
            ConversionError: it has no form in the format.
        """
