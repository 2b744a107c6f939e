"""What a device must not forget: JSON lines on its disk, written before anything is sent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from edge_bench.devices.job import Report
from edge_bench.documents import canonical_json, from_document, to_document
from edge_bench.errors import ConfigError
from edge_bench.files import explained, write_text


class Spool:
    """Reports that were not delivered, as they stood when the power went.

    Every line is on the disk before its method returns. A last line that was cut off is nothing:
    what it would have said had not happened yet. The file is emptied when nothing waits.
    """

    def __init__(self, path: Path) -> None:
        """Read what an earlier process left behind."""
        self.path = path
        self._waiting: dict[str, Report] = {}
        for document in _lines(path):
            self._apply(document)

    @property
    def waiting(self) -> tuple[Report, ...]:
        """The reports that nobody has taken yet, oldest first."""
        return tuple(self._waiting.values())

    def finished(self, report: Report) -> None:
        """Note how a job ended; the report waits until it is delivered."""
        self._write({"event": "finished", "report": to_document(report)})

    def delivered(self, report: Report) -> None:
        """Note that the controller has a report."""
        self._write({"event": "delivered", "report": report.id})
        if not self._waiting:
            write_text(self.path, "")

    def _write(self, document: dict[str, Any]) -> None:
        # First in mind: what a full disk does not take can still be delivered.
        self._apply(document)
        with explained(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                if file.tell() and not _ends_with_newline(self.path):
                    file.write(b"\n")
                file.write(f"{canonical_json(document)}\n".encode())
                file.flush()
                os.fsync(file.fileno())

    def _apply(self, document: dict[str, Any]) -> None:
        match document:
            case {"event": "finished", "report": told}:
                report = from_document(Report, told)
                self._waiting[report.id] = report
            case {"event": "delivered", "report": identity}:
                self._waiting.pop(identity, None)
            case _:
                raise ConfigError(f"'{self.path}' holds a line that no edge-bench of this version wrote")


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    documents = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            documents.append(json.loads(line))
        except ValueError:
            # Cut off by a crash; what follows it was written after a restart.
            continue
    return documents


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
