"""Keras: a .keras or .h5 file, by TensorFlow's own converter"""

from __future__ import annotations

from pathlib import Path

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
        import keras
        import tensorflow

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
    import zipfile

    import h5py

    if zipfile.is_zipfile(given):
        with zipfile.ZipFile(given) as archive:
            return b'"class_name": "Lambda"' in archive.read("config.json")
    if not h5py.is_hdf5(given):
        raise InvalidModel(f"'{given.name}' is no Keras file", hint="is the download complete?")
    with h5py.File(given, "r") as file:
        config = file.attrs.get("model_config", "")
    text = config.decode("utf-8", "replace") if isinstance(config, bytes) else str(config)
    return '"class_name": "Lambda"' in text
