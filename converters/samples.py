"""Real texts as inputs of a network and of its step, to compare a file with its program on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.answering import Arrays
from converters.programs import MEMORY, Named
from edge_bench.data import Texts
from edge_bench.records import AnyStep, TextInput
from edge_bench.text.encoding import encoded, padded, windows
from edge_bench.text.examples import LabelledTexts, RunningText, SentencePairs
from edge_bench.text.stepping import stepper_of
from edge_bench.text.tokenizer import Tokenizer

BATCH = 8
EXAMPLES = 2 * BATCH
# More than a cache has room for before it first grows.
STEPS = 18
STEPPED_ALONE = 2

Cases = dict[int, list[Arrays]]
Rows = list[list[int]]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Texts of the selection split as tokens: `read` by the network, `generated` one by one."""

    text: TextInput
    read: Rows
    generated: Rows

    @classmethod
    def of(cls, examples: Texts, tokenizer: Tokenizer, text: TextInput) -> Samples:
        """Take the first texts of some; where they are fewer, some twice.

        Raises:
            DataError: a text is too long and not to be cut.
        """
        match examples:
            case LabelledTexts(texts=texts):
                read = encoded(tokenizer, texts[:EXAMPLES], text)
                generated: Rows = []
            case SentencePairs(sources=sources, targets=targets):
                read = encoded(tokenizer, sources[:EXAMPLES], text)
                generated = encoded(tokenizer, targets[:EXAMPLES], text)
            case RunningText(text=running):
                inputs, _, _ = windows(tokenizer.encode(running), text.length, pad=text.pad)
                read = generated = inputs[:EXAMPLES].tolist()
        return cls(text=text, read=_enough(read), generated=_enough(generated))

    def of_network(self, *, free: bool) -> Cases:
        """Return the network's inputs, alone and (where batch and length are free) in batches."""
        length = None if free else self.text.length
        alone: list[Arrays] = [{"tokens": padded([row], self.text.pad, length)} for row in self.read]
        if not free:
            return {1: alone}
        batches = [self.read[start : start + BATCH] for start in range(0, EXAMPLES, BATCH)]
        return {1: alone, BATCH: [{"tokens": padded(rows, self.text.pad)} for rows in batches]}

    def of_step(self, network: Named, stepping: Named, step: AnyStep, *, free: bool) -> Cases:
        """Return the step's inputs as they come while these texts are generated, alone and in batches."""
        alone = [
            feeds
            for row in range(STEPPED_ALONE)
            for feeds in self._generated(network, stepping, step, slice(row, row + 1), free=free)
        ]
        if not free:
            return {1: alone}
        return {1: alone, BATCH: self._generated(network, stepping, step, slice(BATCH), free=free)}

    def _generated(
        self, network: Named, stepping: Named, step: AnyStep, share: slice, *, free: bool
    ) -> list[Arrays]:
        taken: list[Arrays] = []

        def run(feeds: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
            # What is remembered is one buffer that the next step writes to.
            taken.append({name: array.copy() for name, array in feeds.items()})
            return stepping.answers(feeds)

        length = None if free else self.text.length
        source = padded(self.read[share], self.text.pad, length)
        tokens = padded(self.generated[share], self.text.pad)[:, :STEPS]
        stepper = stepper_of(run, step, room=self.text.length, fixed=not free)
        if MEMORY in network.signature.outputs:
            stepper.start(len(source), memory=network.answers({"tokens": source})[MEMORY], source=source)
        else:
            stepper.start(len(source))
        for position in range(tokens.shape[1]):
            stepper.step(tokens[:, position], position)
        return taken


def _enough(rows: Sequence[list[int]]) -> Rows:
    return [rows[place % len(rows)] for place in range(EXAMPLES)] if rows else []
