"""A script that translates lines of text."""

from __future__ import annotations

from string import Template

from edge_bench.choose.snippets import Picked, Snippet, _texts

_RUN = Template("""
network = Model($file)

for line in fileinput.input(encoding="utf-8"):
    source = whole(line.rstrip("\\r\\n"))
    (memory,) = network(tokens=source)
    print(tokenizer.decode(generate([BEGIN], memory=memory, source=source), skip_special_tokens=True))
""")


class Translation(Snippet):
    """Reads files, or what stands on standard input, and prints the translation of each line.

    The network runs once a line, the file of steps once a token.
    """

    def script(self, picked: Picked) -> str:
        does = (
            f"Translate lines of text with {picked.file} and {picked.step_file}: "
            "python run_model.py FILE…, or stdin."
        )
        return (
            _texts.head(picked, does, imports="fileinput sys")
            + _texts.whole(picked)
            + _texts.generate(picked)
            + _RUN.substitute(file=repr(picked.file))
        )
