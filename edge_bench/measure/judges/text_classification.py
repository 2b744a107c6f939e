"""Accuracy: the share of texts that are put into their class."""

from __future__ import annotations

from edge_bench.data import TextSource
from edge_bench.errors import DataError, InvalidModel
from edge_bench.measure.judges import Files, Judge
from edge_bench.measure.judges._shared import mismatch, tokenizer_of
from edge_bench.measure.quality import accuracy
from edge_bench.measure.text_runs import answers
from edge_bench.records.subnet import Metric, Split, TextInput
from edge_bench.text.encoding import encoded
from edge_bench.text.examples import LabelledTexts


class TextClassification(Judge):
    """One text at a time, as a device runs it, without padding; files of a fixed length get it padded."""

    def judge(self, files: Files, *, text: TextInput, data: TextSource, split: Split) -> Metric:
        examples = data.load(split)
        if not isinstance(examples, LabelledTexts):
            raise mismatch(data, "text_classification")
        if files.class_names and examples.class_names != files.class_names:
            raise DataError(
                f"the data has the classes {', '.join(examples.class_names)}, the model "
                f"{', '.join(files.class_names)}",
                hint="name data with the classes that the model was trained on",
            )
        rows = encoded(tokenizer_of(files, text), examples.texts, text)
        logits = answers(files.network, rows, runtime=files.runtime, pad=text.pad)
        if logits.shape[1:] != (len(examples.class_names),):
            raise InvalidModel(
                f"'{files.network.name}' answers {logits.shape[1:]} to a text; the data has "
                f"{len(examples.class_names)} classes"
            )
        return accuracy(logits, examples.labels, split=split)
