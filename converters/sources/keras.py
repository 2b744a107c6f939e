"""Keras: a .keras or .h5 file, by TensorFlow's own converter"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converters.chatter import silenced
from converters.failures import failed
from converters.sources import Source
from edge_bench.errors import InvalidModel


class Keras(Source):
    """Loaded in Keras' safe mode: a Lambda layer is Python code inside the file, and is refused."""

    format = "tflite"

    def recognises(self, given: Path) -> bool:
        return given.suffix.lower() in (".keras", ".h5", ".hdf5") and given.is_file()

    def convert(self, given: Path, target: Path) -> None:
        import tensorflow
        from tensorflow import keras

        if _holds_lambda(given):
            raise InvalidModel(
                f"'{given.name}' has a Lambda layer, which is Python code inside the file",
                hint="build the layer from Keras' own ones and save again, or export to .tflite where "
                "you trust the code",
            )
        try:
            with silenced():
                model = keras.models.load_model(str(given), compile=False, safe_mode=True)
        # Keras raises whatever its layers raise.
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise InvalidModel(
                f"Keras refuses '{given.name}': {lines[0][:300]}",
                hint="layers of one's own are not loaded: save a SavedModel folder or export to .tflite",
            ) from error
        try:
            with silenced():
                content = tensorflow.lite.TFLiteConverter.from_keras_model(model).convert()
        except Exception as error:
            raise failed("tflite", error) from error
        target.write_bytes(content)


def _holds_lambda(given: Path) -> bool:
    """Look for a Lambda layer in the model's description, whatever safe mode does with it later."""
    import h5py

    try:
        if zipfile.is_zipfile(given):
            with zipfile.ZipFile(given) as archive:
                text = archive.read("config.json")
        else:
            with h5py.File(given, "r") as file:
                text = file.attrs["model_config"]
        return "Lambda" in _class_names(json.loads(text))
    except (OSError, KeyError, ValueError) as error:
        raise InvalidModel(
            f"'{given.name}' is no whole Keras model: {error}",
            hint="is the download complete? A file of weights alone is no model",
        ) from error


def _class_names(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        if "class_name" in config:
            yield str(config["class_name"])
        for value in config.values():
            yield from _class_names(value)
    elif isinstance(config, list):
        for value in config:
            yield from _class_names(value)
