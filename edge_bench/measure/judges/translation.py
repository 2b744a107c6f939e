"""BLEU of translations that the files generate: the network reads a source, the step writes."""

from __future__ import annotations

from dataclasses import dataclass

from edge_bench.data import TextSource
from edge_bench.errors import ConfigError
from edge_bench.measure.judges import Files, Judge
from edge_bench.measure.judges._shared import mismatch, tokenizer_of
from edge_bench.measure.text_runs import generated
from edge_bench.records.subnet import Metric, Split, TextInput
from edge_bench.text.bleu import bleu
from edge_bench.text.encoding import encoded
from edge_bench.text.examples import SentencePairs


@dataclass(frozen=True, kw_only=True)
class Translation(Judge):
    """One sentence at a time, greedily, or by a beam of `width` with its `length_penalty`."""

    width: int = 1
    length_penalty: float = 1.0

    def judge(self, files: Files, *, text: TextInput, data: TextSource, split: Split) -> Metric:
        examples = data.load(split)
        if not isinstance(examples, SentencePairs):
            raise mismatch(data, "translation")
        if files.step is None or files.step_record is None:
            raise ConfigError(
                f"'{files.network.name}' only reads a sentence; the file of its step, which writes the "
                "translation, is not there",
                hint="export the model again: it is written as two files",
            )
        tokenizer = tokenizer_of(files, text)
        told = generated(
            files.network,
            files.step,
            encoded(tokenizer, examples.sources, text),
            step=files.step_record,
            text=text,
            runtime=files.runtime,
            width=self.width,
            length_penalty=self.length_penalty,
        )
        translations = [tokenizer.decode(row) for row in told.rows]
        return Metric(
            name="bleu",
            value=bleu(translations, examples.targets).score,
            higher_is_better=True,
            split=split,
            examples=len(translations),
        )
