"""Tiny transformers made by hand, as the programs that a subnet of each task is."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from edge_bench.records import Step

WIDTH, HEADS, LAYERS, VOCABULARY, LENGTH, CLASSES = 8, 2, 2, 12, 9, 3


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def read(self, x: Tensor) -> Tensor:
        """Return keys and values [2, n, heads, tokens, width of a head]."""
        return torch.stack([self.heads(self.key(x)), self.heads(self.value(x))])

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)

    def forward(self, x: Tensor, read: Tensor, mask: Tensor) -> Tensor:
        seen = F.scaled_dot_product_attention(self.heads(self.query(x)), read[0], read[1], attn_mask=mask)
        return x + self.output(seen.transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.attentions = nn.ModuleList(Attention() for _ in range(LAYERS))
        self.crossing = nn.ModuleList(Attention() for _ in range(LAYERS))
        self.linears = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))
        self.classes, self.words = nn.Linear(WIDTH, CLASSES), nn.Linear(WIDTH, VOCABULARY)

    def encoded(self, tokens: Tensor) -> Tensor:
        mask = mask_of(tokens != 0)[:, None, None, :]
        x = self.embedded(tokens)
        for attention, linear in zip(self.attentions, self.linears, strict=True):
            x = torch.relu(linear(attention(x, attention.read(x), mask)))
        return x

    def embedded(self, tokens: Tensor) -> Tensor:
        return self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))


class Classifier(Transformer):
    def forward(self, tokens: Tensor) -> Tensor:
        return self.classes(self.encoded(tokens)[:, 0])


class LanguageModel(Transformer):
    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1])
        mask = mask_of(places[:, None] >= places[None, :])
        x = self.embedded(tokens)
        for attention, linear in zip(self.attentions, self.linears, strict=True):
            x = torch.relu(linear(attention(x, attention.read(x), mask)))
        return self.words(x)


class Reader(Transformer):
    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        x = self.encoded(tokens)
        return {"memory": torch.stack([crossing.read(x) for crossing in self.crossing])}


class LanguageModelStep(Transformer):
    def forward(self, token: Tensor, position: Tensor, cache: Tensor) -> dict[str, Tensor]:
        return self.stepped(token, position, cache, None, None)

    def stepped(
        self, token: Tensor, position: Tensor, cache: Tensor, memory: Tensor | None, source: Tensor | None
    ) -> dict[str, Tensor]:
        places = torch.arange(cache.shape[4] + 1)
        mask = mask_of((places < position) | (places == cache.shape[4]))[None, None, None]
        x = self.tokens(token) + self.places(position)
        new = []
        for place, attention in enumerate(self.attentions):
            own = attention.read(x)
            new.append(own)
            x = attention(x, torch.cat((cache[place], own), dim=3), mask)
            if memory is not None and source is not None:
                x = self.crossing[place](x, memory[place], mask_of(source != 0)[:, None, None, :])
            x = torch.relu(self.linears[place](x))
        return {"logits": self.words(x)[:, 0], "new_cache": torch.stack(new)}


class TranslationStep(LanguageModelStep):
    def forward(
        self, token: Tensor, position: Tensor, cache: Tensor, memory: Tensor, source: Tensor
    ) -> dict[str, Tensor]:
        return self.stepped(token, position, cache, memory, source)


def mask_of(seen: Tensor) -> Tensor:
    return torch.where(seen, 0.0, -1e9)


# By the task: the network, and what generates.
NETWORKS: dict[str, tuple[type[Transformer], type[Transformer] | None]] = {
    "text_classification": (Classifier, None),
    "language_modelling": (LanguageModel, LanguageModelStep),
    "translation": (Reader, TranslationStep),
}


def exported(module: nn.Module, *names: str) -> ExportedProgram:
    """Return a module as a program with free batch, length and room."""
    batch, length, room = Dim("batch"), Dim("length", max=LENGTH), Dim("room", max=LENGTH)
    keys = (LAYERS, 2, 2, HEADS, 5, WIDTH // HEADS)
    known = {
        "tokens": (torch.ones(2, 4, dtype=torch.int64), {0: batch, 1: length}),
        "source": (torch.ones(2, 4, dtype=torch.int64), {0: batch, 1: length}),
        "token": (torch.ones(2, 1, dtype=torch.int64), {0: batch}),
        "position": (torch.ones(1, dtype=torch.int64), {}),
        "cache": (torch.zeros(keys), {2: batch, 4: room}),
        "memory": (torch.zeros(*keys[:4], 4, keys[5]), {2: batch, 4: length}),
    }
    examples, free = zip(*(known[name] for name in names), strict=True)
    return torch.export.export(module.eval(), examples, dynamic_shapes=free)


@pytest.fixture(scope="session")
def text_programs() -> Callable[[str], tuple[ExportedProgram, ...]]:
    """A function that gives a task's network, and the step of one that generates, of the same weights."""

    @functools.cache
    def make(task: str) -> tuple[ExportedProgram, ...]:
        torch.manual_seed(0)
        network, step = NETWORKS[task]
        whole = network()
        program = exported(whole, "tokens")
        if step is None:
            return (program,)
        stepping = step()
        stepping.load_state_dict(whole.state_dict())
        inputs = ("token", "position", "cache", *(("memory", "source") if task == "translation" else ()))
        return program, exported(stepping, *inputs)

    return make


@pytest.fixture(scope="session")
def tiny_step() -> Step:
    """What is told of those programs' steps; their files are nowhere."""
    return Step(
        program="", digest="", layers=LAYERS, heads=HEADS, head_width=WIDTH // HEADS, tokens=float(LENGTH)
    )
