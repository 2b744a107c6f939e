"""Perplexity of a running text, by consecutive windows of the model's length."""

from __future__ import annotations

from edge_bench.data import TextSource
from edge_bench.measure.judges import Files, Judge
from edge_bench.measure.judges._shared import mismatch, tokenizer_of
from edge_bench.measure.text_runs import surprise
from edge_bench.records.subnet import Metric, Split, TextInput
from edge_bench.text.encoding import windows
from edge_bench.text.examples import RunningText
from edge_bench.text.perplexity import perplexity


class LanguageModelling(Judge):
    """Every token but the text's first is foretold once, from those before it in its window; the first of
    a window from one token alone. The metric's examples are those tokens.
    """

    def judge(self, files: Files, *, text: TextInput, data: TextSource, split: Split) -> Metric:
        examples = data.load(split)
        if not isinstance(examples, RunningText):
            raise mismatch(data, "language_modelling")
        tokens = tokenizer_of(files, text).encode(examples.text)
        inputs, targets, counted = windows(tokens, text.length, pad=text.pad)
        told = surprise(files.network, inputs, targets, counted, runtime=files.runtime, pad=text.pad)
        return Metric(
            name="perplexity",
            value=perplexity(told.nats, told.tokens),
            higher_is_better=False,
            split=split,
            examples=told.tokens,
        )
