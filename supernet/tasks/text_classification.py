"""Texts by class: a transformer encoder, judged by accuracy."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from edge_bench.data import TextSource
from edge_bench.records import Metric
from edge_bench.records.subnet import Split
from edge_bench.text.encoding import encoded, padded
from edge_bench.text.examples import LabelledTexts
from supernet.models import TextNetwork
from supernet.pretraining import drawing
from supernet.run import SMOOTHING
from supernet.tasks import Rows
from supernet.tasks._text import TextTask, by_length

BATCH = 128


class TextClassification(TextTask):
    """A text is read between its begin and its end; batches hold texts of about one length."""

    unit = "texts"
    smoothing: ClassVar[float] = SMOOTHING

    @classmethod
    def classes(cls, source: TextSource) -> tuple[str, ...]:
        return _labelled(source, "train").class_names

    @classmethod
    def corpus(cls, source: TextSource) -> list[str]:
        return list(_labelled(source, "train").texts)

    def read(self) -> None:
        train = _labelled(self.source, "train")
        for kind, generator in drawing(self.config.open_pretraining().values(), seed=self.config.seed):
            train = kind.texts(train, generator)
        self.rows = encoded(self.tokenizer, train.texts, self.text)
        self.labels, self.skipped = train.labels, train.skipped

    @property
    def examples(self) -> int:
        return len(self.rows)

    def order(self, generator: np.random.Generator, batch: int) -> Rows:
        return by_length([len(row) for row in self.rows], generator, batch)

    def loss(self, network: TextNetwork, rows: Rows, share: slice) -> tuple[Tensor, int, int, int]:
        device = next(network.parameters()).device
        own = rows[share]
        tokens = torch.from_numpy(padded([self.rows[row] for row in own], self.text.pad)).to(device)
        labels = torch.from_numpy(self.labels[own]).to(device)
        logits = network(tokens)
        total = F.cross_entropy(logits, labels, label_smoothing=self.smoothed(), reduction="sum")
        return total, len(own), int((logits.argmax(1) == labels).sum()), len(rows)

    def encode(self, split: Split) -> tuple[list[list[int]], npt.NDArray[np.int64]]:
        texts = _labelled(self.source, split)
        return encoded(self.tokenizer, texts.texts, self.text), texts.labels

    @torch.inference_mode()
    def quality(self, network: TextNetwork, split: Split) -> Metric:
        rows, labels = self.encoded(split)
        # Of about one length, so that little is padding.
        order = np.argsort([len(row) for row in rows], kind="stable")
        right = 0
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            logits = network(torch.from_numpy(padded([rows[row] for row in chosen], self.text.pad)))
            right += int((logits.argmax(1).numpy() == labels[chosen]).sum())
        return Metric(
            name="accuracy",
            value=right / len(rows),
            higher_is_better=True,
            split=split,
            examples=len(rows),
        )


def _labelled(source: TextSource, split: Split) -> LabelledTexts:
    texts = source.load(split)
    assert isinstance(texts, LabelledTexts)
    return texts
