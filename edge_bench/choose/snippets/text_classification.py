"""A script that tells the class of each line of text."""

from __future__ import annotations

import json
from string import Template

from edge_bench.choose.snippets import Picked, Snippet, _texts

_RUN = Template("""
network = Model($file)
CLASSES = json.loads($classes)

for line in fileinput.input(encoding="utf-8"):
    text = line.rstrip("\\r\\n")
    (logits,) = network(tokens=whole(text))
    print(f"{CLASSES[int(logits[0].argmax())]}\\t{text}")
""")


class TextClassification(Snippet):
    """Reads files, or what stands on standard input, and prints each line behind its class."""

    def script(self, picked: Picked) -> str:
        does = f"Classify lines of text with {picked.file}: python run_model.py FILE…, or stdin."
        return (
            _texts.head(picked, does, imports="fileinput json sys")
            + _texts.whole(picked)
            + _RUN.substitute(
                file=repr(picked.file),
                # A class comes from a file of data, so it may hold anything.
                classes=repr(json.dumps(list(picked.artifact.class_names))),
            )
        )
