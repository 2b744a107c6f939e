"""A script that tells the class of each image."""

from __future__ import annotations

import json
from string import Template

from edge_bench.choose.snippets import Picked, Snippet
from edge_bench.choose.snippets._onnx import OPTIONS
from edge_bench.records.layout import image_layout

_SCRIPT = Template('''"""Classify images with $file: python run_model.py IMAGE…   (pip install $packages)"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
$imports

CLASSES = json.loads($classes)
SIZE, CHANNELS = $size, $channels
MEAN = np.array($mean, np.float32)
STD = np.array($std, np.float32)


def prepare(path):
    """Return one image as float32 [$layout]."""
    image = Image.open(path).convert("L" if CHANNELS == 1 else "RGB")
    image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.float32).reshape(SIZE, SIZE, CHANNELS) / 255
    return np.ascontiguousarray($arranged)


$run

for path in sys.argv[1:]:
    logits = run(prepare(path))
    print(f"{path}: {CLASSES[int(logits.argmax())]}")
''')

_ONNX = (
    OPTIONS
    + """session = onnxruntime.InferenceSession(str(Path(__file__).with_name("$file")), options)


def run(image):
    return session.run(None, {session.get_inputs()[0].name: image.astype(np.$dtype)})[0][0]
"""
)

_TFLITE = """interpreter = Interpreter(str(Path(__file__).with_name("$file")))
interpreter.allocate_tensors()
GIVEN, ANSWERED = interpreter.get_input_details()[0], interpreter.get_output_details()[0]


def run(image):
    if GIVEN["quantization"][0]:
        scale, zero_point = GIVEN["quantization"]
        limits = np.iinfo(GIVEN["dtype"])
        image = np.clip(np.round(image / scale) + zero_point, limits.min, limits.max)
    image = image.astype(GIVEN["dtype"])
    interpreter.set_tensor(GIVEN["index"], image)
    interpreter.invoke()
    logits = interpreter.get_tensor(ANSWERED["index"])[0].astype(np.float32)
    if ANSWERED["quantization"][0]:
        scale, zero_point = ANSWERED["quantization"]
        logits = (logits - zero_point) * scale
    return logits
"""


class ImageClassification(Snippet):
    """Takes images and prints the class of each; it prepares them as `edge_bench.data.prepare` does."""

    def script(self, picked: Picked) -> str:
        artifact, preprocessing, file = picked.artifact, picked.preprocessing, picked.file
        assert preprocessing is not None
        onnx = artifact.format == "onnx"
        layout = image_layout(artifact.inputs[0], format=artifact.format) if artifact.inputs else None
        last = layout.channels_last if layout else not onnx
        dtype = artifact.inputs[0].dtype if artifact.inputs else "float32"
        normalized = "(pixels - MEAN) / STD"
        return _SCRIPT.substitute(
            file=file,
            packages="numpy pillow " + ("onnxruntime" if onnx else "ai-edge-litert"),
            imports="import onnxruntime" if onnx else "from ai_edge_litert.interpreter import Interpreter",
            # A class is a folder's name, so it may hold anything.
            classes=repr(json.dumps(list(artifact.class_names))),
            size=preprocessing.size,
            channels=preprocessing.channels,
            mean=list(preprocessing.mean),
            std=list(preprocessing.std),
            layout="1, size, size, channels" if last else "1, channels, size, size",
            arranged=f"({normalized})[None]" if last else f"({normalized}).transpose(2, 0, 1)[None]",
            run=Template(_ONNX if onnx else _TFLITE).substitute(file=file, dtype=dtype),
        )
