"""A script that goes on with a text."""

from __future__ import annotations

from edge_bench.choose.snippets import Picked, Snippet, _texts

_RUN = """
given = tokens_of(" ".join(sys.argv[1:])) or [BEGIN]
if len(given) > LENGTH:
    sys.exit(f"the text has {len(given)} tokens; at most {LENGTH} will do")
print(tokenizer.decode(generate(given), skip_special_tokens=True))
"""


class LanguageModelling(Snippet):
    """Takes a text as its arguments and prints it with what the model goes on to say.

    It needs the file of steps alone: that of the network judges texts.
    """

    def script(self, picked: Picked) -> str:
        does = f"Go on with a text by {picked.step_file}: python run_model.py TEXT…"
        return _texts.head(picked, does, imports="sys") + _texts.generate(picked) + _RUN
