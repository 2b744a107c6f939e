"""Fitted latency predictors that come with devices, as plain documents that the core understands.

A file is `predictors/DEVICE.WHAT.json`: before the first point the id of a device, then what tells the
device's predictors apart.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from device_profiles.profile import ProfileError

PREDICTORS = Path(__file__).parent / "predictors"


def predictor_documents(device: str, folder: Path = PREDICTORS) -> list[dict[str, Any]]:
    """Return the documents of a device's predictors, in the order of their file names; often none.

    Raises:
        ProfileError: a file holds no JSON document.
    """
    documents = []
    for path in sorted(folder.glob("*.json")):
        if path.name.partition(".")[0] != device:
            continue
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ProfileError(f"'{path}' is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise ProfileError(f"'{path}' holds no document")
        documents.append(document)
    return documents


def predicted_devices(folder: Path = PREDICTORS) -> tuple[str, ...]:
    """Return the ids of all devices that a predictor comes with, sorted, reading none."""
    return tuple(sorted({path.name.partition(".")[0] for path in folder.glob("*.json")}))
