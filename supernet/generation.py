"""What a network in evaluation mode generates, decoded as its exported files are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edge_bench.records import TextInput
from edge_bench.text.decoding import greedy
from edge_bench.text.encoding import padded
from edge_bench.text.stepping import FileStepper, RecurrentStepper, stepper_of
from supernet.models import TextNetwork

BATCH = 100


@torch.inference_mode()
def translated(network: TextNetwork, rows: Sequence[Sequence[int]], text: TextInput) -> list[list[int]]:
    """Return the tokens that greedy decoding writes for each source of `rows`, begin and end left out.

    Sources are read in batches of about one length, so that little is padding.
    """
    told: list[list[int]] = [[] for _ in rows]
    order = np.argsort([len(row) for row in rows], kind="stable")
    reader, stepper = network.reader(), _stepper(network, text)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        source = padded([rows[row] for row in chosen], text.pad)
        memory = reader(torch.from_numpy(source))["memory"].numpy()
        stepper.start(len(chosen), memory=memory, source=source)
        # The begin takes a place of the sequence.
        written = greedy(stepper, len(chosen), begin=text.begin, end=text.end, limit=text.length - 1)
        for row, tokens in zip(chosen, written, strict=True):
            told[row] = tokens
    return told


def _stepper(network: TextNetwork, text: TextInput) -> FileStepper | RecurrentStepper:
    module = network.stepper()
    assert module is not None

    def run(feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        answers = module(**{name: torch.from_numpy(array) for name, array in feeds.items()})
        return {name: answer.numpy() for name, answer in answers.items()}

    return stepper_of(run, network.step(), room=text.length)
