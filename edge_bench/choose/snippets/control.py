"""A script that says what to do at each observation."""

from __future__ import annotations

from string import Template

from edge_bench.choose.snippets import Picked, Snippet
from edge_bench.choose.snippets._onnx import OPTIONS

_SCRIPT = Template('''"""Act in $environment by $file: python run_model.py < LINES   (pip install $packages)

Each line is an observation, $size numbers; an action is answered to each.
"""

import sys
from pathlib import Path

import numpy as np
$imports

$run

for line in sys.stdin:
    observation = np.array(line.split(), np.float32)
    if observation.shape != ($size,):
        sys.exit(f"an observation has {len(observation)} numbers; $size are expected")
    print(int(run(observation[None]).argmax()), flush=True)
''')

_ONNX = (
    OPTIONS
    + """session = onnxruntime.InferenceSession(str(Path(__file__).with_name("$file")), options)


def run(observation):
    return session.run(None, {session.get_inputs()[0].name: observation})[0][0]
"""
)

_TFLITE = """interpreter = Interpreter(str(Path(__file__).with_name("$file")))
interpreter.allocate_tensors()


def run(observation):
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], observation)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
"""


class Control(Snippet):
    """Reads observations and prints the likeliest action of each, as it is judged."""

    def script(self, picked: Picked) -> str:
        seen, file = picked.observation, picked.file
        assert seen is not None
        onnx = picked.artifact.format == "onnx"
        return _SCRIPT.substitute(
            file=file,
            size=seen.size,
            environment=seen.environment,
            packages="numpy " + ("onnxruntime" if onnx else "ai-edge-litert"),
            imports="import onnxruntime" if onnx else "from ai_edge_litert.interpreter import Interpreter",
            run=Template(_ONNX if onnx else _TFLITE).substitute(file=file),
        )
