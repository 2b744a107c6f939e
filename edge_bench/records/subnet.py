"""A trained network as a record, and what is said of its quality and its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from edge_bench.records.arch import ArchConfig
from edge_bench.records.plain import AnySpace

Split = Literal["train", "selection", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A quality on one split of the data. Accuracy is a fraction between 0 and 1, BLEU lies between 0 and
    100, perplexity is of one token (a character, where those are the tokens), a return is the mean sum of
    rewards of an episode.
    """

    name: str
    value: float
    higher_is_better: bool
    split: Split
    examples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How an image becomes the network's input: resize (bilinear, antialiased, as Pillow does) to a
    square of `size` pixels, divide by 255, subtract `mean` and divide by `std` channel by channel.
    """

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInput:
    """How a text becomes the network's input: by the tokenizer in `tokenizer` (a file of the `tokenizers`
    library, relative to the home, of SHA-256 `digest`), to at most `length` tokens, padded with `pad`.

    `begin` and `end` are the tokens around what is generated. A longer text is an error, or cut off
    where `truncate`.
    """

    tokenizer: str
    digest: str
    vocabulary: int
    length: int
    pad: int = 0
    begin: int = 1
    end: int = 2
    truncate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationInput:
    """What an `environment` shows, as it is: `size` numbers, float32. Logits of actions are answered."""

    environment: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The part of a network that generates one token, as a program of its own, and how it is called.

    It takes `token` int64 [batch, 1], `position` int64 [1] (how many tokens came before), `cache`
    float32 [layers, 2, batch, heads, room, width of a head] (keys and values of those tokens; what
    stands at `position` and behind is not looked at) and, of a translation, `memory` (what the
    network answered to the source, shaped alike) and `source` int64 [batch, length]. It answers
    `logits` [batch, vocabulary] and `new_cache` [layers, 2, batch, heads, 1, width of a head], which
    belongs at `position`. `tokens` is how many a text of the selection split has on average.
    """

    program: str
    digest: str
    layers: int
    heads: int
    head_width: int
    tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentStep:
    """The part of a recurrent network that generates one token, as a program of its own.

    It takes `token` int64 [batch, 1] and `state` float32 [batch, layers, 2, width] (what each layer
    gave out for the last token, and its cell; zeros before the first) and answers `logits`
    [batch, vocabulary] and `new_state`, shaped as `state`, which takes its place. It knows no positions
    and takes as long behind a thousand tokens as behind one. `tokens` is as in `Step`.
    """

    program: str
    digest: str
    layers: int
    width: int
    tokens: float


AnyStep = Step | RecurrentStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A trained network, cut from a supernet or trained alone.

    `program` is its `torch.export` file, relative to the home; `data` is the `[data]` table (kind and
    options) that finds its examples again; `params` counts the module's parameters as trained, `macs` the
    multiply-accumulates for one image or longest text.
    `sparsity` is the share of zeros among all weights as deployed, biases and norms left out.
    A network takes images (`preprocessing`), text (`text`) or an observation (`observation`); one that
    generates has a `step`.
    """

    id: str
    run: str
    technique: str
    space: AnySpace
    arch: ArchConfig
    program: str
    digest: str
    params: int
    macs: int
    task: str
    metrics: tuple[Metric, ...]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing | None
    data: Mapping[str, Any]
    created: str
    text: TextInput | None = None
    step: AnyStep | None = None
    sparsity: float = 0.0
    notes: Mapping[str, Any] = field(default_factory=dict)
    observation: ObservationInput | None = None

    def metric(self, split: Split) -> Metric | None:
        """Return the metric measured on `split`, or None."""
        return next((metric for metric in self.metrics if metric.split == split), None)
