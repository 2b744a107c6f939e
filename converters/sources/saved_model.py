"""TensorFlow: a SavedModel folder, by TensorFlow's own converter"""

from __future__ import annotations

from pathlib import Path

from converters.chatter import silenced
from converters.failures import failed
from converters.sources import Source
from edge_bench.errors import UnsupportedOperator


class SavedModel(Source):
    """A SavedModel's graph is a program that TensorFlow runs; here it runs in the sandbox's child alone."""

    format = "tflite"

    def recognises(self, given: Path) -> bool:
        return (given / "saved_model.pb").is_file()

    def convert(self, given: Path, target: Path) -> None:
        import tensorflow

        try:
            with silenced():
                content = tensorflow.lite.TFLiteConverter.from_saved_model(str(given)).convert()
        # The converter lets the errors of TensorFlow, MLIR and its own passes through.
        except Exception as error:
            if "Some ops are not supported by the native TFLite runtime" in str(error):
                raise UnsupportedOperator(
                    f"'{given.name}' has operators without a form in TFLite",
                    hint="convert it with tf.lite.OpsSet.SELECT_TF_OPS and import the .tflite file",
                ) from error
            raise failed("tflite", error) from error
        target.write_bytes(content)
