"""Sentences and their translations: an encoder and a decoder, judged by BLEU of greedy decoding."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edge_bench.data import TextSource
from edge_bench.records import Metric
from edge_bench.records.subnet import Split
from edge_bench.text.bleu import bleu
from edge_bench.text.encoding import encoded, padded
from edge_bench.text.examples import SentencePairs
from supernet.generation import translated
from supernet.models import TextNetwork
from supernet.run import SMOOTHING
from supernet.tasks import Rows
from supernet.tasks._text import TextTask, by_length


class Translation(TextTask):
    """Source and target share one vocabulary; batches hold pairs of about one length."""

    unit = "pairs"
    smoothing: ClassVar[float] = SMOOTHING

    @classmethod
    def corpus(cls, source: TextSource) -> list[str]:
        pairs = _pairs(source, "train")
        return [*pairs.sources, *pairs.targets]

    def read(self) -> None:
        pairs = _pairs(self.source, "train")
        self.sources = encoded(self.tokenizer, pairs.sources, self.text)
        self.targets = encoded(self.tokenizer, pairs.targets, self.text)
        self.skipped = pairs.skipped

    @property
    def examples(self) -> int:
        return len(self.sources)

    def order(self, generator: np.random.Generator, batch: int) -> Rows:
        lengths = [len(one) + len(other) for one, other in zip(self.sources, self.targets, strict=True)]
        return by_length(lengths, generator, batch)

    def loss(self, network: TextNetwork, rows: Rows, share: slice) -> tuple[Tensor, int, int, int]:
        device = next(network.parameters()).device
        own, pad = rows[share], self.text.pad
        source = torch.from_numpy(padded([self.sources[row] for row in own], pad)).to(device)
        target = torch.from_numpy(padded([self.targets[row] for row in own], pad)).to(device)
        logits, answers = network(source, target[:, :-1]).flatten(0, 1), target[:, 1:].flatten()
        total = F.cross_entropy(
            logits, answers, ignore_index=pad, label_smoothing=self.smoothed(), reduction="sum"
        )
        counted = answers != pad
        right = int(((logits.detach().argmax(1) == answers) & counted).sum())
        of_all = sum(len(self.targets[row]) - 1 for row in rows)
        return total, int(counted.sum()), right, of_all

    def encode(self, split: Split) -> tuple[list[list[int]], tuple[str, ...]]:
        pairs = _pairs(self.source, split)
        return encoded(self.tokenizer, pairs.sources, self.text), pairs.targets

    def quality(self, network: TextNetwork, split: Split) -> Metric:
        rows, targets = self.encoded(split)
        told = translated(network, rows, self.text)
        return Metric(
            name="bleu",
            value=bleu([self.tokenizer.decode(row) for row in told], targets).score,
            higher_is_better=True,
            split=split,
            examples=len(rows),
        )

    def tokens_per_text(self, network: TextNetwork) -> float:
        pairs = _pairs(self.source, "selection")
        # The end is generated too, the begin is not.
        return float(np.mean([len(self.tokenizer.encode(target)) + 1 for target in pairs.targets]))


def _pairs(source: TextSource, split: Split) -> SentencePairs:
    pairs = source.load(split)
    assert isinstance(pairs, SentencePairs)
    return pairs
