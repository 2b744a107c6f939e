"""What the scripts of text models share: running a file, tokens of a text, and generating one by one."""

from __future__ import annotations

from string import Template

from edge_bench.choose.snippets import TOKENIZER, Picked
from edge_bench.choose.snippets._onnx import OPTIONS
from edge_bench.records import RecurrentStep

_HEAD = Template('''"""$does

pip install numpy tokenizers $runtime
"""

$imports

import numpy as np
$library
from tokenizers import Tokenizer

HERE = Path(__file__).parent
PAD, BEGIN, END = $pad, $begin, $end
# At most so many tokens in a text, those that begin and end it included.
LENGTH = $length


$model


tokenizer = Tokenizer.from_file(str(HERE / "$tokenizer"))
tokenizer.encode_special_tokens = True
tokenizer.no_padding()
tokenizer.no_truncation()


def tokens_of(text):
    """Return the numbers of a text's tokens, none of them standing for its begin or end."""
    return tokenizer.encode(text, add_special_tokens=False).ids
''')

_ONNX = (
    OPTIONS
    + '''

class Model:
    """A model file: given arrays by name it answers arrays, those of fewest dimensions first."""

    TYPES = {
        "tensor(float)": np.float32,
        "tensor(float16)": np.float16,
        "tensor(int64)": np.int64,
        "tensor(int32)": np.int32,
    }

    def __init__(self, file):
        self.session = onnxruntime.InferenceSession(str(HERE / file), options)

    def __call__(self, **given):
        inputs = self.session.get_inputs()
        feeds = {one.name: np.asarray(given[one.name], self.TYPES[one.type]) for one in inputs}
        return sorted(self.session.run(None, feeds), key=np.ndim)'''
)

_TFLITE = '''class Model:
    """A model file: given arrays by name it answers arrays, those of fewest dimensions first."""

    def __init__(self, file):
        self.interpreter = Interpreter(str(HERE / file))
        self.interpreter.allocate_tensors()

    def __call__(self, **given):
        for one in self.interpreter.get_input_details():
            name = re.sub("^serving_default_|:[0-9]+$", "", one["name"])
            array, (scale, zero_point) = np.asarray(given[name]), one["quantization"]
            if scale:
                limits = np.iinfo(one["dtype"])
                array = np.clip(np.round(array / scale) + zero_point, limits.min, limits.max)
            self.interpreter.set_tensor(one["index"], array.astype(one["dtype"]))
        self.interpreter.invoke()
        return sorted(map(self.answer, self.interpreter.get_output_details()), key=np.ndim)

    def answer(self, one):
        array, (scale, zero_point) = self.interpreter.get_tensor(one["index"]), one["quantization"]
        return (array.astype(np.float32) - zero_point) * scale if scale else array'''

_WHOLE = '''

def whole(text):
    """Return a text's tokens [1, length] as the network takes them, begun and ended."""
    row = [BEGIN, *tokens_of(text), END]
    if len(row) > LENGTH:
        $too_long
    return np.array([row$padding])
'''

_GENERATE = Template('''
step = Model($step_file)


def generate(tokens, **more):
    """Return `tokens` and the likeliest after them, until the end or as long as a text may be."""
    tokens = list(tokens)
    # The keys and values of all tokens so far.
    cache = np.zeros(($layers, 2, 1, $heads, LENGTH, $head_width), np.float32)
    for position in range(LENGTH - 1):
        logits, entry = step(token=[[tokens[position]]], position=[position], cache=cache, **more)
        cache[..., position : position + 1, :] = entry
        if position == len(tokens) - 1:
            tokens.append(int(logits[0].argmax()))
            if tokens[-1] == END:
                break
    return tokens
''')


_REMEMBER = Template('''
step = Model($step_file)


def generate(tokens):
    """Return `tokens` and the likeliest after them, until the end or as long as a text may be."""
    tokens = list(tokens)
    # What the network remembers of all tokens so far.
    state = np.zeros((1, $layers, 2, $width), np.float32)
    for position in range(LENGTH - 1):
        logits, state = step(token=[[tokens[position]]], state=state)
        if position == len(tokens) - 1:
            tokens.append(int(logits[0].argmax()))
            if tokens[-1] == END:
                break
    return tokens
''')


def head(picked: Picked, does: str, *, imports: str = "") -> str:
    """Return the script's first part: what it `does`, imports, the runtime and the tokenizer."""
    text = picked.text
    assert text is not None
    onnx = picked.artifact.format == "onnx"
    modules = [*(imports.split()), *([] if onnx else ["re"])]
    return _HEAD.substitute(
        does=does,
        runtime="onnxruntime" if onnx else "ai-edge-litert",
        imports="\n".join([*(f"import {name}" for name in sorted(modules)), "from pathlib import Path"]),
        library="import onnxruntime" if onnx else "from ai_edge_litert.interpreter import Interpreter",
        pad=text.pad,
        begin=text.begin,
        end=text.end,
        length=text.length,
        model=_ONNX if onnx else _TFLITE,
        tokenizer=TOKENIZER,
    )


def whole(picked: Picked) -> str:
    """Return the function that makes a text the network's input, as `edge_bench.text.encoding` does."""
    assert picked.text is not None
    inputs = picked.artifact.inputs
    fixed = picked.artifact.format == "tflite" or bool(inputs and inputs[0].shape[-1])
    too_long = (
        "row = [*row[: LENGTH - 1], END]"
        if picked.text.truncate
        else 'sys.exit(f"a text has {len(row)} tokens, begin and end included; at most {LENGTH} will do")'
    )
    return _WHOLE.replace("$too_long", too_long).replace(
        "$padding", " + [PAD] * (LENGTH - len(row))" if fixed else ""
    )


def generate(picked: Picked) -> str:
    """Return the function that generates a text, greedily."""
    step = picked.step
    assert step is not None
    if isinstance(step, RecurrentStep):
        return _REMEMBER.substitute(step_file=repr(picked.step_file), layers=step.layers, width=step.width)
    return _GENERATE.substitute(
        step_file=repr(picked.step_file),
        layers=step.layers,
        heads=step.heads,
        head_width=step.head_width,
    )
