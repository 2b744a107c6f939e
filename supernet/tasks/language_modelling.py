"""A running text, of which each token is foretold from those before it, judged by perplexity."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from edge_bench.data import TextSource
from edge_bench.errors import DataError
from edge_bench.records import Metric
from edge_bench.records.subnet import Split
from edge_bench.text.encoding import windows
from edge_bench.text.examples import RunningText
from edge_bench.text.perplexity import perplexity
from supernet.models import TextNetwork
from supernet.tasks import Rows
from supernet.tasks._text import TextTask

BATCH = 64


class LanguageModelling(TextTask):
    """Windows of the network's length, which begin at another place in each epoch."""

    unit = "windows"
    smoothing: ClassVar[float] = 0.0

    @classmethod
    def corpus(cls, source: TextSource) -> list[str]:
        # By lines, which keep their ends: a tokenizer is not learned from one text of millions of letters.
        return _text(source, "train").splitlines(keepends=True)

    def read(self) -> None:
        self.tokens = np.asarray(self._tokens("train"), np.int64)
        # One token more than a window holds is foretold from it, and epochs begin at unlike places.
        self.count = max((len(self.tokens) - self.text.length - 1) // self.text.length, 0)
        if not self.count:
            raise self._too_short("train", len(self.tokens))

    @property
    def examples(self) -> int:
        return self.count

    def order(self, generator: np.random.Generator, batch: int) -> Rows:
        """Return the first tokens of the windows rather than their numbers."""
        shift = int(generator.integers(self.text.length))
        firsts: Rows = generator.permutation(self.count) * self.text.length + shift
        return firsts

    def loss(self, network: TextNetwork, rows: Rows, share: slice) -> tuple[Tensor, int, int, int]:
        device = next(network.parameters()).device
        places = rows[share, None] + np.arange(self.text.length + 1)
        tokens = torch.from_numpy(self.tokens[places]).to(device)
        logits, targets = network(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()
        total = F.cross_entropy(logits, targets, label_smoothing=self.smoothed(), reduction="sum")
        right = int((logits.detach().argmax(1) == targets).sum())
        return total, len(targets), right, len(rows) * self.text.length

    def encode(self, split: Split) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        tokens = self._tokens(split)
        if len(tokens) < 2:
            raise self._too_short(split, len(tokens))
        return windows(tokens, self.text.length, pad=self.text.pad)

    @torch.inference_mode()
    def quality(self, network: TextNetwork, split: Split) -> Metric:
        inputs, targets, counted = self.encoded(split)
        surprise = 0.0
        for start in range(0, len(inputs), BATCH):
            part = slice(start, start + BATCH)
            logits = network(torch.from_numpy(inputs[part]))
            lost = F.cross_entropy(
                logits.flatten(0, 1), torch.from_numpy(targets[part]).flatten(), reduction="none"
            )
            surprise += float(lost.double()[torch.from_numpy(counted[part]).flatten()].sum())
        judged = int(counted.sum())
        return Metric(
            name="perplexity",
            value=perplexity(surprise, judged),
            higher_is_better=False,
            split=split,
            examples=judged,
        )

    def tokens_per_text(self, network: TextNetwork) -> float:
        """Return one window's tokens: a running text has no length of its own."""
        return float(self.text.length)

    def _tokens(self, split: Split) -> list[int]:
        return self.tokenizer.encode(_text(self.source, split))

    def _too_short(self, split: Split, tokens: int) -> DataError:
        return DataError(
            f"the {split} text has {tokens} tokens; a language model of {self.text.length} tokens needs "
            f"{2 * self.text.length + 1 if split == 'train' else 2} at least",
            hint="give more text, or a shorter sequence: --set model.length=N",
        )


def _text(source: TextSource, split: Split) -> str:
    text = source.load(split)
    assert isinstance(text, RunningText)
    return text.text
